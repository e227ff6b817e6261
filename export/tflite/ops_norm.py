"""Normalizations by statistics of the input itself, composed of MEAN and arithmetic."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import order, stored_axis
from edgeconv.export.tflite.ops_elementwise import of_kinds


def _normalized(em: Emission, x: int, places: list[int], epsilon: float) -> int:
    """Return (x - mean) / sqrt(variance + epsilon) over stored axes."""
    shape = [1 if at in places else size for at, size in enumerate(em.builder.shape(x))]
    axes = em.ints(places, "axes")
    mean = em.do("MEAN", [x, axes], "ReducerOptions", shape=shape, keepDims=True)
    away = em.do("SUB", [x, mean], "SubOptions")
    squares = em.do("MUL", [away, away], "MulOptions")
    variance = em.do("MEAN", [squares, axes], "ReducerOptions", shape=shape, keepDims=True)
    shifted = em.do("ADD", [variance, em.real(epsilon)], "AddOptions")
    return em.do("MUL", [away, em.do("RSQRT", [shifted])], "MulOptions")


def layer_norm(em: Emission, node: Node) -> None:
    """LayerNormalization: over the last ONNX axes, then scale and bias."""
    shape, layout = em.graph.shape(node.output), em.layout(node.output)
    rank = len(shape)
    axes = range(node.int("axis", -1) % rank, rank)
    places = [stored_axis(axis, rank, layout) for axis in axes]
    x = em.read(node.inputs[0], layout)
    x = _normalized(em, x, places, node.float("epsilon", 1e-5))
    scale = em.operand(node.inputs[1], rank, layout)
    if len(node.inputs) < 3 or not node.inputs[2]:
        em.emit(node, "MUL", [x, scale], "MulOptions")
        return
    x = em.do("MUL", [x, scale], "MulOptions")
    em.emit(node, "ADD", [x, em.operand(node.inputs[2], rank, layout)], "AddOptions")


def instance_norm(em: Emission, node: Node) -> None:
    """InstanceNormalization: over the spatial axes, then scale and bias for each channel."""
    layout, rank = em.layout(node.output), len(em.graph.shape(node.output))
    places = [stored_axis(axis, rank, layout) for axis in range(2, rank)]
    x = em.read(node.inputs[0], layout)
    x = _normalized(em, x, places, node.float("epsilon", 1e-5))
    wide = [1, -1, *[1] * (rank - 2)]
    operands = []
    for name in node.inputs[1:3]:
        value = em.graph.constants[name].reshape(wide).transpose(order(layout, rank))
        operands.append(em.builder.shared(name, np.ascontiguousarray(value)))
    x = em.do("MUL", [x, operands[0]], "MulOptions")
    em.emit(node, "ADD", [x, operands[1]], "AddOptions")


def local_response(em: Emission, node: Node) -> None:
    """LRN: LOCAL_RESPONSE_NORMALIZATION, whose alpha is not divided by the size."""
    size = node.int("size", 1)
    em.emit(
        node,
        "LOCAL_RESPONSE_NORMALIZATION",
        [em.read(node.inputs[0], "last")],
        "LocalResponseNormalizationOptions",
        layout="last",
        radius=size // 2,
        bias=node.float("bias", 1.0),
        alpha=node.float("alpha", 1e-4) / size,
        beta=node.float("beta", 0.75),
    )


def _check_outputs(graph: Graph, node: Node) -> str | None:
    return "it also returns its statistics" if any(node.outputs[1:]) else None


def _check_odd(graph: Graph, node: Node) -> str | None:
    return None if node.int("size", 1) % 2 else "its size is even"


_REAL = of_kinds("float32")
_COMPOSED = "MEAN, SUB, MUL, ADD, RSQRT"

TABLE = {
    "LayerNormalization": Entry(
        layer_norm,
        _COMPOSED,
        "one output and up to 4 axes",
        first_failing(_REAL, rank_within(1, 4), _check_outputs),
    ),
    "InstanceNormalization": Entry(
        instance_norm,
        _COMPOSED,
        "constant scale and bias on 3 or 4 axes",
        first_failing(
            _REAL, rank_within(3, 4), needs_constant(1, "scale"), needs_constant(2, "bias")
        ),
        "picture",
    ),
    "LRN": Entry(
        local_response,
        "LOCAL_RESPONSE_NORMALIZATION",
        "an odd size on a picture",
        first_failing(_REAL, rank_within(4, 4), _check_odd),
        "picture",
    ),
}
