"""What a detector or a segmentation net sees in pictures: listed, and drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.detect import boxes_of
from edgeconv.evaluate.draw import draw_boxes, draw_mask, drawings
from edgeconv.evaluate.run import Subject, outputs_of, picture_samples
from edgeconv.evaluate.task import Array, label_map, pixel_scores
from edgeconv.pictures import picture_boxes, read_picture
from edgeconv.samples import Sample


@dataclass(frozen=True)
class Seen:
    """What is seen in one picture, a row each, the surest or largest first.

    Of boxes: class, name, score and corners x1, y1, x2, y2 in the picture's own pixels. Of masks:
    class, name and share of the pixels.
    """

    picture: Path
    runtime: str
    rows: tuple[dict[str, Any], ...]
    drawn: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        drawn = None if self.drawn is None else str(self.drawn)
        return {
            "picture": str(self.picture),
            "runtime": self.runtime,
            "seen": list(self.rows),
            "drawn": drawn,
        }


@dataclass(frozen=True)
class Looking:
    """How boxes are read and drawn: --head, the least score, and the folder of drawings."""

    head: str | None = None
    min_score: float = MIN_SCORE
    draw: Path | None = None


def look(subject: Subject, pictures: Sequence[Path], looking: Looking) -> list[Seen]:
    """Run the pictures through a detector or a segmentation net, and draw what it sees.

    Raises UsageError where the outputs do not fit, EdgeconvError where a picture cannot be read.
    """
    samples = picture_samples(subject, pictures)
    known = looking.head or subject.head
    boxes = known is not None or subject.task == "boxes"
    return (_boxes if boxes else _masks)(subject, samples, pictures, looking)


def _boxes(
    subject: Subject, samples: Sequence[Sample], pictures: Sequence[Path], looking: Looking
) -> list[Seen]:
    name, found = subject.label, []
    each = boxes_of(subject, samples, looking.head, looking.min_score)
    for path, drawn, boxes in zip(pictures, _drawings(pictures, looking), each, strict=True):
        height, width = read_picture(path).shape[:2]
        placed = picture_boxes(boxes.corners, (height, width), subject.how)
        rows = tuple(
            {
                "class": int(kind),
                "name": name(int(kind)),
                "score": float(score),
                "box": [round(float(x), 1) for x in box],
            }
            for box, score, kind in zip(placed, boxes.scores, boxes.classes, strict=True)
        )
        if drawn is not None:
            draw_boxes(path, boxes, subject.how, name, drawn)
        found.append(Seen(path, subject.ran, rows, drawn))
    return found


def _masks(
    subject: Subject, samples: Sequence[Sample], pictures: Sequence[Path], looking: Looking
) -> list[Seen]:
    name, found = subject.label, []
    every = (
        mask for _, arrays in outputs_of(subject, samples) for mask in _labels(arrays, subject)
    )
    for path, drawn, mask in zip(pictures, _drawings(pictures, looking), every, strict=True):
        kinds, counts = np.unique(mask, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        rows = tuple(
            {"class": int(k), "name": name(int(k)), "share": float(n / mask.size)}
            for k, n in zip(kinds[order], counts[order], strict=True)
        )
        if drawn is not None:
            draw_mask(path, mask, subject.how, drawn)
        found.append(Seen(path, subject.ran, rows, drawn))
    return found


def _labels(arrays: Mapping[str, Array], subject: Subject) -> Array:
    """Return the class of each pixel, (pictures, height, width)."""
    found = label_map(arrays)
    return pixel_scores(arrays, subject.path).argmax(axis=1) if found is None else found


def _drawings(pictures: Sequence[Path], looking: Looking) -> list[Path | None]:
    if looking.draw is None:
        return [None] * len(pictures)
    return [looking.draw / name for name in drawings([path.name for path in pictures])]
