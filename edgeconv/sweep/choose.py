"""Which cells are worth shipping: pure functions of measured intervals and paired answers.

A cell is dominated only where the intervals say so; what cannot be told apart stays, with the number
of pictures that would tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics import wilson_interval

EQUAL = 0.005
"""Accuracies that are known to differ by less than this, half a point, count as one."""


@dataclass(frozen=True)
class Point:
    """One cell as it is judged. ``correct`` says for each picture whether it was right, None: not known.

    ``latency_ms`` is (low, estimate, high), None where the cell was not timed. ``arena`` in bytes. Cells of
    one ``function`` compute the same but for rounding; "": no other cell does.
    """

    label: str
    latency_ms: tuple[float, float, float] | None
    correct: NDArray[np.bool_] | None
    bytes: int
    arena: int | None = None
    function: str = ""

    def at(self, confidence: float) -> "Point":
        """Return the cell with the 95 % interval of its latency stretched to ``confidence``."""
        if self.latency_ms is None:
            return self
        low, middle, high = self.latency_ms
        times = _deviations(confidence) / _deviations(0.95)
        return replace(
            self,
            latency_ms=(middle - times * (middle - low), middle, middle + times * (high - middle)),
        )

    @property
    def accuracy(self) -> float | None:
        """The share that was right."""
        return None if self.correct is None else float(self.correct.mean())

    def accuracy_interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Wilson's interval of ``accuracy``."""
        if self.correct is None:
            return None
        return wilson_interval(int(self.correct.sum()), len(self.correct), confidence)


def share_right(correct: Sequence[bool] | None) -> tuple[float, float, float] | None:
    """Return (low, estimate, high) of the share that was right, by Wilson's 95 % interval; None: not known.

    >>> [round(value, 2) for value in share_right([True, False])]
    [0.09, 0.5, 0.91]
    """
    if correct is None:
        return None
    low, high = wilson_interval(sum(correct), len(correct))
    return low, sum(correct) / len(correct), high


def _deviations(confidence: float) -> float:
    """How many standard deviations a two-sided interval of ``confidence`` reaches to each side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def difference(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    confidence: float = 0.95,
    of: int | None = None,
) -> tuple[float, float, float]:
    """Return (low, estimate, high) of the accuracy of ``first`` less that of ``second``, same pictures.

    The adjusted Wald interval for paired shares (Bonett and Price 2012, J. Educ. Behav. Stat. 37:479).
    With ``of``, of the difference on so many pictures from which these were drawn, not on all there could be.
    """
    count = len(first)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    p, q = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    half = _deviations(confidence) * math.sqrt(max(p + q - (p - q) ** 2, 0.0) / (count + 2))
    half *= 1.0 if of is None else math.sqrt(max(1 - count / of, 0.0))
    return p - q - half, (wins - losses) / count, p - q + half


def pictures_needed(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> int:
    """Return how many more pictures would tell the two apart if they go on as so far.

    Where they are right equally often: how many would show that they differ by less than EQUAL.
    """
    count = len(first)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    if wins == losses:
        # as ``difference`` of so many, with a picture more to each side
        shares = (wins + losses) / count
        reach = _deviations(0.95) / EQUAL
        needed = math.ceil(
            (reach**2 * shares + math.sqrt((reach**2 * shares) ** 2 + 8 * reach**2)) / 2
        )
        return max(needed - 2 - count, 1)
    mean = (wins - losses) / count
    variance = (wins + losses) / count - mean**2
    needed = math.ceil(_deviations(0.95) ** 2 * variance / mean**2)
    return max(needed - count, 1)


def dominates(a: Point, b: Point, confidence: float = 0.95) -> bool:
    """Whether ``a`` is surely no worse than ``b`` in accuracy and cost, and surely better in one.

    Cost is latency where both were timed, bytes where neither was. Surely: by intervals of
    ``confidence``; those right on the same pictures are equally accurate if they compute one
    function, or if these are so many that they differ by less than EQUAL.
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


def _accuracy(a: Point, b: Point, confidence: float, of: int | None = None) -> int | None:
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return 0 if a.correct is None and b.correct is None else None
    low, _, high = difference(a.correct, b.correct, confidence, of)
    if bool((a.correct == b.correct).all()):
        known = a.function == b.function != "" or (of is None and max(-low, high) < EQUAL)
        return 0 if known else None
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
    told, count = _accuracy(a, b, 0.95), len(a.correct)
    if told == 0:
        return f"{a.label} and {b.label} are right on the same {count} pictures"
    if told is not None:
        return None
    more = f"{pictures_needed(a.correct, b.correct):,} more would"
    if a.accuracy == b.accuracy:
        more = f"they are right equally often, {more} show that within half a point"
    return f"{a.label} and {b.label} cannot be told apart with these {count} pictures: {more}"


def over(a: Point, b: Point) -> str | None:
    """Say by how many points ``a`` is more often right than ``b``; None where that is not known."""
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return None
    low, middle, high = (100 * value for value in difference(a.correct, b.correct))
    return f"{middle:.1f} points [{low:.1f}, {high:.1f}] above {b.label}"


def below(figure: float, bound: float) -> str:
    """Return by how many percent ``figure`` is below ``bound``: 100 and 0 only where it is so.

    >>> below(6, 10), below(0.023, 5), below(9.98, 10), below(10, 10)
    ('40', '99.5', '0.2', '0')
    """
    share = 100 * (1 - figure / bound)
    digits = next((n for n in range(4) if 0 < round(share, n) < 100), 0)
    return f"{share:.{digits}f}"


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


def lost(points: Sequence[Point], budgets: Budgets, confidence: float, of: int) -> list[bool]:
    """Return which cells further measurement, of up to ``of`` pictures, surely cannot make the answer.

    Without budgets the dominated ones. With them those that surely miss one, and those that a cell which
    surely keeps all surely beats: it is right more often, or as often and cheaper. Surely: by intervals
    of ``confidence``.
    """
    wide = [point.at(confidence) for point in points]
    if not budgets:
        return [index is not None for index in dominated_by(wide, confidence)]
    keeping = [point for point in wide if budgets.missed(point) is None]

    def beaten(point: Point, by: Point) -> bool:
        accuracy = _accuracy(by, point, confidence, of)
        return accuracy == 1 or (accuracy == 0 and _cost(by, point) == 1)

    return [
        budgets.hopeless(point, confidence) or any(beaten(point, other) for other in keeping)
        for point in wide
    ]


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
