"""Windows over pictures, shared by convolutions and pools: padding, strides, 1-D ones seen as 2-D."""

from collections.abc import Sequence

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.padding import Padding, Pads, window_padding


def pad_picture(em: Emission, index: int, pads: Pads) -> int:
    """Return a picture (N, H, W, C) with zeros around it, which XNNPACK takes into a convolution."""
    top, left, bottom, right = pads
    return _pad(em, index, [[0, 0], [top, bottom], [left, right], [0, 0]])


def pad_for_pool(em: Emission, index: int, pads: Pads, value: int | None = None) -> int:
    """Return a picture (N, H, W, C) with zeros, or the constant ``value``, around it.

    No pool takes the padding in, and XNNPACK copies what lies behind the last padded axis, a call
    each: (N, H, W C) instead of pixels saves it 89 instructions a pixel of 24 channels.
    """
    top, left, bottom, right = pads
    if not em.pad_rows:
        return _pad(em, index, [[0, 0], [top, bottom], [left, right], [0, 0]], value)
    n, h, w, c = em.builder.shape(index)
    rows = em.reshape(index, (n, h, w * c))
    padded = _pad(em, rows, [[0, 0], [top, bottom], [left * c, right * c]], value)
    em.padded_rows += 1
    return em.reshape(padded, (n, h + top + bottom, w + left + right, c))


def _pad(em: Emission, index: int, amounts: list[list[int]], value: int | None = None) -> int:
    given = [] if value is None else [value]
    return em.do(
        "PADV2" if given else "PAD",
        [index, em.ints(amounts, "padding"), *given],
        "PadV2Options" if given else "PadOptions",
        shape=[
            size + sum(each) for size, each in zip(em.builder.shape(index), amounts, strict=True)
        ],
        quantization=em.builder.quantization(index),
    )


def two_axes(values: Sequence[int], fill: int) -> list[int]:
    """Return a window attribute for two axes; a 1-D one gets a leading axis of size 1."""
    return list(values) if len(values) == 2 else [fill, *values]


def window(graph: Graph, node: Node, kernel: Sequence[int]) -> tuple[Padding, list[int], list[int]]:
    """Return padding, strides and dilations of a window operator, 1-D ones seen as 2-D."""
    spatial = len(kernel)
    size = two_axes(graph.shape(node.inputs[0])[2:], 1)
    out = two_axes(graph.shape(node.output)[2:], 1)
    strides = two_axes(node.ints("strides", [1] * spatial), 1)
    dilations = two_axes(node.ints("dilations", [1] * spatial), 1)
    pads = node.ints("pads", [0] * 2 * spatial)
    if spatial == 1:
        pads = [0, pads[0], 0, pads[1]]
    kernel = two_axes(kernel, 1)
    return window_padding(size, out, kernel, strides, dilations, pads), strides, dilations


def read_picture(em: Emission, name: str) -> int:
    """Return a tensor channels last with two spatial axes; (N, L, C) becomes (N, 1, L, C)."""
    index = em.read(name, "last")
    shape = em.builder.shape(index)
    return index if len(shape) == 4 else em.reshape(index, (shape[0], 1, *shape[1:]))


def picture_shape(graph: Graph, name: str) -> tuple[int, ...]:
    """Return the stored shape of a tensor (N, C, ...) seen as a picture (N, H, W, C)."""
    n, c, *spatial = graph.shape(name)
    return (n, *two_axes(spatial, 1), c)
