"""Fix one layer's integers from the quantized inputs it will really see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.op_traits import WEIGHTED, output_axis
from edgeconv.export.quant.bias import MeanOutput, channel_axis, is_vector, likely, likely_together
from edgeconv.export.quant.columns import hessian
from edgeconv.export.quant.observe import Observation, picture_means
from edgeconv.export.quant.weights import (
    Floats,
    dequantized,
    gptq,
    round_nearest,
    rows,
    unrows,
    weight_scales,
)
from edgeconv.export.quant.workspace import mean
from edgeconv.recipe import Activation, Recipe, Weights, bias_integers

Rounding = Literal["nearest", "gptq"]
THINNED = 24
"""Rows and columns of planes that are looked at in part."""
FEW = (16, 32)
"""Pictures that a mean is taken of: the least, where they have many places, and the most."""
FEW_PLACES = 16 * 28 * 28
"""Places a channel that are enough."""
BiasCorrection = Literal["none", "before", "after"]
"""before: the mean before the activation is made that of the float net; after: then the mean behind
it too, where saturation moved it."""

MeanOutputs = dict[tuple[str, int], Floats]
"""The float net's mean output of a layer, over its first so many pictures."""


@dataclass
class LayerFit:
    """Gives each weighted node its Weights; see stream.Fit.

    ``limit`` is the largest integer a weight may have. ``held``: integers that are kept, and get another
    bias. ``wanted`` is what fits of one graph share.
    """

    graph: Graph
    seen: Observation
    activations: Mapping[str, Activation]
    rounding: Rounding
    bias: BiasCorrection
    limit: int = 127
    held: Mapping[str, Weights] = field(default_factory=dict)
    wanted: MeanOutputs = field(default_factory=dict)

    def __call__(self, node: Node, stored: NDArray[np.uint8] | None) -> Weights:
        """Return the integers of one node; ``stored`` is None where no pictures are needed."""
        bias = float_weights(self.graph, node)[1]
        quantization = self.activations[node.inputs[0]]
        if node.name in self.held:
            weights = replace(self.held[node.name], float_bias=bias)
        else:
            weights = self._rounded(node, stored, quantization)
        if stored is not None and self.bias != "none":
            weights = replace(
                weights, float_bias=self._corrected(node, weights, stored, quantization)
            )
        return replace(weights, bias=bias_integers(weights, quantization.scale))

    def _rounded(
        self, node: Node, stored: NDArray[np.uint8] | None, quantization: Activation
    ) -> Weights:
        """Return integers and scales of a node's weights, beside its own bias that is not rounded yet."""
        real, bias = float_weights(self.graph, node)
        scales = weight_scales(node, real, bias, quantization.scale, self.limit)
        flat = rows(node, real)
        integers = round_nearest(flat, scales, self.limit)
        if stored is not None and self.rounding == "gptq" and not _on_grid(flat, integers, scales):
            found = hessian(self.graph, node, stored, quantization)
            if found is not None:
                integers = gptq(flat, found, scales, self.limit)
        values = unrows(node, integers, real.shape)
        return Weights(values, scales, np.zeros(len(bias), np.int32), bias, axis=output_axis(node))

    def without_pictures(self, recipe: Recipe) -> dict[str, Weights]:
        """Return the Weights of every node that has integers, from the float weights alone."""
        return {
            node.name: self(node, None) for node in self.graph.nodes if has_integers(recipe, node)
        }

    def refined(self, node: Node, weights: Weights, made: NDArray[np.uint8]) -> Weights | None:
        """Move the bias by what the mean behind the activation still lacks; None without one.

        ``made`` is the output that the weights gave, uint8 (n, channels, ...). A mean of which a share of
        values lies at the activation's bounds follows the bias by the rest only, so that what is lacking is
        added once more by that share.
        """
        quantization = self.activations.get(node.output)
        if self.bias != "after" or node.clamp is None or quantization is None:
            return None
        if node.output not in self.seen.means:
            return None
        shape = self.graph.shape(node.output)
        got = picture_means(made.reshape(len(made), *shape), channel_axis(node, len(shape)))
        got = (got - (quantization.zero_point + 128)) * np.float32(quantization.scale)
        lacks = likely(self.seen.means[node.output][: len(made)] - got)
        lacks *= 1 + bounded_share(made.reshape(len(made), *shape), channel_axis(node, len(shape)))
        again = replace(weights, float_bias=(weights.float_bias + lacks).astype(np.float32))
        source = self.activations[node.inputs[0]]
        return replace(again, bias=bias_integers(again, source.scale))

    def _corrected(
        self,
        node: Node,
        weights: Weights,
        stored: NDArray[np.uint8],
        quantization: Activation,
    ) -> NDArray[np.float32]:
        real, bias = float_weights(self.graph, node)
        exact = dequantized(self.graph, node, weights.values, weights.scales)
        if node.inputs[0] in self.seen.means and is_vector(self.graph, node):
            wanted = self.seen.means[node.inputs[0]][: len(stored)]
            got = stored[: len(wanted)].reshape(wanted.shape).astype(np.float32)
            got = (got - (quantization.zero_point + 128)) * np.float32(quantization.scale)
            return bias + likely_together(wanted @ rows(node, real).T - got @ rows(node, exact).T)
        mean_output = MeanOutput(self.graph, node)
        key = node.name, len(stored)
        if key not in self.wanted:
            self.wanted[key] = mean_output(self.seen.mean(node.inputs[0], key[1]), real, bias)
        wanted = self.wanted[key]
        picture = (mean(stored) - (quantization.zero_point + 128)) * quantization.scale
        shape = self.graph.shape(node.inputs[0])
        got = mean_output(picture.astype(np.float32).reshape(shape), exact, bias)
        shift = wanted - got
        if node.op == "Conv" and node.inputs[0] in self.seen.means:
            shift = likely(self._by_picture(node, real, exact, stored, quantization), shift)
        return np.asarray(bias + shift, np.float32)

    def _by_picture(
        self,
        node: Node,
        real: Floats,
        exact: Floats,
        stored: NDArray[np.uint8],
        quantization: Activation,
    ) -> Floats:
        """Return what the mean of each output channel lacks in a few pictures, (n, channels), but for borders."""
        shape = self.graph.shape(node.inputs[0])
        stored = stored[: few_pictures(shape)]
        wanted = self.seen.means[node.inputs[0]][: len(stored)]
        got = picture_means(stored[: len(wanted)].reshape(len(wanted), *shape), 1)
        got = (got - (quantization.zero_point + 128)) * np.float32(quantization.scale)
        means = (
            _through_channels(
                values, weights.sum(axis=tuple(range(2, weights.ndim))), node.int("group", 1)
            )
            for values, weights in ((wanted, real), (got, exact))
        )
        return next(means) - next(means)


