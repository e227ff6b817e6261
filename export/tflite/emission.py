"""The state of one emission: which tensor of the file holds which tensor of the graph, and how.

Functions of the op table read their inputs and emit their outputs through it; layouts,
quantization at borders of float islands, and clamps are settled here and nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.tflite.clamps import clamp_steps
from edgeconv.export.tflite.layout import (
    Layout,
    conversion,
    is_copy,
    order,
    stored_axis,
    stored_shape,
)
from edgeconv.export.tflite.plan import Plan
from edgeconv.export.tflite.temporaries import Temporaries, border_op
from edgeconv.recipe import Activation, Recipe, Weights, quantize_values
from edgeconv.tensors import Quantization

Precision = Literal["fp32", "fp16", "int8"]
Io = Literal["float", "int8", "uint8"]
Emit = Callable[["Emission", Node], None]


@dataclass
class Step:
    """One operator on the way to a node's output: it reads ``extra`` behind the value so far."""

    code: str
    extra: Sequence[int]
    options: str
    fields: dict[str, Any]
    shape: tuple[int, ...]
    quantization: Quantization | None


@dataclass
class Emission(Temporaries):
    """What the functions of the op table work with; ``node`` and ``integer`` are the current node's.

    ``integer``: the current node computes on int8. ``stored`` maps each tensor of the graph to
    its tensor in the file, in the layout of the plan. ``flattened`` holds, for a picture flattened
    channels last, the ONNX position of each stored column: its Gemms reorder their weights.
    ``shifts`` are nodes that centre an input's pixels and stay in float. ``ops`` is the op table,
    for operators that are written as others. ``alone`` are int8 weights of layers, by name, that
    compute on real values, ``floats`` that the recipe has it compute so. ``unrounded`` holds stored tensors as they
    were before they were rounded, and in which layout. ``pad_rows`` pads pictures for pools row by row; ``padded_rows`` counts them.
    """

    graph: Graph
    recipe: Recipe | None
    precision: Precision
    io: Io
    plan: Plan
    stored: dict[str, int] = field(default_factory=dict)
    flattened: dict[str, Array] = field(default_factory=dict)
    shifts: set[str] = field(default_factory=set)
    integer: bool = False
    ops: "Mapping[str, Entry[Emit]]" = field(default_factory=dict)
    alone: Mapping[str, Weights] = field(default_factory=dict)
    pad_rows: bool = False
    padded_rows: int = 0
    floats: bool = False
    unrounded: dict[str, tuple[int, Layout]] = field(default_factory=dict)
    _forms: dict[tuple[str, Layout, Quantization | None, bool], int] = field(default_factory=dict)

    # -- what the recipe says

    def quantization(self, name: str) -> Quantization | None:
        """Return how a tensor of the graph is stored: int8 with this, or None for real values."""
        if self.recipe is None or name not in self.recipe.activations:
            return None
        if self.graph.dtype(name) != np.float32:
            return None
        activation = self.recipe.activations[name]
        return Quantization(activation.scale, activation.zero_point)

    def result(self, node: Node) -> Quantization | None:
        """Return the quantization of a node's first output; None where the node computes in float."""
        return self.quantization(node.output) if self.integer else None

    def computes_on_int8(self, node: Node, native: bool) -> bool:
        """Say whether a node computes on int8: the recipe covers it and TFLite has the kernel."""
        if self.recipe is None or not native or node.name in self.recipe.float_nodes:
            return False
        if node.op in WEIGHTED and node.name not in self.recipe.weights:
            return False
        weighted = node.name in self.recipe.weights
        for number, name in enumerate((*node.inputs, *node.outputs)):
            if not name or self.graph.dtype(name) != np.float32:
                continue
            if name in self.graph.constants and (weighted or (number > 0 and node.op in _SCALARS)):
                continue
            if name not in self.recipe.activations:
                return False
        return any(self.graph.dtype(name) == np.float32 for name in node.inputs if name)

    # -- reading

    def layout(self, name: str) -> Layout:
        """Return the layout in which the plan stores a tensor."""
        return self.plan.of(name)

    def axis(self, node: Node, axis: int) -> int:
        """Return where ``axis`` of the first output's rank is stored in the first output."""
        rank = len(self.graph.shape(node.output))
        return stored_axis(axis, rank, self.layout(node.output))

    def read(
        self,
        name: str,
        layout: Layout | None = None,
        *,
        scale: Quantization | None = None,
    ) -> int:
        """Return the tensor that holds ``name`` in this layout, converting where it must.

        The current node sees int8 (``scale``, or the tensor's own) where it computes on integers,
        else real values, before they were rounded where the recipe lets it. Each converted form is made once.
        """
        layout = layout or self.layout(name)
        wanted = (scale or self.quantization(name)) if self.integer else None
        if self.graph.dtype(name) != np.float32:
            wanted = None
        if name in self.graph.constants:
            return self._constant(name, self.graph.constants[name], layout, wanted)
        raw = self.floats and name in self.unrounded
        key = (name, layout, wanted, raw)
        if key not in self._forms:
            index, made = self.unrounded[name] if raw else (self.stored[name], self.layout(name))
            self._forms[key] = self.requantize(self._relaid(index, name, made, layout), wanted)
        return self._forms[key]

    def operand(
        self, name: str, rank: int, layout: Layout, *, scale: Quantization | None = None
    ) -> int:
        """Return ``name`` as an operand that broadcasts against a tensor of ``rank`` in ``layout``."""
        shape = self.graph.shape(name)
        wide = (1,) * (rank - len(shape)) + shape
        if name in self.graph.constants:
            wanted = (scale or self.quantization(name)) if self.integer else None
            value = self.graph.constants[name]
            if value.dtype != np.float32:
                wanted = None
            value = value.reshape(wide) if value.size > 1 else value.reshape(1)
            return self._constant(name, value, layout if value.ndim == rank else "plain", wanted)
        if len(shape) == rank:
            return self.read(name, layout, scale=scale)
        index = self.read(name, "plain", scale=scale)
        permutation = order(layout, rank)
        if is_copy(wide, permutation):
            return self.reshape(index, tuple(wide[axis] for axis in permutation))
        return self.transpose(self.reshape(index, wide), permutation)

    def _constant(
        self, name: str, value: Array, layout: Layout, wanted: Quantization | None
    ) -> int:
        value = np.ascontiguousarray(value.transpose(order(layout, value.ndim)))
        if wanted is None:
            return self.builder.shared(name, value)
        activation = Activation(wanted.scale, wanted.zero_point, 0.0, 0.0)
        return self.builder.constant(name, quantize_values(value, activation), wanted)

    def _relaid(self, index: int, name: str, source: Layout, target: Layout) -> int:
        shape = self.graph.shape(name)
        permutation = conversion(len(shape), source, target)
        if permutation == tuple(range(len(shape))):
            return index
        if is_copy(self.builder.shape(index), permutation):
            return self.reshape(index, stored_shape(shape, target))
        return self.transpose(index, permutation)

    # -- results

    def emit(
        self,
        node: Node,
        code: str,
        inputs: Sequence[int],
        options: str = "",
        *,
        out: int = 0,
        own: Quantization | None = None,
        shape: Sequence[int] | None = None,
        layout: Layout | None = None,
        **fields: Any,
    ) -> None:
        """Append the operator that makes a node's output, and what must follow it.

        ``own`` is the quantization that the kernel insists on where it is not the recipe's.
        ``layout`` is the layout in which the operator makes it where it is not the plan's, and
        ``shape`` its shape where it is not the tensor's. A clamp is fused, implied by the range
        of the int8 output, or follows as operators.
        """
        name = node.outputs[out]
        final = self.quantization(name)
        made = (own or final) if self.integer else None
        made_layout = layout or self.layout(name)
        target = stored_shape(self.graph.shape(name), made_layout)
        sizes = target if shape is None else tuple(shape)  # () is a scalar's
        first = Step(code, inputs, options, dict(fields), sizes, made)
        steps = [first]
        if node.clamp is not None and out == 0:
            fused, after = clamp_steps(code, node.clamp, made)
            if fused:
                first.fields["fusedActivationFunction"] = fused
            for kind, bound in after:
                extra = [] if bound is None else [self.real(bound, made)]
                steps.append(Step(kind, extra, _unary_options(kind), {}, first.shape, made))
        if made is None and final is not None and first.shape != target:
            steps.append(self._reshape_step(target, None))
        if made != final:
            steps.append(
                Step(border_op(final)[0], [], border_op(final)[1], {}, steps[-1].shape, final)
            )
        self._finish(name, steps, target, made_layout)

    def share(self, node: Node, index: int) -> bool:
        """Let a tensor of the file be a node's output too, and say whether it can be: a border cannot."""
        name = node.output
        same = self.builder.quantization(index) == self.quantization(name)
        if not same or node.clamp is not None or name in self.graph.outputs:
            return False
        self.stored[name] = index
        return True

    def _finish(
        self, name: str, steps: list[Step], target: tuple[int, ...], layout: Layout
    ) -> None:
        final = steps[-1].quantization
        if steps[-1].shape != target:
            steps.append(self._reshape_step(target, final))
        permutation = conversion(len(target), layout, self.layout(name))
        if permutation != tuple(range(len(target))):
            shape = tuple(target[axis] for axis in permutation)
            if is_copy(target, permutation):
                steps.append(self._reshape_step(shape, final))
            else:
                extra = [self.ints(permutation, "permutation")]
                steps.append(Step("TRANSPOSE", extra, "TransposeOptions", {}, shape, final))
        index = -1
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            label = self.file_name(name) if last else f"{name}/{step.code.lower()}"
            kind = np.int8 if step.quantization else self.graph.dtype(name)
            made = self.builder.tensor(label, step.shape, kind, step.quantization)
            reads = list(step.extra) if number == 0 else [index, *step.extra]
            self.builder.op(step.code, reads, [made], step.options, **step.fields)
            if self.floats and number and step.code == "QUANTIZE":
                self.unrounded[name] = index, layout
            index = made
        self.stored[name] = index

    def _reshape_step(self, shape: tuple[int, ...], quantization: Quantization | None) -> Step:
        extra, fields = [self.ints(shape, "shape")], {"newShape": list(shape)}
        return Step("RESHAPE", extra, "ReshapeOptions", fields, shape, quantization)

    def file_name(self, name: str) -> str:
        """Return the name for a tensor: border tensors keep theirs, their int8 form gets a suffix."""
        border = name in self.graph.outputs or name in self.graph.inputs
        if border and self.quantization(name) is not None and self.io != "int8":
            return f"{name}_int8"
        if name in self.graph.outputs and self.is_relaid_border(name):
            return f"{name}_last"
        return name

    def is_relaid_border(self, name: str) -> bool:
        """Say whether an input or output is stored channels last but crosses the border in ONNX's
        order: only pictures, of rank 4, are channels last there."""
        return self.layout(name) == "last" and len(self.graph.shape(name)) != 4


_SCALARS = (
    "Clip",
    "Pad",
    "Resize",
)  # constants behind the first input are attributes, not operands


def _unary_options(code: str) -> str:
    return "MaximumMinimumOptions" if code in ("MAXIMUM", "MINIMUM") else ""
