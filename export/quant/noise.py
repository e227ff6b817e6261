"""The noise map: what rounding each tensor and channel adds at the outputs, as a share of their power.

With PyTorch it is one backward pass (export/twin/noise.py). Without, tensors are rounded one at a time: those
of chains that copies could help, which carry most of it.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.quant.copies import Chain, chains
from edgeconv.export.quant.judge import run_recipe, score
from edgeconv.export.quant.observe import Feeds, Floats, Observation
from edgeconv.recipe import Activation, Recipe

Shares = dict[str, NDArray[np.float64]]
"""Tensor -> the share of the outputs' power that rounding each of its channels adds."""
PICTURES = 24
"""Pictures of a backward pass."""
FEW = 8
"""Pictures of tensors rounded one at a time."""


def noise_shares(
    graph: Graph,
    recipe: Recipe,
    seen: Observation,
    pictures: Feeds,
    wanted: Mapping[str, Floats],
    threads: int,
) -> Shares:
    """Return the noise map; ``wanted`` are the float net's outputs for ``pictures``, (n, ...)."""
    if (found := backward_map(graph, recipe, pictures)) is not None:
        return found
    real = {name: values[:FEW] for name, values in wanted.items()}
    found = Shares()
    for chain in chains(graph, recipe):
        for stage, node in enumerate(chain.makers):
            whole = noise_of(graph, recipe, [node.output], pictures[:FEW], real, threads)
            split = _at_reader(graph, recipe, seen, chain, stage)
            found[node.output] = split * (whole / max(float(split.sum()), 1e-30))
    return found


def backward_map(graph: Graph, recipe: Recipe, pictures: Feeds) -> Shares | None:
    """Return the map of every tensor by one backward pass; None without PyTorch or a gradient."""
    if find_spec("torch") is None:
        return None
    from edgeconv.export.twin.net import why_not
    from edgeconv.export.twin.noise import noise_map

    return noise_map(graph, recipe, pictures[:PICTURES]) if why_not(graph) is None else None


def noise_of(
    graph: Graph,
    recipe: Recipe,
    tensors: Sequence[str],
    pictures: Feeds,
    wanted: Mapping[str, Floats],
    threads: int,
) -> float:
    """Return the noise (judge.Score) at the outputs where only ``tensors`` are stored as int8.

    ``wanted`` are the float net's outputs for ``pictures``, (n, ...).
    """
    only = Recipe(
        "one at a time",
        recipe.form,
        {name: recipe.activations[name] for name in tensors},
        {},
        tuple(node.name for node in graph.nodes),
    )
    return score(graph, wanted, run_recipe(graph, only, pictures, threads, rounded=True)).noise


def _at_reader(
    graph: Graph, recipe: Recipe, seen: Observation, chain: Chain, stage: int
) -> NDArray[np.float64]:
    """Return each channel's noise at the reader's output, in any unit, of one of the chain's tensors."""
    made = chain.makers[stage].output
    total = rounding(seen, made, recipe.activations[made])
    for node in chain.makers[stage + 1 :]:
        weights, _ = float_weights(graph, node)
        total = total * (weights.astype(np.float64) ** 2).reshape(len(total), -1).sum(axis=1)
    weights, _ = float_weights(graph, chain.reader)
    power = (weights.astype(np.float64) ** 2).sum(axis=(0, *range(2, weights.ndim)))
    noise: NDArray[np.float64] = total * power
    return noise


def rounding(seen: Observation, tensor: str, held: Activation) -> NDArray[np.float64]:
    """Return the mean square that rounding adds to each channel; what is clipped has half a step."""
    stats = seen.tensors[tensor]
    steps = stats.sample / np.float32(held.scale)
    error = (np.rint(steps) - steps) * np.float32(held.scale)
    each = np.bincount(stats.channel, (error.astype(np.float64) ** 2).mean(axis=0))
    found: NDArray[np.float64] = each / np.maximum(np.bincount(stats.channel), 1)
    return np.pad(found, (0, stats.low.shape[1] - len(found)))


def noise_notes(shares: Shares) -> dict[str, dict[str, float]]:
    """Return the map as notes: a tensor's share of all, and its worst channel's, the worst first."""
    whole = max(sum(float(each.sum()) for each in shares.values()), 1e-30)
    ranked = sorted(shares, key=lambda name: (-float(shares[name].sum()), name))
    return {
        name: {
            "share": float(shares[name].sum()) / whole,
            "channels": len(shares[name]),
            "worst_channel": int(shares[name].argmax()),
            "worst_share": float(shares[name].max()) / whole,
        }
        for name in ranked
    }
