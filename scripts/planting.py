"""What a planted fault is, and the changes of graph and recipe that all kinds are made of."""

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


def one(items: Sequence[T], rng: np.random.Generator) -> T | None:
    """Return one of ``items``, None where there is none."""
    return items[int(rng.integers(len(items)))] if items else None


def inner(net: Healthy) -> list[str]:
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


def sliced(graph: Graph, tensor: str, starts: Sequence[int], ends: Sequence[int]) -> str:
    """Append what takes of a tensor what lies between, one start and end an axis; return its name."""
    axes = range(len(starts))
    made = graph.declare(
        graph.fresh("sliced"),
        tuple(e - s for s, e in zip(starts, ends, strict=True)),
        graph.dtype(tensor),
    )
    bounds = [graph.add_constant("bound", np.array(v, np.int64)) for v in (starts, ends, axes)]
    graph.nodes.append(Node("Slice", graph.fresh("slice"), [tensor, *bounds], [made]))
    return made


def padded(
    graph: Graph,
    tensor: str,
    before: Sequence[int],
    after: Sequence[int],
    shape: tuple[int, ...],
    made: str | None = None,
) -> str:
    """Append what pads a tensor with zero to ``shape``, as ``made`` where that is given; return its name."""
    made = made or graph.declare(graph.fresh("padded"), shape, graph.dtype(tensor))
    pads = graph.add_constant("pads", np.array([*before, *after], np.int64))
    graph.nodes.append(Node("Pad", graph.fresh("pad"), [tensor, pads], [made]))
    return made


def coarsened(net: Healthy, rng: np.random.Generator, steps: int) -> Planted | None:
    """Round a layer's weights to ``steps`` values on either side of zero."""

    def coarse(values: Array) -> Array:
        step = max(float(np.abs(values).max()) / steps, 1e-30)
        return np.rint(values / step) * step

    node = layer(net.graph, rng)
    return None if node is None else scaled(net, node, coarse, lambda b: b)
