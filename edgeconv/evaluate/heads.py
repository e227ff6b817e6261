"""Boxes from a detector's outputs, decoded and thinned outside the graph, in numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError

Array = NDArray[Any]
Head = Literal["yolov8", "yolov5", "end-to-end", "ssd"]
HEADS: tuple[Head, ...] = ("yolov8", "yolov5", "end-to-end", "ssd")
"""yolov8: one output of (4 + classes) figures a box, centre and size (YOLOv8, 11). yolov5: 5 + classes,
with objectness. end-to-end: 6 figures, corners, score, class (YOLOv10, 26). ssd: boxes by corners and
scores as two outputs."""
MOST = 300
IOU = 0.7


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture as (n, 4) corners x1, y1, x2, y2 in its input's pixels, best first."""

    corners: Array
    scores: Array
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


def find_head(arrays: Mapping[str, Array]) -> Head:
    """Tell the head by the outputs' shapes; raises UsageError where they say nothing."""
    shapes = [array.shape[1:] for array in arrays.values()]
    if len(shapes) == 1 and len(shapes[0]) == 2:
        rows, figures = max(shapes[0]), min(shapes[0])
        if shapes[0][1] == 6 and rows <= 1000:
            return "end-to-end"
        if shapes[0][0] < shapes[0][1] and figures > 4:
            return "yolov8"
        if figures > 5:
            return "yolov5"
    if len(shapes) == 2 and all(len(s) == 2 for s in shapes) and any(s[1] == 4 for s in shapes):
        return "ssd"
    said = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    raise UsageError(
        f"the outputs ({said}) are no head that is known: say --head {'|'.join(HEADS)}"
    )


def decode(
    arrays: Mapping[str, Array], head: Head, size: tuple[int, int], least: float = 0.25
) -> list[Boxes]:
    """Return the boxes of every picture with a score of at least ``least``, after NMS by class.

    ``size`` is (height, width) of the input; boxes on 0..1 are scaled to it.
    """
    corners, scores = _raw(arrays, head)
    if head == "end-to-end":
        whole = next(iter(arrays.values()))
        return [
            _kept(c, s, k, size, least, False)
            for c, s, k in zip(corners, scores, whole[:, :, 5], strict=True)
        ]
    found = []
    for own, given in zip(corners, scores, strict=True):
        best = given.argmax(axis=1)
        found.append(_kept(own, given[np.arange(len(best)), best], best, size, least, True))
    return found


def _raw(arrays: Mapping[str, Array], head: Head) -> tuple[Array, Array]:
    """Return corners (pictures, boxes, 4), and scores (pictures, boxes, classes), or (pictures, boxes)."""
    values = list(arrays.values())
    if head == "ssd":
        corners = next(v for v in values if v.shape[2] == 4)
        scores = next(v for v in values if v is not corners)
        return corners, scores
    one = values[0]
    if head == "end-to-end":
        return one[:, :, :4], one[:, :, 4]
    if head == "yolov8" and one.shape[1] < one.shape[2]:
        one = one.transpose(0, 2, 1)
    centre, extent = one[:, :, :2], one[:, :, 2:4]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=2)
    if head == "yolov5":
        return corners, one[:, :, 4:5] * one[:, :, 5:]
    return corners, one[:, :, 4:]


def _kept(
    corners: Array, scores: Array, classes: Array, size: tuple[int, int], least: float, thin: bool
) -> Boxes:
    chosen = np.flatnonzero(scores >= least)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    corners, scores = corners[chosen].astype(np.float64), scores[chosen].astype(np.float64)
    kinds = classes[chosen].astype(np.int64)
    if len(corners) and float(np.abs(corners).max()) <= 2.0:
        corners = corners * np.array([size[1], size[0], size[1], size[0]])
    keep = _nms(corners, kinds) if thin else np.arange(len(scores))
    keep = keep[:MOST]
    return Boxes(corners[keep], scores[keep], kinds[keep])


def overlaps(a: Array, b: Array) -> Array:
    """Return the IoU of every box of ``a`` (n, 4) with every one of ``b`` (m, 4), as (n, m).

    >>> overlaps(np.array([[0, 0, 2, 2.0]]), np.array([[0, 0, 2, 2.0], [1, 0, 3, 2.0]])).round(3).tolist()
    [[1.0, 0.333]]
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0.0, None).prod(axis=1) for x in (a, b)]
    whole = areas[0][:, None] + areas[1][None, :] - shared
    iou: Array = np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
    return iou


def _nms(corners: Array, classes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the boxes, best first, that no better one of their class covers."""
    left = np.arange(len(corners))
    kept: list[int] = []
    while len(left) and len(kept) < MOST:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        covered = overlaps(corners[first][None], corners[rest])[0] > IOU
        left = rest[~(covered & (classes[rest] == classes[first]))]
    return np.array(kept, np.intp)
