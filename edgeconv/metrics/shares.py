"""What a count of pictures allows to say: intervals of shares, and tests of paired ones."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.metrics.pairs import Reals, check_pair

FEWEST_ROWS = 8
"""Of fewer samples the spread of their shares says nothing."""
FEWEST_PLACES, FEWEST_SAMPLES = 10, 3
"""Fewer places, or places in fewer samples, make no label of which something is known."""
LOST = 0.25
"""What a label keeps less of its places than was promised, at least, where it is called lost."""


def wilson_interval(
    successes: float, count: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927, JASA 22:209).

    Unlike the normal approximation it stays inside 0..1 and is honest at 0 and 100 %.

    >>> low, high = wilson_interval(99, 100)
    >>> round(low, 3), round(high, 3)
    (0.946, 0.998)
    """
    if not 0 <= successes <= count or count == 0:
        raise EdgeconvError(f"{successes:g} of {count:g} is no share")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    low = 0.0 if successes == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if successes == count else min(1.0, (middle + half) / scale)
    return low, high


def exact_low(successes: int, count: int, confidence: float = 0.95) -> float:
    """Lower end of the exact interval for a share (Clopper and Pearson 1934, Biometrika 26:404).

    Wilson's is too high for one or two of few: of a share of 1 % one of 17 comes by chance every sixth time.

    >>> [round(exact_low(k, 17), 4) for k in (0, 1, 2)], round(wilson_interval(1, 17)[0], 4)
    ([0.0, 0.0015, 0.0146], 0.0105)
    """
    steps = np.arange(1, successes)
    ways = np.cumsum(np.r_[0.0, np.log((count + 1 - steps) / steps)])
    fewer, low, high = np.arange(successes), 0.0, successes / count
    for _ in range(50):
        share = (low + high) / 2
        with np.errstate(divide="ignore"):
            chance = np.exp(ways + fewer * np.log(share) + (count - fewer) * np.log1p(-share))
        low, high = (low, share) if 1.0 - chance.sum() > (1 - confidence) / 2 else (share, high)
    return low


def equal_share(reference: Reals, other: Reals, name: str = "output") -> tuple[float, float, float]:
    """Share of values that are equal, and the ends of its 95 % interval: for indices, labels and masks.

    The interval counts samples, (samples, ...), as Wilson's does: values of one sample are no independent
    draws, and no share of theirs varies more than one that is all or nothing.

    >>> equal_share(np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]]))[0]
    0.75
    """
    check_pair(name, reference, other)
    rows = len(reference) if reference.ndim else 1
    share = float((reference == other).mean())
    return share, *wilson_interval(share * rows, rows)


def differs_low(reference: Reals, other: Reals, name: str = "output") -> float:
    """Lower end of the 95 % interval of the share of values that differ, (samples, ...): see share_low.

    >>> wanted = np.zeros((20, 50), int)
    >>> other = wanted.copy()
    >>> other[:, 0] = 1
    >>> 0.008 < differs_low(wanted, other) < 0.02
    True
    """
    check_pair(name, reference, other)
    return share_low(reference != other)


def share_low(apart: NDArray[np.bool_]) -> float:
    """Lower end of the 95 % interval of the share of values (samples, ...) that are true.

    Wilson's over as many independent draws as the samples' own shares tell of (the design effect of
    cluster samples, Kish 1965): a map whose share hardly moves from sample to sample says more than one
    answer a sample does.
    """
    rows = len(apart) if apart.ndim else 1
    share, draws = float(apart.mean()), float(rows)
    if rows >= FEWEST_ROWS and 0.0 < share < 1.0:
        spread = float(apart.reshape(rows, -1).mean(axis=1).var(ddof=1))
        most = float(apart.size)
        draws = min(most, max(draws, share * (1 - share) * rows / spread)) if spread else most
    return wilson_interval(share * draws, draws)[0]


def lost_labels(reference: Reals, other: Reals, promise: Reals | None) -> int:
    """How many labels most of their places leave, in ``other`` and not in what was promised of it.

    Labels count that 10 places in 3 samples hold, of integers (samples, ...).

    >>> wanted = np.array([[0, 1, 1, 1, 1]] * 3)
    >>> lost_labels(wanted, np.zeros_like(wanted), None), lost_labels(wanted, wanted, None)
    (1, 0)
    """
    lost = 0
    for label, places in zip(*np.unique(reference, return_counts=True), strict=True):
        if places < FEWEST_PLACES:
            continue
        own = reference == label
        if own.reshape(len(reference), -1).any(axis=1).sum() < FEWEST_SAMPLES:
            continue
        kept = float((other[own] == label).mean())
        sound = 1.0 if promise is None else float((promise[own] == label).mean())
        lost += kept < 0.5 and sound - kept > LOST
    return lost


def lost_samples_low(reference: Reals, other: Reals, promise: Reals | None) -> float:
    """Lower end of the 95 % interval of the share of samples that lose most of what they hold beside the commonest label.

    Less twice the share that is lost in what was promised; samples count that hold 10 places of other labels.

    >>> wanted = np.zeros((50, 100), int)
    >>> wanted[:, :12] = 1
    >>> other = wanted.copy()
    >>> other[::10] = 0
    >>> lost_samples_low(wanted, other, None) > 0.03, lost_samples_low(wanted, wanted, None)
    (True, 0.0)
    """
    labels, counts = np.unique(reference, return_counts=True)
    rare = (reference != labels[counts.argmax()]).reshape(len(reference), -1)
    held = rare.sum(axis=1)
    asked = held >= FEWEST_PLACES
    if not asked.any():
        return 0.0

    def lost(side: Reals) -> int:
        same = (side == reference).reshape(len(reference), -1) & rare
        return int((2 * same.sum(axis=1) < held)[asked].sum())

    count = int(asked.sum())
    promised = 0 if promise is None else lost(promise)
    return max(0.0, wilson_interval(lost(other), count)[0] - 2.0 * promised / count)


def mcnemar_p(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Two-sided exact p-value that two classifiers err equally often on the same pictures.

    ``first`` and ``second`` say for each picture whether it was classified rightly. Under the null
    hypothesis the discordant pictures fall either way like a fair coin (McNemar 1947, exact
    binomial form): p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2).

    >>> mcnemar_p(np.array([True] * 10), np.array([False] * 6 + [True] * 4))
    0.03125
    """
    if first.shape != second.shape:
        raise EdgeconvError(f"{first.size} and {second.size} samples cannot be paired")
    only_first = int((first & ~second).sum())
    only_second = int((~first & second).sum())
    count, fewer = only_first + only_second, min(only_first, only_second)
    # integers of any size: 2**-1100 would be 0 as a float
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / int(2**count))
