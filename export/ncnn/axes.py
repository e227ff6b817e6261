"""How tensors lie in ncnn, which has one to four axes (w; h w; c h w; c d h w) and none for a batch.

A shape here is a tuple, the outermost axis first. Every tensor of the graph has one of its own
(``own_shape`` of edgeconv/formats/ncnn_file.py); an operator that sees its axes in another way reads it in another shape of as many
values in the same order, which a Reshape makes.
"""

from collections.abc import Sequence
from math import prod

from edgeconv.formats.ncnn_file import MOST_AXES, Shape


def inner_axis(shape: Sequence[int], axis: int) -> int | None:
    """Return where ``axis`` of a tensor is in its own shape; None where it is not there.

    >>> inner_axis((1, 3, 8, 8), 1), inner_axis((1, 3, 8, 8), 0), inner_axis((4, 3), 0)
    (0, None, 0)
    """
    axis %= len(shape)
    dropped = 1 if len(shape) > 1 and shape[0] == 1 else 0
    if len(shape) - dropped > MOST_AXES or axis < dropped:
        return None
    return axis - dropped


def around(shape: Sequence[int], axis: int) -> Shape:
    """Return (what is outside of ``axis``, its size, what is inside): a shape that every tensor has."""
    axis %= len(shape)
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def moved(shape: Sequence[int], perm: Sequence[int]) -> tuple[Shape, tuple[int, ...]]:
    """Return the fewest axes that a transposition moves: the shape before, and where each goes.

    >>> moved((1, 2, 3, 4, 4), (0, 2, 1, 3, 4)), moved((1, 3, 8, 8), (0, 1, 2, 3))
    (((2, 3, 16), (1, 0, 2)), ((192,), (0,)))
    """
    order = [axis for axis in perm if shape[axis] != 1]
    runs: list[list[int]] = []
    place = {axis: i for i, axis in enumerate(a for a in range(len(shape)) if shape[a] != 1)}
    for axis in order:
        if runs and place[axis] == place[runs[-1][-1]] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if not runs:
        return (1,), (0,)
    first = sorted(range(len(runs)), key=lambda run: runs[run][0])
    sizes = tuple(prod(shape[axis] for axis in runs[run]) for run in first)
    return sizes, tuple(first.index(run) for run in range(len(runs)))


def paired(one: Sequence[int], other: Sequence[int]) -> tuple[Shape, Shape]:
    """Return the shapes in which two tensors broadcast: their own, or those of as few axes as say it.

    >>> paired((1, 8, 4, 4), (8, 1, 1)), paired((2, 3), (3,)), paired((4,), ())
    (((8, 4, 4), (8, 1, 1)), ((2, 3), (1, 3)), ((4,), (1,)))
    >>> paired((2, 3, 4, 5, 6), (2, 1, 1, 5, 6))
    ((2, 12, 30), (2, 1, 30))
    """
    rank = max(len(one), len(other), 1)
    left, right = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (one, other))
    if rank > 1 and left[0] == right[0] == 1:
        left, right = left[1:], right[1:]
    if len(left) <= MOST_AXES:
        return left, right
    return _fewest(left, right)


def _fewest(one: Shape, other: Shape) -> tuple[Shape, Shape]:
    """Return two shapes with neighbours made one that do the same."""
    pairs = zip(one, other, strict=True)
    left: list[int] = []
    right: list[int] = []
    before: tuple[bool, bool] | None = None
    for a, b in pairs:
        if a == b == 1:
            continue
        spread = a == 1, b == 1
        if spread == before:
            left[-1], right[-1] = left[-1] * a, right[-1] * b
        else:
            left.append(a)
            right.append(b)
        before = spread
    return tuple(left) or (1,), tuple(right) or (1,)
