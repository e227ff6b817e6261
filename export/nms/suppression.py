"""What the non-maximum suppression inside a file is told."""

from dataclasses import dataclass

MOST = 100
"""Boxes that a file gives, at most."""


@dataclass(frozen=True)
class Suppression:
    """Boxes below ``score``, or covered by a better one of their class by more than ``iou``, go."""

    iou: float
    score: float
    most: int = MOST
