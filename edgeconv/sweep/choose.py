"""Which cells are worth shipping: pure functions of measured intervals and paired answers.

A cell is dominated only where the intervals say so; what cannot be told apart stays, with the number
of pictures that would tell.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.point import Point, deviations

EQUAL = 0.005
"""Accuracies that are known to differ by less than this, half a point, count as one."""


def difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (low, estimate, high) of the accuracy of ``first`` less that of ``second``, same pictures.

    The adjusted Wald interval for paired shares (Bonett and Price 2012, J. Educ. Behav. Stat. 37:479).
    """
    count = len(first)
    wins, losses = int((first & ~second).sum()), int((~first & second).sum())
    middle, half = adjusted(wins, losses, count, confidence)
    return float(middle - half), (wins - losses) / count, float(middle + half)


def adjusted(wins: Any, losses: Any, count: int, confidence: float = 0.95) -> tuple[Any, Any]:
    """Return the middle and the reach of the interval of ``difference``, of numbers or arrays of them."""
    p, q = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    reach = deviations(confidence) * np.sqrt(np.maximum(p + q - (p - q) ** 2, 0.0) / (count + 2))
    return p - q, reach


def pictures_needed(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> int:
    """Return how many more pictures would tell the two apart, as ``difference`` judges, if they go on as so far.

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

    def told(needed: int) -> bool:
        middle, reach = adjusted(wins * needed / count, losses * needed / count, needed)
        return bool(abs(middle) > reach)

    # the root of ``told`` from above: the roots of a sum's parts are no less than its own
    z2, lead = deviations(0.95) ** 2, abs(wins - losses) / count
    most = math.ceil((z2 * (wins + losses) / count / lead + math.sqrt(2 * z2)) / lead) + 1
    return bisect_left(range(most), True, lo=count + 1, key=told) - count


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


def _accuracy(a: Point, b: Point, confidence: float) -> int | None:
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return 0 if a.correct is None and b.correct is None else None
    low, _, high = difference(a.correct, b.correct, confidence)
    if bool((a.correct == b.correct).all()):
        known = a.function == b.function != "" or max(-low, high) < EQUAL
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
    where = "above"
    if middle < 0:
        low, middle, high, where = -high, -middle, -low, "below"
    return f"{middle:.1f} points [{low:.1f}, {high:.1f}] {where} {b.label}"


def lost(points: Sequence[Point], confidence: float) -> list[bool]:
    """Return which cells surely, by intervals of ``confidence``, are not worth shipping."""
    wide = [point.at(confidence) for point in points]
    return [index is not None for index in dominated_by(wide, confidence)]


def pick(points: Sequence[Point], budgets: Budgets) -> int | None:
    """Return the index of the cell to ship, the smallest of ``equals``; None where none keeps ``budgets``."""
    return next(iter(equals(points, budgets)), None)


def equals(points: Sequence[Point], budgets: Budgets) -> list[int]:
    """Return the cells between which ``answers`` chooses by size, the one to ship first."""
    if not points:
        return []
    latency = np.array([p.latency_ms or (math.inf,) * 3 for p in points])[None]

    def alike(first: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.array([[_alike(points[index], point) for point in points] for index in first])

    (order,) = answers(
        np.array([[point.accuracy or 0.0 for point in points]]),
        latency,
        np.array([point.bytes for point in points]),
        np.array([[budgets.missed(point) is None for point in points]]),
        alike,
    )
    return [int(index) for index in order if index >= 0]


def smaller(same: Sequence[Point]) -> str | None:
    """Say of which larger files the first of ``same`` cannot be told apart; None where there are none."""
    larger = [point for point in same if point.bytes > same[0].bytes]
    if not larger:
        return None
    known = {"latency": larger[0].latency_ms, "accuracy": larger[0].correct}
    what = " and ".join(name for name, value in known.items() if value is not None)
    names = ", ".join(point.label for point in larger)
    told = f" in {what}" if what else ""
    return f"{same[0].label} cannot be told apart{told} from {names}: the smaller file is named"


Alike = Callable[[NDArray[np.intp]], NDArray[np.bool_]]
"""Of a cell a draw (D,), whether each cell (D, N) is as accurate as that one as far as can be told."""


def answers(
    shares: NDArray[np.float64],
    latency: NDArray[np.float64],
    sizes: NDArray[np.int64],
    fits: NDArray[np.bool_],
    alike: Alike,
) -> NDArray[np.intp]:
    """Return the cells of each draw that may be shipped, (D, N): the one to ship first, -1 for all others.

    Of those that fit the one with the largest share of right answers, of equals the fastest, then the
    smallest; and of those that cannot be told apart from it in latency and accuracy, the smallest.
    ``shares`` and ``fits`` are (D, N), ``latency`` (D, N, 3): low, estimate and high, infinite where not timed.
    """
    low, middle, high = np.moveaxis(np.broadcast_to(latency, (*shares.shape, 3)), 2, 0)
    large = np.broadcast_to(sizes, shares.shape)
    first = _ranked((-shares, middle, large), fits)[:, 0]
    rows = np.arange(len(shares))
    slowest, fastest = high[rows, first][:, None], low[rows, first][:, None]
    equal = fits & (low <= slowest) & (high >= fastest) & alike(first)
    order = _ranked((large, -shares, middle), equal)
    return np.where(np.take_along_axis(equal, order, 1), order, -1)


def _ranked(keys: tuple[NDArray[Any], ...], among: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the places of each row (D, N) by ``keys``, the first above all; those that are not ``among`` last."""
    return np.lexsort((*reversed(keys), ~among), axis=1)


def _alike(a: Point, b: Point) -> bool:
    """Whether ``a`` and ``b`` differ by less than EQUAL and cannot be told apart in accuracy."""
    if a.correct is None or b.correct is None or len(a.correct) != len(b.correct):
        return a.correct is None and b.correct is None
    wins, losses = int((a.correct & ~b.correct).sum()), int((~a.correct & b.correct).sum())
    return bool(inseparable(wins, losses, len(a.correct)))


def inseparable(wins: Any, losses: Any, count: int) -> Any:
    """Whether paired answers differ by less than EQUAL and not surely; of numbers or arrays of them."""
    middle, reach = adjusted(wins, losses, count)
    return (abs(wins - losses) < EQUAL * count) & (abs(middle) <= reach) | (wins == losses)
