"""Turn a tensor once where each of the parts that are picked from it is turned alike.

    Given:   x -> Gather(0), Gather(1), ... along one axis | Split into single ones -> each read by a Transpose alone
    Result:  x -> Transpose(all parts, that axis first) -> Gather(0), Gather(1), ... -> the turned parts

It is how torch's MultiheadAttention parts q, k and v. A part whose last two axes change places beside (k, for the
product with q) keeps a Transpose for them, which the product does as it reads (fold_transposes.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.carry_rows import like, make_move, picked_axis
from edgeconv.export.tflite.fold_transposes import fold_transposes
from edgeconv.export.tflite.join_moves import join_moves, one_scale
from edgeconv.export.tflite.movement import MOST, Movement, Shape, Step, movement, steps_of
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.export.tflite.turn_together import swapped
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class _Part:
    """What is picked, by which node, and what turns it: to ``shape``, as ``moved`` says."""

    pick: Node
    name: str
    turn: Node
    shape: Shape
    moved: Movement


def pick_together(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with every such tensor turned once where ``cost``, of moving, is less for it."""
    least: int | None = None
    for source in [name for name, _ in _parted(graph, recipe)]:
        least = cost(graph) if least is None else least
        trial = Reorder.of(graph, recipe)
        parts = next((p for name, p in _parted(trial.graph, recipe) if name == source), None)
        if parts is None or not _turn(trial, source, parts):
            continue
        made, held = trial.result()
        made = join_moves(fold_transposes(made), held)
        if (found := cost(made)) < least:
            least, graph, recipe = found, made, held
    return graph, recipe


def _parted(graph: Graph, recipe: Recipe | None) -> Iterator[tuple[str, list[_Part]]]:
    """Yield each tensor of which parts are picked, and each turned, and nothing else is read."""
    for source, readers in graph.consumers().items():
        picks = [(node, name) for node in readers for name in node.outputs if name]
        axes = {picked_axis(graph, node) if node.inputs[0] == source else None for node in readers}
        if len(picks) < 2 or len(axes) > 1 or None in axes or source in graph.outputs:
            continue
        parts = [_part(graph, recipe, node, name) for node, name in picks]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            yield source, known


def _part(graph: Graph, recipe: Recipe | None, pick: Node, name: str) -> _Part | None:
    turn = graph.sole_reader(name)
    if turn is None or turn.op not in ("Reshape", "Transpose") or turn.clamp or pick.clamp:
        return None
    moved = movement(graph.shape(name), steps_of(graph, turn))
    if moved is None or (recipe is not None and not one_scale(recipe, pick, turn)):
        return None
    return _Part(pick, name, turn, graph.shape(turn.output), moved)


def _turn(moved: Reorder, source: str, parts: list[_Part]) -> bool:
    """Turn a tensor in place and pick its parts off the turned one; say whether the parts are turned alike."""
    graph, all_moves = moved.graph, [part.moved for part in parts]
    first = max(parts, key=lambda part: all_moves.count(part.moved))
    if not first.moved.sizes or not all(_alike(graph, part, first) for part in parts):
        return False
    held, axis = graph.shape(source), picked_axis(graph, first.pick)
    assert axis is not None
    count, (sizes, perm) = held[axis], (first.moved.sizes, first.moved.perm)
    steps = [
        Step("perm", (axis, *(other for other in range(len(held)) if other != axis))),
        Step("shape", (count, *sizes)),
        Step("perm", (0, *(place + 1 for place in perm))),
        Step("shape", (count, *first.shape)),
    ]
    together = movement(held, steps)
    if together is None or len(together.sizes) >= MOST:
        return False
    whole = like(moved, source, (count, *first.shape))
    node = Node("Transpose", graph.fresh(f"{source}_together"), [source], [whole])
    graph.nodes.append(node)
    make_move(graph, node, together)
    for part in parts:
        part.pick.inputs[0], part.pick.attrs["axis"] = whole, 0
        same = part.moved == first.moved and part.shape == first.shape
        picked = part.turn.output if same else like(moved, part.name, first.shape)
        at = part.pick.outputs.index(part.name)
        if part.pick.op == "Split":  # whose parts keep the axis
            part.pick.outputs[at] = like(moved, part.name, (1, *first.shape))
            shape = graph.add_constant(f"{picked}.shape", np.array(first.shape, np.int64))
            name = graph.fresh(f"{part.name}_single")
            graph.nodes.append(Node("Reshape", name, [part.pick.outputs[at], shape], [picked]))
        else:
            part.pick.outputs[at] = picked
        if same:
            graph.nodes.remove(part.turn)
            continue
        part.turn.inputs = [picked]
        if part.moved == first.moved:
            make_move(graph, part.turn, Movement((), ()))
        else:
            part.turn.op, part.turn.attrs = (
                "Transpose",
                {"perm": [*swapped(range(len(first.shape)))]},
            )
    graph.sort()
    graph.prune()
    return True


def _alike(graph: Graph, part: _Part, first: _Part) -> bool:
    """Say whether a part is turned as the first is, its last two axes changed or not."""
    if part.moved == first.moved:
        return True
    steps = [*steps_of(graph, part.turn), Step("perm", swapped(range(len(part.shape))))]
    turned = movement(graph.shape(part.name), steps)
    return turned == first.moved and swapped(part.shape) == first.shape
