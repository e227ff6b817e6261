"""Convolve volumes as pictures: the slices under a kernel side by side as channels, depth as batch.

Given:   x (N, C, D, H, W) -> Conv(O, C/g, kd, kh, kw) -> y (N, O, D', H', W')
Result:  x [-> Pad over D] -> Slice for each of kd -> Concat (N, kd*C, D', H, W) -> Transpose, Reshape
         (N*D', kd*C, H, W) -> Conv(O, kd*C/g, kh, kw) -> Reshape, Transpose -> y

The same products in the same sums; TFLite's CONV_3D has neither groups nor INT8.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps


def flatten_convolutions(graph: Graph) -> bool:
    """Apply the rewrite to every match with constant weights and explicit padding."""
    changed = False
    for node in graph.of("Conv"):
        weights = graph.constant(node, 1)
        if weights is not None and weights.ndim == 5 and "auto_pad" not in node.attrs:
            _flatten(graph, node)
            changed = True
    return changed


def _flatten(graph: Graph, node: Node) -> None:
    steps, weights = Steps(graph, node), graph.constants[node.inputs[1]]
    outs, inner, _, *kernel = weights.shape
    n, _, _, height, width = graph.shape(node.inputs[0])
    depth, *plane = graph.shape(node.output)[2:]
    group = node.int("group", 1)
    x = _under_kernel(steps, node)
    channels = weights.shape[2] * inner * group
    x = _swapped(steps, x, (n, channels, depth, height * width))
    x = _reshape(steps, x, (n * depth, channels, height, width))
    flat = np.ascontiguousarray(weights.transpose(0, 2, 1, 3, 4)).reshape(outs, -1, *kernel)
    bias = node.inputs[2:3] if any(node.inputs[2:]) else []
    made = steps.do("Conv", x, steps.constant(flat), *bias, shape=(n * depth, outs, *plane))
    pads = node.ints("pads", [0] * 6)
    steps.nodes[-1].attrs = {
        "group": group,
        "kernel_shape": kernel,
        "strides": node.ints("strides", [1] * 3)[1:],
        "dilations": node.ints("dilations", [1] * 3)[1:],
        "pads": [*pads[1:3], *pads[4:6]],
    }
    x = _reshape(steps, made, (n, depth, outs, int(np.prod(plane))))
    x = _swapped(steps, x, (n, depth, outs, int(np.prod(plane))))
    steps.finish("Reshape", x, steps.integers(graph.shape(node.output)))


def _under_kernel(steps: Steps, node: Node) -> str:
    """Return (N, g, kd*C/g, D'*H*W): of each group, the slices that each depth of the kernel meets."""
    graph, x = steps.graph, node.inputs[0]
    n, channels, size, height, width = graph.shape(x)
    taps = graph.shape(node.inputs[1])[2]
    depth, group = graph.shape(node.output)[2], node.int("group", 1)
    stride, dilation = (node.ints(key, [1] * 3)[0] for key in ("strides", "dilations"))
    before, after = (node.ints("pads", [0] * 6)[side] for side in (0, 3))
    if before or after:
        amounts = steps.integers([0, 0, before, 0, 0, 0, 0, after, 0, 0])
        padded = (n, channels, before + size + after, height, width)
        x = steps.do("Pad", x, amounts, steps.constant(0.0), shape=padded)
    parts = []
    for tap in range(taps):
        part, start = x, tap * dilation
        if taps > 1 or stride > 1:
            end = start + (depth - 1) * stride + 1
            cut = [steps.integers([value]) for value in (start, end, 2, stride)]
            part = steps.do("Slice", x, *cut, shape=(n, channels, depth, height, width))
        flat = (n, group, channels // group, depth * height * width)
        parts.append(_reshape(steps, part, flat))
    if taps == 1:
        return parts[0]
    joined = (n, group, taps * channels // group, depth * height * width)
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
