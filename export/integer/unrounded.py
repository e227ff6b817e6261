"""Which operators read a stored tensor as it was before it was rounded.

A float operator that reads what a float operator made, or a float border, loses nothing to the integers that
others read of the same tensor. A file's own recipe says itself who reads what.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import RULES
from edgeconv.recipe import FROM_FILE, Recipe


def in_float(recipe: Recipe, node: Node) -> bool:
    """Whether a node computes on real values, whatever is stored of what it makes."""
    if node.name in recipe.weights and node.name not in recipe.float_nodes:
        return False
    stored = all(out in recipe.activations for out in node.outputs if out)
    return node.op not in RULES or node.name in recipe.float_nodes or not stored


def reads_real(graph: Graph, recipe: Recipe, node: Node) -> bool:
    """Whether a node takes more than the integers of a tensor: comparisons and places of maxima are integers' as well."""
    made = any(graph.dtype(out) == np.float32 for out in node.outputs if out)
    return made and in_float(recipe, node)


def is_read_unrounded(
    graph: Graph, recipe: Recipe, node: Node, readers: Mapping[str, Sequence[Node]]
) -> bool:
    """Whether a float operator reads the real values of what ``node`` makes: its clamp is in no range of integers then.

    ``readers`` are the graph's (Graph.consumers).
    """
    if not (keeps_unrounded(recipe) and in_float(recipe, node)):
        return False
    return any(reads_real(graph, recipe, r) for out in node.outputs for r in readers.get(out, ()))


def keeps_unrounded(recipe: Recipe) -> bool:
    """Whether a float operator may read more than the integers of a tensor."""
    return recipe.name != FROM_FILE
