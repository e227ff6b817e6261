"""Boxes of a picture: what they are, how they overlap, and which of those that overlap stay."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST = 300
"""Boxes of a picture that are kept, at most."""
NMS_IOU = 0.7


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture as (n, 4) corners x1, y1, x2, y2 in its input's pixels, best first."""

    corners: Array
    scores: Array
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, places: Any) -> "Boxes":
        """Return those at ``places`` (indices or a mask)."""
        return Boxes(self.corners[places], self.scores[places], self.classes[places])

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON data."""
        return {name: getattr(self, name).tolist() for name in ("corners", "scores", "classes")}


def boxes_from_json(data: Mapping[str, Any]) -> Boxes:
    """Read what Boxes.to_json returned."""
    corners = np.array(data["corners"], np.float64).reshape(-1, 4)
    return Boxes(corners, np.array(data["scores"], np.float64), np.array(data["classes"], np.int64))


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


def best_first(boxes: Boxes, least: float) -> Boxes:
    """Return the boxes with a score of at least ``least``, the best first."""
    chosen = np.flatnonzero(boxes.scores >= least)
    return boxes.at(chosen[np.argsort(-boxes.scores[chosen], kind="stable")])


def thinned(boxes: Boxes, iou: float = NMS_IOU, most: int = MOST) -> Boxes:
    """Return the boxes, best first, that no better one of their class covers by more than ``iou``."""
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        covered = overlaps(boxes.corners[first][None], boxes.corners[rest])[0] > iou
        left = rest[~(covered & (boxes.classes[rest] == boxes.classes[first]))]
    return boxes.at(np.array(kept, np.intp))
