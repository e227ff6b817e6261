"""Rows of an output, along any axis but the samples': what is wrong in one is little over all of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.pairs import Reals
from edgeconv.metrics.shares import FEWEST_ROWS

Array = NDArray[Any]
MANY_ROWS = 1024
"""Of longer axes (anchors, classes, samples of a sound) a row holds little, and one of many is loud by chance: the
lower end of its interval over the samples counts."""
BY_CHANCE = 1e-2
"""How likely one row of all along an axis is called wrong by chance, at most."""
ODD = 4.0
"""A row whose noise (mean square) is this many times that of the median row is not as the others."""


def worst_row_beyond_db(reference: Reals, promise: Reals, other: Reals, least: float) -> float:
    """How far the row is beyond what was promised that is farthest: noise of the file about it, to what it implies, dB.

    A row's own noise by the promise counts, but no less than the mean row's, or ``least`` (rms).

    >>> wanted = np.random.default_rng(0).normal(size=(20, 3, 16))
    >>> swapped = wanted.copy()
    >>> swapped[:, :, [4, 5]] = wanted[:, :, [5, 4]]
    >>> worst_row_beyond_db(wanted, wanted, swapped, 0.1) > 20, worst_row_beyond_db(wanted, wanted, wanted, 0.1)
    (True, 0.0)
    """
    worst = 0.0
    for implied, beside in zip(
        _row_noise(reference, promise), _row_noise(promise, other), strict=True
    ):
        floor = np.maximum(implied.mean, max(float(implied.mean.mean()), least**2))
        if floor.min() > 0.0 and (ratio := float((beside.low / floor).max())) > 1.0:
            worst = max(worst, 10.0 * math.log10(ratio))
    return worst


def worst_sample_beyond_db(reference: Reals, promise: Reals, other: Reals, least: float) -> float:
    """How far the sample is from the promise that is farthest, above what that loses of any sample, dB; no less than 0.

    One picture of a hundred that is another's adds next to nothing to a coarse recipe's noise over all.

    >>> wanted = np.random.default_rng(0).normal(size=(100, 16))
    >>> wrong = wanted.copy()
    >>> wrong[7] = wanted[6]
    >>> worst_sample_beyond_db(wanted, wanted + 0.2, wrong + 0.2, 0.1) > 10
    True
    >>> worst_sample_beyond_db(wanted, wanted + 0.2, wanted, 0.1)
    0.0
    """
    pairs = [(reference, promise), (promise, other)]
    implied, beside = (
        max(
            float(np.square(np.subtract(x, y, dtype=np.float64)).mean())
            for x, y in zip(*pair, strict=True)
        )
        for pair in pairs
    )
    floor = max(implied, least**2)
    if beside <= floor:
        return 0.0
    return 10.0 * math.log10(beside / floor) if floor > 0.0 else math.inf


def odd_place_beyond_db(reference: Reals, promise: Reals, other: Reals, least: float) -> float:
    """The same of a row of places (a map's row or column, a token), where it stands ODD_DB above the median row; else 0.

    Axis 1 holds no places, but of (samples, ..., ...) either may. What is wrong at a border is wrong in one row alone.

    >>> wanted = np.random.default_rng(0).normal(size=(20, 3, 16))
    >>> sound, wrong = wanted + 0.1, wanted + 0.1
    >>> wrong[:, :, 15] += 0.5
    >>> odd_place_beyond_db(wanted, sound, wrong, 0.1) > 10, odd_place_beyond_db(wanted, sound, sound + 0.5, 0.1)
    (True, 0.0)
    """
    worst = 0.0
    sides = zip(
        _places(reference), _row_noise(reference, promise), _row_noise(promise, other), strict=True
    )
    for axis, implied, beside in sides:
        floor = np.maximum(implied.mean, max(float(implied.mean.mean()), least**2))
        if (axis == 1 and reference.ndim != 3) or floor.min() <= 0.0:
            continue
        most = float((beside.low / floor).max())
        if most > max(1.0, ODD * float(np.median(beside.mean / floor))):
            worst = max(worst, 10.0 * math.log10(most))
    return worst


@dataclass(frozen=True)
class _Noise:
    """Mean squared difference of every row along an axis, and what it surely is at least: of few rows the same."""

    mean: Array
    low: Array


def _places(array: Reals) -> list[int]:
    """Return the axes that have rows."""
    return [k for k in range(1, array.ndim) if array.shape[k] > 1]


def _surely(rows: int) -> float:
    """Return how many standard errors no row of so many is away by chance; of some hundred as of a thousand."""
    return NormalDist().inv_cdf(1 - BY_CHANCE / max(rows, MANY_ROWS))


def _row_noise(a: Reals, b: Reals) -> Iterator[_Noise]:
    """Yield the noise of every row along each axis that has some."""
    axes, count = _places(a), len(a)
    sums = [np.zeros(a.shape[k]) for k in axes]
    squares = [np.zeros(a.shape[k]) for k in axes]
    for one, two in zip(a, b, strict=True):
        noise = np.square(np.subtract(one, two, dtype=np.float64))
        for total, square, axis in zip(sums, squares, axes, strict=True):
            own = noise.sum(axis=tuple(k for k in range(noise.ndim) if k != axis - 1))
            total += own
            square += own * own
    for total, square, axis in zip(sums, squares, axes, strict=True):
        low = total
        if len(total) > MANY_ROWS:
            low = np.zeros_like(total)
            if count >= FEWEST_ROWS:
                varies = np.maximum(square - total * total / count, 0.0)
                low = total - _surely(len(total)) * np.sqrt(varies * count / (count - 1))
        values = a.size // a.shape[axis]
        yield _Noise(total / values, low / values)


def turned_row_low(reference: Reals, promise: Reals, other: Reals) -> float:
    """Lower end of the share of labels of a row that differ from the promise, less twice what that turns, of the worst row.

    The interval, which holds for some hundred rows at once, is that of the samples' shares.

    >>> wanted = np.random.default_rng(0).integers(0, 2, (60, 8, 8))
    >>> swapped = wanted.copy()
    >>> swapped[:, [4, 5]] = wanted[:, [5, 4]]
    >>> turned_row_low(wanted, wanted, swapped) > 0.3, turned_row_low(wanted, wanted, wanted)
    (True, 0.0)
    """
    count, worst = len(reference), 0.0
    if count < FEWEST_ROWS:
        return worst
    for axis in _places(reference):
        rest = tuple(k for k in range(1, reference.ndim) if k != axis)
        apart, turned = (
            (first != second).mean(axis=rest)
            for first, second in ((promise, other), (reference, promise))
        )
        error = apart.std(axis=0, ddof=1) / math.sqrt(count)
        low = apart.mean(axis=0) - _surely(reference.shape[axis]) * error
        worst = max(worst, float((low - 2.0 * turned.mean(axis=0)).max()))
    return worst
