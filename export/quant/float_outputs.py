"""Which outputs a runtime gives in float although the layers before them are integers.

Rounding logits to 8 bits makes ties, and clips those of pictures unlike the calibration's.
"""

from edgeconv.export.graph import Graph
from edgeconv.recipe import Recipe

REAL = frozenset(
    ("Elu", "Gelu", "HardSwish", "MatMul", "PRelu", "ReduceMean", "ReduceSum", "Sub", "Tanh")
)
"""Operators of the recipe that onnxruntime computes in float between integers, or on integers to float."""

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


def unread(graph: Graph, recipe: Recipe) -> tuple[str, ...]:
    """Return every stored output that no operator reads."""
    ends = graph.unread_outputs()
    return tuple(n for n in graph.outputs if n in ends and n in recipe.activations)
