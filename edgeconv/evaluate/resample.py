"""Intervals of measures that are no mean over pictures: the pictures are drawn again and again."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DRAWS = 200
TAIL = 0.025


def draws(pictures: int, seed: int = 0) -> NDArray[np.int64]:
    """Return how often each picture is drawn in every resampling, (DRAWS, pictures).

    >>> drawn = draws(4)
    >>> drawn.shape, set(drawn.sum(axis=1).tolist())
    ((200, 4), {4})
    """
    return np.random.default_rng(seed).multinomial(pictures, [1 / pictures] * pictures, DRAWS)


def interval(values: Array) -> tuple[float, float]:
    """Return the 95 % interval of a measure in all resamplings; NaN is one in which it has no value.

    >>> interval(np.linspace(0.0, 1.0, 41))
    (0.025, 0.975)
    """
    low, high = np.nanquantile(values, (TAIL, 1.0 - TAIL))
    return round(float(low), 12), round(float(high), 12)
