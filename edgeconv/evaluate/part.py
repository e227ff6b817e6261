"""What some pictures add to an evaluation: counts, or boxes. Parts join exactly, however many there are."""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.evaluate.boxes import MOST, NMS_IOU, Boxes, boxes_from_json
from edgeconv.evaluate.classes import Classes, classes_from_json, counted_labels
from edgeconv.evaluate.heads import candidates, find_head, kept
from edgeconv.evaluate.masks import Masks, counted_maps, masks_from_json, read_mask
from edgeconv.evaluate.run import Array, Run, Subject, outputs_of
from edgeconv.evaluate.task import (
    Task,
    label_map,
    labels_output,
    pixel_scores,
    scores_output,
)
from edgeconv.samples import Sample

FIRST = 16
"""Pictures on whose outputs a detector's head is told."""


@dataclass(frozen=True)
class Found:
    """Boxes of some pictures in the input's pixels; ``count`` is the number of classes where it is known."""

    boxes: tuple[Boxes, ...]
    count: int | None = None

    def __add__(self, other: "Found") -> "Found":
        """Join those of the pictures that follow."""
        return Found(self.boxes + other.boxes, other.count)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, every figure exactly."""
        return {"boxes": [boxes.to_json() for boxes in self.boxes], "count": self.count}


Part = Classes | Masks | Found


@dataclass(frozen=True)
class Question:
    """What is asked of pictures below ``data`` that become an input of ``shape`` (NCHW) by ``how``.

    Of masks their ``folder``; of boxes the ``head`` (None: told by the outputs, with the number of
    ``classes`` where it is known), the ``least`` score, and how far and how many may overlap where NMS is ours.
    """

    task: Task
    data: Path
    shape: tuple[int, ...]
    how: Preprocessing
    folder: Path | None = None
    head: str | None = None
    classes: int | None = None
    least: float = 0.0
    iou: float = NMS_IOU
    most: int = MOST


Measure = Callable[[Subject, Sequence[Sample], Question], Part]
"""Runs a file over pictures and returns what they add up to. Raises UsageError where outputs do not fit."""


def measure_here(
    subject: Subject, samples: Sequence[Sample], question: Question, run: Run | None = None
) -> Any:
    """Run every picture on this machine."""
    parts = (
        READERS[question.task](subject, some, arrays, question)
        for some, arrays in outputs_of(subject, samples, run)
    )
    return joined(parts)


def joined(parts: Iterable[Any]) -> Any:
    """Return the sum of parts of one kind, in the order of the pictures."""
    return functools.reduce(operator.add, parts)


def asked_of(subject: Subject, task: Task, data: str, **more: Any) -> Question:
    """Return the question about pictures that are fed as ``subject`` takes them."""
    return Question(task, Path(data), subject.shape, subject.how, **more)


def with_head(subject: Subject, samples: Sequence[Sample], question: Question) -> Question:
    """Return the question with the head told by the first pictures, so that all parts read boxes alike."""
    known = question.head or subject.head
    if known is not None:
        return replace(question, head=known)
    _, arrays = next(outputs_of(subject, samples[:FIRST]))
    return replace(question, head=find_head(arrays, question.how.size, question.classes))


def _classes(
    subject: Subject, some: Sequence[Sample], arrays: Mapping[str, Array], _question: Question
) -> Classes:
    truth = np.array([-1 if s.truth is None else s.truth for s in some], np.int64)
    if (labels := labels_output(arrays)) is not None:
        return counted_labels(labels, truth)
    scores = scores_output(arrays)
    if scores is None:
        raise UsageError(f"{subject.path} has no output of class scores, (N, classes)")
    counted = Classes(scores.shape[1])
    counted.add(scores, truth)
    return counted


def _masks(
    subject: Subject, some: Sequence[Sample], arrays: Mapping[str, Array], question: Question
) -> Masks:
    assert question.folder is not None
    found = label_map(arrays)
    maps = pixel_scores(arrays, subject.path) if found is None else found
    size = (maps.shape[-2], maps.shape[-1])
    crop, pictures = question.how.crop, [(question.data, s.name) for s in some]
    masks = [read_mask(question.folder, picture, crop, size) for picture in pictures]
    if found is not None:
        return counted_maps(found, np.stack(masks))
    counted = Masks(maps.shape[1])
    counted.add(maps, np.stack(masks))
    return counted


def _boxes(
    _subject: Subject, _some: Sequence[Sample], arrays: Mapping[str, Array], question: Question
) -> Found:
    assert question.head is not None
    found = candidates(arrays, question.head, question.how.size)
    boxes = kept(found, question.least, question.iou, question.most)
    return Found(tuple(boxes), found.count)


READERS: dict[Task, Callable[[Subject, Sequence[Sample], Mapping[str, Array], Question], Part]] = {
    "classes": _classes,
    "masks": _masks,
    "boxes": _boxes,
}
"""Task -> what reads the outputs on some pictures."""


def part_from_json(task: Task, data: Mapping[str, Any]) -> Part:
    """Read what a part's to_json returned."""
    if task == "classes":
        return classes_from_json(data)
    if task == "masks":
        return masks_from_json(data)
    return Found(tuple(boxes_from_json(item) for item in data["boxes"]), data["count"])
