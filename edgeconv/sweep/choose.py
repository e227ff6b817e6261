"""Which cells are worth shipping: pure functions of measured intervals and paired answers.

A cell is dominated only where the intervals say so; what cannot be told apart stays, with the number
of pictures that would tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics import wilson_interval


@dataclass(frozen=True)
class Point:
    """One cell as it is judged. ``correct`` says for each picture whether it was right, None: not known.

    ``latency_ms`` is (low, estimate, high), None where the cell was not timed. ``arena`` in bytes.
    """

    label: str
    latency_ms: tuple[float, float, float] | None
    correct: NDArray[np.bool_] | None
    bytes: int
    arena: int | None = None

    @property
    def accuracy(self) -> float | None:
        """The share that was right."""
        return None if self.correct is None else float(self.correct.mean())

    def accuracy_interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Wilson's interval of ``accuracy``."""
        if self.correct is None:
            return None
        return wilson_interval(int(self.correct.sum()), len(self.correct), confidence)


def difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (low, estimate, high) of the accuracy of ``first`` less that of ``second``, same pictures.

    The adjusted Wald interval for paired shares (Bonett and Price 2012, J. Educ. Behav. Stat. 37:479).
    """
    count = len(first)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    p, q = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    half = NormalDist().inv_cdf(0.5 + confidence / 2)
    half *= math.sqrt(max(p + q - (p - q) ** 2, 0.0) / (count + 2))
    return p - q - half, (wins - losses) / count, p - q + half


def pictures_needed(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> int | None:
    """Return how many more pictures would tell the two apart if they go on as so far.

    None where they are equally often right, so that no number would.
    """
    count = len(first)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    if wins == losses:
        return None
    mean = (wins - losses) / count
    variance = (wins + losses) / count - mean**2
    needed = math.ceil(NormalDist().inv_cdf(0.975) ** 2 * variance / mean**2)
    return max(needed - count, 1)


def dominates(a: Point, b: Point, confidence: float = 0.95) -> bool:
    """Whether ``a`` is surely no worse than ``b`` in accuracy and cost, and surely better in one.

    Cost is latency where both were timed, bytes where neither was. Surely: by intervals of
    ``confidence``; answers that are equal on every picture count as equal accuracy.
    """
    cost = _cost(a, b)
    accuracy = _accuracy(a, b, confidence)
    if cost is None or accuracy is None:
        return False
    return min(cost, accuracy) >= 0 and max(cost, accuracy) > 0


def _cost(a: Point, b: Point) -> int | None:
    """1: a surely cheaper, -1: surely dearer, 0: the same, None: cannot be told."""
    if a.latency_ms is not None and b.latency_ms is not None:
        if a.latency_ms[2] < b.latency_ms[0]:
            return 1
        return -1 if b.latency_ms[2] < a.latency_ms[0] else None
    if a.latency_ms is None and b.latency_ms is None:
        return (a.bytes < b.bytes) - (a.bytes > b.bytes)
    return None


def _accuracy(a: Point, b: Point, confidence: float) -> int | None:
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return 0 if a.correct is None and b.correct is None else None
    if bool((a.correct == b.correct).all()):
        return 0
    low, _, high = difference(a.correct, b.correct, confidence)
    if low > 0:
        return 1
    return -1 if high < 0 else None


def dominated_by(points: Sequence[Point], confidence: float = 0.95) -> list[int | None]:
    """Return for each point the index of the first that dominates it; None: worth shipping."""
    return [
        next((j for j, other in enumerate(points) if dominates(other, point, confidence)), None)
        for point in points
    ]


def told_apart(a: Point, b: Point) -> str | None:
    """Say what is missing to tell the accuracies of two points apart; None where they are told.

    None too where they saw different pictures, as one that --adaptive dropped did.
    """
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return None
    if _accuracy(a, b, 0.95) in (1, -1):
        return None
    count = len(a.correct)
    if bool((a.correct == b.correct).all()):
        return f"{a.label} and {b.label} are right on the same {count} pictures"
    more = pictures_needed(a.correct, b.correct)
    rest = "they are right equally often" if more is None else f"{more:,} more would"
    return f"{a.label} and {b.label} cannot be told apart with these {count} pictures: {rest}"


@dataclass(frozen=True)
class Budgets:
    """Upper bounds of latency (ms), size and arena (bytes), and the least top-1 (percent)."""

    ms: float | None = None
    size: int | None = None
    arena: int | None = None
    top1: float | None = None

    def __bool__(self) -> bool:
        return any(v is not None for v in (self.ms, self.size, self.arena, self.top1))

    def hopeless(self, point: Point, confidence: float) -> bool:
        """Whether ``point`` surely misses a budget."""
        interval = point.accuracy_interval(confidence)
        late = (
            self.ms is not None and point.latency_ms is not None and point.latency_ms[0] > self.ms
        )
        large = self.size is not None and point.bytes > self.size
        wide = self.arena is not None and point.arena is not None and point.arena > self.arena
        poor = self.top1 is not None and interval is not None and 100 * interval[1] < self.top1
        return late or large or wide or poor

    def missed(self, point: Point) -> str | None:
        """Return the budget that ``point`` misses, or is not sure to keep, in words; None: it fits."""
        if self.ms is not None:
            if point.latency_ms is None:
                return "it was not timed"
            low, _, high = point.latency_ms
            if high > self.ms:
                sure = "takes" if low > self.ms else "may take"
                return f"it {sure} up to {high:.3g} ms of {self.ms:g}"
        if self.size is not None and point.bytes > self.size:
            return f"it has {point.bytes / 1e6:.2f} MB of {self.size / 1e6:.2f}"
        if self.arena is not None:
            if point.arena is None:
                return "its arena is not known"
            if point.arena > self.arena:
                return f"its arena is {point.arena / 1024:.0f} KiB of {self.arena / 1024:.0f}"
        if self.top1 is not None:
            interval = point.accuracy_interval()
            if interval is None:
                return "its accuracy is not known"
            if 100 * interval[0] < self.top1:
                sure = "has" if 100 * interval[1] < self.top1 else "may have"
                return f"it {sure} {100 * interval[0]:.1f} % of the {self.top1:g} % wanted"
        return None


def lost(points: Sequence[Point], budgets: Budgets, confidence: float) -> list[bool]:
    """Return which cells further measurement surely cannot make the answer.

    Without budgets the dominated ones. With them also those that surely miss one, and those surely
    less accurate than a cell that surely keeps all. Surely: by intervals of ``confidence``.
    """
    found = [index is not None for index in dominated_by(points, confidence)]
    if not budgets:
        return found
    keeping = [p for p in points if budgets.missed(p) is None and p.correct is not None]
    for place, point in enumerate(points):
        better = any(_accuracy(other, point, confidence) == 1 for other in keeping)
        found[place] = found[place] or better or budgets.hopeless(point, confidence)
    return found


def pick(points: Sequence[Point], budgets: Budgets) -> int | None:
    """Return the index of the cell to ship: of those within ``budgets`` the most accurate.

    Among those that are right equally often the fastest, then the smallest. None where none fits.
    """
    fitting = [i for i, point in enumerate(points) if budgets.missed(point) is None]

    def order(index: int) -> tuple[float, float, int, int]:
        point = points[index]
        latency = math.inf if point.latency_ms is None else point.latency_ms[1]
        return (-(point.accuracy or 0.0), latency, point.bytes, index)

    return min(fitting, key=order, default=None)
