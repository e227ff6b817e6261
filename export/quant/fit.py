"""Fix one layer's integers from the quantized inputs it will really see."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.quant.bias import MeanOutput
from edgeconv.export.quant.columns import hessian
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.ops import float_weights, output_axis
from edgeconv.export.quant.recipe import Activation, Weights, bias_integers
from edgeconv.export.quant.weights import (
    dequantized,
    gptq,
    round_nearest,
    rows,
    unrows,
    weight_scales,
)

Rounding = Literal["nearest", "gptq"]


@dataclass
class LayerFit:
    """Gives each weighted node its Weights; see stream.Fit.

    ``pictures`` of the stored input, the first ones, are learnt from; the rest is held out.
    """

    graph: Graph
    seen: Observation
    activations: Mapping[str, Activation]
    rounding: Rounding
    correct_bias: bool
    pictures: int
    limit: int = 127

    def __call__(self, node: Node, stored: NDArray[np.uint8]) -> Weights:
        """Return the integers of one node."""
        real, bias = float_weights(self.graph, node)
        quantization = self.activations[node.inputs[0]]
        scales = weight_scales(node, real, bias, quantization.scale, self.limit)
        learnt = stored[: self.pictures]
        flat = rows(node, real)
        found = None
        if self.rounding == "gptq":
            found = hessian(self.graph, node, learnt, quantization)
        if found is None:
            integers = round_nearest(flat, scales, self.limit)
        else:
            integers = gptq(flat, found, scales, self.limit)
        values = unrows(node, integers, real.shape)
        weights = Weights(
            values, scales, np.zeros(len(bias), np.int32), bias, axis=output_axis(node)
        )
        if self.correct_bias:
            weights = replace(
                weights, float_bias=self._corrected(node, weights, learnt, quantization)
            )
        return replace(weights, bias=bias_integers(weights, quantization.scale))

    def _corrected(
        self,
        node: Node,
        weights: Weights,
        stored: NDArray[np.uint8],
        quantization: Activation,
    ) -> NDArray[np.float32]:
        real, bias = float_weights(self.graph, node)
        mean_output = MeanOutput(self.graph, node)
        wanted = mean_output(self.seen.mean(node.inputs[0]), real, bias)
        mean = np.add.reduce(stored, axis=0, dtype=np.uint32) / np.float64(len(stored))
        picture = (mean - (quantization.zero_point + 128)) * quantization.scale
        shape = self.graph.shape(node.inputs[0])
        got = mean_output(
            picture.astype(np.float32).reshape(shape),
            dequantized(self.graph, node, weights.values, weights.scales),
            bias,
        )
        return np.asarray(bias + (wanted - got), np.float32)
