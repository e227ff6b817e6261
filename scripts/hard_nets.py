"""Two nets that are hard to quantize, made of MobileNetV2's: the same function, other weights.

``noisy``: every weight moved by up to half a step of its own INT8 grid, because weights that come from
an INT8 file sit on that grid and would flatter any tool (its reference is its own float net).
``ruined``: the channels of each linear residual stream rescaled by factors between 1/4 and 4, and its
readers by the inverse.
"""

import numpy as np

from edgeconv.export.graph import Graph
from edgeconv.export.quant.equalize import rescale

WEIGHTED = ("Conv", "Gemm")


def noisy(graph: Graph, seed: int = 0) -> Graph:
    """Return a copy of a prepared graph with noise of half a step on every weight."""
    generator = np.random.default_rng(seed)
    other = graph.clone()
    for node in other.of(*WEIGHTED):
        weights = other.constants[node.inputs[1]]
        rows = weights.reshape(len(weights), -1)
        steps = np.abs(rows).max(axis=1, keepdims=True) / 127
        moved = rows + generator.uniform(-0.5, 0.5, rows.shape) * steps
        other.constants[node.inputs[1]] = moved.reshape(weights.shape).astype(np.float32)
    return other


def ruined(graph: Graph, seed: int = 1) -> Graph:
    """Return a prepared graph with uneven residual streams that computes the same."""
    generator = np.random.default_rng(seed)
    linear = [n.output for n in graph.of("Conv") if n.clamp is None]
    stream = {tensor: tensor for tensor in linear}
    for node in graph.of("Add"):
        joined = {stream.get(name, name) for name in node.inputs}
        first = min(joined)
        stream[node.output] = first
        stream = {t: first if s in joined else s for t, s in stream.items()}
    factors = {
        name: np.exp(generator.uniform(-np.log(4), np.log(4), graph.shape(name)[1]))
        for name in sorted(set(stream.values()))
    }
    return rescale(graph, {t: factors[s].astype(np.float32) for t, s in stream.items()})
