"""Distances of two arrays of real values, element by element: errors, noise, quanta."""

import math
from dataclasses import dataclass

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.metrics.pairs import Reals, check_pair, pieces


def max_abs_error(reference: Reals, other: Reals, name: str = "output") -> float:
    """Largest abs(other - reference) of any element.

    >>> max_abs_error(np.array([1.0, 2.0]), np.array([1.0, 2.5]))
    0.5
    """
    check_pair(name, reference, other)
    return max(float(np.abs(a - b).max()) for a, b in pieces(reference, other))


def half_step(values: Reals) -> float:
    """Half precision's step at the largest of ``values``, infinite where that is beyond it.

    >>> half_step(np.array([-500.0, 3.0])), half_step(np.array([1e6]))
    (0.25, inf)
    """
    peak = float(np.abs(values).max(initial=0.0))
    if peak >= 65504.0:
        return math.inf
    return float(np.spacing(np.float16(min(peak, 32768.0))))  # the largest half has no next one


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
    for a, b in pieces(reference, other):
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
    total = sum(float(np.square(a - b).sum()) for a, b in pieces(reference, other))
    return math.sqrt(total / reference.size)


def rms_low(reference: Reals, other: Reals, name: str = "output") -> float:
    """Lower end of the 95 % interval of the root of the mean squared difference, by how it varies over samples.

    Of numbers that hold far more noise in a few samples than in the others, sums of decisions above all, less is sure.

    >>> round(rms_low(np.zeros((9, 1)), np.ones((9, 1))), 3), round(rms_low(np.zeros((9, 1)), 9.0 * np.eye(9)[:, :1]), 3)
    (1.0, 0.0)
    """
    check_pair(name, reference, other)
    rows = np.square(np.subtract(reference, other, dtype=np.float64)).reshape(len(reference), -1)
    each = rows.mean(axis=1)
    error = each.std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    return math.sqrt(max(0.0, float(each.mean() - 1.645 * error)))


def cosine(reference: Reals, other: Reals, name: str = "output") -> float:
    """Cosine of the angle between both as one long vector each; 1 for two zero vectors, 0 for one.

    >>> cosine(np.array([1.0, 0.0]), np.array([0.0, 2.0]))
    0.0
    """
    check_pair(name, reference, other)
    both = first = second = 0.0
    for a, b in pieces(reference, other):
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
    for a, b in pieces(reference, other):
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
    for a, b in pieces(reference, other):
        steps = np.abs(a - b) / scale
        equal += int((steps < 0.5).sum())
        within += int((steps < 1.5).sum())
        largest = max(largest, float(steps.max()))
        total += float(steps.sum())
    size = reference.size
    return Quanta(equal / size, within / size, largest, total / size)
