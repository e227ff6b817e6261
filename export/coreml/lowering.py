"""What a lowering of one operator sees.

Nothing here knows how a package is written: a second Apple format would read the same tables.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.coreml.integers import IntegerPlan
from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.op_table import Entry

Var = Any
"""A coremltools MIL variable; coremltools ships no types."""


Lower = Callable[["Lowering", Node, str], Any]
"""An entry's ``emit(context, node, name)`` adds MIL operations, the last called ``name``, and returns its
variable (a list of them for an operator with several outputs)."""


@dataclass
class Lowering:
    """The state of one lowering: the MIL builder, the graph, and a variable for every tensor made.

    ``min_ios`` is 15 to 18; ``integers`` is None for a float model. ``inputs`` are the MIL names of the
    graph's inputs, in order; ``ops`` is the op table, for operators that are written as others;
    ``exact`` holds the MIL names of what places are computed by, for which half precision is too coarse.
    """

    mb: Any
    graph: Graph
    min_ios: int
    integers: IntegerPlan | None = None
    values: dict[str, Var] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    ops: "Mapping[str, Entry[Lower]]" = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)
    _read_back: dict[str, Var] = field(default_factory=dict)

    def name(self, stem: str) -> str:
        """Return a fresh MIL identifier made from ``stem``: [A-Za-z_][A-Za-z0-9_]*."""
        base = mil_identifier(stem)
        found, number = base, 1
        while found in self._taken:
            found, number = f"{base}_{number}", number + 1
        self._taken.add(found)
        return found

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Let what is lowered meanwhile compute in float32."""
        before = set(self._taken)
        yield
        self.exact |= self._taken - before

    def tensor(self, tensor: str) -> Any:
        """Return the variable of a tensor, or a constant's array in a type that MIL has."""
        if tensor in self.graph.constants:
            return mil_array(self.graph.constants[tensor])
        return self.values[tensor]

    def variable(self, tensor: str, stem: str) -> Var:
        """Return the variable of a tensor; a constant becomes one, for operations that take no array."""
        value = self.tensor(tensor)
        if isinstance(value, np.ndarray):
            return self.mb.const(val=value, name=self.name(f"{stem}_constant"))
        return value

    def read(self, node: Node, index: int = 0) -> Any:
        """Return input ``index`` of a node as the node computes with it.

        In an INT8 model that is the tensor quantized and read back, where Core ML's integer
        operators expect it.
        """
        tensor = node.inputs[index]
        if self.integers is None or not self.integers.reads_integers(self.graph, node, tensor):
            return self.tensor(tensor)
        if tensor not in self._read_back:
            stem = self.names[tensor]
            pair = (self.name(f"{stem}_quantized"), self.name(f"{stem}_dequantized"))
            self._read_back[tensor] = self.integers.round_trip(
                self.mb, self.values[tensor], tensor, pair
            )
        return self._read_back[tensor]

    def has(self, node: Node, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(node.inputs) and node.inputs[index] != ""

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the static shape of a tensor or constant."""
        return self.graph.shape(tensor)

    def clamp(self, x: Var, bounds: Clamp, name: str) -> Var:
        """Add the activation that bounds ``x``: relu and relu6 where they are exactly that."""
        low, high = (float(bound) for bound in bounds)
        if (low, high) == (0.0, float("inf")):
            return self.mb.relu(x=x, name=name)
        if (low, high) == (0.0, 6.0):
            return self.mb.relu6(x=x, name=name)
        if np.isinf(high):
            return self.mb.maximum(x=x, y=np.float32(low), name=name)
        if np.isinf(low):
            return self.mb.minimum(x=x, y=np.float32(high), name=name)
        if low == high:  # MIL's clip takes none
            bounded = self.mb.minimum(x=x, y=np.float32(high), name=self.name(f"{name}_below"))
            return self.mb.maximum(x=bounded, y=np.float32(low), name=name)
        return self.mb.clip(x=x, alpha=np.float32(low), beta=np.float32(high), name=name)

    def lower(self, node: Node, entry: Entry[Lower]) -> None:
        """Lower one node with its fused activation, and check the shapes that MIL infers."""
        outputs = [out for out in node.outputs if out]
        names = [self.name(out) for out in outputs]
        inner = names[0] if node.clamp is None else self.name(f"{names[0]}_before_clamp")
        raised = 0 if self.integers is None else self.integers.raised(node)
        made = entry.emit(self, node, self.name(f"{inner}_raised") if raised else inner)
        variables = list(made) if isinstance(made, (list, tuple)) else [made]
        if raised:
            variables[0] = self.mb.mul(x=variables[0], y=np.float32(2.0**-raised), name=inner)
        if node.clamp is not None:
            variables[0] = self.clamp(variables[0], node.clamp, names[0])
        for out, variable in zip(outputs, variables, strict=True):
            if tuple(variable.shape) != self.shape(out):
                raise EdgeconvError(
                    f"{node.op} {node.name}: Core ML infers {list(variable.shape)} for {out}, "
                    f"the graph says {list(self.shape(out))}"
                )
            self.values[out], self.names[out] = variable, variable.name


def mil_identifier(stem: str) -> str:
    """Turn any tensor name into a MIL identifier.

    >>> mil_identifier("/features/0/Conv_output_0"), mil_identifier("0")
    ('features_0_Conv_output_0', '_0')
    """
    base = re.sub(r"\W", "_", stem, flags=re.ASCII).lstrip("_") or "tensor"
    return f"_{base}" if base[0].isdigit() else base


def mil_array(value: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a constant in MIL's types: 64-bit integers and floats become 32-bit ones."""
    if value.dtype in (np.uint8, np.int8):
        return value.astype(np.int32)
    if value.dtype == np.int64:
        limits = np.iinfo(np.int32)
        clipped: NDArray[np.generic] = np.clip(value, limits.min, limits.max).astype(np.int32)
        return clipped
    if value.dtype == np.float64:
        return value.astype(np.float32)
    return value if value.flags.writeable else value.copy()  # coremltools' passes write into arrays


def integers_of(graph: Graph, node: Node, index: int, what: str) -> list[int]:
    """Return a constant integer input as a list; raises UnsupportedOpError where it is computed."""
    value = graph.constant(node, index)
    if value is None:
        raise UnsupportedOpError(f"{node.op} {node.name}: {what} must be a constant for Core ML")
    return [int(item) for item in np.asarray(value).reshape(-1)]


def interleave(pads: list[int]) -> list[int]:
    """Turn ONNX padding (all befores, then all afters) into MIL's (before, after) pairs.

    >>> interleave([1, 2, 3, 4])
    [1, 3, 2, 4]
    """
    half = len(pads) // 2
    return [pads[index + side * half] for index in range(half) for side in (0, 1)]
