"""Join neighbouring Reshapes and Transposes into one permutation: pairs that undo each other are gone.

    Given:   x -> Transpose | Reshape -> inner -> Transpose | Reshape -> y
    Result:  x -> Reshape -> y where nothing moves, else x -> Transpose(sizes, perm) -> y: x seen with the
             axes ``sizes``, then permuted, then seen with the shape of y

``inner`` is read by the second alone, or the two together move nothing.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.movement import MOST, movement, steps_of
from edgeconv.recipe import Recipe

MOVES = ("Reshape", "Transpose")


def join_moves(graph: Graph, recipe: Recipe | None) -> Graph:
    """Return the graph with every such pair joined; the argument stays as it is."""
    made = graph.clone()
    makers = made.producers()
    joined = False
    for node in made.of(*MOVES):
        first = makers.get(node.inputs[0])
        while first is not None and _join(made, recipe, first, node):
            joined, first = True, makers.get(node.inputs[0])
    made.prune()
    return made if joined else graph


def _join(graph: Graph, recipe: Recipe | None, first: Node, second: Node) -> bool:
    """Let the second node do what both do, if it can, and say whether it does."""
    source, inner = first.inputs[0], first.output
    if first.op not in MOVES or first.clamp is not None or source in graph.constants:
        return False
    if recipe is not None and not one_scale(recipe, first, second):
        return False
    shape = graph.shape(source)
    both = movement(shape, [*steps_of(graph, first), *steps_of(graph, second)])
    if both is None or len(both.sizes) >= MOST:  # channels last may take one more
        return False
    if both.sizes and graph.sole_reader(inner) is not second:
        return False
    if both.sizes:
        second.op, second.inputs = "Transpose", [source]
        second.attrs = {"sizes": list(both.sizes), "perm": list(both.perm)}
    else:
        after = np.array(graph.shape(second.output), np.int64)
        second.op, second.attrs = "Reshape", {}
        second.inputs = [source, graph.add_constant(f"{second.name}.shape", after)]
    return True


def one_scale(recipe: Recipe, first: Node, second: Node) -> bool:
    """Say whether integers pass both nodes as they are, or neither node computes on them."""
    names = (first.inputs[0], second.inputs[0], second.output)
    floats = {node.name in recipe.float_nodes for node in (first, second)}
    return len({recipe.activations.get(name) for name in names}) == 1 and len(floats) == 1
