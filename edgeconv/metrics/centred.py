"""Figures about what changes from sample to sample: a large mean hides a frozen output, here it does not.

Signal is the reference less its mean over the samples, element by element; noise is the whole error.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics.pairs import PIECE, Reals, check_pair

STILL = 2.0**-18
"""Below this share of its own size a reference counts as constant: what moves is float rounding."""
FEWEST_SAMPLES = 8
"""In fewer a sound place may stand still by chance."""


def sqnr_centred_db(reference: Reals, other: Reals, name: str = "output") -> float | None:
    """Signal about its mean over the samples to quantization noise, in dB.

    None where there are fewer than two samples or the reference does not change between them.

    >>> wanted = np.array([[101.0, 99.0], [99.0, 101.0]])
    >>> round(sqnr_centred_db(wanted, np.full((2, 2), 100.0)), 6)
    3.0103
    """
    check_pair(name, reference, other)
    signal = noise = whole = 0.0
    for a, b in _columns(reference, other):
        noise += float(np.square(a - b).sum())
        whole += float(np.square(a).sum())
        signal += float(np.square(a - a.mean(axis=0)).sum())
    count = len(reference)
    if signal <= whole * STILL**2:  # as of one sample, whose mean it is itself
        return None
    signal *= count / (count - 1)  # the mean of few samples swallows a share of the signal
    return 10.0 * math.log10(signal / noise) if noise > 0.0 else math.inf


def sqnr_centred_high_db(reference: Reals, other: Reals, centred: float) -> float:
    """Return the upper end of the 95 % interval of ``centred``, which is ``sqnr_centred_db`` of both, in dB.

    By the standard error of the ratio of noise to signal, from how much samples differ: few of them may hold most of
    the noise. Of fewer than FEWEST_SAMPLES by ``variance_slack_db``.
    """
    count = len(reference)
    if count < FEWEST_SAMPLES or centred == math.inf:
        return centred + variance_slack_db(count)
    noise, signal = np.zeros(count), np.zeros(count)
    for a, b in _columns(reference, other):
        noise += np.square(a - b).sum(axis=1)
        signal += np.square(a - a.mean(axis=0)).sum(axis=1)
    beside = np.linalg.norm(noise / noise.sum() - signal / signal.sum())
    left = 1.0 - 1.645 * float(beside) * math.sqrt(count / (count - 1))
    return centred - 10.0 * math.log10(left) if left > 0.0 else math.inf


def variance_slack_db(count: int) -> float:
    """How much larger a variance than that of ``count`` samples may be, in dB, at 95 %.

    By the chi-squared distribution (Wilson and Hilferty's approximation): signal that few samples
    happen not to show is no noise of the file.

    >>> [round(variance_slack_db(n), 1) for n in (3, 12, 200)]
    [14.0, 3.8, 0.8]
    """
    k = count - 1
    share = max(0.03, 1.0 - 2.0 / (9.0 * k) - 1.645 * math.sqrt(2.0 / (9.0 * k))) ** 3
    return -10.0 * math.log10(share)


def row_sqnr_db(reference: Reals, other: Reals, name: str = "output") -> NDArray[np.float64]:
    """The plain SQNR of each sample, in dB; infinite where nothing differs.

    >>> row_sqnr_db(np.array([[10.0], [10.0]]), np.array([[10.0], [11.0]]))
    array([inf, 20.])
    """
    check_pair(name, reference, other)
    signal, noise = np.zeros(len(reference)), np.zeros(len(reference))
    for a, b in _columns(reference, other):
        signal += np.square(a).sum(axis=1)
        noise += np.square(a - b).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: NDArray[np.float64] = 10.0 * np.log10(signal / noise)
    found[noise == 0.0] = math.inf
    return found


def lost_channels(
    reference: Reals, other: Reals, axis: int = 1, name: str = "output", least: float = 0.0
) -> int:
    """How many channels along ``axis`` the other has lost: at least as much noise as signal.

    Only channels that move at least half as much as the median one count: what hardly moves is
    below the step of any scale that fits the rest. So does what moves by less than ``least``.

    >>> wanted = np.random.default_rng(0).normal(size=(50, 4))
    >>> frozen = wanted.copy()
    >>> frozen[:, 1] = 0.0
    >>> lost_channels(wanted, frozen), lost_channels(wanted, wanted + 0.1)
    (1, 0)
    """
    check_pair(name, reference, other)
    count = reference.shape[axis]
    signal, noise, moved = np.zeros(count), np.zeros(count), np.zeros(count)
    for channel in range(count):
        a = reference.take(channel, axis).astype(np.float64).reshape(len(reference), -1)
        b = other.take(channel, axis).astype(np.float64).reshape(len(reference), -1)
        signal[channel] = np.square(a - a.mean(axis=0)).sum()
        noise[channel] = np.square(a - b).sum()
        moved[channel] = np.ptp(a, axis=0).max(initial=0.0)
    if len(reference) < 2:
        return 0
    signal *= len(reference) / (len(reference) - 1)
    lively = (signal >= 0.25 * np.median(signal)) & (moved >= least)
    return int((lively & (signal > 0.0) & (noise >= 0.9 * signal)).sum())


def dead_places(promise: Reals, other: Reals, axis: int = 1) -> int:
    """How many places of a map stand still in every channel along ``axis`` where what was promised moves.

    A channel tells of the places where it moves 12 dB above the noise of its median place, and no 13 dB less than on
    average: what hardly moves at a border, or below a step, may stand still. So may what moves in fewer than three
    samples (the fourth moment says so): a map with few active places rounds some of them away.

    >>> wanted = np.random.default_rng(0).normal(size=(50, 2, 16))
    >>> frozen = wanted.copy()
    >>> frozen[:, :, 3] = 0.0
    >>> dead_places(wanted, frozen), dead_places(wanted, wanted + 0.1)
    (1, 0)
    """
    places = promise[0].size // promise.shape[axis]
    moving, still = np.zeros(places, int), np.zeros(places, int)
    if len(promise) < FEWEST_SAMPLES:
        return 0
    for channel in range(promise.shape[axis]):
        a = promise.take(channel, axis).astype(np.float64).reshape(len(promise), -1)
        b = other.take(channel, axis).astype(np.float64).reshape(len(promise), -1)
        noise, squares = np.square(a - b).mean(axis=0), np.square(a - a.mean(axis=0))
        moves = squares.mean(axis=0)
        lively = (moves > 0.05 * moves.mean()) & (moves > 16.0 * np.median(noise))
        lively &= squares.sum(axis=0) ** 2 >= 3.0 * np.square(squares).sum(axis=0)
        moving += lively
        still += lively & (b.var(axis=0) <= 0.01 * moves)
    return int(((moving > 0) & (still == moving)).sum())


def _columns(reference: Reals, other: Reals) -> Iterator[tuple[Reals, Reals]]:
    """Yield both as float64 (samples, some elements), a piece at a time."""
    a, b = reference.reshape(len(reference), -1), other.reshape(len(reference), -1)
    step = max(1, PIECE // len(a))
    for start in range(0, a.shape[1], step):
        part = slice(start, start + step)
        yield a[:, part].astype(np.float64), b[:, part].astype(np.float64)
