"""Boxes against boxes: parity of a file with its float reference, and mean average precision."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.evaluate.classes import Share
from edgeconv.evaluate.heads import Boxes, overlaps

PARITY_IOU = 0.9
IOUS = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class BoxParity:
    """The reference's boxes that the file finds too, at IoU 0.9 and of the same class.

    ``missed`` and ``invented`` count the others; ``worst`` are pictures by their number of those.
    """

    matched: Share
    missed: int
    invented: int
    worst: tuple[int, ...]


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
    return BoxParity(Share(matched, matched + missed), missed, invented, worst[:6])


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


def mean_average_precision(truth: Sequence[Boxes], found: Sequence[Boxes]) -> tuple[float, float]:
    """Return mAP over IoU 0.5 to 0.95 and at 0.5, over the classes that the truth holds.

    By COCO's 101 recalls, boxes of every size, crowds not told apart.

    >>> one = Boxes(np.array([[0, 0, 9, 9.0]]), np.array([0.9]), np.array([1]))
    >>> mean_average_precision([one], [one])
    (1.0, 1.0)
    """
    classes = sorted({int(kind) for boxes in truth for kind in boxes.classes})
    table = [[_average(truth, found, kind, iou) for iou in IOUS] for kind in classes]
    if not table:
        return 0.0, 0.0
    means = np.array(table).mean(axis=0)
    return float(means.mean()), float(means[0])


def _average(truth: Sequence[Boxes], found: Sequence[Boxes], kind: int, iou: float) -> float:
    scores: list[float] = []
    hits: list[bool] = []
    total = 0
    for wanted, got in zip(truth, found, strict=True):
        mine, own = _only(wanted, kind), _only(got, kind)
        total += len(mine)
        hit = {place for _, place in match(mine, own, iou)}
        scores += own.scores.tolist()
        hits += [place in hit for place in range(len(own))]
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.cumsum(np.array(hits, dtype=float)[order]) if hits else np.zeros(0)
    if not len(right):
        return 0.0
    precision = right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / total, RECALLS - 1e-12)
    padded = np.append(precision, 0.0)
    return float(padded[np.minimum(places, len(precision))].mean())


def _only(boxes: Boxes, kind: int) -> Boxes:
    own = boxes.classes == kind
    return Boxes(boxes.corners[own], boxes.scores[own], boxes.classes[own])
