"""Join parts as they come and turn the whole, where each part would be turned for it.

    Given:   pictures channels last -> Reshape to (1, C, places) each, which is a turn -> Concat -> y in ONNX's order
    Result:  the parts joined as (1, places, C) -> Transpose -> y

It is how a detector's scores of three sizes come together.
"""

from collections.abc import Callable

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.carry_rows import like
from edgeconv.export.tflite.join_moves import join_moves
from edgeconv.export.tflite.layout import LAST, order
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.recipe import Recipe

RANK = 3
TURN = order(LAST, RANK)


def join_turned(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with such parts joined first wherever ``cost``, of moving, is less for it."""
    least: int | None = None
    for name in [node.name for node in graph.of("Concat") if _of_moves(graph, node)]:
        least = cost(graph) if least is None else least
        trial = Reorder.of(graph, recipe)
        _join(trial, next(node for node in trial.graph.nodes if node.name == name))
        made, held = trial.result()
        made = join_moves(made, held)
        if (found := cost(made)) < least:
            least, graph, recipe = found, made, held
    return graph, recipe


def _of_moves(graph: Graph, node: Node) -> bool:
    makers = {out: made for made in graph.of("Reshape", "Transpose") for out in made.outputs}
    moved = len(node.inputs) > 1 and all(name in makers for name in node.inputs)
    return moved and node.clamp is None and len(graph.shape(node.output)) == RANK


def _join(moved: Reorder, node: Node) -> None:
    graph, made = moved.graph, node.output
    parts = [_turned(moved, name, name) for name in dict.fromkeys(node.inputs)]
    names = dict(zip(dict.fromkeys(node.inputs), parts, strict=True))
    node.inputs = [names[name] for name in node.inputs]
    node.attrs["axis"] = TURN.index(node.int("axis", 0) % RANK)
    node.outputs = [like(moved, made, [graph.shape(made)[axis] for axis in TURN])]
    _turn(graph, node.output, made)
    graph.sort()


def _turned(moved: Reorder, source: str, stem: str) -> str:
    graph = moved.graph
    made = like(moved, stem, [graph.shape(source)[axis] for axis in TURN])
    _turn(graph, source, made)
    return made


def _turn(graph: Graph, source: str, target: str) -> None:
    node = Node(
        "Transpose", graph.fresh(f"{target}_turned"), [source], [target], {"perm": list(TURN)}
    )
    graph.nodes.append(node)
