"""Convolutions and transposed convolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.padding import same_padding
from edgeconv.export.tflite.weights import weight_operands
from edgeconv.export.tflite.windows import (
    pad_picture,
    picture_shape,
    read_picture,
    two_axes,
    window,
)


def _wide(weight: Array) -> Array:
    return weight if weight.ndim == 4 else weight[:, :, None, :]


def conv(em: Emission, node: Node) -> None:
    """Conv: CONV_2D (groups native) or DEPTHWISE_CONV_2D, behind a PAD where PyTorch's is not SAME."""
    shape = em.graph.shape(node.inputs[1])
    channels, inputs = shape[0], em.graph.shape(node.inputs[0])[1]
    depthwise = node.int("group", 1) == inputs and inputs > 1
    padding, strides, dilations = window(em.graph, node, shape[2:])
    x = read_picture(em, node.inputs[0])
    if padding.explicit is not None:
        x = pad_picture(em, x, padding.explicit)
    if depthwise:
        weights = weight_operands(em, node, lambda w: _move(_wide(w), (1, 2, 3, 0)), 3, channels)
    else:
        weights = weight_operands(em, node, lambda w: _move(_wide(w), (0, 2, 3, 1)), 0, channels)
    multiplier: dict[str, Any] = {"depthMultiplier": channels // inputs} if depthwise else {}
    em.emit(
        node,
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [x, *weights],
        "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        layout="last",
        shape=picture_shape(em.graph, node.output),
        padding=padding.mode,
        strideH=strides[0],
        strideW=strides[1],
        dilationHFactor=dilations[0],
        dilationWFactor=dilations[1],
        **multiplier,
    )


def _move(array: Array, axes: Sequence[int]) -> Array:
    return np.ascontiguousarray(array.transpose(axes))


def _ohwi(weight: Array, groups: int, dilations: Sequence[int], extra: Sequence[int]) -> Array:
    """Turn (I, O/groups, kh, kw) into dense (O, kh', kw', I): groups block-diagonal, dilation and
    the rows that output_padding adds as zeros."""
    i, o, kh, kw = weight.shape
    size = [(k - 1) * d + 1 + e for k, d, e in zip((kh, kw), dilations, extra, strict=True)]
    dense = np.zeros((o * groups, *size, i), weight.dtype)
    rows, step = slice(0, (kh - 1) * dilations[0] + 1, dilations[0]), i // groups
    columns = slice(0, (kw - 1) * dilations[1] + 1, dilations[1])
    for g in range(groups):
        block = weight[g * step : (g + 1) * step].transpose(1, 2, 3, 0)
        dense[g * o : (g + 1) * o, rows, columns, g * step : (g + 1) * step] = block
    return dense


def conv_transpose(em: Emission, node: Node) -> None:
    """ConvTranspose: TRANSPOSE_CONV, then a SLICE where the padding cut away is not SAME's."""
    form = _transposed_form(em.graph, node)
    n, _, _, channels = picture_shape(em.graph, node.output)
    groups, dilations, extra = node.int("group", 1), form.dilations, form.extra
    weights = weight_operands(
        em, node, lambda w: _ohwi(_wide(w), groups, dilations, extra), 0, channels
    )
    fields: dict[str, Any] = {
        "padding": "SAME" if form.same else "VALID",
        "strideH": form.strides[0],
        "strideW": form.strides[1],
    }
    shape = (n, *form.made, channels)
    inputs = [em.ints(shape, "shape"), weights[0], read_picture(em, node.inputs[0])]
    if em.integer or any(em.graph.constants[name].any() for name in node.inputs[2:] if name):
        inputs.append(weights[1])
    code, options = "TRANSPOSE_CONV", "TransposeConvOptions"
    target = picture_shape(em.graph, node.output)
    if shape == target:
        em.emit(node, code, inputs, options, layout="last", shape=shape, **fields)
        return
    held = em.result(node)
    whole = em.do(code, inputs, options, shape=shape, dtype=np.float32, quantization=held, **fields)
    begin, size = em.ints([0, *form.before, 0], "begin"), em.ints(target, "size")
    em.emit(node, "SLICE", [whole, begin, size], "SliceOptions", layout="last", shape=target)


@dataclass(frozen=True)
class _Transposed:
    """A transposed convolution over two axes: ``made`` is what TRANSPOSE_CONV makes, of which
    ``before`` rows and columns are cut; ``extra`` rows of zero weights stand for output_padding."""

    strides: list[int]
    dilations: list[int]
    before: list[int]
    extra: list[int]
    made: list[int]
    same: bool


def _transposed_form(graph: Graph, node: Node) -> _Transposed:
    kernel = graph.shape(node.inputs[1])[2:]
    spatial = len(kernel)
    size = two_axes(graph.shape(node.inputs[0])[2:], 1)
    out = two_axes(graph.shape(node.output)[2:], 1)
    strides = two_axes(node.ints("strides", [1] * spatial), 1)
    dilations = two_axes(node.ints("dilations", [1] * spatial), 1)
    before = two_axes(node.ints("pads", [0] * 2 * spatial)[:spatial], 0)
    span = [(k - 1) * d + 1 for k, d in zip(two_axes(kernel, 1), dilations, strict=True)]
    full = [(size[a] - 1) * strides[a] + span[a] for a in range(2)]
    extra = [max(0, out[a] + before[a] - full[a]) for a in range(2)]
    same = all(
        -(-out[a] // strides[a]) == size[a]
        and extra[a] == 0
        and same_padding(out[a], span[a], strides[a])[0] == before[a]
        for a in range(2)
    )
    made = out if same else [full[a] + extra[a] for a in range(2)]
    return _Transposed(strides, dilations, before, extra, made, same)


def _check_conv(graph: Graph, node: Node) -> str | None:
    if node.int("group", 1) > 1 and graph.shape(node.output)[1] % node.int("group", 1):
        return "its groups do not divide its output channels"
    return None


_constant_weights = (needs_constant(1, "weight"), needs_constant(2, "bias"))

TABLE = {
    "Conv": Entry(
        conv,
        "CONV_2D, DEPTHWISE_CONV_2D",
        "a 1-D or 2-D convolution with constant weights (groups, strides and dilations are free)",
        first_failing(rank_within(3, 4), *_constant_weights, _check_conv),
        "picture",
        int8=True,
    ),
    "ConvTranspose": Entry(
        conv_transpose,
        "TRANSPOSE_CONV",
        "a 1-D or 2-D transposed convolution with constant weights",
        first_failing(rank_within(3, 4), *_constant_weights, _check_conv),
        "picture",
        int8=True,
    ),
}
