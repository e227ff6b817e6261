"""Normalizations by statistics of the input itself, composed of MEAN and arithmetic."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import stored_axis
from edgeconv.export.tflite.ops_elementwise import of_kinds


def _normalize(
    em: Emission, node: Node, x: int, places: list[int], scale: int | None, bias: int | None
) -> None:
    """Emit (x - mean) / sqrt(variance + epsilon) over stored axes, then what scales and shifts it."""
    whole = em.builder.shape(x)
    shape = [1 if at in places else size for at, size in enumerate(whole)]
    axes = em.ints(places, "axes")
    mean = em.do("MEAN", [x, axes], "ReducerOptions", shape=shape, keepDims=True)
    away = em.do("SUB", [x, mean], "SubOptions")
    squares = em.do("MUL", [away, away], "MulOptions")
    variance = em.do("MEAN", [squares, axes], "ReducerOptions", shape=shape, keepDims=True)
    shifted = em.do("ADD", [variance, em.real(node.float("epsilon", 1e-5))], "AddOptions")
    steps = [
        ("MUL", em.do("RSQRT", [shifted]), "MulOptions"),
        ("MUL", scale, "MulOptions"),
        ("ADD", bias, "AddOptions"),
    ]
    *inner, last = [(code, by, options) for code, by, options in steps if by is not None]
    for code, by, options in inner:
        away = em.do(code, [away, by], options)
    em.emit(node, last[0], [away, last[1]], last[2], shape=whole)


def layer_norm(em: Emission, node: Node) -> None:
    """LayerNormalization: over the last ONNX axes, then scale and bias."""
    shape, layout = em.graph.shape(node.output), em.layout(node.output)
    rank = len(shape)
    axes = range(node.int("axis", -1) % rank, rank)
    places = [stored_axis(axis, rank, layout) for axis in axes]
    x = em.read(node.inputs[0], layout)
    scale, bias = (
        em.operand(name, rank, layout) if name else None for name in (*node.inputs[1:], "")[:2]
    )
    _normalize(em, node, x, places, scale, bias)


def instance_norm(em: Emission, node: Node) -> None:
    """InstanceNormalization: over the spatial axes, then scale and bias for each channel.

    With ``groups`` (join_groups.py) over the channels of a group too, with a scale and bias for each group.
    """
    layout, rank = em.layout(node.output), len(em.graph.shape(node.output))
    x = em.read(node.inputs[0], layout)
    places = [stored_axis(axis, rank, layout) for axis in range(2, rank)]
    channel = stored_axis(1, rank, layout)
    if "groups" in node.attrs:  # channels last
        number, *plane, channels = em.builder.shape(x)
        groups = node.int("groups", 1)
        x = em.reshape(x, (number, int(np.prod(plane)), groups, channels // groups))
        places, channel = [1, 3], 2
    wide = [-1 if at == channel else 1 for at in range(len(em.builder.shape(x)))]

    def operand(name: str, nothing: float) -> int | None:
        value = em.graph.constants[name].reshape(wide)
        return em.builder.shared(name, value) if (value != nothing).any() else None

    scale, bias = operand(node.inputs[1], 1.0), operand(node.inputs[2], 0.0)
    _normalize(em, node, x, places, scale, bias)


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
