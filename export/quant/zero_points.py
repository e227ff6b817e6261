"""Which tensors keep a zero point in a file that is meant to have none, because it would lose too much.

Given:   Conv -> Swish -> t0 -> Conv, t0 from -0.28 to 9: without a zero point it has half of the steps
Result:  t0 keeps its zero point where the file is then as near to float as those that have them all

Core ML takes zero points and says that it is faster without (coremltools, nullify_redundant_quantization_zero_point),
so that those are kept which bring most for each multiply-add that reads them, and no more than it takes.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.free_form import reads_free, stored_free
from edgeconv.export.integer.groups import same_scale
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.quant.copies import products
from edgeconv.export.quant.judge import FORM_DB, decibels
from edgeconv.export.quant.noise import rounding
from edgeconv.export.quant.observe import Observation
from edgeconv.recipe import FREE, Activation, Recipe

MOST_TRIED = 3
"""How many numbers of tensors are measured before the last is taken."""


def kept_zero_points(
    graph: Graph,
    recipe: Recipe,
    seen: Observation,
    measured: Callable[[tuple[str, ...]], float],
    enough: float,
) -> tuple[str, ...]:
    """Return the tensors that keep their zero points.

    ``measured`` says how much noise (judge.Score) a file without zero points has but for those given, and
    ``enough`` how much one has that has them all.
    """
    ranked = _ranked(graph, recipe, seen)
    if not ranked:
        return ()
    least = measured(())
    if decibels(least, enough) <= FORM_DB:
        return ()
    last, most = least, measured(_first(ranked, len(ranked)))
    if decibels(least, most) <= FORM_DB:
        return ()
    wanted = max(enough, most) * 10 ** (FORM_DB / 10)
    shares = np.cumsum([saved for saved, _ in ranked]) / sum(saved for saved, _ in ranked)
    reached, count = 0.0, 0
    for _ in range(MOST_TRIED):
        needed = reached + (1.0 - reached) * (last - wanted) / (last - most)
        count = min(max(count, int(np.searchsorted(shares, needed))) + 1, len(ranked))
        if count == len(ranked):
            break
        last, reached = measured(_first(ranked, count)), float(shares[count - 1])
        if last <= max(wanted, most):
            break
    return _first(ranked, count)


_Ranked = list[tuple[float, tuple[str, ...]]]
"""What tensors of one scale save, and their names; those that save most for a multiply-add first."""


def _first(ranked: _Ranked, count: int) -> tuple[str, ...]:
    return tuple(name for _, names in ranked[:count] for name in names)


def _ranked(graph: Graph, recipe: Recipe, seen: Observation) -> _Ranked:
    bare = replace(recipe, free_zero_points=())
    free = bare.with_form(FREE, {node.name: node.inputs[0] for node in graph.nodes})
    readers, stored = graph.consumers(), stored_free(graph, free)
    joined = [(name, node.name) for node in graph.of("Concat") for name in node.inputs]
    groups = same_scale(graph, frozenset(recipe.float_nodes), joined)
    found: list[tuple[float, float, tuple[str, ...]]] = []
    for names in groups.members(recipe.activations).values():
        held = {
            name: _rounding(seen, name, stored[name], recipe.activations[name])
            for name in names
            if name in stored and stored[name].scale > recipe.activations[name].scale
        }
        reads = [
            (name, node)
            for name in held
            for node in readers.get(name, [])
            if reads_free(graph, free, node, name)
        ]
        saved = sum(held[name] * _carried(graph, recipe, seen, node) for name, node in reads)
        if saved > 0.0:
            work = sum(_work(graph, recipe, node) for _, node in reads)
            found.append((saved / work, saved, tuple(names)))
    found.sort(key=lambda each: -each[0])
    return [(saved, names) for _, saved, names in found]


def _rounding(seen: Observation, tensor: str, free: Activation, own: Activation) -> float:
    """Return by how much less, in mean square, a tensor is rounded with its zero point."""
    return float((rounding(seen, tensor, free) - rounding(seen, tensor, own)).mean())


def _carried(graph: Graph, recipe: Recipe, seen: Observation, node: Node) -> float:
    """Return what a node makes of noise of 1 in what it reads, as a share of the power of its output."""
    power = float((seen.tensors[node.output].sample.astype(np.float64) ** 2).mean())
    gain = 1.0
    if node.name in recipe.weights:
        weights, bias = float_weights(graph, node)
        gain = float((weights.astype(np.float64) ** 2).sum()) / len(bias)
    return gain / max(power, 1e-30)


def _work(graph: Graph, recipe: Recipe, node: Node) -> float:
    if node.name in recipe.weights:
        return products(graph, node)
    return float(np.prod(graph.shape(node.output)))
