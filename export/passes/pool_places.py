"""Say where a pool found its maxima, and put values where such places are: no target but ONNX does.

Given:   x -> MaxPool -> y, places
Result:  x -> MaxPool -> y;
         x [-> Pad(edge)] -> Slice for each value of the window -> Concat -> ArgMax -> which value;
         the values' places in x where that is, else 0 -> ReduceSum -> places

Given:   d, places -> MaxUnpool -> y
Result:  zeros, places, d -> ScatterElements -> y: each plane alone where a pool of the same planes found
         the places, all values in one row else

Windows side by side are put back without their places (unpool.py).
"""

from math import prod

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.steps import Steps

MOST_VALUES = 27
"""Of a window, each of which becomes a Slice."""


def pool_places(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("MaxUnpool"):
        _scatter(graph, node)
        changed = True
    for node in graph.of("MaxPool"):
        if any(node.outputs[1:]):
            changed |= _write_places(graph, node)
    return changed


def _scatter(graph: Graph, node: Node) -> None:
    steps, made = Steps(graph, node), graph.shape(node.output)
    values, places = node.inputs[:2]
    given = graph.shape(values)
    lines, held, width = prod(given[:2]), prod(made[2:]), prod(given[2:])
    known = _planes(graph, places) == (lines, held)
    wide, whole = ((lines, width), (lines, held)) if known else ((1, prod(given)), (1, prod(made)))
    updates = steps.do("Reshape", values, steps.integers(wide), shape=wide)
    at = steps.do("Reshape", places, steps.integers(wide), shape=wide, kind=np.int64)
    if known:
        first = steps.integers(np.arange(lines, dtype=np.int64).reshape(-1, 1) * held)
        at = steps.do("Sub", at, first, shape=wide, kind=np.int64)
    empty = steps.constant(np.zeros(whole))
    full = steps.do("ScatterElements", empty, at, updates, shape=whole, axis=1)
    steps.finish("Reshape", full, steps.integers(made))


def _planes(graph: Graph, places: str) -> tuple[int, int] | None:
    """Return how many planes the pool reads that found ``places``, and of how many values."""
    pool = graph.producers().get(places)
    if pool is None or pool.op != "MaxPool":
        return None
    size = graph.shape(pool.inputs[0])
    return prod(size[:2]), prod(size[2:])


def _write_places(graph: Graph, node: Node) -> bool:
    kernel = node.ints("kernel_shape", ())
    dilated = any(step != 1 for step in node.ints("dilations", ()))
    if prod(kernel) > MOST_VALUES or dilated or "auto_pad" in node.attrs:
        return False
    places = node.outputs[1]
    place = Node("MaxPool", graph.fresh(f"{node.name}_places"), [*node.inputs], [places])
    place.attrs = dict(node.attrs)
    graph.nodes.insert(graph.nodes.index(node) + 1, place)
    del node.outputs[1:]
    _write(graph, place, kernel)
    return True


def _write(graph: Graph, node: Node, kernel: list[int]) -> None:
    x, spatial, steps = node.inputs[0], len(kernel), Steps(graph, node)
    before, out = graph.shape(x), graph.shape(node.output)
    strides = np.array(node.ints("strides", [1] * spatial))
    starts = np.array(node.ints("pads", [0] * 2 * spatial))[:spatial]
    reach = (np.array(out[2:]) - 1) * strides + 1  # what the first values of all windows span
    ends = np.maximum(reach + np.array(kernel) - 1 - starts - before[2:], 0)
    kind = graph.dtype(x).type
    if starts.any() or ends.any():  # the edge itself is in every window that goes beyond it
        amounts = steps.integers([0, 0, *starts, 0, 0, *ends])
        shape = [*before[:2], *(np.array(before[2:]) + starts + ends)]
        x = steps.do("Pad", x, amounts, shape=shape, kind=kind, mode="edge")
    axes, step = steps.integers(range(2, 2 + spatial)), steps.integers(strides)
    count, values = prod(kernel), []
    one = (before[0], 1, before[1], prod(out[2:]))
    for place in np.ndindex(*kernel):
        bounds = steps.integers(place), steps.integers(np.array(place) + reach)
        part = steps.do("Slice", x, *bounds, axes, step, shape=out, kind=kind)
        values.append(steps.do("Reshape", part, steps.integers(one), shape=one, kind=kind))
    all_ = (one[0], count, *one[2:])
    window = steps.do("Concat", *values, shape=all_, kind=kind, axis=1)
    which = steps.do("ArgMax", window, shape=one, axis=1, keepdims=1)
    number = steps.integers(np.arange(count).reshape(1, -1, 1, 1))
    here = steps.do("Equal", which, number, shape=all_, kind=np.bool_)
    table = _table(node, kernel, before[2:], out[2:]).reshape(1, count, 1, -1)
    known = steps.do("Where", here, steps.integers(table), steps.integers([0]), shape=all_)
    flat = (*before[:2], one[3])
    at = steps.do("ReduceSum", known, steps.integers([1]), shape=flat, keepdims=0)
    planes = np.arange(prod(before[:2])).reshape(*before[:2], 1) * prod(before[2:])
    at = steps.do("Add", at, steps.integers(planes), shape=flat)
    steps.finish("Reshape", at, steps.integers(out))


def _table(node: Node, kernel: list[int], size: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """Return where in a plane each value of each window is: (values of a window, windows)."""
    spatial = len(kernel)
    strides, pads = node.ints("strides", [1] * spatial), node.ints("pads", [0] * 2 * spatial)
    axes = [
        np.clip(
            np.arange(out[i]) * strides[i] - pads[i] + np.arange(kernel[i])[:, None],
            0,
            size[i] - 1,
        )
        for i in range(spatial)
    ]  # (kernel, out) an axis
    order = range(spatial) if node.int("storage_order", 0) else reversed(range(spatial))
    total, step = np.zeros([1] * (2 * spatial), np.int64), 1
    for i in order:
        shape = [1] * (2 * spatial)
        shape[i], shape[spatial + i] = kernel[i], out[i]
        total = total + axes[i].reshape(shape) * step
        step *= size[i]
    return total.reshape(prod(kernel), prod(out))
