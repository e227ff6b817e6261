"""Copies of the few channels that carry the rounding noise: finer steps in plain INT8.

    Given:   Conv -> t0 -> depthwise Conv -> t1 -> dense Conv
    Result:  the same, a noisy channel of t0 and t1 made k times: copy j is moved by
             (2j + 1) / 2k - 1/2 quanta, and the reader's integer weights are shared out among them

The mean of the copies has steps k times finer, so that its noise is 1/k^2. A real zero stays the
integer zero in every copy (no shift reaches half a quantum), so padding and ReLU stay exact, and
the reader keeps its scale and bias. There may be any number of depthwise convolutions, or none.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import is_depthwise
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.recipe import Recipe, Weights, bias_integers

Copies = Mapping[str, tuple[int, ...]]
"""First tensor of a chain -> how often each of its channels is made."""
MOST = 4
"""Copies of a channel: the fifth takes 2 % of its noise away."""


@dataclass(frozen=True)
class Chain:
    """The layers that make copied channels, and the dense layer that reads them."""

    makers: tuple[Node, ...]
    reader: Node


def chain_from(graph: Graph, first: str) -> Chain | None:
    """Return the chain whose first tensor is ``first``; None where its channels cannot be copied."""
    node, read = graph.producers().get(first), graph.consumers()
    if node is None or not _dense(node):
        return None
    makers = [node]
    while True:
        readers = read.get(makers[-1].output, [])
        if len(readers) != 1 or makers[-1].output in graph.outputs:
            return None
        (node,) = readers
        if node.inputs[0] != makers[-1].output:
            return None
        if _dense(node):
            return Chain(tuple(makers), node)
        if node.op != "Conv" or not is_depthwise(graph, node):
            return None
        makers.append(node)


def _dense(node: Node) -> bool:
    return node.op == "Conv" and node.int("group", 1) == 1


def widen(graph: Graph, copies: Copies) -> Graph:
    """Return the float graph with its channels copied: the same function.

    Raises EdgeconvError naming a tensor whose channels cannot be copied like that.
    """
    other = graph.clone()
    for first, each in copies.items():
        chain = chain_from(other, first)
        if chain is None or len(each) != other.shape(first)[1] or min(each) < 1:
            raise EdgeconvError(f"the recipe copies channels of {first}, which this net cannot")
        for node in chain.makers:
            weights, bias = float_weights(other, node)
            _set(other, node, np.repeat(weights, each, axis=0), np.repeat(bias, each))
            if not _dense(node):
                node.attrs["group"] = sum(each)
            n, _, *plane = other.shape(node.output)
            other.shapes[node.output] = (n, sum(each), *plane)
        weights, bias = float_weights(other, chain.reader)
        share = np.array(each, np.float32).reshape(-1, *[1] * (weights.ndim - 2))
        _set(other, chain.reader, np.repeat(weights / share, each, axis=1), bias)
    other.prune()
    return other


def _set(graph: Graph, node: Node, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    node.inputs = [
        node.inputs[0],
        graph.add_constant(f"{node.name}.copied_weight", np.ascontiguousarray(weights)),
        graph.add_constant(f"{node.name}.copied_bias", bias),
    ]


def copied(graph: Graph, recipe: Recipe, copies: Copies) -> tuple[Graph, Recipe]:
    """Return graph and recipe with the channels copied."""
    integers, scales = dict(recipe.weights), recipe.activations
    for first, each in copies.items():
        chain = chain_from(graph, first)
        assert chain is not None
        moved = np.concatenate([shifts(count) for count in each])
        for node in chain.makers:
            made = scales[node.output].scale
            integers[node.name] = _repeated(
                integers[node.name], each, moved * made, scales[node.inputs[0]].scale
            )
            moved = -moved  # what one layer rounds up the next rounds down
        read = integers[chain.reader.name]
        integers[chain.reader.name] = replace(read, values=shared_out(read.values, each))
    return widen(graph, copies), replace(
        recipe, weights=integers, copies=dict(copies), free_bias={}
    )


def shifts(count: int) -> NDArray[np.float64]:
    """Return by how many quanta each copy is moved: evenly, and 0 on the mean.

    >>> shifts(2).tolist()
    [-0.25, 0.25]
    """
    return (2 * np.arange(count) + 1) / (2 * count) - 0.5


def _repeated(
    weights: Weights, each: tuple[int, ...], moved: NDArray[np.float64], source: float
) -> Weights:
    more = replace(
        weights,
        values=np.repeat(weights.values, each, axis=0),
        scales=np.repeat(weights.scales, each),
        float_bias=(np.repeat(weights.float_bias, each) + moved).astype(np.float32),
    )
    return replace(more, bias=bias_integers(more, source))


def shared_out(values: NDArray[np.int8], each: tuple[int, ...]) -> NDArray[np.int8]:
    """Split the integer weights (out, in, ...) of each input among its copies; they add up exactly.

    >>> shared_out(np.array([[7, -3]], np.int8), (3, 2)).tolist()
    [[2, 3, 2, -2, -1]]
    """
    columns = []
    for channel, count in enumerate(each):
        whole, rest = np.divmod(np.abs(values[:, channel].astype(np.int32)), count)
        rank = np.argsort(np.argsort(np.abs(shifts(count)), kind="stable"))
        # the remainder goes to the copies in the middle, whose shifts are the least
        parts = [np.sign(values[:, channel]) * (whole + (rest > rank[j])) for j in range(count)]
        columns += parts
    return np.stack(columns, axis=1).astype(np.int8)


def plan(
    graph: Graph, recipe: Recipe, noise: Mapping[str, NDArray[np.float64]], share: float
) -> Copies:
    """Choose the copies that take most noise away for ``share`` of the net's multiply-adds.

    ``noise``: tensor -> what rounding each of its channels adds at the outputs (quant/noise.py).
    """
    room = share * multiply_adds(graph)
    counts: dict[str, list[int]] = {}
    waiting: list[tuple[float, str, int, float, float]] = []  # worth, tensor, channel, noise, cost
    for chain in chains(graph, recipe):
        first = chain.makers[0].output
        channels = graph.shape(first)[1]
        counts[first] = [1] * channels
        cost = sum(products(graph, node) for node in (*chain.makers, chain.reader)) / channels
        each = sum(
            (noise.get(n.output, np.zeros(channels)) for n in chain.makers), np.zeros(channels)
        )
        for index in np.flatnonzero(each > 0):
            channel = int(index)
            entry = first, channel, float(each[channel]), cost
            waiting.append((-_worth(each[channel], 1) / cost, *entry))
    heapq.heapify(waiting)
    while waiting:
        _, first, place, gain, cost = heapq.heappop(waiting)
        if cost > room:
            continue
        room -= cost
        counts[first][place] += 1
        now = counts[first][place]
        if now < MOST:
            heapq.heappush(waiting, (-_worth(gain, now) / cost, first, place, gain, cost))
    return {first: tuple(each) for first, each in counts.items() if max(each) > 1}


def multiply_adds(graph: Graph) -> float:
    """Return how many the layers with constant weights take, a picture."""
    return sum(
        products(graph, node) for node in graph.of(*WEIGHTED) if node.inputs[1] in graph.constants
    )


def _worth(noise: float, count: int) -> float:
    return float(noise) * (1 / count**2 - 1 / (count + 1) ** 2)


def products(graph: Graph, node: Node) -> float:
    """Return the multiply-adds of a layer with constant weights, a picture."""
    weights, _ = float_weights(graph, node)
    if node.op == "ConvTranspose":
        return float(np.prod(graph.shape(node.inputs[0])) * weights[0].size)
    return float(np.prod(graph.shape(node.output)) * weights[0].size)


def chains(graph: Graph, recipe: Recipe) -> Iterator[Chain]:
    """Yield every chain whose channels can be copied: integer layers, scales that nothing prescribes."""
    for node in graph.of("Conv"):
        chain = chain_from(graph, node.output)
        if chain is None:
            continue
        layers = (*chain.makers, chain.reader)
        scales = [recipe.activations.get(layer.output) for layer in chain.makers]
        if all(layer.name in recipe.weights for layer in layers) and all(
            scale is not None and not scale.fixed for scale in scales
        ):
            yield chain
