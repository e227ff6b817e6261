"""Whose rounding the noise at the outputs is: the float net with only some tensors rounded."""

from collections.abc import Mapping, Sequence

from edgeconv.export.graph import Graph
from edgeconv.export.quant.judge import run_recipe, score
from edgeconv.export.quant.observe import Feeds, Floats
from edgeconv.recipe import Recipe


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
    return score(graph, wanted, run_recipe(graph, only, pictures, threads)).noise
