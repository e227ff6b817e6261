"""The one recipe in the form in which Core ML computes with integers.

Activations are quantized per tensor without zero points, only in front of the operators where
coremltools' own linear_quantize_activations puts the pairs (conv, linear, add, avg_pool,
max_pool); weights are per-channel symmetric int8; biases stay float.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.free_form import faint, reads_free
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.recipe import Activation, Recipe

LEAST, LARGEST = 2.0**-14, 2.0**12
"""Half precision's smallest number of all its digits, and how large results may become."""


@dataclass
class IntegerPlan:
    """Which tensors are read as integers, and how integer weights are written.

    ``activations`` False is weight-only INT8. ``min_ios`` decides the weights' operator;
    ``unsigned_weights`` writes int8 as uint8 with zero point 128, the same numbers. ``half`` says
    that floats are halves, in which layers of very small weights make more than they should.
    ``affine`` collects the tensors that need a zero point.
    """

    recipe: Recipe
    min_ios: int
    activations: bool = True
    unsigned_weights: bool = False
    half: bool = False
    affine: list[str] = field(default_factory=list)

    def reads_integers(self, graph: Graph, node: Node, tensor: str) -> bool:
        """Whether this node reads this tensor by way of quantize and dequantize."""
        return self.activations and reads_free(graph, self.recipe, node, tensor)

    def round_trip(self, mb: Any, x: Any, tensor: str, names: tuple[str, str]) -> Any:
        """Add quantize and dequantize behind ``x`` and return what is read back."""
        activation = self.recipe.activations[tensor]
        kind, zero_point = stored_form(activation)
        arguments: dict[str, Any] = {"scale": np.float32(activation.scale)}
        if zero_point is not None:
            arguments["zero_point"] = np.int8(zero_point)
            self.affine.append(tensor)
        stored = mb.quantize(input=x, output_dtype=kind, name=names[0], **arguments)
        return mb.dequantize(input=stored, name=names[1], **arguments)

    def raised(self, node: Node) -> int:
        """Return by which power of two a layer's result is made larger, for half precision to hold its scales.

        LayerScale's factors begin at 1e-6; what behind the layer takes the power away is exact.
        """
        found = self.recipe.weights.get(node.name)
        if not self.half or found is None or node.name in self.recipe.float_nodes:
            return 0
        scales = stored_scales(found.values, found.scales, found.axis)
        if not faint(scales):
            return 0
        made = self.recipe.activations.get(node.output)
        largest = 0.0 if made is None else max(abs(made.low), abs(made.high))
        room = math.log2(LARGEST / largest) if largest > 0.0 else math.inf
        return max(0, math.floor(min(math.log2(LEAST / float(scales.min())), room)) + 1)

    def weights(self, mb: Any, node: Node, name: str) -> tuple[Any, NDArray[np.float32]] | None:
        """Return a node's integer weights as a constant expression, and its float bias, both ``raised``.

        None where the recipe leaves the node in float.
        """
        found = self.recipe.weights.get(node.name)
        if found is None or node.name in self.recipe.float_nodes:
            return None
        factor = np.float32(2.0 ** self.raised(node))
        values, bias = found.values, found.float_bias * factor
        scales = stored_scales(values, found.scales, found.axis) * factor
        if self.min_ios >= 18:
            shape = [1] * values.ndim
            shape[found.axis] = -1
            constant = mb.constexpr_blockwise_shift_scale(
                data=values, scale=scales.reshape(shape), name=name
            )
            return constant, bias
        zero_point: np.generic = np.int8(0)
        stored: NDArray[np.generic] = values
        if self.unsigned_weights:
            stored, zero_point = (values.astype(np.int16) + 128).astype(np.uint8), np.uint8(128)
        constant = mb.constexpr_affine_dequantize(
            quantized_data=stored, zero_point=zero_point, scale=scales, axis=found.axis, name=name
        )
        return constant, bias


def stored_form(activation: Activation) -> tuple[str, int | None]:
    """Return the integer type and the zero point (None: none) in which Core ML stores a tensor.

    int8 with zero point -128 is uint8 without one; a symmetric tensor is int8 without one. Any
    other keeps its int8 zero point, and Core ML is not known to compute with those in integers.

    >>> stored_form(Activation(0.1, -128, 0.0, 25.5)), stored_form(Activation(0.1, 3, -12.0, 12.0))
    (('uint8', None), ('int8', 3))
    """
    if activation.zero_point == -128:
        return "uint8", None
    return "int8", (activation.zero_point or None)


def stored_scales(
    values: NDArray[np.int8], scales: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Return the scales with 1 for channels of zeros, whose own could vanish in half precision.

    A grouped transposed convolution has one scale for all channels, told once for each of ``axis``.
    """
    if scales.size != values.shape[axis]:
        return np.full(values.shape[axis], scales[0], np.float32)
    others = tuple(index for index in range(values.ndim) if index != axis)
    alive = np.any(values != 0, axis=others)
    kept: NDArray[np.float32] = np.where(alive, scales, np.float32(1.0)).astype(np.float32)
    return kept


def faint_scales(plan: IntegerPlan) -> list[str]:
    """Return the tensors whose scales half precision cannot hold."""
    tensors = plan.recipe.activations.items() if plan.activations else ()
    return [name for name, a in tensors if faint(np.array([a.scale]))]


def weight_inputs(graph: Graph) -> Mapping[str, str]:
    """Map each weighted node to the tensor it reads, as Recipe.with_form wants it."""
    return {node.name: node.inputs[0] for node in graph.of(*WEIGHTED)}
