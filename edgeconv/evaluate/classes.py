"""Accuracy of a classifier: top-1, top-5, class by class, and what is taken for what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.metrics import best_assignment, ranks, wilson_interval
from edgeconv.terminal import counted

Array = NDArray[Any]
SURELY = 0.75
"""What share of the pictures of classes that look exchanged another numbering gets right, at least, of those that either does."""


@dataclass(frozen=True)
class Share:
    """``right`` of ``count``, with Wilson's interval at 95 %."""

    right: int
    count: int

    @property
    def value(self) -> float:
        """The share itself; 0 of 0 is 0."""
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, everything where nothing was counted."""
        return wilson_interval(self.right, self.count) if self.count else (0.0, 1.0)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"share": self.value, "interval": list(self.interval), "of": self.count}


ENOUGH = 20
"""Of fewer pictures none need be right."""
UNEVEN = 0.5
"""Where more than this is right by chance, nearly all pictures are of one class."""


@dataclass
class Classes:
    """Counts over pictures of known class; ``confusion[true, predicted]``.

    ``top5_right`` is None where a file gives its best class alone.
    """

    classes: int
    top5_right: int | None = 0
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    def add(self, scores: Array, truth: NDArray[np.int64]) -> None:
        """Count ``scores`` (pictures, classes) against ``truth``; -1 is unknown and not counted.

        >>> counted = Classes(3)
        >>> counted.add(np.eye(3)[[0, 1, 1]], np.array([0, 1, 2]))
        >>> counted.top1.right, counted.confusion[2].tolist()
        (2, [0, 1, 0])
        """
        known = truth >= 0
        scores, truth = scores[known], truth[known]
        if len(truth) and int(truth.max()) >= self.classes:
            raise EdgeconvError(
                f"the truth names class {int(truth.max())}, the file has {counted(self.classes, 'class')}"
            )
        np.add.at(self.confusion, (truth, scores.argmax(axis=1)), 1)
        assert self.top5_right is not None
        self.top5_right += int((ranks(scores, truth) < 5).sum())

    def __add__(self, other: "Classes") -> "Classes":
        """Return the counts over both sets of pictures, of as many classes as the one that saw more."""
        both = self.top5_right, other.top5_right
        made = Classes(
            max(self.classes, other.classes),
            None if both[0] is None or both[1] is None else both[0] + both[1],
        )
        for own in (self, other):
            made.confusion[: own.classes, : own.classes] += own.confusion
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON data, of ``confusion`` what is not 0."""
        places = np.argwhere(self.confusion)
        counts = self.confusion[tuple(places.T)]
        return {
            "classes": self.classes,
            "top5_right": self.top5_right,
            "confusion": np.column_stack([places, counts]).tolist(),
        }

    @property
    def top1(self) -> Share:
        """Pictures whose best class is right."""
        return Share(int(np.trace(self.confusion)), int(self.confusion.sum()))

    @property
    def top5(self) -> Share | None:
        """Pictures whose class is among the best five; None where a file gives one, or has no more than five."""
        if self.top5_right is None or self.classes <= 5:
            return None
        return Share(self.top5_right, self.top1.count)

    def of_class(self, index: int) -> Share:
        """Pictures of one class that are recognised."""
        return Share(int(self.confusion[index, index]), int(self.confusion[index].sum()))

    @property
    def shift(self) -> int:
        """How far labels seem to be counted from another number than the file's classes: -1, 0 or 1.

        Only where many more pictures would be right with it, and hardly one is right without.

        >>> counted = Classes(4)
        >>> counted.add(np.eye(4)[[0, 1, 2] * 4], np.array([1, 2, 3] * 4))
        >>> counted.shift
        1
        """
        for offset in (1, -1):
            right = Share(int(np.trace(self.confusion, -offset)), self.top1.count)
            if right.interval[0] > 0.5 > 10 * self.top1.value:
                return offset
        return 0

    @property
    def by_chance(self) -> float | None:
        """The share that would be right by chance, where no more surely are; None where they are, or nothing tells.

        >>> counted = Classes(4)
        >>> counted.add(np.eye(4)[[0, 1, 2, 3] * 8], np.array([0, 1, 2, 3] * 8))
        >>> other = Classes(4)
        >>> other.add(np.eye(4)[[0, 1, 2, 3] * 8], np.array([0] * 8 + [1] * 8 + [2] * 8 + [3] * 8))
        >>> counted.by_chance, other.by_chance
        (None, 0.25)
        """
        whole = self.confusion.sum()
        if whole < ENOUGH:
            return None
        chance = float((self.confusion.sum(axis=0) / whole) @ (self.confusion.sum(axis=1) / whole))
        return chance if chance <= UNEVEN and self.top1.interval[0] <= chance else None

    @property
    def renumbered(self) -> list[tuple[int, int]]:
        """Pairs (true, predicted) of classes that look exchanged, as by folders numbered in another order.

        Only where what half of the pictures say of it is right on the other half far more often than the numbers are.

        >>> counted = Classes(3)
        >>> counted.add(np.eye(3)[[2, 1, 0] * 8], np.array([0, 1, 2] * 8))
        >>> counted.renumbered
        [(0, 2), (2, 0)]
        """
        half = np.random.default_rng(0).binomial(self.confusion, 0.5)
        turned = stays = 0
        for seen, other in ((half, self.confusion - half), (self.confusion - half, half)):
            for true, called in _moved(seen):
                turned += int(other[true, called])
                stays += int(other[true, true])
        if not turned or wilson_interval(turned, turned + stays)[0] < SURELY:
            return []
        return _moved(self.confusion)

    def mistakes(self, most: int = 5) -> list[tuple[int, int, int]]:
        """Return (true, predicted, how often) of the commonest mistakes, the commonest first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), self.classes) for place in order]
        return [(a, b, int(wrong[a, b])) for a, b in pairs if wrong[a, b]]


def _moved(confusion: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (true, predicted) of the classes that are mostly taken for others, each for one of its own."""
    present = np.flatnonzero(confusion.any(axis=1))
    astray = np.array([k for k in present if confusion[k].argmax() != k], np.int64)
    free = np.setdiff1d(np.arange(len(confusion)), np.setdiff1d(present, astray))
    called = free[best_assignment(confusion[np.ix_(astray, free)])]
    return [
        (int(a), int(b))
        for a, b in zip(astray, called, strict=True)
        if confusion[a, b] > confusion[a, a]
    ]


def counted_labels(labels: Array, truth: NDArray[np.int64]) -> Classes:
    """Count what a file calls pictures against what they are; -1 is unknown and not counted.

    >>> counted_labels(np.array([0, 2, 2]), np.array([0, 2, 1])).top1.right
    2
    """
    known = truth >= 0
    labels, truth = labels[known].astype(np.int64), truth[known]
    if len(labels) and int(labels.min()) < 0:
        raise EdgeconvError(f"the file gives class {int(labels.min())}: that is no class")
    made = Classes(int(max(labels.max(initial=0), truth.max(initial=0))) + 1, None)
    np.add.at(made.confusion, (truth, labels), 1)
    return made


def classes_from_json(data: Mapping[str, Any]) -> Classes:
    """Read what Classes.to_json returned."""
    made = Classes(data["classes"], data["top5_right"])
    for true, predicted, count in data["confusion"]:
        made.confusion[true, predicted] = count
    return made
