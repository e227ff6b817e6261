"""The graph that passes rewrite and emitters read: ONNX semantics without the onnx package.

Shapes are static and known for every tensor. Layout is ONNX's (pictures NCHW, convolution
weights OIHW); emitters that need another decide it themselves, once.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError

Array = NDArray[Any]
Attribute = int | float | str | list[int] | list[float] | list[str] | Array
Clamp = tuple[float, float]
"""Lower and upper bound of a fused activation: ReLU is (0, inf), ReLU6 (0, 6)."""


@dataclass
class Node:
    """One operator of the default ONNX domain.

    ``inputs`` holds "" for an optional input that is absent. ``clamp`` is a ReLU-like
    activation fused behind the operator (see passes/fuse_clamps.py); the node's output is then
    the clamped tensor.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Attribute] = field(default_factory=dict)
    clamp: Clamp | None = None

    @property
    def output(self) -> str:
        """The first output, for the many operators that have one."""
        return self.outputs[0]

    def ints(self, key: str, default: Sequence[int]) -> list[int]:
        """Return a list-of-int attribute."""
        value = self.attrs.get(key)
        if value is None:
            return list(default)
        assert isinstance(value, list)
        return [int(item) for item in value]

    def int(self, key: str, default: "int") -> "int":
        """Return an integer attribute."""
        value = self.attrs.get(key, default)
        assert isinstance(value, (int, np.integer))
        return int(value)

    def float(self, key: str, default: "float") -> "float":
        """Return a float attribute."""
        value = self.attrs.get(key, default)
        assert isinstance(value, (float, int))
        return float(value)

    def str(self, key: "str", default: "str") -> "str":
        """Return a string attribute."""
        value = self.attrs.get(key, default)
        assert isinstance(value, str)
        return value


@dataclass
class Graph:
    """Nodes in topological order, constants by name, and the shape and dtype of every tensor.

    ``inputs`` and ``outputs`` are tensor names in the model's order. ``opset`` is the ONNX opset
    whose semantics the nodes have.
    """

    name: str
    opset: int
    inputs: list[str]
    outputs: list[str]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, np.dtype[np.generic]] = field(default_factory=dict)

    def clone(self) -> "Graph":
        """Return a copy that can be rewritten; constant arrays are shared, never written to."""
        other = copy.copy(self)
        other.inputs, other.outputs = list(self.inputs), list(self.outputs)
        other.nodes = [copy.deepcopy(node) for node in self.nodes]
        other.constants = dict(self.constants)
        other.shapes, other.dtypes = dict(self.shapes), dict(self.dtypes)
        return other

    def producers(self) -> dict[str, Node]:
        """Map each tensor to the node that makes it."""
        return {out: node for node in self.nodes for out in node.outputs if out}

    def unread_outputs(self) -> set[str]:
        """Return the outputs that no node reads."""
        return set(self.outputs) - self.consumers().keys()

    def whole_outputs(self) -> list[bool]:
        """Return of each output whether it holds whole numbers, as evaluate/task.py asks."""
        return [self.dtype(name).kind in "iu" for name in self.outputs]

    def consumers(self) -> dict[str, list[Node]]:
        """Map each tensor to the nodes that read it (a node once for each time it reads it)."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    def sole_reader(self, tensor: str) -> Node | None:
        """Return the one node that reads an inner tensor, once; None where that is not all that sees it."""
        readers = self.consumers().get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the static shape of a tensor or constant."""
        if tensor in self.constants:
            return tuple(self.constants[tensor].shape)
        return self.shapes[tensor]

    def dtype(self, tensor: str) -> np.dtype[np.generic]:
        """Return the dtype of a tensor or constant."""
        if tensor in self.constants:
            return self.constants[tensor].dtype
        return self.dtypes[tensor]

    def constant(self, node: Node, index: int) -> Array | None:
        """Return the value of an input that is a constant; None where it is absent or computed."""
        if index >= len(node.inputs):
            return None
        return self.constants.get(node.inputs[index])

    def declare(
        self, tensor: str, shape: Sequence[int], dtype: "np.dtype[np.generic] | type"
    ) -> str:
        """Record the shape and dtype of a new tensor and return its name."""
        self.shapes[tensor] = tuple(int(size) for size in shape)
        self.dtypes[tensor] = np.dtype(dtype)
        return tensor

    def fresh(self, stem: str) -> str:
        """Return a name that no tensor, constant or node has, made from ``stem``."""
        taken = self.shapes.keys() | self.constants.keys() | {node.name for node in self.nodes}
        if stem not in taken:
            return stem
        number = 1
        while f"{stem}_{number}" in taken:
            number += 1
        return f"{stem}_{number}"

    def add_constant(self, stem: str, value: Array) -> str:
        """Store ``value`` under a fresh name and return that name."""
        name = self.fresh(stem)
        self.constants[name] = value
        return name

    def redirect(self, old: str, new: str) -> None:
        """Make every reader of ``old`` read ``new``; a graph output keeps its name.

        Where ``old`` is a graph output, ``new`` is renamed to ``old`` instead, so that the
        model's borders never change.
        """
        if old in self.outputs:
            if new in self.outputs or new in self.inputs or new in self.constants:
                raise EdgeconvError(f"output {old} cannot be merged with {new}")
            self.rename(new, old)
            return
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]

    def rename(self, old: str, new: str) -> None:
        """Rename a tensor wherever it is made or read; the shape moves along."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
            node.outputs = [new if name == old else name for name in node.outputs]
        self.shapes[new], self.dtypes[new] = self.shapes.pop(old), self.dtypes.pop(old)

    def prune(self) -> bool:
        """Drop nodes that reach no output, then unused constants and shapes; say if any went."""
        alive, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if any(out in alive for out in node.outputs):
                alive.update(name for name in node.inputs if name)
                kept.append(node)
        changed = len(kept) != len(self.nodes)
        self.nodes = kept[::-1]
        alive.update(out for node in self.nodes for out in node.outputs)
        alive.update(self.inputs)
        self.constants = {name: a for name, a in self.constants.items() if name in alive}
        self.shapes = {name: s for name, s in self.shapes.items() if name in alive}
        self.dtypes = {name: d for name, d in self.dtypes.items() if name in alive}
        return changed

    def sort(self) -> None:
        """Put the nodes into topological order, keeping the present order where it is free."""
        made = set(self.inputs) | self.constants.keys() | {""}
        waiting, ordered = list(self.nodes), []
        while waiting:
            later = []
            for node in waiting:
                if all(name in made for name in node.inputs):
                    ordered.append(node)
                    made.update(node.outputs)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                missing = next(n for node in later for n in node.inputs if n not in made)
                raise EdgeconvError(f"tensor {missing} is read but nothing makes it")
            waiting = later
        self.nodes = ordered

    def of(self, *ops: str) -> Iterator[Node]:
        """Yield the nodes of these operators, from a copy of the list: rewriting is safe."""
        yield from [node for node in self.nodes if node.op in ops]
