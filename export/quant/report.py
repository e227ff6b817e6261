"""Figures of a finished recipe, layer by layer: what `edgeconv recipe show` prints."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.quant.calibration import clip_rates
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.weights import dequantized
from edgeconv.recipe import Activation, Recipe

BINS = 48
"""Bins of a tensor's histogram."""


class NoiseProbe:
    """Compares sampled values of the quantized run with the float pass, at the same places.

    ``bounds`` are those of ``needed_bounds``: beyond them no reader can tell values apart.
    """

    def __init__(
        self,
        seen: Observation,
        activations: Mapping[str, Activation],
        bounds: Mapping[str, Clamp] = MappingProxyType({}),
    ) -> None:
        self._seen, self._activations, self._bounds = seen, activations, bounds
        self.noise: dict[str, float] = {}

    def __call__(self, name: str, stored: NDArray[Any]) -> None:
        """Note the noise-to-signal power of one tensor, (pictures, ...) as stored."""
        stats = self._seen.tensors.get(name)
        if stats is None:
            return
        rows = stored.reshape(len(stored), 1) if stored.ndim == 1 else stored  # of scalars
        places = np.unravel_index(stats.places, rows.shape[1:])
        every = np.arange(len(rows))[:, None]
        values = rows[(every, *places)].astype(np.float32)
        quantization = self._activations.get(name)
        if quantization is not None:
            values = (values - (quantization.zero_point + 128)) * np.float32(quantization.scale)
        floor, ceiling = self._bounds.get(name, (-np.inf, np.inf))
        real = np.clip(stats.sample[: len(stored)], floor, ceiling)
        values = np.clip(values, floor, ceiling)
        power = float((real.astype(np.float64) ** 2).mean())
        error = float(((real - values).astype(np.float64) ** 2).mean())
        self.noise[name] = error / power if power > 0 else 0.0


def layer_notes(
    graph: Graph,
    recipe: Recipe,
    seen: Observation,
    noise: Mapping[str, float],
    bounds: Mapping[str, Clamp] = MappingProxyType({}),
) -> dict[str, dict[str, float]]:
    """Return, a weighted layer: clip rate, weight error, noise, and the noise that it added.

    ``weight_error`` is the relative RMS error of the weights; ``noise`` the noise-to-signal power
    of the output and ``added`` what of it the inputs did not have: the layer's sensitivity.
    """
    clipped = clip_rates(seen, recipe.activations, bounds)
    found = {}
    for node in graph.nodes:
        if node.op not in WEIGHTED or node.name not in recipe.weights:
            continue
        weights = recipe.weights[node.name]
        real, _ = float_weights(graph, node)
        error = dequantized(graph, node, weights.values, weights.scales) - real
        size = float(np.sqrt((real.astype(np.float64) ** 2).mean()))
        before, after = noise.get(node.inputs[0], 0.0), noise.get(node.output, 0.0)
        found[node.name] = {
            "clip_rate": clipped.get(node.output, 0.0),
            "weight_error": float(np.sqrt((error.astype(np.float64) ** 2).mean()))
            / max(size, 1e-30),
            "noise": after,
            "added": max(0.0, after - before),
        }
    return found


def histograms(
    seen: Observation, activations: Mapping[str, Activation]
) -> dict[str, dict[str, Any]]:
    """Return, a tensor, how its sampled values spread: ``counts`` in BINS equal bins of ``low``..``high``.

    The bins cover what was seen and what the tensor's integers can hold.
    """
    found = {}
    for name, quantization in activations.items():
        if name not in seen.tensors:
            continue
        sample = seen.tensors[name].sample
        low = min(float(sample.min()), quantization.low)
        high = max(float(sample.max()), quantization.high)
        counts, _ = np.histogram(sample, BINS, (low, high))
        found[name] = {"low": low, "high": high, "counts": counts.tolist()}
    return found


def ranked(notes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the layers, the one that adds most noise first."""
    return sorted(notes, key=lambda name: (-notes[name]["added"], name))
