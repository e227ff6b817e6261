"""Let a GroupNorm keep its picture channels last: the groups are seen by a Reshape that moves nothing.

Given:   x (N, C, ...) -> Reshape (N, G, ...) -> InstanceNormalization -> Reshape (N, C, ...) -> y
Result:  x -> InstanceNormalization with ``groups`` = G, a scale and bias a group -> y

Channels first, the values of a group lie together; channels last they do not, and both Reshapes would move
all of them.
"""

from edgeconv.export.graph import Graph, Node
from edgeconv.recipe import Recipe


def join_groups(graph: Graph, recipe: Recipe | None) -> Graph:
    """Return the graph with every such norm joined; the argument stays as it is."""
    made = graph.clone()
    makers = made.producers()
    joined = False
    for node in made.of("InstanceNormalization"):
        before, after = makers.get(node.inputs[0]), made.sole_reader(node.output)
        if before is None or after is None or not _regroups(made, recipe, before, node, after):
            continue
        node.attrs["groups"] = made.shape(node.inputs[0])[1]
        node.inputs[0], node.outputs = before.inputs[0], list(after.outputs)
        made.nodes.remove(after)
        joined = True
    made.prune()
    return made if joined else graph


def _regroups(graph: Graph, recipe: Recipe | None, before: Node, node: Node, after: Node) -> bool:
    """Say whether both neighbours only split channels into groups and join them again."""
    x, grouped = before.inputs[0], before.output
    shape, seen = graph.shape(x), graph.shape(grouped)
    return (
        before.op == after.op == "Reshape"
        and before.clamp is None
        and after.clamp is None
        and x not in graph.constants
        and graph.sole_reader(grouped) is node
        and graph.shape(after.output) == shape
        and len(shape) in (3, 4)
        and shape[0] == seen[0]
        and shape[1] % seen[1] == 0
        and (recipe is None or _alike(recipe, x, grouped))
        and (recipe is None or _alike(recipe, node.output, after.output))
    )


def _alike(recipe: Recipe, one: str, other: str) -> bool:
    return recipe.activations.get(one) == recipe.activations.get(other)
