"""What a file is for, told by its outputs: classes, boxes or masks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError
from edgeconv.evaluate.maps import sigmoid
from edgeconv.tensors import TensorSpec

Array = NDArray[Any]
Task = Literal["classes", "boxes", "masks"]


def task_of(shapes: Sequence[Sequence[int]], whole: Sequence[bool] = ()) -> Task:
    """Tell the task by the outputs' shapes, pictures first; one map of a single scale is a mask.

    ``whole`` says of each output whether it holds whole numbers: alone it is a label, or a map of them.

    >>> task_of([(1, 10)]), task_of([(1, 84, 8400)]), task_of([(1, 21, 65, 65)])
    ('classes', 'boxes', 'masks')
    >>> task_of([(1,)], [True]), task_of([(1, 65, 65)], [True])
    ('classes', 'masks')
    """
    if len(shapes) == 1 and any(whole):
        if math.prod(shapes[0][1:]) == 1:
            return "classes"
        if min(_sides(shapes[0])) > 1:
            return "masks"
    if is_listed(shapes):
        return "boxes"
    if any(len(s) == 5 or (len(s) == 3 and 4 in s[1:]) for s in shapes):
        return "boxes"
    if any(_is_vector(shape) for shape in shapes):
        return "classes"
    scales = {shape[2] for shape in shapes if len(shape) == 4}
    return "masks" if len(scales) == 1 and all(len(s) == 4 for s in shapes) else "boxes"


def _is_vector(shape: Sequence[int]) -> bool:
    """Whether a picture has one row of figures, whatever axes of 1 stand around it."""
    return len(shape) >= 2 and math.prod(shape[1:]) == max(shape[1:]) > 1


def is_listed(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs list what NMS inside a file left of one picture, boxes (n, 4) and two figures of each.

    >>> is_listed([(20, 4), (20,), (20,)]), is_listed([(1, 4), (1,), (1,)])
    (True, False)
    """
    counts = {shape[0] for shape in shapes if shape}
    ranks = sorted(len(shape) for shape in shapes)
    boxes = [tuple(shape[1:]) for shape in shapes if len(shape) == 2]
    return ranks == [1, 1, 2] and boxes == [(4,)] and len(counts) == 1 and counts != {1}


def _sides(shape: Sequence[int]) -> Sequence[int]:
    """Return height and width of a map of labels, (pictures, height, width), with an axis of 1 or without; else 0.

    >>> _sides((1, 1, 8, 9)), _sides((1, 8, 9)), _sides((1, 8))
    ((8, 9), (8, 9), (0,))
    """
    rest = tuple(shape[1:])
    if len(rest) == 3 and 1 in (rest[0], rest[2]):
        rest = rest[1:] if rest[0] == 1 else rest[:2]
    return rest if len(rest) == 2 else (0,)


def are_whole(specs: Sequence[TensorSpec]) -> list[bool]:
    """Return of each output whether it holds whole numbers, not real ones that are stored so."""
    return [spec.quantization is None and "int" in spec.dtype for spec in specs]


def labels_output(arrays: Mapping[str, Array]) -> Array | None:
    """Return the output that holds one class a picture, (pictures,), where it is the only one."""
    one = next(iter(arrays.values()))
    alone = len(arrays) == 1 and one.dtype.kind in "iu" and one.size == len(one)
    return one.reshape(-1) if alone else None


def label_map(arrays: Mapping[str, Array]) -> Array | None:
    """Return the output that holds the class of each pixel, (pictures, height, width), where it is the only one."""
    one = next(iter(arrays.values()))
    sides = _sides(one.shape)
    alone = len(arrays) == 1 and one.dtype.kind in "iu" and min(sides) > 1
    return one.reshape(len(one), *sides) if alone else None


def scores_count(shapes: Sequence[Sequence[int]]) -> int | None:
    """Return how many classes the first output of class scores has, by the outputs' shapes; None without one.

    >>> scores_count([(1, 10)]), scores_count([(1, 21, 65, 65)])
    (10, None)
    """
    return next((math.prod(shape[1:]) for shape in shapes if _is_vector(shape)), None)


def scores_output(arrays: Mapping[str, Array]) -> Array | None:
    """Return the output that holds class scores, (pictures, classes), if there is one."""
    for array in arrays.values():
        if _is_vector(array.shape):
            return array.reshape(len(array), -1)
    return None


def pixel_scores(arrays: Mapping[str, Array], source: object) -> Array:
    """Return scores (pictures, classes, height, width) of the first map of the file ``source``.

    One channel is the second of two classes, as a probability or a logit. Channels may be last where
    there are fewer of them than rows and columns.
    """
    for array in arrays.values():
        if array.ndim != 4:
            continue
        if array.shape[3] < min(array.shape[1:3]):
            array = array.transpose(0, 3, 1, 2)
        if array.shape[1] > 1:
            return array
        inside = 0.0 <= array.min() <= array.max() <= 1.0
        share = array if inside else sigmoid(array)
        return np.concatenate([1.0 - share, share], axis=1)
    raise UsageError(f"{source} has no output of classes by pixel, (N, classes, H, W)")
