"""Faults of the kinds that converters make, planted in the graph and the recipe that a file is written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.recipe import Recipe, Weights

T = TypeVar("T")
Array = NDArray[Any]
WEIGHTED = ("Conv", "Gemm", "ConvTranspose")
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


@dataclass(frozen=True)
class Planted:
    """What the faulty file is written from, and where the fault is."""

    graph: Graph
    recipe: Recipe | None
    where: str


@dataclass(frozen=True)
class Healthy:
    """What a healthy file is written from; ``ranges`` are (least, largest) by tensor, measured in float."""

    graph: Graph
    recipe: Recipe | None
    ranges: Mapping[str, tuple[float, float]]


Fault = Callable[[Healthy, np.random.Generator], Planted | None]
"""None where the net has no place for it."""


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
    signed = [t for t in _inner(net) if net.ranges[t][0] < -0.3 * net.ranges[t][1]]
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

    def coarse(values: Array) -> Array:
        step = max(float(np.abs(values).max()) / 3, 1e-30)
        return np.rint(values / step) * step

    node = layer(net.graph, rng)
    return None if node is None else scaled(net, node, coarse, lambda b: b)


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


def one(items: Sequence[T], rng: np.random.Generator) -> T | None:
    """Return one of ``items``, None where there is none."""
    return items[int(rng.integers(len(items)))] if items else None


def _inner(net: Healthy) -> list[str]:
    """Return the float tensors that a node makes and another reads."""
    read, made = net.graph.consumers(), net.graph.producers()
    return [t for t in made if t in read and t in net.ranges]


def layer(
    graph: Graph, rng: np.random.Generator, fits: Callable[[Node], bool] = lambda _: True
) -> Node | None:
    """Return one of the layers with constant weights that fit."""
    found = [n for n in graph.of(*WEIGHTED) if n.inputs[1] in graph.constants and fits(n)]
    return one(found, rng)


def last_layer(graph: Graph, output: str) -> Node | None:
    """Return the last layer on the way to an output, the last branch's where several join."""
    made = graph.producers()
    while (node := made.get(output)) is not None:
        if node.op in WEIGHTED and node.inputs[1] in graph.constants:
            return node
        sources = [name for name in node.inputs if name in made]
        if not sources:
            return None
        output = sources[-1]
    return None


def _axis(node: Node) -> int:
    return (
        1 if node.op == "ConvTranspose" or (node.op == "Gemm" and not node.int("transB", 0)) else 0
    )


def width_of(graph: Graph, node: Node) -> int:
    """Return how many channels a layer gives."""
    grouped = node.int("group", 1) if node.op == "ConvTranspose" else 1
    return graph.shape(node.inputs[1])[_axis(node)] * grouped


def scaled(
    net: Healthy,
    node: Node,
    weights: Callable[[Array], Array],
    bias: Callable[[Array], Array],
    scales: Callable[[Array], Array] = lambda values: values,
) -> Planted:
    """Change a layer's weights, output channels first, and its bias: as floats and as integers."""
    graph, axis = net.graph.clone(), _axis(node)

    def turned(values: Array) -> Array:
        first = np.moveaxis(values, axis, 0)
        return np.ascontiguousarray(np.moveaxis(weights(first), 0, axis)).astype(values.dtype)

    graph.constants[node.inputs[1]] = turned(graph.constants[node.inputs[1]])
    if len(node.inputs) > 2 and node.inputs[2] in graph.constants:
        graph.constants[node.inputs[2]] = bias(graph.constants[node.inputs[2]])
    recipe = net.recipe
    if recipe is not None and node.name in recipe.weights:
        own = recipe.weights[node.name]
        made = replace(
            own,
            values=turned(own.values),
            scales=scales(own.scales),
            bias=bias(own.bias),
            float_bias=bias(own.float_bias),
        )
        recipe = holding(recipe, node.name, made)
    return Planted(graph, recipe, node.name)


def holding(recipe: Recipe, name: str, made: Weights) -> Recipe:
    """Give a layer other integers, in the form without zero points too."""
    free = {layer: bias for layer, bias in recipe.free_bias.items() if layer != name}
    return replace(recipe, weights={**recipe.weights, name: made}, free_bias=free)


def zero_moved(net: Healthy, rng: np.random.Generator, steps: tuple[int, int]) -> Planted | None:
    """Move what a layer takes for zero by ``steps`` (first, end) of its input's integers, up or down."""
    recipe = net.recipe
    if recipe is None:
        return None
    node = layer(net.graph, rng, lambda n: n.name in recipe.weights and n.op != "ConvTranspose")
    if node is None:
        return None
    own = recipe.weights[node.name]
    moved = int(rng.integers(*steps)) * int(rng.choice([-1, 1]))
    sums = own.values.reshape(len(own.values), -1).astype(np.int64).sum(axis=1) * moved
    step = recipe.activations[node.inputs[0]].scale * own.scales
    made = replace(
        own,
        bias=np.clip(own.bias + sums, -(2**31), 2**31 - 1).astype(np.int32),
        float_bias=(own.float_bias + sums * step).astype(np.float32),
    )
    return Planted(net.graph.clone(), holding(recipe, node.name, made), f"{node.name}, {moved}")


def insert(graph: Graph, node: Node, tensor: str, reader: str) -> None:
    """Put ``node``, which reads ``tensor``, between it and one of its readers."""
    for place, other in enumerate(graph.nodes):
        if other.name == reader:
            other.inputs = [node.output if name == tensor else name for name in other.inputs]
            graph.nodes.insert(place, node)
            return


def alike(recipe: Recipe | None, tensor: str, other: str) -> Recipe | None:
    """Give a new tensor the scale of an old one."""
    if recipe is None or tensor not in recipe.activations:
        return recipe
    return replace(recipe, activations={**recipe.activations, other: recipe.activations[tensor]})
