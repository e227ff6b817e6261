"""Let a GroupNorm keep its picture channels last: the groups are seen by a Reshape that moves nothing.

Given:   x (N, C, ...) -> Reshape (N, G, ...) -> InstanceNormalization -> Reshape -> y
Result:  x -> InstanceNormalization with ``groups`` = G, a scale and bias a group [-> Reshape] -> y

Channels first, the values of a group lie together; channels last they do not, and both Reshapes would move
all of them.
"""

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.carry_rows import like
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.recipe import Recipe


def join_groups(graph: Graph, recipe: Recipe | None) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with every such norm joined; the arguments stay as they are."""
    moved, joined = Reorder.of(graph, recipe), False
    made = moved.graph
    makers = made.producers()
    for node in made.of("InstanceNormalization"):
        before, after = makers.get(node.inputs[0]), made.sole_reader(node.output)
        if before is None or after is None or not _regroups(made, recipe, before, node, after):
            continue
        node.attrs["groups"] = made.shape(node.inputs[0])[1]
        node.inputs[0], joined = before.inputs[0], True
        if made.shape(node.inputs[0]) == made.shape(after.output):
            node.outputs = list(after.outputs)
            made.nodes.remove(after)
        else:
            picture = made.shape(node.inputs[0])
            node.outputs[0] = after.inputs[0] = like(moved, node.output, picture)
    made.prune()
    return moved.result() if joined else (graph, recipe)


def _regroups(graph: Graph, recipe: Recipe | None, before: Node, node: Node, after: Node) -> bool:
    """Say whether the neighbours only split channels into groups and see them otherwise again."""
    x, grouped = before.inputs[0], before.output
    shape, seen = graph.shape(x), graph.shape(grouped)
    return (
        before.op == after.op == "Reshape"
        and before.clamp is None
        and after.clamp is None
        and x not in graph.constants
        and graph.sole_reader(grouped) is node
        and len(shape) in (3, 4)
        and shape[0] == seen[0]
        and shape[1] % seen[1] == 0
        and (recipe is None or _alike(recipe, x, grouped))
        and (recipe is None or _alike(recipe, node.output, after.output))
    )


def _alike(recipe: Recipe, one: str, other: str) -> bool:
    return recipe.activations.get(one) == recipe.activations.get(other)
