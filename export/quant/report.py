"""Figures of a finished recipe, layer by layer: what `edgeconv recipe show` prints."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.integer.groups import needed_bounds
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.bounds import FILL
from edgeconv.export.quant.calibration import clip_rates
from edgeconv.export.quant.observe import Feeds, Observation
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session
from edgeconv.export.quant.weights import dequantized
from edgeconv.export.quant.workspace import real
from edgeconv.recipe import Activation, Recipe

MOST_NOTED = 8
"""Pictures that say how each layer fares."""
BINS = 48
"""Bins of a tensor's histogram."""


def layer_figures(
    graph: Graph,
    recipe: Recipe,
    seen: Observation,
    pictures: Feeds,
    floats: Collection[str],
    threads: int,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Any]]]:
    """Return ``layer_notes`` and ``histograms`` of a recipe, by the first of the pictures that ``seen`` saw."""
    bounds = needed_bounds(graph, seen.peaks, frozenset(floats))
    noise = layer_noise(graph, recipe, seen, pictures[:MOST_NOTED], bounds, threads)
    notes = layer_notes(graph, recipe, seen, noise, bounds)
    return notes, histograms(seen, recipe.activations)


def layer_noise(
    graph: Graph,
    recipe: Recipe,
    seen: Observation,
    pictures: Feeds,
    bounds: Mapping[str, Clamp],
    threads: int,
) -> dict[str, float]:
    """Return the noise-to-signal power of every tensor that is stored as int8.

    ``pictures`` are the first that ``seen`` saw; values are compared at the places it sampled.
    ``bounds`` are those of ``needed_bounds``: beyond them no reader can tell values apart.
    """
    emitted = emit_qdq(graph, recipe)
    names = {t: emitted.names[t] for t in recipe.activations if t in seen.tensors}
    if not names:  # a net without integers: asked for no output, a session gives all
        return {}
    present = {value.name for value in emitted.model.graph.output}
    for name in dict.fromkeys(names.values()):
        if name not in present:
            kind = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None)
            emitted.model.graph.output.append(kind)
    running = session(emitted.model, threads=threads, integers=integer_kernels_are_exact())
    error, power = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for place, feed in enumerate(pictures):
        fed = {name: np.asarray(feed[name], graph.dtype(name)) for name in graph.inputs}
        made = dict(zip(names, running.run(list(names.values()), fed), strict=True))
        for tensor, stored in made.items():
            stats = seen.tensors[tensor]
            limits = bounds.get(tensor, (-np.inf, np.inf))
            values = real(stored.ravel().take(stats.places), recipe.activations[tensor])
            wanted = stats.sample[place].clip(*limits).astype(np.float64)
            power[tensor] += float(wanted @ wanted)
            error[tensor] += float(((wanted - values.clip(*limits)) ** 2).sum())
    return {t: error[t] / power[t] if power[t] > 0 else 0.0 for t in names}


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
        exact, _ = float_weights(graph, node)
        error = dequantized(graph, node, weights.values, weights.scales) - exact
        size = float(np.sqrt((exact.astype(np.float64) ** 2).mean()))
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
        sample = sample[np.abs(sample) < FILL]
        if not sample.size:
            continue
        low = min(float(sample.min()), quantization.low)
        high = max(float(sample.max()), quantization.high)
        counts, _ = np.histogram(sample, BINS, (low, high))
        found[name] = {"low": low, "high": high, "counts": counts.tolist()}
    return found


def ranked(notes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the layers, the one that adds most noise first."""
    return sorted(notes, key=lambda name: (-notes[name]["added"], name))
