"""How far two sets of outputs are apart. Pure functions of numpy arrays; every definition is here.

Arrays are (pictures, ...) and hold real values (dequantize first, see edgeconv/adapt.py). The first
argument is always the float reference. NaN and infinity raise, naming the output: a metric never
replaces or skips a value. Sums run in float64 over pieces, so that a large layer costs no copy.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError

Reals = NDArray[Any]
PIECE = 1 << 18
"""Elements that are widened to float64 at a time."""


def check_finite(name: str, values: Reals) -> None:
    """Raise EdgeconvError naming the output ``name`` where it holds NaN or infinity."""
    if values.dtype.kind != "f":
        return
    flat = values.reshape(-1)
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        if not np.isfinite(piece).all():
            place = start + int(np.argmin(np.isfinite(piece)))
            row = place // max(1, flat.size // max(1, len(values))) if values.ndim else 0
            what = "NaN" if np.isnan(flat[place]) else "infinity"
            raise EdgeconvError(f"output {name} holds {what}, first in row {row}")


def check_pair(name: str, reference: Reals, other: Reals) -> None:
    """Raise EdgeconvError naming the output unless both are finite, not empty and of one shape."""
    if reference.shape != other.shape:
        raise EdgeconvError(
            f"output {name} is {list(other.shape)} here and {list(reference.shape)} in the reference"
        )
    if reference.size == 0:
        raise EdgeconvError(f"output {name} is empty: there is nothing to compare")
    check_finite(f"{name} of the reference", reference)
    check_finite(name, other)


def _pieces(reference: Reals, other: Reals) -> Iterator[tuple[Reals, Reals]]:
    a, b = reference.reshape(-1), other.reshape(-1)
    for start in range(0, a.size, PIECE):
        stop = start + PIECE
        yield a[start:stop].astype(np.float64), b[start:stop].astype(np.float64)


def max_abs_error(reference: Reals, other: Reals, name: str = "output") -> float:
    """Largest abs(other - reference) of any element.

    >>> max_abs_error(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    0.5
    """
    check_pair(name, reference, other)
    return max(float(np.abs(a - b).max()) for a, b in _pieces(reference, other))


def value_range(reference: Reals) -> float:
    """Largest minus smallest value.

    >>> value_range(np.array([-1.0, 3.0]))
    4.0
    """
    return float(reference.max()) - float(reference.min())


def relative_error(reference: Reals, other: Reals, name: str = "output") -> float:
    """max_abs_error over the reference's value_range: a figure that no near-zero element blows up.

    Infinite where the reference is constant and the other differs, 0 where both are equal.

    >>> relative_error(np.array([-1.0, 3.0]), np.array([-1.0, 3.5]))
    0.125
    """
    error = max_abs_error(reference, other, name)
    spread = value_range(reference)
    if error == 0.0:
        return 0.0
    return error / spread if spread > 0.0 else math.inf


def sqnr_db(reference: Reals, other: Reals, name: str = "output") -> float:
    """Signal to quantization noise: 10 log10(sum reference^2 / sum (reference - other)^2), in dB.

    Infinite where nothing differs; -inf where the reference is all zero and the other is not.

    >>> round(sqnr_db(np.array([3.0, 4.0]), np.array([3.0, 4.5])), 6)
    20.0
    """
    check_pair(name, reference, other)
    signal = noise = 0.0
    for a, b in _pieces(reference, other):
        signal += float(a @ a)
        a -= b
        noise += float(a @ a)
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def rms_error(reference: Reals, other: Reals, name: str = "output") -> float:
    """Root of the mean squared difference, in the output's own unit.

    >>> rms_error(np.array([0.0, 0.0]), np.array([3.0, 3.0]))
    3.0
    """
    check_pair(name, reference, other)
    total = sum(float(np.square(a - b).sum()) for a, b in _pieces(reference, other))
    return math.sqrt(total / reference.size)


def cosine(reference: Reals, other: Reals, name: str = "output") -> float:
    """Cosine of the angle between both as one long vector each; 1 for two zero vectors, 0 for one.

    >>> cosine(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    0.0
    """
    check_pair(name, reference, other)
    both = first = second = 0.0
    for a, b in _pieces(reference, other):
        both += float(a @ b)
        first += float(a @ a)
        second += float(b @ b)
    if first == 0.0 or second == 0.0:
        return 1.0 if first == second else 0.0
    return min(1.0, max(-1.0, both / math.sqrt(first) / math.sqrt(second)))


@dataclass(frozen=True)
class Tolerance:
    """The smallest tolerances with which the outputs would pass, each on its own.

    ``absolute``: abs(other - reference) <= absolute. ``relative``: abs(other - reference) <=
    relative * abs(reference), infinite where the reference is 0 and the other is not.
    """

    absolute: float
    relative: float


def smallest_tolerance(reference: Reals, other: Reals, name: str = "output") -> Tolerance:
    """Return the smallest absolute and the smallest relative tolerance that pass element by element.

    >>> smallest_tolerance(np.array([1.0, 10.0]), np.array([1.5, 11.0]))
    Tolerance(absolute=1.0, relative=0.5)
    """
    check_pair(name, reference, other)
    absolute = relative = 0.0
    for a, b in _pieces(reference, other):
        b -= a
        np.abs(b, out=b)
        np.abs(a, out=a)
        absolute = max(absolute, float(b.max()))
        wrong = b > 0.0
        if (a[wrong] == 0.0).any():
            relative = math.inf
        elif wrong.any():
            relative = max(relative, float((b[wrong] / a[wrong]).max()))
    return Tolerance(absolute, relative)


@dataclass(frozen=True)
class Quanta:
    """Differences in steps of a scale: shares of elements, and the largest and mean number of steps."""

    equal: float
    within_one: float
    largest: float
    mean: float


def quanta_error(reference: Reals, other: Reals, scale: float, name: str = "output") -> Quanta:
    """Count the difference in quanta of ``scale`` (one step of the output's quantization).

    ``equal`` are within half a quantum, ``within_one`` within one and a half: the steps that lie
    between the two values once both are rounded to the grid.

    >>> quanta_error(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.5, 2.0, 4.0]), 0.5)
    Quanta(equal=0.5, within_one=0.75, largest=2.0, mean=0.75)
    """
    check_pair(name, reference, other)
    if not scale > 0.0:
        raise EdgeconvError(f"output {name} has the scale {scale}; a quantum must be above 0")
    equal = within = 0
    largest = total = 0.0
    for a, b in _pieces(reference, other):
        steps = np.abs(a - b) / scale
        equal += int((steps < 0.5).sum())
        within += int((steps < 1.5).sum())
        largest = max(largest, float(steps.max()))
        total += float(steps.sum())
    size = reference.size
    return Quanta(equal / size, within / size, largest, total / size)


def class_rows(scores: Reals, name: str = "output") -> Reals:
    """Return scores as (pictures, classes), dropping axes of length 1.

    >>> class_rows(np.zeros((5, 10, 1, 1))).shape
    (5, 10)
    """
    if scores.ndim >= 2:
        rows = scores.reshape(len(scores), -1)
        if rows.shape[1] > 1 and max(scores.shape[1:]) == rows.shape[1]:
            return rows
    raise EdgeconvError(
        f"output {name} is {list(scores.shape)}: no class scores, (pictures, classes)"
    )


def ranks(scores: Reals, classes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Place of ``classes`` (pictures,) in each row of ``scores``: 0 is the best.

    Equal scores are ordered by class index, as argmax does: quantized scores often tie.

    >>> ranks(np.array([[0.1, 0.7, 0.7]]), np.array([2]))
    array([1])
    """
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < classes[:, None]
    better = (scores > own) | ((scores == own) & earlier)
    places: NDArray[np.int64] = better.sum(axis=1).astype(np.int64)
    return places


def agreeing(reference: Reals, other: Reals, k: int = 1, name: str = "output") -> NDArray[np.bool_]:
    """For each picture: is the reference's best class among the other's ``k`` best?"""
    check_pair(name, reference, other)
    best = np.argmax(class_rows(reference, name), axis=1)
    inside: NDArray[np.bool_] = ranks(class_rows(other, name), best) < k
    return inside


def agreement(reference: Reals, other: Reals, k: int = 1, name: str = "output") -> float:
    """Share of pictures whose best class in the reference is among the other's ``k`` best.

    >>> agreement(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.1, 0.9], [0.4, 0.6]]))
    0.5
    """
    return float(agreeing(reference, other, k, name).mean())


def correct(scores: Reals, truth: NDArray[np.integer[Any]], k: int = 1) -> NDArray[np.bool_]:
    """For each picture of known ``truth`` (class >= 0): is it among the ``k`` best scores?"""
    known = truth >= 0
    rows = class_rows(scores)[known]
    if known.any() and int(truth[known].max()) >= rows.shape[1]:
        raise EdgeconvError(
            f"the truth names class {int(truth[known].max())}, the output has {rows.shape[1]} classes"
        )
    inside: NDArray[np.bool_] = ranks(rows, truth[known]) < k
    return inside


def wilson_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927, JASA 22:209).

    Unlike the normal approximation it stays inside 0..1 and is honest at 0 and 100 %.

    >>> low, high = wilson_interval(99, 100)
    >>> round(low, 3), round(high, 3)
    (0.946, 0.998)
    """
    if not 0 <= successes <= count or count == 0:
        raise EdgeconvError(f"{successes} of {count} is no share")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    low = 0.0 if successes == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if successes == count else min(1.0, (middle + half) / scale)
    return low, high


def mcnemar_p(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Two-sided exact p-value that two classifiers err equally often on the same pictures.

    ``first`` and ``second`` say for each picture whether it was classified rightly. Under the null
    hypothesis the discordant pictures fall either way like a fair coin (McNemar 1947, exact
    binomial form): p = min(1, 2 P(X <= min(b, c))), X ~ Binomial(b + c, 1/2).

    >>> mcnemar_p(np.array([True] * 10), np.array([False] * 6 + [True] * 4))
    0.03125
    """
    if first.shape != second.shape:
        raise EdgeconvError(f"{first.size} and {second.size} pictures cannot be paired")
    only_first = int((first & ~second).sum())
    only_second = int((~first & second).sum())
    count, fewer = only_first + only_second, min(only_first, only_second)
    # integers of any size: 2**-1100 would be 0 as a float
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / int(2**count))


