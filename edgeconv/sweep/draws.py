"""What the rest of a sweep may still show: its end drawn many times from what was seen so far.

The pictures that were not seen yet follow the Polya posterior of those that were (Lo 1988, A Bayesian
bootstrap for a finite population, Ann. Statist. 16:1684), of all cells together: what two cells have in
common they keep. Where every cell was right or wrong alike, that alone would promise it for ever; so for each
cell half a picture that it alone is right on counts as seen, and half a one that it alone is wrong on, which
to each pair are the picture on either side of Bonett and Price (2012).
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics import wilson_interval
from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.choose import answers, inseparable
from edgeconv.sweep.point import Point, deviations

DRAWS = 2000
AT_ONCE = 1 << 22
"""Numbers of one array at a time, about."""


@dataclass(frozen=True)
class Left:
    """What is still to come: all ``pictures`` there are, and files timed anew, ``timed`` (cells,) for a share of that so far.

    What was timed whole stands.
    """

    pictures: int
    timed: NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """In which share of all draws each cell is the ``answer``, and takes no longer than its budget: (cells,) both."""

    answer: NDArray[np.float64]
    in_time: NDArray[np.float64]


@dataclass(frozen=True)
class _Urn:
    """Kinds of pictures: (cells, kinds) which cells are right on one, and how many of each kind were ``seen``.

    ``weights`` are those and the pictures that count as seen.
    """

    right: NDArray[np.float32]
    seen: NDArray[np.int64]
    weights: NDArray[np.float64]


def outlook(points: Sequence[Point], budgets: Budgets, left: Left) -> Outlook:
    """Return what may still come of each of ``points`` under ``budgets``."""
    generator = np.random.default_rng(0)
    urn = _urn(points)
    sizes = np.array([point.bytes for point in points])
    answer, in_time = np.zeros((2, len(points)))
    for draws in _parts(urn.right.shape[1]):
        numbers = urn.seen + _unseen(urn, left.pictures, draws, generator)
        right = numbers @ urn.right.T
        latency = _latencies(points, left.timed, draws, generator)
        on_time = latency[:, :, 2] <= (math.inf if budgets.ms is None else budgets.ms)
        order = answers(
            right / max(left.pictures, 1),
            latency,
            sizes,
            on_time & _fits(points, budgets, right, left.pictures),
            lambda first, n=numbers: _alike(urn, n, first, left.pictures),  # type: ignore[misc]
        )
        found = order[:, 0]
        answer += np.bincount(found[found >= 0], minlength=len(points))
        in_time += on_time.sum(axis=0)
    return Outlook(answer / DRAWS, in_time / DRAWS)


def _parts(kinds: int) -> Iterator[int]:
    """Yield how many draws to make at a time."""
    most = max(1, AT_ONCE // max(kinds, 1))
    for start in range(0, DRAWS, most):
        yield min(most, DRAWS - start)


def _urn(points: Sequence[Point]) -> _Urn:
    """Return what was seen; cells of one function are right or wrong together on what counts as seen."""
    known = [point.correct for point in points if point.correct is not None]
    count = len(known[0]) if known else 0
    rows = np.array([np.zeros(count, bool) if p.correct is None else p.correct for p in points])
    kinds, seen = np.unique(rows, axis=1, return_counts=True)
    names = [point.function or f" {place}" for place, point in enumerate(points)]
    own = np.array([[name == one for one in dict.fromkeys(names)] for name in names])
    right = np.concatenate([kinds, own, ~own], axis=1)
    more = 2 * own.shape[1]
    return _Urn(
        right.astype(np.float32),
        np.append(seen, np.zeros(more, np.int64)),
        np.append(seen, np.full(more, 0.5)),
    )


def _unseen(
    urn: _Urn, pictures: int, draws: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return how many of the pictures still to come are of each kind, (draws, kinds)."""
    shares = generator.standard_gamma(urn.weights, (draws, len(urn.weights)))
    shares /= shares.sum(axis=1, keepdims=True)
    return generator.multinomial(max(pictures - int(urn.seen.sum()), 0), shares)


def _latencies(
    points: Sequence[Point],
    timed: NDArray[np.float64],
    draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the intervals that timing for the whole time gives or would give: (draws, cells, 3)."""
    made = np.full((draws, len(points), 3), math.inf)
    for place, (point, share) in enumerate(zip(points, timed, strict=True)):
        if point.latency_ms is None:
            continue
        low, middle, high = point.latency_ms
        reach = math.sqrt(1 + share) / deviations(0.95) if share < 1 else 0.0
        moved = reach * generator.standard_normal(draws)
        again = middle + np.where(moved > 0, high - middle, middle - low) * moved
        shrunk = math.sqrt(share)
        made[:, place, 0] = again - shrunk * (middle - low)
        made[:, place, 1] = again
        made[:, place, 2] = again + shrunk * (high - middle)
    return made


def _fits(
    points: Sequence[Point],
    budgets: Budgets,
    right: NDArray[np.floating[Any]],
    pictures: int,
) -> NDArray[np.bool_]:
    """Return which cells keep all budgets but the latency's in each draw, (draws, cells), as ``Budgets.missed`` has it."""
    fixed = Budgets(size=budgets.size, arena=budgets.arena)
    fits = np.broadcast_to([fixed.missed(point) is None for point in points], right.shape)
    if budgets.top1 is not None:
        least = bisect.bisect_left(
            range(pictures + 1),
            budgets.top1,
            key=lambda n: 100 * wilson_interval(n, pictures)[0] if pictures else 0.0,
        )
        fits = fits & (right >= least) & [point.correct is not None for point in points]
    return fits


def _alike(
    urn: _Urn, numbers: NDArray[np.int64], first: NDArray[np.intp], pictures: int
) -> NDArray[np.bool_]:
    """Return which cells are as accurate as the ``first`` of each draw, as far as can be told."""
    made = np.empty((len(first), len(urn.right)), bool)
    for index in np.unique(first):
        rows = numbers[first == index]
        mine = urn.right[index]
        wins, losses = rows @ (mine * (1 - urn.right)).T, rows @ ((1 - mine) * urn.right).T
        made[first == index] = inseparable(wins, losses, max(pictures, 1))
    return made
