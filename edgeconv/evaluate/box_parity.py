"""Boxes against boxes: which of the float reference's a file finds too, and which it makes up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.evaluate.boxes import Boxes, overlaps
from edgeconv.evaluate.classes import Share

PARITY_IOU = 0.9
WORST = 6
"""Pictures that are named, and drawn, at most."""


@dataclass(frozen=True)
class BoxParity:
    """The reference's boxes that the file finds too, at IoU 0.9 and of the same class.

    ``missed`` and ``invented`` count the others; ``worst`` are pictures by their number of those.
    """

    matched: Share
    missed: int
    invented: int
    worst: tuple[int, ...]

    @property
    def short(self) -> str:
        """A figure among others of a line."""
        return f"{self.matched} of float's {self.matched.count} boxes kept"

    def __str__(self) -> str:
        return (
            f"{self.matched} of {self.matched.count} boxes as the float reference's (IoU 0.9, same "
            f"class), {self.missed} missed, {self.invented} invented"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, without the pictures."""
        return {
            "matched": self.matched.to_json(),
            "missed": self.missed,
            "invented": self.invented,
        }


def box_parity(reference: Sequence[Boxes], other: Sequence[Boxes]) -> BoxParity:
    """Match boxes picture by picture, the best first, each once.

    >>> one = Boxes(np.array([[0, 0, 9, 9.0]]), np.array([0.9]), np.array([1]))
    >>> none = Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    >>> box_parity([one, one], [one, none]).matched.right
    1
    """
    matched, wrong = 0, []
    missed = invented = 0
    for wanted, got in zip(reference, other, strict=True):
        pairs = len(match(wanted, got, PARITY_IOU))
        matched += pairs
        missed += len(wanted) - pairs
        invented += len(got) - pairs
        wrong.append(len(wanted) + len(got) - 2 * pairs)
    order = np.argsort(-np.array(wrong, dtype=int), kind="stable")
    worst = tuple(int(i) for i in order if wrong[i])
    return BoxParity(Share(matched, matched + missed), missed, invented, worst[:WORST])


def match(wanted: Boxes, got: Boxes, least: float) -> list[tuple[int, int]]:
    """Return pairs (wanted, got) of equal class whose IoU is at least ``least``, each box once."""
    iou = overlaps(wanted.corners, got.corners)
    iou[wanted.classes[:, None] != got.classes[None, :]] = 0.0
    pairs = []
    for number in range(len(got)):  # best first, as COCO does
        if len(wanted) == 0:
            break
        place = int(iou[:, number].argmax())
        if iou[place, number] >= least:
            pairs.append((place, number))
            iou[place] = 0.0
    return pairs
