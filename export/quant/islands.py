"""Compute in float the few layers whose tensors one scale cannot hold, where INT8 would spoil the net.

Given:   dense Conv -> t0 -> HardSwish -> t1 -> depthwise Conv -> dense Conv, where t0 reaches 80 in three
         channels and 3 in the others
Result:  the first Conv, HardSwish and the depthwise Conv compute in float

Only what lies between two dense layers can be taken out of INT8 at a small price: its tensors are read by
nobody else. It is tried where a file might miss its budget, and kept where it brings much for few
multiply-adds; of a net that has one, further ones need bring less. ReLUs need none of it, as equalize.py
gives their channels one size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import Groups
from edgeconv.export.integer.pair import is_depthwise
from edgeconv.export.integer.rules import is_pixel_shift
from edgeconv.export.op_traits import RULES, WEIGHTED
from edgeconv.export.quant.copies import multiply_adds, products
from edgeconv.export.quant.enclosed import enclosed
from edgeconv.export.quant.noise import FEW, noise_of
from edgeconv.export.quant.ranges import fixed_scales
from edgeconv.export.quant.task import Quantized, Task
from edgeconv.recipe import Recipe

RECIPES = frozenset({"std", "best"})
POOR_DB = 13.0
"""Closer to float than this on the pictures that judge, no file misses its budget for its noise on others."""
MOST_SHARE, MOST_TOGETHER = 0.03, 0.06
"""Multiply-adds that one island, and all, may compute in float."""
LEAST_PART = 0.25
"""What the island's rounding alone makes of all the noise, at least."""
WORTH_DB, MORE_DB = 2.0, 0.5
"""What the first must bring, and each further one."""


@dataclass(frozen=True)
class Island:
    """Nodes between dense layers, the stored tensors that they alone read, and their share of the multiply-adds."""

    nodes: tuple[str, ...]
    inner: tuple[str, ...]
    share: float


def noisy_island(made: Quantized, task: Task, taken: float) -> tuple[dict[str, str], float]:
    """Return the nodes whose float would help most, with the reason, and their share of the multiply-adds.

    Nothing where the net is fine without. ``taken`` is the share of the islands that it has.
    """
    score = picked_score(made.recipe)
    if not taken and score["sqnr_db"] >= POOR_DB:
        return {}, 0.0
    count = len(task.pictures)
    few = slice(max(0, count - FEW), count)
    wanted = {name: values[few] for name, values in task.seen.outputs.items()}
    found: list[tuple[float, Island]] = []
    for island in islands(made.graph, made.recipe):
        if island.share <= min(MOST_SHARE, MOST_TOGETHER - taken):
            noise = noise_of(
                made.graph, made.recipe, island.inner, task.pictures[few], wanted, task.threads
            )
            found.append((noise, island))
    noise, island = max(found, key=lambda each: each[0], default=(0.0, Island((), (), 0.0)))
    if noise < LEAST_PART * score["noise"]:
        return {}, 0.0
    reason = (
        f"rounding {island.inner[-1]} and what leads to it alone makes {noise / score['noise']:.0%} of the "
        f"noise; {island.share:.1%} of the multiply-adds are in float for it"
    )
    return dict.fromkeys(island.nodes, reason), island.share


def picked_score(recipe: Recipe) -> Mapping[str, Any]:
    """Return what the judge said of the recipe that was picked (judge.Score)."""
    notes = recipe.notes
    return next(c for c in notes["candidates"] if c["candidate"] == notes["picked"])


def in_float(
    task: Task, island: Mapping[str, str], input_scale: Mapping[str, tuple[float, int]]
) -> Task:
    """Return the task with the island's nodes in float too."""
    floats = {**task.floats, **island}
    floats = {**floats, **enclosed(task.graph, floats)}
    return replace(
        task, floats=floats, fixed=fixed_scales(task.graph, input_scale, frozenset(floats))
    )


def islands(graph: Graph, recipe: Recipe) -> Iterator[Island]:
    """Yield what computes in INT8 between dense layers, with those that feed it alone."""
    inside = {n.name: n for n in graph.nodes if _is_inside(graph, recipe, n)}
    makers, readers, groups = graph.producers(), graph.consumers(), Groups()
    for node in inside.values():
        for name in node.inputs:
            maker = makers.get(name)
            if maker is not None and maker.name in inside:
                groups.join(maker.name, node.name)
    whole = max(multiply_adds(graph), 1.0)
    for names in groups.members(inside).values():
        nodes = {name: inside[name] for name in names}
        for maker in [makers[t] for node in nodes.values() for t in node.inputs if t in makers]:
            if maker.name not in recipe.weights or maker.output in graph.outputs:
                continue
            if all(reader.name in nodes for reader in readers[maker.output]):
                nodes[maker.name] = maker
        inner = [
            node.output
            for node in graph.nodes
            if node.name in nodes and _is_inner(graph, recipe, node, nodes, readers)
        ]
        layers = [node for node in nodes.values() if node.name in recipe.weights]
        if inner and layers:
            share = sum(products(graph, node) for node in layers) / whole
            yield Island(tuple(n.name for n in graph.nodes if n.name in nodes), tuple(inner), share)


def _is_inside(graph: Graph, recipe: Recipe, node: Node) -> bool:
    """Whether a node computes in INT8 and is no dense layer."""
    integer = node.op in RULES and node.name not in recipe.float_nodes
    stored = all(name in recipe.activations for name in node.outputs if name)
    if not integer or not stored or node.op == "MatMul" or is_pixel_shift(graph, node):
        return False
    return node.op not in WEIGHTED or (node.op == "Conv" and is_depthwise(graph, node))


def _is_inner(
    graph: Graph,
    recipe: Recipe,
    node: Node,
    nodes: Mapping[str, Node],
    readers: Mapping[str, list[Node]],
) -> bool:
    """Whether the island alone reads what a node of it makes."""
    made = node.output
    read = readers.get(made, [])
    alone = bool(read) and all(reader.name in nodes for reader in read)
    return alone and made in recipe.activations and made not in graph.outputs
