"""Pooling."""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_parameters import averaged
from edgeconv.export.op_table import Entry, first_failing, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import Rule
from edgeconv.export.tflite.padding import Padding, Pads
from edgeconv.export.tflite.windows import (
    pad_for_pool,
    picture_shape,
    read_picture,
    two_axes,
    window,
)


def _same_scale_input(em: Emission, node: Node) -> int:
    """Read the input with the output's scale, which int8 pooling kernels take for granted."""
    index = read_picture(em, node.inputs[0])
    return em.requantize(index, em.result(node)) if em.integer else index


def _pool(em: Emission, node: Node, code: str, x: int, mode: str, kernel: list[int]) -> None:
    strides = two_axes(node.ints("strides", [1] * len(node.ints("kernel_shape", []))), 1)
    em.emit(
        node,
        code,
        [x],
        "Pool2DOptions",
        layout="last",
        shape=picture_shape(em.graph, node.output),
        padding=mode,
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
    )


def max_pool(em: Emission, node: Node) -> None:
    """MaxPool: MAX_POOL_2D; padding that is not SAME is a PAD of the lowest value."""
    kernel = two_axes(node.ints("kernel_shape", []), 1)
    padding, _, _ = window(em.graph, node, node.ints("kernel_shape", []))
    x = _same_scale_input(em, node)
    if padding.explicit is not None:
        lowest = None if _never_negative(em, node.inputs[0]) else _lowest(em, x)
        x = pad_for_pool(em, x, padding.explicit, lowest)
    _pool(em, node, "MAX_POOL_2D", x, padding.mode, kernel)


def _never_negative(em: Emission, name: str) -> bool:
    """Say whether zero padding cannot win a maximum: behind a ReLU, or unsigned int8."""
    quantization = em.quantization(name)
    if em.integer and quantization is not None:
        return quantization.zero_point == -128
    producer = next((node for node in em.graph.nodes if name in node.outputs), None)
    if producer is None:
        return False
    if producer.clamp is not None:
        return producer.clamp[0] >= 0.0
    return producer.op in ("Relu", "Sigmoid", "HardSigmoid", "Softmax")


def _lowest(em: Emission, index: int) -> int:
    quantization = em.builder.quantization(index)
    if quantization is None:
        return em.real(float(np.finfo(np.float32).min))
    return em.builder.constant("lowest", np.array([-128], np.int8), quantization)


def average_pool(em: Emission, node: Node) -> None:
    """AveragePool: AVERAGE_POOL_2D, which never counts its padding.

    Where ONNX counts it, or its padding is not SAME, zeros are padded and the windows whose
    divisor differs from the kernel's size are rescaled by a constant map.
    """
    kernel = two_axes(node.ints("kernel_shape", []), 1)
    padding, _, _ = window(em.graph, node, node.ints("kernel_shape", []))
    divisors = _divisors(em.graph, node)
    x = _same_scale_input(em, node)
    if padding == Padding("VALID", None) and np.all(divisors == np.prod(kernel)):
        _pool(em, node, "AVERAGE_POOL_2D", x, "VALID", kernel)
    elif padding.mode == "SAME" and not node.int("count_include_pad", 0):
        _pool(em, node, "AVERAGE_POOL_2D", x, "SAME", kernel)
    else:
        _average_padded(em, node, x, padding, kernel, divisors)


def _average_padded(
    em: Emission, node: Node, x: int, padding: Padding, kernel: list[int], divisors: Array
) -> None:
    pads = padding.explicit or _same_as_pads(em.graph, node)
    x = pad_for_pool(em, x, pads) if any(pads) else x
    if np.all(divisors == np.prod(kernel)):
        _pool(em, node, "AVERAGE_POOL_2D", x, "VALID", kernel)
        return
    strides = two_axes(node.ints("strides", [1] * len(node.ints("kernel_shape", []))), 1)
    mean = em.do(
        "AVERAGE_POOL_2D",
        [x],
        "Pool2DOptions",
        shape=picture_shape(em.graph, node.output),
        padding="VALID",
        strideH=strides[0],
        strideW=strides[1],
        filterHeight=kernel[0],
        filterWidth=kernel[1],
    )
    factors = (np.prod(kernel) / divisors).astype(np.float32)[None, :, :, None]
    correction = em.builder.shared(f"{node.name}_divisor", factors)
    shape = picture_shape(em.graph, node.output)
    em.emit(node, "MUL", [mean, correction], "MulOptions", layout="last", shape=shape)


