"""Mean average precision of boxes, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeconv.deps import installed, require
from edgeconv.errors import UsageError
from edgeconv.evaluate.boxes import Boxes
from edgeconv.evaluate.labelled import Labelled, Truth
from edgeconv.evaluate.matches import Matches, matches_of, resampled
from edgeconv.evaluate.resample import draws, interval

EXTRA = "coco"
LEAST = 0.001
"""Boxes below this score count for nothing: the custom of those who publish mAP."""


@dataclass(frozen=True)
class Precision:
    """Average precision over IoU 0.5 to 0.95, at 0.5, and of each class that the truth holds.

    ``boxes`` is how many the truth has, ignored ones left out. The intervals, at 95 %, come of drawing
    the pictures again; of one picture they are everything. ``shift`` is how far the labels seem to be
    counted from another number than the file's classes: -1, 0 or 1; ``form`` says what boxes look like that
    were read in a wrong form.
    """

    mean: float
    at_half: float
    classes: tuple[tuple[str, float], ...]
    boxes: int
    interval: tuple[float, float] = (0.0, 1.0)
    half_interval: tuple[float, float] = (0.0, 1.0)
    shift: int = 0
    form: str = ""
    strange: bool = False


def check_installed() -> None:
    """Raise MissingDependencyError, with the pip line, where pycocotools is not there."""
    installed(("pycocotools", EXTRA))


def average_precision(truth: Truth, found: Sequence[Boxes]) -> Precision:
    """Hold the boxes found in each picture, of any score, against the labelled ones.

    Raises UsageError where nothing is labelled.
    """
    total = sum(int((~one.ignored).sum()) for one in truth.pictures)
    if not total:
        raise UsageError("--truth has no box in any of these pictures: there is nothing to find")
    require("pycocotools", EXTRA)
    kinds = sorted({int(k) for one in truth.pictures for k in one.boxes.classes[~one.ignored]})
    if not any(len(boxes) for boxes in found):
        return Precision(0.0, 0.0, tuple((truth.names[k], 0.0) for k in kinds), total)
    judged = _judged(truth.pictures, found, kinds)
    means = judged.accumulated.mean(axis=1)  # (IoUs, classes)
    named = tuple((truth.names[k], float(means[:, i].mean())) for i, k in enumerate(kinds))
    made = Precision(float(means.mean()), float(means[0].mean()), named, total)
    if len(found) < 2:
        return made
    drawn = draws(len(found))
    again = np.stack([resampled(one, drawn) for one in judged.classes], axis=-1)
    both = np.nanmean(again, axis=(1, 2)), np.nanmean(again[:, 0], axis=1)
    return replace(made, interval=interval(both[0]), half_interval=interval(both[1]))


@dataclass(frozen=True)
class Judged:
    """What pycocotools found: precision (IoUs, recalls, classes), and each class's boxes one by one."""

    accumulated: Any
    classes: tuple[Matches, ...]


def _judged(truth: Sequence[Labelled], found: Sequence[Boxes], kinds: Sequence[int]) -> Judged:
    """Hold boxes against labels at 100 boxes a picture, of objects of every size."""
    coco_module = require("pycocotools.coco", EXTRA)
    evaluator_module = require("pycocotools.cocoeval", EXTRA)
    with contextlib.redirect_stdout(io.StringIO()):  # it tells how long each step took
        wanted = coco_module.COCO()
        wanted.dataset = {
            "images": [{"id": k} for k in range(len(truth))],
            "categories": [{"id": k} for k in kinds],
            "annotations": _annotations(truth),
        }
        wanted.createIndex()
        rows = np.concatenate([_rows(k, boxes) for k, boxes in enumerate(found)])
        evaluator = evaluator_module.COCOeval(wanted, wanted.loadRes(rows), "bbox")
        evaluator.params.catIds = list(kinds)
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    each = len(truth)
    pictures = [evaluator.evalImgs[i * each : (i + 1) * each] for i in range(len(kinds))]
    classes = tuple(matches_of(own) for own in pictures)
    return Judged(evaluator.eval["precision"][:, :, :, 0, -1], classes)


def _annotations(truth: Sequence[Labelled]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for image, one in enumerate(truth):
        for corners, kind, ignored in zip(
            one.boxes.corners, one.boxes.classes, one.ignored, strict=True
        ):
            x, y, width, height = _sides(corners)
            made.append(
                {
                    "id": len(made) + 1,  # 0 means "no box" to its matching
                    "image_id": image,
                    "category_id": int(kind),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(ignored),
                }
            )
    return made


def _sides(corners: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return x1, y1, x2 - x1, y2 - y1


def _rows(image: int, boxes: Boxes) -> Any:
    """Return image, x, y, width, height, score, class of every box."""
    sides = np.concatenate(
        [boxes.corners[:, :2], boxes.corners[:, 2:] - boxes.corners[:, :2]], axis=1
    )
    number = np.full(len(boxes), image)
    return np.column_stack([number, sides, boxes.scores, boxes.classes])
