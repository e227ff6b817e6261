"""Turn a tensor once where each of its parts is turned alike: q, k and v of an attention.

    Given:   x -> Split | Slices along one axis -> parts, each read by a Transpose(perm) alone
    Result:  x -> Transpose(perm) -> Split | Slices along that axis' new place -> the turned parts

A part whose last two axes change places beside (k, for the product with q) is turned with the others and keeps
a Transpose for them, which the product does as it reads (fold_transposes.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.fold_transposes import fold_transposes
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.recipe import Recipe

Perm = tuple[int, ...]


@dataclass(frozen=True)
class _Part:
    """A part of a tensor: who cuts it off, which of that node's outputs it is, and who turns it."""

    cut: Node
    index: int
    turn: Node

    @property
    def perm(self) -> Perm:
        return tuple(self.turn.ints("perm", ()))


def turn_together(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with every such tensor turned once where ``cost``, of moving, is less for it."""
    least: int | None = None
    for source in [name for name, _, _ in _parted(graph, recipe)]:
        least = cost(fold_transposes(graph)) if least is None else least
        trial = Reorder.of(graph, recipe)
        axis, parts = next((a, p) for n, a, p in _parted(trial.graph, recipe) if n == source)
        _turn(trial, source, axis, parts)
        if (found := cost(fold_transposes(trial.graph))) < least:
            least, (graph, recipe) = found, trial.result()
    return graph, recipe


def _parted(graph: Graph, recipe: Recipe | None) -> Iterator[tuple[str, int, list[_Part]]]:
    """Yield each tensor of which two parts or more are turned, and nothing else is read; with the axis and them."""
    makers = graph.producers()
    for source, readers in graph.consumers().items():
        axes = {_cut_axis(graph, reader) for reader in readers}
        if source in graph.outputs or source not in makers or len(axes) != 1:
            continue
        axis = axes.pop()
        several = len(readers) == 1 if readers[0].op == "Split" else len(readers) > 1
        if axis is None or not several:
            continue
        parts = [_part(graph, recipe, source, r, i) for r in readers for i in range(len(r.outputs))]
        known = [part for part in parts if part is not None]
        if len(known) > 1 and len(known) == len(parts) and _common(known) is not None:
            yield source, axis, known


def _cut_axis(graph: Graph, node: Node) -> int | None:
    """Return the one axis along which a node cuts its first input; None where it is no such node."""
    rank = len(graph.shape(node.inputs[0])) if node.inputs else 0
    if node.op == "Split":
        return node.int("axis", 0) % rank
    axes = graph.constant(node, 3) if node.op == "Slice" and len(node.inputs) > 3 else None
    return int(axes.reshape(-1)[0]) % rank if axes is not None and axes.size == 1 else None


def _part(graph: Graph, recipe: Recipe | None, source: str, cut: Node, index: int) -> _Part | None:
    """Return a part with the Transpose that alone reads it, stored as its source is; else None."""
    name = cut.outputs[index]
    turn = graph.sole_reader(name) if name and name not in graph.outputs else None
    plain = turn is not None and turn.op == "Transpose" and "perm" in turn.attrs
    if turn is None or not plain or "sizes" in turn.attrs:
        return None
    if turn.clamp is not None or cut.clamp is not None:
        return None
    if recipe is not None:
        held = {recipe.activations.get(each) for each in (source, name, turn.output)}
        if len(held) > 1 or (turn.name in recipe.float_nodes) != (cut.name in recipe.float_nodes):
            return None
    return _Part(cut, index, turn)


def swapped(perm: Sequence[int]) -> Perm:
    """Return a permutation with its last two axes changed."""
    return (*perm[:-2], perm[-1], perm[-2])


def _common(parts: Sequence[_Part]) -> Perm | None:
    """Return the permutation that most parts have, if the others differ from it by their last two axes alone."""
    perms = [part.perm for part in parts]
    first = max(perms, key=perms.count)
    return first if all(perm in (first, swapped(first)) for perm in perms) else None


def _turn(moved: Reorder, source: str, axis: int, parts: Sequence[_Part]) -> None:
    """Turn a tensor in place, and cut its parts off the turned one."""
    graph, perm = moved.graph, _common(parts)
    assert perm is not None
    whole = _like(moved, source, perm)
    place = perm.index(axis)
    turn = Node(
        "Transpose", graph.fresh(f"{source}_turned"), [source], [whole], {"perm": list(perm)}
    )
    graph.nodes.append(turn)
    for cut in {id(part.cut): part.cut for part in parts}.values():
        cut.inputs[0] = whole
        if cut.op == "Split":
            cut.attrs["axis"] = place
        else:
            cut.inputs[3] = graph.add_constant(f"{cut.name}_axis", np.array([place], np.int64))
    for part in parts:
        if part.perm == perm:
            part.cut.outputs[part.index] = part.turn.output
            graph.nodes.remove(part.turn)
            continue
        name = part.cut.outputs[part.index]
        part.cut.outputs[part.index] = part.turn.inputs[0] = _like(moved, name, perm)
        part.turn.attrs["perm"] = [*swapped(range(len(perm)))]
    graph.sort()
    graph.prune()


def _like(moved: Reorder, name: str, perm: Sequence[int]) -> str:
    """Declare what a tensor is when it is turned."""
    graph, shape = moved.graph, moved.graph.shape(name)
    made = graph.declare(graph.fresh(f"{name}_turned"), [shape[p] for p in perm], graph.dtype(name))
    if name in moved.activations:
        moved.activations[made] = moved.activations[name]
    return made
