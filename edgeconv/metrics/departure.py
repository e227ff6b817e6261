"""How a file departs from its recipe in float, against what the recipe itself loses: by how samples differ, and alike in all."""

import math

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.centred import FEWEST_SAMPLES
from edgeconv.metrics.pairs import PIECE, Reals

CHANCE = 3.84
"""What chance makes of a squared mean at most, in 95 of 100, over its own variance: chi squared of one degree, for an
output's values may all move together."""


def below_floor_low_db(reference: Reals, promise: Reals, other: Reals, least: float) -> float:
    """Lower end of the 95 % interval of how much more noise the file holds than its recipe in float, dB; no less than 0.

    By how both noises differ from sample to sample: where roundings fall apart a few samples may hold most of
    either. What the recipe loses counts as no less than ``least`` (rms). 0 of fewer than 8 samples.

    >>> rng = np.random.default_rng(0)
    >>> wanted = np.zeros((50, 16))
    >>> sound, once, twice = (k * rng.normal(size=(50, 16)) for k in (1, 1, 2))
    >>> below_floor_low_db(wanted, sound, twice, 0.1) > 5, below_floor_low_db(wanted, sound, once, 0.1) < 0.5
    (True, True)
    >>> once[3] = 8.0
    >>> below_floor_low_db(wanted, sound, once, 0.1)
    0.0
    """
    if len(reference) < FEWEST_SAMPLES:
        return 0.0
    noise, implied = _each(reference, other), _each(reference, promise)
    if implied.mean() < least**2:
        implied = np.full_like(implied, least**2)
    if noise.sum() <= implied.sum():
        return 0.0
    if implied.sum() == 0.0:
        return math.inf
    count = len(noise)
    beside = float(np.linalg.norm(noise / noise.sum() - implied / implied.sum()))
    left = 1.0 - 1.645 * beside * math.sqrt(count / (count - 1))
    ratio = left * float(noise.sum() / implied.sum())
    return 10.0 * math.log10(ratio) if ratio > 1.0 else 0.0


def shift_to_floor(reference: Reals, promise: Reals, other: Reals, least: float) -> float:
    """What the file surely is off its recipe in float alike in all samples, over what the recipe loses (both rms).

    Roundings that fall apart leave nothing alike: what chance leaves of so many samples is taken off. What the
    recipe loses counts as no less than ``least`` (rms). 0 of fewer than 8 samples.

    >>> rng = np.random.default_rng(0)
    >>> wanted = np.zeros((50, 16))
    >>> sound, apart = (rng.normal(size=(50, 16)) for _ in range(2))
    >>> round(shift_to_floor(wanted, sound, sound + 0.7, 0.1), 1), shift_to_floor(wanted, sound, apart, 0.1) < 0.2
    (0.7, True)
    """
    count = len(reference)
    if count < FEWEST_SAMPLES:
        return 0.0
    alike = 0.0
    a, b = promise.reshape(count, -1), other.reshape(count, -1)
    step = max(1, PIECE // count)
    for start in range(0, a.shape[1], step):
        part = slice(start, start + step)
        off = np.subtract(b[:, part], a[:, part], dtype=np.float64)
        alike += float(
            (np.square(off.mean(axis=0)) - CHANCE / count * off.var(axis=0, ddof=1)).sum()
        )
    floor = max(float(_each(reference, promise).mean()), least**2)
    shift = max(0.0, alike / a.shape[1])
    if shift == 0.0:
        return 0.0
    return math.sqrt(shift / floor) if floor > 0.0 else math.inf


def _each(reference: Reals, other: Reals) -> NDArray[np.float64]:
    """Return the mean squared difference of each sample."""
    pairs = zip(reference, other, strict=True)
    found: NDArray[np.float64] = np.array(
        [float(np.square(np.subtract(a, b, dtype=np.float64)).mean()) for a, b in pairs]
    )
    return found
