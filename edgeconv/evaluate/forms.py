"""Forms that four figures of a box may have other than the one that they were read in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.evaluate.boxes import Boxes
from edgeconv.evaluate.labelled import Truth

Array = NDArray[Any]
Form = Callable[[Array], Array]

SAME_SCALE = 1.5
"""Boxes whose figures are less than this factor apart are on one scale."""


def _sides(corners: Array) -> Array:
    """Return centre and size of corners, (n, 4)."""
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _about(figures: Array) -> Array:
    """Return corners of centre and size."""
    return np.concatenate(
        [figures[:, :2] - figures[:, 2:] / 2, figures[:, :2] + figures[:, 2:] / 2], axis=1
    )


def _beside(figures: Array) -> Array:
    """Return corners of left, top, width and height."""
    return np.concatenate([figures[:, :2], figures[:, :2] + figures[:, 2:]], axis=1)


def _exchanged(corners: Array) -> Array:
    return corners[:, [1, 0, 3, 2]]


READ: dict[str, dict[str, Form]] = {
    "centre and size": {
        "corners": _sides,
        "left, top, width and height": lambda c: _beside(_sides(c)),
    },
    "corners": {"centre and size": _about, "left, top, width and height": _beside},
}
"""How a head reads four figures -> what they may be instead, and the corners then, of the corners read."""
CENTRED = ("yolov8", "yolov5", "coreml-nms")
"""Heads whose boxes are read as centre and size; the others' are corners."""


def other_forms(
    truth: Truth, found: Sequence[Boxes], head: str
) -> Iterator[tuple[str, Truth, Sequence[Boxes]]]:
    """Yield what may be wrong with the form of boxes, and both sides as they are then."""
    read = "centre and size" if head in CENTRED else "corners"
    exchanged = _changed(found, _exchanged)
    yield "x and y are exchanged: one side gives y first", truth, exchanged
    for what, form in READ[read].items():
        said = f"the file's figures are {what}, and --head {head} reads {read}"
        yield said, truth, _changed(found, form)
        yield f"{said}, y first", truth, _changed(_changed(found, form), _exchanged)
    moved = [replace(one, boxes=_shifted(one.boxes)) for one in truth.pictures]
    yield (
        "the truth's boxes begin with their centre, not with left and top",
        replace(truth, pictures=tuple(moved)),
        found,
    )
    scale = _scale(truth, found)
    if max(scale, 1 / scale) > SAME_SCALE:
        said = f"the file's boxes are on another scale, about {scale:.3g} times smaller"
        if scale < 1:
            said = f"the file's boxes are on another scale, about {1 / scale:.3g} times larger"
        yield said, truth, _changed(found, lambda corners: corners * scale)


def _changed(found: Sequence[Boxes], form: Form) -> list[Boxes]:
    return [replace(boxes, corners=form(boxes.corners)) for boxes in found]


def _shifted(boxes: Boxes) -> Boxes:
    half = (boxes.corners[:, 2:] - boxes.corners[:, :2]) / 2
    return replace(boxes, corners=boxes.corners - np.concatenate([half, half], axis=1))


def _scale(truth: Truth, found: Sequence[Boxes]) -> float:
    """Return by what factor the file's boxes, the best of each picture, are smaller than the labelled ones."""
    wanted = [one.boxes.corners for one in truth.pictures if len(one.boxes)]
    best = [
        boxes.corners[: max(1, len(one.boxes))]
        for one, boxes in zip(truth.pictures, found, strict=True)
        if len(one.boxes) and len(boxes)
    ]
    if not best:
        return 1.0
    sizes = [np.median(np.abs(np.concatenate(side)[:, 2:])) for side in (wanted, best)]
    return float(sizes[0] / sizes[1]) if min(sizes) > 0 else 1.0
