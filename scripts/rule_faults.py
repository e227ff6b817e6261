"""Faults of the rules of one layer: what pads it, where it reads, in which order, and its last bits."""

import numpy as np
from planting import (
    Array,
    Fault,
    Healthy,
    Planted,
    alike,
    coarsened,
    inner,
    insert,
    layer,
    one,
    padded,
    scaled,
    sliced,
    width_of,
    zero_moved,
)

from edgeconv.export.graph import Node


def counted_pad(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A mean over a window counts what it padded, or leaves out what it should count."""
    graph = net.graph.clone()
    padded = [n for n in graph.of("AveragePool") if any(n.ints("pads", [0]))]
    node = one(padded, rng)
    if node is None:
        return None
    node.attrs["count_include_pad"] = 1 - node.int("count_include_pad", 0)
    return Planted(graph, net.recipe, node.name)


def padded_by_least(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A window is padded with the integer 0, which stands for another value than zero."""
    return _padded_window(net, rng, "constant")


def padded_by_edge(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A window is padded with the nearest value."""
    return _padded_window(net, rng, "edge")


def shifted_map(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer reads its picture one row further, as a crop that is off by one gives it."""
    graph = net.graph.clone()
    fits = [n for n in graph.of("Conv") if len(s := graph.shape(n.inputs[0])) == 4 and s[2] > 2]
    node = one(fits, rng)
    if node is None:
        return None
    source = node.inputs[0]
    shape, back = graph.shape(source), int(rng.integers(2))
    starts = [0, 0, back, 0]
    ends = [*shape[:2], shape[2] - 1 + back, shape[3]]
    place = graph.nodes.index(node)
    rest, graph.nodes = graph.nodes[place:], graph.nodes[:place]
    cut = sliced(graph, source, starts, ends)
    moved = padded(graph, cut, [0, 0, 1 - back, 0], [0, 0, back, 0], shape)
    graph.nodes += rest
    node.inputs = [moved, *node.inputs[1:]]
    recipe = alike(alike(net.recipe, source, cut), source, moved)
    return Planted(graph, recipe, node.name)


def flattened_order(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A map becomes a row with its channels last."""
    graph = net.graph.clone()

    def fits(node: Node) -> bool:
        shape = graph.shape(node.inputs[0])
        flat = len(graph.shape(node.output)) == 2
        return flat and len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1

    node = one([n for n in graph.of("Reshape", "Flatten") if fits(n)], rng)
    if node is None:
        return None
    source = node.inputs[0]
    order = tuple(graph.shape(source)[i] for i in (0, 2, 3, 1))
    turned = graph.declare(graph.fresh("turned"), order, graph.dtype(source))
    turn = Node("Transpose", graph.fresh("turn"), [source], [turned], {"perm": [0, 2, 3, 1]})
    insert(graph, turn, source, node.name)
    return Planted(graph, alike(net.recipe, source, turned), node.name)


def low_ceiling(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A tensor ends at half of its largest value on its way to one reader, as a ReLU6 in a ReLU's place does."""
    tensor = one([t for t in inner(net) if net.ranges[t][1] > 0.0], rng)
    if tensor is None:
        return None
    graph = net.graph.clone()
    low, high = net.ranges[tensor]
    bounds = [
        graph.add_constant("bound", np.array(v, np.float32)) for v in (min(low, 0.0) - 1, high / 2)
    ]
    reader = str(one([node.name for node in net.graph.consumers()[tensor]], rng))
    capped = graph.declare(graph.fresh("capped"), graph.shape(tensor), graph.dtype(tensor))
    insert(graph, Node("Clip", graph.fresh("clip"), [tensor, *bounds], [capped]), tensor, reader)
    return Planted(graph, alike(net.recipe, tensor, capped), f"{tensor} into {reader}")


def other_slope(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A leaky ReLU leaks by another slope."""
    graph = net.graph.clone()
    node = one(list(graph.of("LeakyRelu")), rng)
    if node is None:
        return None
    slope = node.float("alpha", 0.01)
    node.attrs["alpha"] = 0.2 if slope < 0.1 else 0.01
    return Planted(graph, net.recipe, node.name)


def other_dilation(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A dilated kernel is read without its gaps."""
    graph = net.graph.clone()
    node = one([n for n in graph.of("Conv") if max(n.ints("dilations", [1])) > 1], rng)
    if node is None:
        return None
    gaps = node.ints("dilations", [])
    sizes = graph.shape(node.inputs[1])[2:]
    less = [(d - 1) * (k - 1) for d, k in zip(gaps, sizes, strict=True)]
    pads = node.ints("pads", [0] * 2 * len(sizes))
    lost = [v // 2 for v in less] + [v - v // 2 for v in less]
    if any(p < o for p, o in zip(pads, lost, strict=True)):
        return None
    node.attrs["dilations"] = [1] * len(sizes)
    node.attrs["pads"] = [p - o for p, o in zip(pads, lost, strict=True)]
    return Planted(graph, net.recipe, node.name)


def other_groups(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The kernels of a layer in groups stand in turn, not group by group."""

    def fits(node: Node) -> bool:
        groups = node.int("group", 1)
        return node.op == "Conv" and 1 < groups < width_of(net.graph, node)

    node = layer(net.graph, rng, fits)
    if node is None:
        return None
    order = np.arange(width_of(net.graph, node)).reshape(node.int("group", 1), -1).T.reshape(-1)
    return scaled(net, node, lambda w: w[order], lambda b: b[order], lambda s: s[order])


def other_blocks(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Channels become blocks of pixels in the other order."""
    graph = net.graph.clone()
    node = one(list(graph.of("DepthToSpace")), rng)
    if node is None:
        return None
    node.attrs["mode"] = "CRD" if node.str("mode", "DCR") == "DCR" else "DCR"
    return Planted(graph, net.recipe, node.name)


def other_epsilon(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A batch norm was folded with a hundred times its epsilon; variances are drawn between 0.001 and 1."""
    node = layer(net.graph, rng, lambda n: n.op == "Conv")
    if node is None:
        return None
    variance = 10.0 ** rng.uniform(-3, 0, width_of(net.graph, node))
    factor = np.sqrt((variance + 1e-5) / (variance + 1e-3)).astype(np.float32)

    def of(values: Array) -> Array:
        made = values * factor.reshape(-1, *[1] * (values.ndim - 1))
        return made.astype(values.dtype)

    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, of, of)
    return scaled(net, node, lambda w: w, lambda b: b, of)


def four_bits(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's weights keep three bits beside the sign."""
    return coarsened(net, rng, 7)


def zero_beside(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer takes the next integer of its input for zero."""
    return zero_moved(net, rng, (1, 2))


def scale_beside(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's scale is 2 % too large."""
    node = layer(net.graph, rng)
    if node is None:
        return None
    near = np.float32(1.02)
    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, lambda w: w * near, lambda b: b * near)
    return scaled(net, node, lambda w: w, lambda b: b, lambda s: s * near)


RULE_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        counted_pad,
        padded_by_least,
        padded_by_edge,
        shifted_map,
        flattened_order,
        low_ceiling,
        other_slope,
        other_dilation,
        other_groups,
        other_blocks,
        other_epsilon,
        four_bits,
        zero_beside,
        scale_beside,
    )
}


def _padded_window(net: Healthy, rng: np.random.Generator, mode: str) -> Planted | None:
    """Pad what a window reads by ``mode`` before it; "constant" pads the least value where that is not zero."""
    graph = net.graph.clone()

    def fits(node: Node) -> bool:
        pads = node.ints("pads", [0])
        low, _ = net.ranges.get(node.inputs[0], (0.0, 0.0))
        return len(pads) == 4 and any(pads) and (mode == "edge" or low < 0.0)

    node = one([n for n in graph.of("Conv") if fits(n)], rng)
    if node is None:
        return None
    source, pads = node.inputs[0], node.ints("pads", [])
    shape = graph.shape(source)
    wide = (*shape[:2], shape[2] + pads[0] + pads[2], shape[3] + pads[1] + pads[3])
    padded = graph.declare(graph.fresh("padded"), wide, graph.dtype(source))
    sides = graph.add_constant("pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
    inputs = [source, sides]
    if mode == "constant":
        least = np.array(net.ranges[source][0], np.float32)
        inputs.append(graph.add_constant("least", least))
    insert(
        graph, Node("Pad", graph.fresh("pad"), inputs, [padded], {"mode": mode}), source, node.name
    )
    node.attrs["pads"] = [0, 0, 0, 0]
    return Planted(graph, alike(net.recipe, source, padded), node.name)
