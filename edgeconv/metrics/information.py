"""What the values of an output can tell apart: few levels hide behind much signal."""

import math

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.pairs import Reals, check_pair

FEWEST_VALUES = 32
"""Fewer values than this have too few bits to lose one for sure."""
MOST_VALUES = 1 << 20
"""More are not looked at, evenly spread samples are."""


def lost_bits(promise: Reals, other: Reals, name: str = "output", most: float = math.inf) -> float:
    """How many bits the values of ``other`` hold less than those promised, by the entropy of each side's values.

    Values are (samples, ...). Where the promise has its commonest value (a ReLU's zero) nothing is looked at. A side
    with half the levels loses one bit; noise, a shift and a scale lose none. No more than ``most`` bits count as promised.

    >>> wanted = np.random.default_rng(0).normal(size=(50, 20)).round(2)
    >>> round(lost_bits(wanted, wanted.round(1)), 1), lost_bits(wanted, wanted + 1.0)
    (2.9, 0.0)
    """
    check_pair(name, promise, other)
    rows = len(promise) if promise.ndim else 1
    kept = max(1, min(rows, MOST_VALUES * rows // promise.size))
    chosen = np.linspace(0, rows - 1, kept).astype(np.intp)
    a, b = (side.reshape(rows, -1)[chosen].reshape(-1) for side in (promise, other))
    values, counts = np.unique(a, return_counts=True)
    moving = a != values[counts.argmax()]
    if moving.sum() < FEWEST_VALUES:
        return 0.0
    return max(0.0, min(_bits(a[moving]), most) - _bits(b[moving]))


def _bits(values: NDArray[np.generic]) -> float:
    shares = np.unique(values, return_counts=True)[1] / values.size
    return float(-(shares * np.log2(shares)).sum())
