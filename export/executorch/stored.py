"""Stored tensors that a program has beside those of the recipe, each made by an identity that rounds."""

from collections.abc import Mapping

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import stored_alike
from edgeconv.recipe import Activation, Recipe


def set_apart(
    graph: Graph, product: Node, recipe: Recipe, nodes: list[Node]
) -> dict[str, Activation]:
    """Let a product read a constant that is stored as integers as a tensor (see _product of ops_layers.py)."""
    found = {}
    for place, name in enumerate(product.inputs):
        if name in graph.constants and name in recipe.activations:
            value = graph.constants[name]
            made = graph.declare(graph.fresh(f"{name}/stored"), value.shape, value.dtype)
            nodes.append(Node("Identity", made, [name], [made]))
            product.inputs[place] = made
            found[made] = recipe.activations[name]
    return found


def requantized(
    graph: Graph, concat: Node, stored: Mapping[str, Activation], nodes: list[Node]
) -> dict[str, Activation]:
    """Round before a Concat what it reads of another scale: XNNPACK joins integers of one scale alone."""
    found, own = {}, stored[concat.output]
    for place, name in enumerate(concat.inputs):
        if name in stored and not stored_alike(stored[name], own):
            made = graph.declare(graph.fresh(f"{name}/rescaled"), graph.shape(name), np.float32)
            nodes.append(Node("Identity", made, [name], [made]))
            concat.inputs[place] = made
            found[made] = own
    return found
