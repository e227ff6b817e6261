"""What Reshapes and Transposes do together: one permutation of as few axes as there can be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from edgeconv.export.graph import Graph, Node

Shape = tuple[int, ...]
MOST = 6  # axes that TRANSPOSE takes


class Step(NamedTuple):
    """A view under another shape, or a permutation of axes."""

    kind: Literal["shape", "perm"]
    values: Shape


@dataclass(frozen=True)
class Movement:
    """A tensor seen with axes ``sizes``, put in the order ``perm``; without axes nothing moves.

    No axis is 1 long, and axes that stay neighbours are one.
    """

    sizes: Shape
    perm: Shape

    @property
    def inverse(self) -> "Movement":
        """What brings everything back."""
        return Movement(
            tuple(self.sizes[axis] for axis in self.perm),
            tuple(int(axis) for axis in np.argsort(self.perm)),
        )


class _Axis:
    """An axis that a later shape may still split; told apart by identity."""

    def __init__(self, size: int) -> None:
        self.size = size


def steps_of(graph: Graph, node: Node) -> list[Step]:
    """Return what a Reshape or Transpose does. A joined one (join_moves.py) is a Transpose with ``sizes``."""
    after = Step("shape", graph.shape(node.output))
    if node.op == "Reshape":
        return [after]
    sizes = tuple(node.ints("sizes", graph.shape(node.inputs[0])))
    perm = tuple(node.ints("perm", range(len(sizes))[::-1]))
    return [Step("shape", sizes), Step("perm", perm), after]


def movement(shape: Shape, steps: Sequence[Step]) -> Movement | None:
    """Return the steps as one; None where a shape cuts through axes that a permutation put together.

    >>> movement((2, 6, 5), [Step("shape", (2, 2, 3, 5)), Step("perm", (0, 2, 1, 3))])
    Movement(sizes=(2, 2, 3, 5), perm=(0, 2, 1, 3))
    >>> movement((4, 6), [Step("perm", (1, 0)), Step("shape", (3, 8)), Step("perm", (1, 0))])
    Movement(sizes=(12, 2), perm=(1, 0))
    >>> movement((8, 6), [Step("shape", (3, 16)), Step("perm", (1, 0))])
    Movement(sizes=(3, 16), perm=(1, 0))
    >>> movement((2, 3), [Step("perm", (1, 0)), Step("shape", (2, 3))]) is None
    True
    """
    if 0 in shape:
        return Movement((), ())
    source = [_Axis(size) for size in shape if size != 1]
    groups = _grouped(list(source), shape, source)
    for step in steps:
        if groups is None:
            return None
        if step.kind == "perm":
            groups = [groups[axis] for axis in step.values]
        else:
            together = _together([axis for group in groups for axis in group], source)
            groups = _grouped(together, step.values, source)
    if groups is None:
        return None
    place = {id(axis): number for number, axis in enumerate(source)}
    return _merged(source, [place[id(axis)] for group in groups for axis in group])


def _together(axes: list[_Axis], source: list[_Axis]) -> list[_Axis]:
    """Make one axis of those that follow each other here and in ``source``, and return the axes."""
    made: list[_Axis] = []
    for axis in axes:
        place = next(k for k, other in enumerate(source) if other is axis)
        if made and place and source[place - 1] is made[-1]:
            made[-1].size *= axis.size
            del source[place]
        else:
            made.append(axis)
    return made


def _grouped(axes: list[_Axis], shape: Shape, source: list[_Axis]) -> list[list[_Axis]] | None:
    """Return which axes make up each of ``shape``, after splitting some of them, in ``source`` too."""
    groups, waiting = [], axes[::-1]
    for size in shape:
        group, left = list[_Axis](), size
        while left > 1:
            axis = waiting.pop()
            if axis.size > left and axis.size % left == 0:
                waiting.append(_split(axis, left, source))
            elif left % axis.size:
                return None
            group.append(axis)
            left //= axis.size
        groups.append(group)
    return groups


def _split(axis: _Axis, size: int, source: list[_Axis]) -> _Axis:
    """Make an axis ``size`` long and return the rest of it."""
    rest, axis.size = _Axis(axis.size // size), size
    source.insert(next(k for k, other in enumerate(source) if other is axis) + 1, rest)
    return rest


def _merged(source: list[_Axis], order: list[int]) -> Movement:
    runs: list[list[int]] = []
    for place in order:
        if runs and runs[-1][-1] + 1 == place:
            runs[-1].append(place)
        else:
            runs.append([place])
    if len(runs) < 2:
        return Movement((), ())
    kept = sorted(runs)
    sizes = tuple(int(np.prod([source[place].size for place in run])) for run in kept)
    return Movement(sizes, tuple(kept.index(run) for run in runs))


def written(moved: Movement, before: Shape, after: Shape) -> tuple[Shape, Shape]:
    """Return shape and permutation of a TRANSPOSE that does it with few RESHAPEs around.

    >>> written(Movement((64, 3), (1, 0)), (1, 8, 8, 3), (1, 3, 8, 8))
    ((1, 8, 8, 3), (0, 3, 1, 2))
    >>> written(Movement((16, 4, 9), (1, 0, 2)), (1, 16, 36), (1, 4, 16, 9))
    ((1, 16, 4, 9), (0, 2, 1, 3))
    """
    here = _spread(moved, before, after)
    if here is not None and tuple(before[axis] for axis in here) == after:
        return before, here
    there = _spread(moved.inverse, after, before)
    if there is not None:
        return tuple(after[a] for a in there), tuple(int(axis) for axis in np.argsort(there))
    return (before, here) if here is not None else (moved.sizes, moved.perm)


def _spread(moved: Movement, shape: Shape, wanted: Shape) -> Shape | None:
    """Return the movement as a permutation of the axes of ``shape`` if it cuts through none of them."""
    runs: list[list[int]] = []
    left = [axis for axis, size in enumerate(shape) if size != 1]
    for size in moved.sizes:
        run: list[int] = []
        while np.prod([shape[axis] for axis in run]) < size:
            run.append(left.pop(0))
        if np.prod([shape[axis] for axis in run]) != size:
            return None
        runs.append(run)
    order = [axis for place in moved.perm for axis in runs[place]]
    ones, made = [axis for axis, size in enumerate(shape) if size == 1], list[int]()
    for size in wanted:
        if size == 1 and ones:
            made.append(ones.pop(0))
        elif size != 1 and order:
            made.append(order.pop(0))
    return tuple(made + order + ones) if len(shape) <= MOST else None