def _same_as_pads(graph: Graph, node: Node) -> Pads:
    """Return the explicit padding of a window operator whose padding is SAME."""
    spatial = len(node.ints("kernel_shape", []))
    pads = node.ints("pads", [0] * 2 * spatial)
    pads = pads if spatial == 2 else [0, pads[0], 0, pads[1]]
    size = two_axes(graph.shape(node.inputs[0])[2:], 1)
    out = two_axes(graph.shape(node.output)[2:], 1)
    kernel = two_axes(node.ints("kernel_shape", []), 1)
    strides = two_axes(node.ints("strides", [1] * spatial), 1)
    after = [max(0, (out[a] - 1) * strides[a] + kernel[a] - size[a] - pads[a]) for a in range(2)]
    return pads[0], pads[1], after[0], after[1]


def _divisors(graph: Graph, node: Node) -> Array:
    """Return ONNX's divisor of each window (H, W): cells outside padding are never counted."""
    counts = [averaged(graph, node, axis) for axis in range(len(node.ints("kernel_shape", [])))]
    if len(counts) == 1:
        counts.insert(0, np.ones(1, np.int64))
    return np.outer(counts[0], counts[1])


def global_average_pool(em: Emission, node: Node) -> None:
    """GlobalAveragePool: MEAN over the spatial axes."""
    rank = len(em.graph.shape(node.inputs[0]))
    x = em.read(node.inputs[0], em.layout(node.output))
    axes = em.ints([em.axis(node, axis) for axis in range(2, rank)], "axes")
    em.emit(node, "MEAN", [x, axes], "ReducerOptions", keepDims=True)


def global_max_pool(em: Emission, node: Node) -> None:
    """GlobalMaxPool: MAX_POOL_2D with one window, which XNNPACK takes and REDUCE_MAX it does not."""
    x = _same_scale_input(em, node)
    _, h, w, _ = em.builder.shape(x)
    em.emit(
        node,
        "MAX_POOL_2D",
        [x],
        "Pool2DOptions",
        layout="last",
        shape=picture_shape(em.graph, node.output),
        padding="VALID",
        strideH=1,
        strideW=1,
        filterHeight=h,
        filterWidth=w,
    )


def _check_pool(graph: Graph, node: Node) -> str | None:
    if any(d != 1 for d in node.ints("dilations", [1])):
        return "its window is dilated"
    if len([out for out in node.outputs if out]) > 1:
        return "it also returns the places of the maxima in a dilated or large window"
    return None


def _average_in_int8(graph: Graph, node: Node) -> bool:
    """Say whether no window needs another divisor than AVERAGE_POOL_2D's."""
    kernel = node.ints("kernel_shape", [])
    padding, _, _ = window(graph, node, kernel)
    excluded = padding.mode == "SAME" and not node.int("count_include_pad", 0)
    return excluded or bool(np.all(_divisors(graph, node) == np.prod(kernel)))


def _mean_rule(graph: Graph, node: Node) -> Rule:
    # with one axis it is as well a mean of each token's values, as in an RMSNorm
    return "any" if len(graph.shape(node.inputs[0])) == 3 else "picture"


TABLE = {
    "MaxPool": Entry(
        max_pool,
        "MAX_POOL_2D",
        "a 1-D or 2-D window without dilation",
        first_failing(rank_within(3, 4), _check_pool),
        "picture",
        int8=True,
    ),
    "AveragePool": Entry(
        average_pool,
        "AVERAGE_POOL_2D",
        "a 1-D or 2-D window without dilation",
        first_failing(rank_within(3, 4), _check_pool),
        "picture",
        int8=_average_in_int8,
    ),
    "GlobalAveragePool": Entry(
        global_average_pool,
        "MEAN",
        "a picture of one or two spatial axes",
        rank_within(3, 4),
        _mean_rule,
        int8=True,
    ),
    "GlobalMaxPool": Entry(
        global_max_pool,
        "MAX_POOL_2D",
        "a picture of one or two spatial axes",
        rank_within(3, 4),
        "picture",
        int8=True,
    ),
}