def log_softmax(scores: Reals) -> NDArray[np.float64]:
    """Logarithm of the softmax of each row, in float64, without overflow."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def log_probabilities(scores: Reals) -> NDArray[np.float64]:
    """Logarithm of rows that are probabilities already; below 1e-9 counts as 1e-9.

    An INT8 softmax has steps of 1/256 and so holds exact zeros, whose logarithm no divergence
    survives; the floor bounds what one vanished class can cost.
    """
    values = np.maximum(scores.astype(np.float64), 1e-9)
    logs: NDArray[np.float64] = np.log(values / values.sum(axis=1, keepdims=True))
    return logs


def are_probabilities(scores: Reals) -> bool:
    """Whether every row is non-negative and sums to 1 within 2 %, as a softmax does."""
    rows = class_rows(scores)
    return bool(rows.min() >= 0.0 and np.abs(rows.sum(axis=1) - 1.0).max() < 0.02)


def kl_softmax(reference: Reals, other: Reals, name: str = "output") -> float:
    """Mean Kullback-Leibler divergence KL(reference || other) of the softmax of logits, in nats.

    Reference rows that are probabilities already are taken as they are, on both sides.

    >>> kl_softmax(np.array([[1.0, 2.0]]), np.array([[11.0, 12.0]]))
    0.0
    """
    check_pair(name, reference, other)
    a, b = class_rows(reference, name), class_rows(other, name)
    logs = log_probabilities if are_probabilities(a) else log_softmax
    total = 0.0
    step = max(1, PIECE // a.shape[1])
    for start in range(0, len(a), step):
        p, q = logs(a[start : start + step]), logs(b[start : start + step])
        total += float((np.exp(p) * (p - q)).sum())
    return max(0.0, total / len(a))  # rounding may leave -1e-17


def margins(scores: Reals, name: str = "output") -> NDArray[np.float64]:
    """Best minus second best score of each picture, in the output's unit.

    >>> margins(np.array([[1.0, 4.0, 2.5]]))
    array([1.5])
    """
    rows = class_rows(scores, name)
    top = np.partition(rows, rows.shape[1] - 2, axis=1)[:, -2:].astype(np.float64)
    gaps: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return gaps


def explained_margin(noise_rms: float, sigmas: float = 3.0) -> float:
    """Largest float margin that noise of ``noise_rms`` on each score explains a flip across.

    A flip needs the difference of two scores to move by the margin; two independent errors add to
    noise_rms * sqrt(2), taken ``sigmas`` times.

    >>> round(explained_margin(0.1), 4)
    0.4243
    """
    return sigmas * math.sqrt(2.0) * noise_rms


@dataclass(frozen=True)
class Flips:
    """Pictures whose best class changed, split by the reference's margin.

    ``explained``: margin at most ``threshold``; ``beyond``: more. ``rows`` are the pictures beyond,
    widest margin first; ``widest`` is the largest margin of any flip (0 without flips).
    """

    count: int
    explained: int
    beyond: int
    threshold: float
    widest: float
    rows: tuple[int, ...]


def split_flips(reference: Reals, other: Reals, threshold: float, name: str = "output") -> Flips:
    """Split the changed decisions by whether noise explains them (see explained_margin).

    >>> split_flips(np.array([[0.0, 0.1], [0.0, 5.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]), 0.5)
    Flips(count=2, explained=1, beyond=1, threshold=0.5, widest=5.0, rows=(1,))
    """
    flipped = np.flatnonzero(~agreeing(reference, other, 1, name))
    gaps = margins(reference, name)[flipped]
    beyond = gaps > threshold
    order = np.argsort(-gaps[beyond], kind="stable")
    return Flips(
        count=len(flipped),
        explained=int((~beyond).sum()),
        beyond=int(beyond.sum()),
        threshold=float(threshold),
        widest=float(gaps.max()) if len(gaps) else 0.0,
        rows=tuple(int(row) for row in flipped[beyond][order]),
    )