def few_pictures(shape: tuple[int, ...]) -> int:
    """Return how many pictures tell the means of a tensor (1, channels, ...): fewer of wide planes."""
    return int(np.clip(FEW_PLACES // max(1, math.prod(shape[2:])), *FEW))


def _through_channels(values: Floats, weights: Floats, group: int) -> Floats:
    """Return (n, out) of channels (n, in) and weights (out, in / group)."""
    split = values.reshape(len(values), group, -1).transpose(1, 0, 2)
    made = split @ weights.reshape(group, -1, weights.shape[1]).transpose(0, 2, 1)
    joined: Floats = made.transpose(1, 0, 2).reshape(len(values), -1)
    return joined


def bounded_share(made: NDArray[np.uint8], axis: int) -> Floats:
    """Return, at every place of ``axis`` of uint8 pictures (n, ...), the share of least and largest values.

    Of wide planes every third row and column counts.
    """
    if made.ndim == 5 and axis == 1 and min(made.shape[3:]) >= THINNED:
        made = made[..., ::3, ::3]
    ends = (made == made.min()) | (made == made.max())
    share: Floats = picture_means(ends, axis).mean(axis=0)
    return share


def has_integers(recipe: Recipe, node: Node) -> bool:
    """Whether a recipe has, or is to have, integer weights for ``node``."""
    return (
        node.op in WEIGHTED
        and node.name not in recipe.float_nodes
        and node.inputs[0] in recipe.activations
    )


def _on_grid(flat: Floats, integers: NDArray[np.int8], scales: Floats) -> bool:
    """Whether rounding to nearest already is exact, as for weights that were INT8 before."""
    error = np.abs(integers * scales[:, None] - flat)
    return bool((error <= 1e-3 * scales[:, None]).all())


def same_integers(one: Recipe, other: Recipe) -> bool:
    """Whether all weights of two recipes are the same integers with the same scales."""
    return one.weights.keys() == other.weights.keys() and all(
        np.array_equal(weights.values, other.weights[name].values)
        and np.array_equal(weights.scales, other.weights[name].scales)
        for name, weights in one.weights.items()
    )
