"""What a file is for, told by its outputs: classes, boxes or masks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError
from edgeconv.evaluate.maps import sigmoid

Array = NDArray[Any]
Task = Literal["classes", "boxes", "masks"]


def task_of(shapes: Sequence[Sequence[int]]) -> Task:
    """Tell the task by the outputs' shapes, pictures first; one map of a single scale is a mask.

    >>> task_of([(1, 10)]), task_of([(1, 84, 8400)]), task_of([(1, 21, 65, 65)])
    ('classes', 'boxes', 'masks')
    """
    if any(len(s) == 5 or (len(s) == 3 and 4 in s[1:]) for s in shapes):
        return "boxes"
    if any(_is_vector(shape) for shape in shapes):
        return "classes"
    scales = {shape[2] for shape in shapes if len(shape) == 4}
    return "masks" if len(scales) == 1 and all(len(s) == 4 for s in shapes) else "boxes"


def _is_vector(shape: Sequence[int]) -> bool:
    """Whether a picture has one row of figures, whatever axes of 1 stand around it."""
    return len(shape) >= 2 and math.prod(shape[1:]) == max(shape[1:]) > 1


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
