"""Labelled boxes of pictures: what is read from any kind of file, as a model's input shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.evaluate.boxes import Boxes
from edgeconv.pictures import placed_box

VISIBLE = 0.5
"""A box of which the crop leaves less is neither asked for nor held against a file."""


@dataclass(frozen=True)
class Labelled:
    """One picture's boxes, and which of them are ignored: crowds, and what the crop cuts off."""

    boxes: Boxes
    ignored: NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One labelled box: corners in the picture's own pixels, and its class."""

    corners: tuple[float, float, float, float]
    kind: int
    crowd: bool = False


@dataclass(frozen=True)
class Truth:
    """Labelled boxes by picture, in the order of the pictures; class k is called ``names[k]``."""

    pictures: tuple[Labelled, ...]
    names: tuple[str, ...]


def labelled(rows: Sequence[Row], size: tuple[int, int], how: Preprocessing) -> Labelled:
    """Place the boxes of a picture of (height, width) in the input's pixels."""
    corners = np.zeros((len(rows), 4))
    ignored = np.zeros(len(rows), bool)
    for number, row in enumerate(rows):
        corners[number], visible = placed_box(row.corners, size, how)
        ignored[number] = row.crowd or visible < VISIBLE
    kinds = np.array([row.kind for row in rows], np.int64)
    return Labelled(Boxes(corners, np.ones(len(rows)), kinds), ignored)


def refuse_unlabelled(unknown: Sequence[str], data: str, truth: Path, what: str) -> None:
    """Raise UsageError where pictures have no labels."""
    if unknown:
        raise UsageError(
            f"{truth} knows nothing of {unknown[0]}"
            + (f" and {len(unknown) - 1} more pictures" if len(unknown) > 1 else "")
            + f" of {data}: leave them out, or {what}"
        )
