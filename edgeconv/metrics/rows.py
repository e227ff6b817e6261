"""Rows of an output, along any axis but the samples': what is wrong in one is little over all of them."""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.pairs import Reals
from edgeconv.metrics.shares import FEWEST_ROWS

Array = NDArray[Any]
MOST_ROWS = 1024
"""Longer axes are positions of which each holds little."""
SURELY = NormalDist().inv_cdf(1 - 1e-5)
"""Of some hundred rows none is called wrong by chance."""
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
        floor = np.maximum(implied, max(float(implied.mean()), least**2))
        if floor.min() > 0.0 and (ratio := float((beside / floor).max())) > 1.0:
            worst = max(worst, 10.0 * math.log10(ratio))
    return worst


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
        floor = np.maximum(implied, max(float(implied.mean()), least**2))
        if (axis == 1 and reference.ndim != 3) or floor.min() <= 0.0:
            continue
        ratios = beside / floor
        most = float(ratios.max())
        if most > max(1.0, ODD * float(np.median(ratios))):
            worst = max(worst, 10.0 * math.log10(most))
    return worst


def _places(array: Reals) -> list[int]:
    """Return the axes that have rows."""
    return [k for k in range(1, array.ndim) if 1 < array.shape[k] <= MOST_ROWS]


def _row_noise(a: Reals, b: Reals) -> Iterator[Array]:
    """Yield the mean squared difference of every row along each axis that has some."""
    axes = _places(a)
    sums = [np.zeros(a.shape[k]) for k in axes]
    for one, two in zip(a, b, strict=True):
        noise = np.square(np.subtract(one, two, dtype=np.float64))
        for total, axis in zip(sums, axes, strict=True):
            total += noise.sum(axis=tuple(k for k in range(noise.ndim) if k != axis - 1))
    for total, axis in zip(sums, axes, strict=True):
        yield total / (a.size // a.shape[axis])


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
    for axis in range(1, reference.ndim):
        if not 1 < reference.shape[axis] <= MOST_ROWS:
            continue
        rest = tuple(k for k in range(1, reference.ndim) if k != axis)
        apart, turned = (
            (first != second).mean(axis=rest)
            for first, second in ((promise, other), (reference, promise))
        )
        low = apart.mean(axis=0) - SURELY * apart.std(axis=0, ddof=1) / math.sqrt(count)
        worst = max(worst, float((low - 2.0 * turned.mean(axis=0)).max()))
    return worst
