"""What a file without zero points stores as integers: only what Core ML's own passes would read so."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators
from edgeconv.recipe import FREE, WITHOUT_ZERO_POINTS, Activation, Recipe

INTEGER_READERS = operators(Is.COREML_INT8)


def reads_free(graph: Graph, recipe: Recipe, node: Node, tensor: str) -> bool:
    """Whether ``node`` reads ``tensor`` rounded to int8; anything else reads the float."""
    if node.op not in INTEGER_READERS or node.name in recipe.float_nodes:
        return False
    if tensor not in recipe.activations or tensor in graph.constants:
        return False
    if node.op == "MaxPool" and _compared(graph, node, tensor):
        return False
    beside = node.inputs if node.op == "Add" else [tensor]
    # coremltools leaves an addition of a constant in float
    if node.op == "Add" and any(name in graph.constants for name in beside):
        return False
    scales = [recipe.activations[name].scale for name in beside if name in recipe.activations]
    return not faint(np.array(scales))


def faint(scales: NDArray[np.floating[Any]]) -> bool:
    """Whether half precision, in which Core ML computes, changes a scale by over 1 %."""
    rounded = scales.astype(np.float16).astype(np.float64)
    return bool(np.any(np.abs(rounded - scales) > 0.01 * np.abs(scales)))


def stored_free(graph: Graph, recipe: Recipe) -> dict[str, Activation]:
    """Return the activations that some operator reads as integers."""
    read = {
        tensor
        for node in graph.nodes
        for tensor in node.inputs
        if reads_free(graph, recipe, node, tensor)
    }
    return {name: held for name, held in recipe.activations.items() if name in read}


def held_on(graph: Graph, recipe: Recipe, target: str, real: bool) -> Recipe:
    """Return what a file for ``target`` holds of a recipe; ``real``: its outputs are floats.

    Without zero points only what some operator reads as integers is rounded, and what a layer of integer
    weights reads, whose sums need a step.
    """
    inputs = _layer_inputs(graph, recipe)
    held = recipe.on(target, real, inputs)
    return held if target not in WITHOUT_ZERO_POINTS else _free(graph, held, inputs)


def held_without(graph: Graph, recipe: Recipe) -> Recipe:
    """Return what a file without zero points holds of a recipe, all outputs included."""
    inputs = _layer_inputs(graph, recipe)
    return _free(graph, recipe.with_form(FREE, inputs), inputs)


def _layer_inputs(graph: Graph, recipe: Recipe) -> dict[str, str]:
    return {node.name: node.inputs[0] for node in graph.nodes if node.name in recipe.weights}


def _free(graph: Graph, held: Recipe, inputs: Mapping[str, str]) -> Recipe:
    kept = stored_free(graph, held)
    for name, tensor in inputs.items():
        if name not in held.float_nodes and tensor in held.activations:
            kept[tensor] = held.activations[tensor]
    return replace(held, activations=kept)


def _compared(graph: Graph, pool: Node, tensor: str) -> bool:
    """Whether an operator reads what is pooled beside the result: peaks are where both are equal."""
    return any({tensor, pool.output} <= set(node.inputs) for node in graph.nodes)
