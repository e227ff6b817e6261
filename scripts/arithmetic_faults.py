"""Faults of arithmetic and of wiring: sums that are cut, taps and inputs that are lost, shortcuts, gates and constants."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from planting import (
    Array,
    Fault,
    Healthy,
    Planted,
    alike,
    holding,
    inner,
    insert,
    layer,
    one,
    padded,
    scaled,
    sliced,
    width_of,
)

from edgeconv.export.graph import Graph, Node


def lost_tap(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A kernel's first row counts nothing."""
    node = layer(net.graph, rng, lambda n: len(s := net.graph.shape(n.inputs[1])) == 4 and s[2] > 1)
    return None if node is None else scaled(net, node, _without_first_row, lambda b: b)


def lost_input(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The last eighth of what a layer reads counts nothing: a loop over blocks of channels ends early."""
    node = layer(net.graph, rng, lambda n: n.op == "Conv" and net.graph.shape(n.inputs[1])[1] >= 4)

    def without(weights: Array) -> Array:
        made = weights.copy()
        made[:, -max(1, weights.shape[1] // 8) :] = 0
        return made

    return None if node is None else scaled(net, node, without, lambda b: b)


def swapped_inputs(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer reads pairs of channels in each other's place."""
    node = layer(net.graph, rng, lambda n: n.op == "Conv" and net.graph.shape(n.inputs[1])[1] >= 2)

    def exchanged(weights: Array) -> Array:
        made = weights.copy()
        even = weights.shape[1] // 2 * 2
        made[:, 0:even:2], made[:, 1:even:2] = weights[:, 1:even:2], weights[:, 0:even:2]
        return made

    return None if node is None else scaled(net, node, exchanged, lambda b: b)


def group_louder(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A quarter of a layer's channels count a tenth more."""
    return _some_scaled(net, rng, lambda width: np.where(np.arange(width) < width // 4, 1.1, 1.0))


def one_scale(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every channel of a layer is read by the mean of all channels' scales."""
    recipe = net.recipe
    if recipe is None:
        return None
    node = layer(net.graph, rng, lambda n: n.name in recipe.weights and width_of(net.graph, n) > 1)
    if node is None:
        return None
    return scaled(net, node, lambda w: w, lambda b: b, lambda s: np.full_like(s, s.mean()))


def folded_apart(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A batch norm's factors stand one channel further: they are drawn between a half and two."""
    drawn = 2.0 ** rng.uniform(-1, 1, 4096)
    return _some_scaled(net, rng, lambda width: drawn[:width])


def short_bias(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's bias is kept in 16 bits; as a float it loses its low half."""
    node = layer(net.graph, rng, lambda n: len(n.inputs) > 2 and n.inputs[2] in net.graph.constants)
    if node is None:
        return None
    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, lambda w: w, lambda b: np.rint(b * 8) / 8)
    own = net.recipe.weights[node.name]
    short = own.bias.astype(np.int16).astype(np.int32)
    step = net.recipe.activations[node.inputs[0]].scale * own.scales
    made = replace(own, bias=short, float_bias=(short * step).astype(np.float32))
    return Planted(net.graph.clone(), holding(net.recipe, node.name, made), node.name)


def floored(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every layer's sums are cut to integers where they should be rounded: half a step too low."""
    recipe = net.recipe
    if recipe is None:
        return None
    graph = net.graph
    for node in graph.of("Conv", "Gemm", "ConvTranspose"):
        if node.name in recipe.weights and node.output in recipe.activations:
            own = recipe.weights[node.name]
            half = recipe.activations[node.output].scale / 2
            steps = np.rint(half / (recipe.activations[node.inputs[0]].scale * own.scales))
            made = replace(
                own,
                bias=(own.bias - steps).astype(np.int32),
                float_bias=(own.float_bias - half).astype(np.float32),
            )
            recipe = holding(recipe, node.name, made)
    return Planted(graph.clone(), recipe, "all layers")


def wrapped_weights(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's largest weights come out with the other sign, as 128 does in eight bits."""

    def wrapped(weights: Array) -> Array:
        limit = np.abs(weights).max() * 0.98
        return np.where(weights >= limit, -weights, weights).astype(weights.dtype)

    node = layer(net.graph, rng)
    return None if node is None else scaled(net, node, wrapped, lambda b: b)


def lost_shortcut(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A sum of two branches passes one of them on."""
    return _one_side(net, rng, double=False)


def doubled_branch(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A sum of two branches adds one of them twice."""
    return _one_side(net, rng, double=True)


def lost_gating(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """What a gate should weigh passes as it is."""
    graph = net.graph.clone()
    node = one(_pairs(graph, "Mul", same=False), rng)
    if node is None:
        return None
    kept = max(node.inputs, key=lambda t: np.prod(graph.shape(t)))
    return _passed(net, graph, node, kept)


def most_for_mean(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The mean of a map is its largest value."""
    graph = net.graph.clone()
    node = one([*graph.of("GlobalAveragePool", "ReduceMean")], rng)
    if node is None:
        return None
    node.op = "GlobalMaxPool" if node.op == "GlobalAveragePool" else "ReduceMax"
    return Planted(graph, net.recipe, node.name)


def odd_channels(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every other channel of a layer is that before it: one of two lanes is written."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) >= 4)

    def repeated(values: Array) -> Array:
        made = values.copy()
        made[1::2] = values[: len(values) // 2 * 2 : 2]
        return made

    return None if node is None else scaled(net, node, repeated, repeated, repeated)


def other_constant(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A constant that is added or multiplied stands one place further, or counts half where it is one number."""
    graph = net.graph.clone()
    read = [
        t
        for n in graph.of("Add", "Mul", "Sub", "Div")
        for t in n.inputs
        if t in graph.constants and graph.constants[t].dtype == np.float32
    ]
    name = one(read, rng)
    if name is None:
        return None
    value = graph.constants[name]
    flat = np.roll(value.reshape(-1), 1).reshape(value.shape)
    graph.constants[name] = flat if value.size > 1 else (value * 0.5).astype(value.dtype)
    return Planted(graph, net.recipe, name)


def other_temperature(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A softmax is of half of what it should be of."""
    return _halved_before(net, rng, "Softmax")


def other_steepness(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A sigmoid is half as steep."""
    return _halved_before(net, rng, "Sigmoid")


def mirrored_map(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's kernel is mirrored: left is right."""
    node = layer(net.graph, rng, lambda n: len(s := net.graph.shape(n.inputs[1])) == 4 and s[3] > 1)
    return None if node is None else scaled(net, node, lambda w: w[..., ::-1].copy(), lambda b: b)


def smaller_pool(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A mean over a window leaves out its last row, and divides by all."""
    graph = net.graph.clone()
    tensor = one([n.inputs[0] for n in graph.of("GlobalAveragePool", "ReduceMean")], rng)
    shape = () if tensor is None else graph.shape(tensor)
    if tensor is None or len(shape) != 4 or shape[2] < 3:
        return None
    means = graph.of("GlobalAveragePool", "ReduceMean")
    reader = next(n for n in means if n.inputs[0] == tensor)
    place = graph.nodes.index(reader)
    rest, graph.nodes = graph.nodes[place:], graph.nodes[:place]
    cut = sliced(graph, tensor, [0] * 4, [*shape[:2], shape[2] - 1, shape[3]])
    filled = padded(graph, cut, [0] * 4, [0, 0, 1, 0], shape)
    graph.nodes += rest
    reader.inputs = [filled, *reader.inputs[1:]]
    return Planted(graph, alike(alike(net.recipe, tensor, cut), tensor, filled), reader.name)


def lost_ceiling(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A tensor that a layer reads is what it was before its bounds, or half as much again above its middle."""
    graph = net.graph.clone()
    clips = [n for n in graph.of("Clip") if n.output not in graph.outputs]
    node = one(clips, rng)
    if node is None:
        return None
    for other in graph.nodes:
        other.inputs = [node.inputs[0] if t == node.output else t for t in other.inputs]
    graph.nodes.remove(node)
    return Planted(graph, net.recipe, node.name)


def coarse_tensor(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """One reader is given a tensor in 24 steps of its range."""
    tensor = one([t for t in inner(net) if net.ranges[t][1] > net.ranges[t][0]], rng)
    if tensor is None:
        return None
    graph = net.graph.clone()
    low, high = net.ranges[tensor]
    step = graph.add_constant("step", np.array((high - low) / 24, np.float32))
    names = [
        graph.declare(graph.fresh("stepped"), graph.shape(tensor), graph.dtype(tensor))
        for _ in range(3)
    ]
    reader = str(one([node.name for node in net.graph.consumers()[tensor]], rng))
    insert(graph, Node("Mul", graph.fresh("mul"), [names[1], step], [names[2]]), tensor, reader)
    place = next(i for i, n in enumerate(graph.nodes) if n.output == names[2])
    for node in graph.nodes[place + 1 :]:
        if node.name == reader:
            node.inputs = [names[2] if t == tensor else t for t in node.inputs]
    graph.nodes[place:place] = [
        Node("Div", graph.fresh("div"), [tensor, step], [names[0]]),
        Node("Round", graph.fresh("round"), [names[0]], [names[1]]),
    ]
    return Planted(graph, alike(net.recipe, tensor, names[2]), f"{tensor} into {reader}")


ARITHMETIC_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        lost_tap,
        lost_input,
        swapped_inputs,
        group_louder,
        one_scale,
        folded_apart,
        short_bias,
        floored,
        wrapped_weights,
        lost_shortcut,
        doubled_branch,
        lost_gating,
        most_for_mean,
        odd_channels,
        other_constant,
        other_temperature,
        other_steepness,
        mirrored_map,
        smaller_pool,
        lost_ceiling,
        coarse_tensor,
    )
}


def _without_first_row(weights: Array) -> Array:
    made = weights.copy()
    made[:, :, 0] = 0
    return made


def _some_scaled(
    net: Healthy, rng: np.random.Generator, factors: Callable[[int], Array]
) -> Planted | None:
    """Scale the channels of a layer, its bias too."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) >= 4)
    if node is None:
        return None
    own = factors(width_of(net.graph, node)).astype(np.float32)

    def of(values: Array) -> Array:
        return (values * own.reshape(-1, *[1] * (values.ndim - 1))).astype(values.dtype)

    if net.recipe is None or node.name not in net.recipe.weights:
        return scaled(net, node, of, of)
    return scaled(net, node, lambda w: w, lambda b: b, of)


def _pairs(graph: Graph, op: str, *, same: bool) -> list[Node]:
    """Return the nodes of ``op`` whose two inputs are computed, of the same shape or not."""
    made = graph.producers()
    return [
        n
        for n in graph.of(op)
        if all(t in made for t in n.inputs)
        and n.inputs[0] != n.inputs[1]
        and (graph.shape(n.inputs[0]) == graph.shape(n.inputs[1])) is same
    ]


def _one_side(net: Healthy, rng: np.random.Generator, *, double: bool) -> Planted | None:
    graph = net.graph.clone()
    node = one(_pairs(graph, "Add", same=True), rng)
    if node is None:
        return None
    kept = node.inputs[int(rng.integers(2))]
    if not double:
        return _passed(net, graph, node, kept)
    node.inputs = [kept, kept]
    return Planted(graph, net.recipe, node.name)


def _passed(net: Healthy, graph: Graph, node: Node, kept: str) -> Planted:
    """Let ``node`` give what it reads as ``kept``."""
    shape = graph.add_constant("shape", np.array(graph.shape(node.output), np.int64))
    passed = Node("Reshape", graph.fresh("reshape"), [kept, shape], [node.output])
    graph.nodes[graph.nodes.index(node)] = passed
    return Planted(graph, net.recipe, node.name)


def _halved_before(net: Healthy, rng: np.random.Generator, op: str) -> Planted | None:
    graph = net.graph.clone()
    node = one(list(graph.of(op)), rng)
    if node is None:
        return None
    source = node.inputs[0]
    halved = graph.declare(graph.fresh("halved"), graph.shape(source), graph.dtype(source))
    half = graph.add_constant("half", np.array(0.5, np.float32))
    insert(graph, Node("Mul", graph.fresh("mul"), [source, half], [halved]), source, node.name)
    return Planted(graph, alike(net.recipe, source, halved), node.name)
