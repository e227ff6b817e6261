"""Convolve volumes as pictures: the slices under a kernel side by side as channels, depth as batch.

Given:   x (N, C, D, H, W) -> Conv(O, C/g, kd, kh, kw) -> y (N, O, D', H', W')
Result:  x [-> Pad over D] -> Slice for each of kd -> Concat (N, kd*C, D', H, W) -> Transpose, Reshape
         (N*D', kd*C, H, W) -> Conv(O, kd*C/g, kh, kw) -> Reshape, Transpose -> y

Given:   x (N, C, D, H, W) -> ConvTranspose(C, O/g, kd, kh, kw) -> y
Result:  x -> Reshape, Pad, Reshape (zeros between the slices) -> the same -> ConvTranspose(kd*C, O/g, kh, kw) -> y

The same products in the same sums; TFLite's CONV_3D has neither groups nor INT8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.passes.steps import Steps

DEPTHLESS = ("strides", "dilations", "output_padding")
"""Attributes of one number an axis."""


@dataclass(frozen=True)
class _Window:
    """How a kernel of ``taps`` meets the slices, zeros ``before`` and ``after`` them."""

    taps: int
    stride: int
    dilation: int
    before: int
    after: int


def flatten_convolutions(graph: Graph) -> bool:
    """Apply the rewrite to every match with constant weights and explicit padding."""
    changed = False
    for node in graph.of("Conv", "ConvTranspose"):
        weights = graph.constant(node, 1)
        if weights is not None and weights.ndim == 5 and "auto_pad" not in node.attrs:
            (_flatten if node.op == "Conv" else _flatten_transposed)(graph, node)
            changed = True
    return changed


def _flatten(graph: Graph, node: Node) -> None:
    steps, weights = Steps(graph, node), graph.constants[node.inputs[1]]
    stride, dilation = (node.ints(key, [1] * 3)[0] for key in ("strides", "dilations"))
    before, after = (node.ints("pads", [0] * 6)[side] for side in (0, 3))
    window = _Window(weights.shape[2], stride, dilation, before, after)
    flat = weights.transpose(0, 2, 1, 3, 4).reshape(len(weights), -1, *weights.shape[3:])
    _convolve(steps, node, node.inputs[0], window, flat)


def _flatten_transposed(graph: Graph, node: Node) -> None:
    """Let the kernel meet the slices backwards, zeros between them for its stride."""
    steps, weights = Steps(graph, node), graph.constants[node.inputs[1]]
    inside, outs, taps, *kernel = weights.shape
    stride, dilation = (node.ints(key, [1] * 3)[0] for key in ("strides", "dilations"))
    x = _spread(steps, node.inputs[0], stride)
    reach = dilation * (taps - 1)
    before = reach - node.ints("pads", [0] * 6)[0]
    after = graph.shape(node.output)[2] + reach - graph.shape(x)[2] - before
    group = node.int("group", 1)
    split = weights[:, :, ::-1].reshape(group, inside // group, outs, taps, *kernel)
    flat = split.transpose(0, 3, 1, 2, 4, 5).reshape(taps * inside, outs, *kernel)
    _convolve(steps, node, x, _Window(taps, 1, dilation, before, after), flat)


def _spread(steps: Steps, x: str, stride: int) -> str:
    """Put ``stride`` - 1 slices of zeros behind each slice."""
    if stride == 1:
        return x
    n, channels, depth, height, width = steps.graph.shape(x)
    x = _reshape(steps, x, (n, channels, depth, 1, height * width))
    amounts = steps.integers([0, 0, 0, 0, 0, 0, 0, 0, stride - 1, 0])
    wide = (n, channels, depth, stride, height * width)
    x = steps.do("Pad", x, amounts, steps.constant(0.0), shape=wide)
    return _reshape(steps, x, (n, channels, depth * stride, height, width))


def _convolve(
    steps: Steps, node: Node, x: str, window: _Window, weights: NDArray[np.generic]
) -> None:
    """Finish ``node`` by its plane form on the slices of ``x`` that each depth of ``window`` meets."""
    graph, group = steps.graph, node.int("group", 1)
    n, inner, _, height, width = graph.shape(x)
    _, outs, depth, *plane = graph.shape(node.output)
    x = _under_kernel(steps, x, window, group, depth)
    channels = window.taps * inner
    x = _swapped(steps, x, (n, channels, depth, height * width))
    x = _reshape(steps, x, (n * depth, channels, height, width))
    bias = node.inputs[2:3] if any(node.inputs[2:]) else []
    flat = steps.constant(np.ascontiguousarray(weights))
    made = steps.do(node.op, x, flat, *bias, shape=(n * depth, outs, *plane))
    pads = node.ints("pads", [0] * 6)
    attributes: dict[str, Attribute] = {
        key: list(node.ints(key, ())[1:]) for key in DEPTHLESS if key in node.attrs
    }
    steps.nodes[-1].attrs = {
        "group": group,
        "kernel_shape": list(weights.shape[2:]),
        **attributes,
        "pads": [*pads[1:3], *pads[4:6]],
    }
    x = _reshape(steps, made, (n, depth, outs, int(np.prod(plane))))
    x = _swapped(steps, x, (n, depth, outs, int(np.prod(plane))))
    steps.finish("Reshape", x, steps.integers(graph.shape(node.output)))


def _under_kernel(steps: Steps, x: str, window: _Window, group: int, depth: int) -> str:
    """Return (N, g, kd*C/g, D'*H*W): of each group, the slices that each of ``depth`` places meets."""
    n, channels, size, height, width = steps.graph.shape(x)
    if window.before or window.after:
        amounts = steps.integers([0, 0, window.before, 0, 0, 0, 0, window.after, 0, 0])
        padded = (n, channels, window.before + size + window.after, height, width)
        x = steps.do("Pad", x, amounts, steps.constant(0.0), shape=padded)
    parts = []
    for tap in range(window.taps):
        part, start = x, tap * window.dilation
        if window.taps > 1 or window.stride > 1:
            end = start + (depth - 1) * window.stride + 1
            cut = [steps.integers([value]) for value in (start, end, 2, window.stride)]
            part = steps.do("Slice", x, *cut, shape=(n, channels, depth, height, width))
        flat = (n, group, channels // group, depth * height * width)
        parts.append(_reshape(steps, part, flat))
    if window.taps == 1:
        return parts[0]
    joined = (n, group, window.taps * channels // group, depth * height * width)
    return steps.do("Concat", *parts, shape=joined, axis=2)


def _swapped(steps: Steps, x: str, shape: tuple[int, ...]) -> str:
    """Return (a, c, b, d) of a tensor that is (a, b, c, d), under ``shape`` first."""
    x = _reshape(steps, x, shape)
    a, b, c, d = shape
    return steps.do("Transpose", x, shape=(a, c, b, d), perm=[0, 2, 1, 3])


def _reshape(steps: Steps, x: str, shape: tuple[int, ...]) -> str:
    if steps.graph.shape(x) == shape:
        return x
    return steps.do("Reshape", x, steps.integers(shape), shape=shape)
