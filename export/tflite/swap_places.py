"""Let layers that see one pixel at a time have rows for columns where less is moved around them.

    Given:   x -> Reshape | Transpose -> Softmax over channels, Conv 1x1, Relu, ... -> Reshape | Transpose -> y
    Result:  the same layers on pictures whose rows and columns change places, which the moves around them do too

It is how a detector takes the mean of bins: (N, bins, sides, places), of which the bins lie last but the sides
next to them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS, Is
from edgeconv.export.tflite.carry_rows import like, make_move
from edgeconv.export.tflite.movement import MOST, Movement, Shape, Step, movement, steps_of
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.export.tflite.row_regions import MOVES, ONE_BY_ONE
from edgeconv.recipe import Recipe

SWAP = Step("perm", (0, 1, 3, 2))


@dataclass(frozen=True)
class _Region:
    """Pictures of the same pixels, the nodes between them, and what the nodes that move data do after the swap."""

    tensors: set[str] = field(default_factory=set)
    inside: dict[str, Node] = field(default_factory=dict)
    moves: dict[str, Movement] = field(default_factory=dict)


def swap_places(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with rows for columns wherever ``cost``, of moving, is less for it."""
    least, seen = None, set[str]()
    for start in [node.output for node in graph.of(*MOVES)]:
        region = None if start in seen else _region_around(graph, start)
        if region is None:
            continue
        seen |= region.tensors
        least = cost(graph) if least is None else least
        trial = Reorder.of(graph, recipe)
        _swap(trial, region)
        if (found := cost(trial.graph)) < least:
            least, (graph, recipe) = found, trial.result()
    return graph, recipe


def _region_around(graph: Graph, start: str) -> _Region | None:
    """Return the region that a picture is of; None where another than a move makes or reads one of it."""
    if len(graph.shape(start)) != 4 or 1 in graph.shape(start)[2:]:
        return None
    makers, readers = graph.producers(), graph.consumers()
    region, waiting = _Region(), [start]
    while waiting:
        name = waiting.pop()
        if name in region.tensors:
            continue
        if name in graph.outputs or name not in makers:
            return None
        region.tensors.add(name)
        for node in (makers[name], *readers.get(name, [])):
            if (joined := _joined(graph, node, name)) is not None:
                region.inside[node.name] = node
                waiting += joined
            elif node.op not in MOVES or node.clamp is not None:
                return None
            else:
                region.moves[node.name] = Movement((), ())
    for node in graph.of(*MOVES):
        if node.name in region.moves:
            found = _moved(graph, node, region)
            if found is None or len(found.sizes) > MOST:
                return None
            region.moves[node.name] = found
    return region if region.inside else None


def _moved(graph: Graph, node: Node, region: _Region) -> Movement | None:
    """Return what a node moves that reads or makes swapped pictures."""
    shape, steps = graph.shape(node.inputs[0]), steps_of(graph, node)
    if node.inputs[0] in region.tensors:
        shape, steps = _swapped(shape), [SWAP, *steps]
    return movement(shape, [*steps, SWAP] if node.output in region.tensors else steps)


def _joined(graph: Graph, node: Node, name: str) -> list[str] | None:
    """Return the pictures of a node that sees one pixel at a time, which ``name`` is of; None for any other."""
    row, data = TRAITS.get(node.op), node.inputs[:1]
    if node.op == "Conv":
        ones = [*graph.shape(node.inputs[1])[2:], *node.ints("strides", [1])]
        fits = max(ones) == 1 and max(node.ints("pads", [0])) == 0
    elif node.op in ("LogSoftmax", "Softmax"):
        fits = node.int("axis", -1) in (1, -3)
    elif row is not None and Is.BROADCASTS in row.true and node.op != "MatMul":
        data = [n for n in node.inputs if n and prod(graph.shape(n)[-2:]) > 1]
        fits = True
    else:
        fits = node.op in ONE_BY_ONE and "kernel_shape" not in node.attrs
    pictures, places = [*data, *node.outputs], graph.shape(name)[2:]
    fits = fits and name in pictures and not any(n in graph.constants for n in data)
    same = fits and all(graph.shape(n)[2:] == places for n in pictures)
    return pictures if same and len(graph.shape(node.output)) == 4 else None


def _swapped(shape: Shape) -> Shape:
    return (*shape[:2], *shape[:1:-1])


def _swap(moved: Reorder, region: _Region) -> None:
    graph = moved.graph
    names = dict[str, str]()
    for name in sorted(region.tensors):
        names[name] = like(moved, name, _swapped(graph.shape(name)))
    for node in graph.nodes:
        if node.name not in region.inside and node.name not in region.moves:
            continue
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
        if node.name in region.moves:
            make_move(graph, node, region.moves[node.name])
    graph.prune()
