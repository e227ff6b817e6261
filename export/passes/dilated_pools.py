"""Write a pool over a dilated window as other operators: no target pools with gaps.

Given:   x -> AveragePool(dilations above 1) -> y
Result:  x -> Conv(group=C, weights 1/k^2, dilations) -> y, or, where borders average fewer values,
         x -> Conv(group=C, weights 1, dilations) -> Mul(1 / each window's count) -> y

Given:   x -> MaxPool(dilations above 1) -> y
Result:  x [-> Pad(lowest)] -> Slice for each value of the window -> Max of all -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.steps import Steps

LOWEST = float(np.finfo(np.float32).min)
MOST_VALUES = 27
"""Of a window, each of which becomes a Slice."""


def dilated_pools(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("AveragePool"):
        if any(step != 1 for step in node.ints("dilations", ())):
            _rewrite(graph, node)
            changed = True
    for node in graph.of("MaxPool"):
        if any(step != 1 for step in node.ints("dilations", ())):
            changed |= _slice(graph, node)
    return changed


def _slice(graph: Graph, node: Node) -> bool:
    kernel = node.ints("kernel_shape", ())
    if any(node.outputs[1:]) or np.prod(kernel) > MOST_VALUES or "auto_pad" in node.attrs:
        return False
    spatial, steps, x = len(kernel), Steps(graph, node), node.inputs[0]
    before, out = graph.shape(x), graph.shape(node.output)
    strides = np.array(node.ints("strides", [1] * spatial))
    dilations = np.array(node.ints("dilations", ()))
    pads = np.array(node.ints("pads", [0] * 2 * spatial)).reshape(2, spatial)
    reach = (np.array(out[2:]) - 1) * strides + 1  # what the first values of all windows span
    needed = reach + (np.array(kernel) - 1) * dilations
    after = np.maximum(needed - pads[0] - before[2:], 0)
    if pads[0].any() or after.any():
        amounts = [0, 0, *pads[0], 0, 0, *after]
        shape = [*before[:2], *(np.array(before[2:]) + pads[0] + after)]
        x = steps.do("Pad", x, steps.integers(amounts), steps.constant(LOWEST), shape=shape)
    axes = steps.integers(range(2, 2 + spatial))
    values = []
    for place in np.ndindex(*kernel):
        start = np.array(place) * dilations
        ends = steps.integers(start + reach)
        values.append(
            steps.do("Slice", x, steps.integers(start), ends, axes, steps.integers(strides))
        )
    steps.finish("Max", *values)
    return True


def _rewrite(graph: Graph, node: Node) -> None:
    channels, kernel = graph.shape(node.inputs[0])[1], node.ints("kernel_shape", ())
    axes = len(kernel)
    pads = node.ints("pads", [0] * 2 * axes)
    overhang, shares = [], np.ones((), np.float64)
    for axis in range(axes):
        over, counts = _axis(graph, node, axis)
        overhang.append(over)
        shares = shares[..., None] / counts
    uniform = bool((shares == shares.flat[0]).all())
    weight = shares.flat[0] if uniform else 1.0
    made = node.output
    if not uniform:
        made = graph.declare(
            graph.fresh(f"{node.name}_sum"), graph.shape(made), graph.dtype(made).type
        )
        scale = graph.add_constant(f"{node.name}.shares", shares.astype(np.float32))
        mul = Node("Mul", graph.fresh(f"{node.name}_shares"), [made, scale], [node.output])
        graph.nodes.insert(graph.nodes.index(node) + 1, mul)
    behind = [pad + over for pad, over in zip(pads[axes:], overhang, strict=True)]
    weights = np.full((channels, 1, *kernel), weight, np.float32)
    node.op, node.outputs = "Conv", [made]
    node.inputs = [node.inputs[0], graph.add_constant(f"{node.name}.weight", weights)]
    node.attrs = {
        "kernel_shape": kernel,
        "strides": node.ints("strides", [1] * axes),
        "dilations": node.ints("dilations", ()),
        "pads": [*pads[:axes], *behind],
        "group": channels,
    }


def _axis(graph: Graph, node: Node, axis: int) -> tuple[int, Array]:
    """Return by how much the last window sticks out, and how many values each window averages."""
    kernel = node.ints("kernel_shape", ())
    pads = node.ints("pads", [0] * 2 * len(kernel))
    size, out = graph.shape(node.inputs[0])[2 + axis], graph.shape(node.output)[2 + axis]
    before, after = pads[axis], pads[axis + len(kernel)]
    taps = np.arange(kernel[axis]) * node.ints("dilations", ())[axis]
    stride = node.ints("strides", [1] * len(kernel))[axis]
    places = np.arange(out)[:, None] * stride + taps - before
    counted = node.int("count_include_pad", 0) == 1
    low, high = (-before, size + after) if counted else (0, size)
    counts = ((places >= low) & (places < high)).sum(axis=1)
    return max(0, int(places.max()) + 1 - size - after), np.maximum(counts, 1)
