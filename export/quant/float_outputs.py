"""Which outputs a runtime gives in float although the layers before them are integers.

Rounding logits to 8 bits makes ties, and clips those of pictures unlike the calibration's.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import moves_integers
from edgeconv.export.quant.apart import MOST_CHEAP
from edgeconv.recipe import Recipe

REAL = frozenset(
    (
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "MatMul",
        "PRelu",
        "ReduceMean",
        "ReduceSum",
        "Sub",
        "Tanh",
    )
)
"""Operators of the recipe that onnxruntime computes in float between integers, or on integers to float."""

GATES = frozenset(("Sigmoid", "Softmax"))
"""Probabilities: their prescribed steps of 1/256 are much for those that are small."""

SMALL = frozenset(("ReduceMean", "ReduceSum", "Sub"))
"""Those that a float kernel computes in no more time where a file ends anyway."""


def logits(graph: Graph, recipe: Recipe) -> tuple[str, ...]:
    """Return the outputs of integer Gemms that end the net."""
    read = graph.consumers()
    return tuple(
        node.output
        for node in graph.of("Gemm")
        if node.output in graph.outputs
        and node.name in recipe.weights
        and node.clamp is None
        and not read.get(node.output)
    )


def real_ends(graph: Graph, recipe: Recipe, kinds: frozenset[str] = REAL) -> tuple[str, ...]:
    """Return the outputs of operators that end the net and that onnxruntime has no integer kernel for.

    It reads their integers, computes in float and would round what comes out; a product of integers
    gives float itself.
    """
    return tuple(
        name
        for name in unread(graph, recipe)
        for node in (graph.producers().get(name),)
        if node is not None and node.op in kinds and node.name not in recipe.float_nodes
    )


def probabilities(graph: Graph, recipe: Recipe, *, gemms: bool = False) -> tuple[str, ...]:
    """Return the small outputs that end the net in probabilities, and what is only moved on the way to them.

    ``gemms``: also what an integer Gemm hands to them alone, where the runtime gives that in float.
    """
    found: list[str] = []
    for name in unread(graph, recipe):
        path = _back_to_gate(graph, recipe, name)
        if path is None:
            continue
        gate, moved = path
        found += moved
        before = graph.producers().get(gate.inputs[0])
        if gemms and before is not None and before.op == "Gemm" and before.name in recipe.weights:
            alone = len(graph.consumers()[before.output]) == 1
            if alone and before.clamp is None and before.output not in graph.outputs:
                found.append(before.output)
    return tuple(found)


def _back_to_gate(graph: Graph, recipe: Recipe, output: str) -> tuple[Node, list[str]] | None:
    """Return the gate that makes an output, and the tensors from there on; None where nothing small does."""
    makers, readers = graph.producers(), graph.consumers()
    moved = [output]
    node = makers.get(output)
    while node is not None and moves_integers(node) and len(node.inputs) - _still(graph, node) == 1:
        source = node.inputs[0]
        if len(readers[source]) > 1 or source in graph.outputs:
            return None
        moved.append(source)
        node = makers.get(source)
    if node is None or node.op not in GATES or node.name in recipe.float_nodes:
        return None
    small = int(np.prod(graph.shape(node.output))) <= MOST_CHEAP
    return (node, moved) if small and node.clamp is None else None


def _still(graph: Graph, node: Node) -> int:
    """Return how many of a node's inputs are constants or left out."""
    return sum(not name or name in graph.constants for name in node.inputs)


def unread(graph: Graph, recipe: Recipe) -> tuple[str, ...]:
    """Return every stored output that no operator reads."""
    ends = graph.unread_outputs()
    return tuple(n for n in graph.outputs if n in ends and n in recipe.activations)
