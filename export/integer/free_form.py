"""What a file without zero points stores as integers: only what Core ML's own passes would read so."""

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators
from edgeconv.recipe import Activation, Recipe

INTEGER_READERS = operators(Is.COREML_INT8)


def reads_free(graph: Graph, recipe: Recipe, node: Node, tensor: str) -> bool:
    """Whether ``node`` reads ``tensor`` rounded to int8; anything else reads the float."""
    if node.op not in INTEGER_READERS or node.name in recipe.float_nodes:
        return False
    if tensor not in recipe.activations or tensor in graph.constants:
        return False
    if node.op == "MaxPool" and _compared(graph, node, tensor):
        return False
    # coremltools leaves an addition of a constant in float
    return node.op != "Add" or not any(name in graph.constants for name in node.inputs)


def stored_free(graph: Graph, recipe: Recipe) -> dict[str, Activation]:
    """Return the activations that some operator reads as integers."""
    read = {
        tensor
        for node in graph.nodes
        for tensor in node.inputs
        if reads_free(graph, recipe, node, tensor)
    }
    return {name: held for name, held in recipe.activations.items() if name in read}


def _compared(graph: Graph, pool: Node, tensor: str) -> bool:
    """Whether an operator reads what is pooled beside the result: peaks are where both are equal."""
    return any({tensor, pool.output} <= set(node.inputs) for node in graph.nodes)
