"""Faults to plant in a file that is emitted: each is an edit of the graph and the recipe."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.recipe import Recipe

Edit = Callable[[Graph, Recipe], tuple[Graph, Recipe]]


def reordered(recipe: Recipe, node: str, order: NDArray[np.integer[Any]]) -> Recipe:
    """Return ``recipe`` with the output channels of a convolution in another order."""
    old = recipe.weights[node]
    new = replace(
        old,
        values=old.values[order],
        scales=old.scales[order],
        bias=old.bias[order],
        float_bias=old.float_bias[order],
    )
    return replace(recipe, weights={**recipe.weights, node: new})


def wrong_zero_point(tensor: str, by: int) -> Edit:
    """Move the zero point of a tensor by ``by`` steps, the other way where that leaves int8."""

    def edit(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        activation = recipe.activations[tensor]
        zero = activation.zero_point + by
        if not -128 <= zero <= 127:  # a file with that would not even open
            zero = activation.zero_point - by
        moved = replace(activation, zero_point=zero)
        return graph, replace(recipe, activations={**recipe.activations, tensor: moved})

    return edit


def wrong_scale(tensor: str, factor: float) -> Edit:
    """Multiply the scale of a tensor."""

    def edit(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        activation = recipe.activations[tensor]
        moved = replace(activation, scale=activation.scale * factor)
        return graph, replace(recipe, activations={**recipe.activations, tensor: moved})

    return edit


def swapped_channels(node: str, first: int, second: int) -> Edit:
    """Swap two output channels of a convolution."""

    def edit(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        order = np.arange(len(recipe.weights[node].values))
        order[[first, second]] = order[[second, first]]
        return graph, reordered(recipe, node, order)

    return edit


def padded_average(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
    """Count the padding in the first average pool."""
    other = graph.clone()
    next(other.of("AveragePool")).attrs["count_include_pad"] = 1
    return other, recipe


def wrong_bias(node: str, channel: int, steps: int) -> Edit:
    """Add ``steps`` to one channel's bias."""

    def edit(graph: Graph, recipe: Recipe) -> tuple[Graph, Recipe]:
        old = recipe.weights[node]
        bias = old.bias.copy()
        bias[channel] += steps
        return graph, replace(recipe, weights={**recipe.weights, node: replace(old, bias=bias)})

    return edit
