"""Which outputs a runtime gives in float although the layers before them are integers.

Rounding logits to 8 bits makes ties, and clips those of pictures unlike the calibration's.
"""

from edgeconv.export.graph import Graph
from edgeconv.recipe import Recipe


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


def unread(graph: Graph, recipe: Recipe) -> tuple[str, ...]:
    """Return every stored output that no operator reads."""
    ends = graph.unread_outputs()
    return tuple(n for n in graph.outputs if n in ends and n in recipe.activations)
