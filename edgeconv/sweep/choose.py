"""Which cells are worth shipping: pure functions of measured intervals and paired answers.

A cell is dominated only where the intervals say so; what cannot be told apart stays, with the number
of pictures that would tell.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.point import Point, deviations

EQUAL = 0.005
"""Accuracies that are known to differ by less than this, half a point, count as one."""


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
    half = deviations(confidence) * math.sqrt(max(p + q - (p - q) ** 2, 0.0) / (count + 2))
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
        reach = deviations(0.95) / EQUAL
        needed = math.ceil(
            (reach**2 * shares + math.sqrt((reach**2 * shares) ** 2 + 8 * reach**2)) / 2
        )
        return max(needed - 2 - count, 1)
    mean = (wins - losses) / count
    variance = (wins + losses) / count - mean**2
    needed = math.ceil(deviations(0.95) ** 2 * variance / mean**2)
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
