"""Faults of the kinds that converters make, planted in the graph and the recipe that a file is written from."""

from dataclasses import replace

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
    last_layer,
    layer,
    one,
    scaled,
    width_of,
    zero_moved,
)

from edgeconv.export.graph import Node

ACTIVATIONS = (
    "Relu",
    "LeakyRelu",
    "PRelu",
    "HardSwish",
    "HardSigmoid",
    "Sigmoid",
    "Gelu",
    "Elu",
    "Silu",
)


def swapped_outputs(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Two outputs of one shape have each other's name."""
    graph = net.graph.clone()
    free = [o for o in graph.outputs if o in graph.unread_outputs() and o in graph.producers()]
    pairs = [
        (a, b)
        for i, a in enumerate(free)
        for b in free[i + 1 :]
        if graph.shape(a) == graph.shape(b)
    ]
    pair = one(pairs, rng)
    if pair is None:
        return None
    a, b = pair
    other = {a: b, b: a}
    for node in graph.nodes:
        node.outputs = [other.get(name, name) for name in node.outputs]
    recipe = net.recipe
    if recipe is not None:
        named = {other.get(name, name): each for name, each in recipe.activations.items()}
        recipe = replace(recipe, activations=named)
    return Planted(graph, recipe, f"{a} and {b}")


def clipped_branch(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A tensor loses what is below zero on its way to one reader."""
    readers = net.graph.consumers()
    signed = [t for t in inner(net) if net.ranges[t][0] < -0.3 * net.ranges[t][1]]
    tensor = one(signed, rng)
    if tensor is None:
        return None
    graph = net.graph.clone()
    reader = str(one([node.name for node in readers[tensor]], rng))
    clipped = graph.declare(graph.fresh("clipped"), graph.shape(tensor), graph.dtype(tensor))
    insert(graph, Node("Relu", graph.fresh("clip"), [tensor], [clipped]), tensor, reader)
    return Planted(graph, alike(net.recipe, tensor, clipped), f"{tensor} into {reader}")


def frozen_output(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The last layer before an output gives its bias, whatever the picture."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    if node is None:
        return None
    return scaled(net, node, lambda weights: weights * 0, lambda bias: bias)


def lost_channels(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A quarter of a layer's channels are zero."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) >= 4)
    if node is None:
        return None
    width = width_of(net.graph, node)
    start = int(rng.integers(4)) * (width // 4)

    def without(values: Array) -> Array:
        made = values.copy()
        made[start : start + max(1, width // 4)] = 0
        return made

    return scaled(net, node, without, without)


def permuted_classes(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Half of the last layer's channels stand in another order."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    if node is None or width_of(net.graph, node) < 4:
        return None
    width = width_of(net.graph, node)
    order = np.r_[np.roll(np.arange(width // 2), 1), width // 2 : width]
    return scaled(net, node, lambda w: w[order], lambda b: b[order], lambda scales: scales[order])


def halved_scale(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's outputs count half."""
    node = layer(net.graph, rng)
    if node is None:
        return None
    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, lambda w: w * np.float32(0.5), lambda b: b * np.float32(0.5))
    return scaled(net, node, lambda w: w, lambda b: b, lambda s: s * np.float32(0.5))


def transposed_kernel(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A kernel's rows are its columns."""

    def fits(node: Node) -> bool:
        shape = net.graph.shape(node.inputs[1])
        return len(shape) == 4 and shape[2] == shape[3] > 1

    node = layer(net.graph, rng, fits)
    if node is None:
        return None
    return scaled(net, node, lambda w: w.swapaxes(2, 3).copy(), lambda b: b)


def transposed_map(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer reads the rows of its picture as columns."""
    graph = net.graph.clone()

    def fits(node: Node) -> bool:
        shape = graph.shape(node.inputs[0])
        return len(shape) == 4 and shape[2] == shape[3] > 1

    node = layer(graph, rng, fits)
    if node is None:
        return None
    source = node.inputs[0]
    turned = graph.declare(graph.fresh("turned"), graph.shape(source), graph.dtype(source))
    perm = Node("Transpose", graph.fresh("turn"), [source], [turned], {"perm": [0, 1, 3, 2]})
    insert(graph, perm, source, node.name)
    return Planted(graph, alike(net.recipe, source, turned), node.name)


def wrong_pad(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A window pads above and left what belongs below and right."""
    graph = net.graph.clone()
    padded = [
        node
        for node in graph.of("Conv", "MaxPool", "AveragePool")
        if len(pads := node.ints("pads", [0] * 4)) == 4 and min(pads[2:]) > 0
    ]
    node = one(padded, rng)
    if node is None:
        return None
    top, left, bottom, right = node.ints("pads", [0] * 4)
    node.attrs["pads"] = [top + 1, left + 1, bottom - 1, right - 1]
    return Planted(graph, net.recipe, node.name)


def wrong_resize(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A picture grows by another rule: nearest for linear, linear for nearest."""
    graph = net.graph.clone()
    node = one(list(graph.of("Resize")), rng)
    if node is None:
        return None
    linear = node.str("mode", "nearest") == "linear"
    node.attrs["mode"] = "nearest" if linear else "linear"
    node.attrs["coordinate_transformation_mode"] = "asymmetric" if linear else "half_pixel"
    if linear:
        node.attrs["nearest_mode"] = "floor"
    return Planted(graph, net.recipe, node.name)


def wrong_zero_point(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer takes another integer of its input for zero: 16 to 64 steps beside it."""
    return zero_moved(net, rng, (16, 65))


def lost_bias(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer adds nothing to its sums."""
    node = layer(net.graph, rng, lambda n: len(n.inputs) > 2 and n.inputs[2] != "")
    return None if node is None else scaled(net, node, lambda w: w, lambda b: b * 0)


def next_channel(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every channel of a layer stands one place further."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) > 1)

    def moved(values: Array) -> Array:
        return np.roll(values, 1, axis=0)

    return None if node is None else scaled(net, node, moved, moved, moved)


def coarse_weights(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's weights keep two bits beside the sign."""
    return coarsened(net, rng, 3)


def other_range(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer reads its input by a scale half as large again, its bias stays."""
    node = layer(net.graph, rng)
    if node is None:
        return None
    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, lambda w: w * np.float32(1.5), lambda b: b)
    return scaled(net, node, lambda w: w, lambda b: b, lambda s: s * np.float32(1.5))


def lost_activation(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """What follows an activation reads what it was made of."""
    graph = net.graph.clone()
    node = one([n.name for n in graph.of(*ACTIVATIONS) if n.output not in graph.outputs], rng)
    if node is None:
        return None
    lost = next(n for n in graph.nodes if n.name == node)
    for other in graph.nodes:
        other.inputs = [lost.inputs[0] if t == lost.output else t for t in other.inputs]
    graph.nodes.remove(lost)
    return Planted(graph, net.recipe, node)


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        swapped_outputs,
        clipped_branch,
        frozen_output,
        lost_channels,
        permuted_classes,
        halved_scale,
        transposed_kernel,
        transposed_map,
        wrong_pad,
        wrong_resize,
        wrong_zero_point,
        lost_bias,
        next_channel,
        coarse_weights,
        other_range,
        lost_activation,
    )
}
