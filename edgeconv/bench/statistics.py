"""Statistics of latencies, as pure functions: quantiles, intervals that respect autocorrelation, ratios.

Latencies of one machine are neither independent (clocks, caches, neighbours) nor normal (a long
tail to the right), so the textbook interval of the mean is too narrow. Here: batch means, the batch
long against the integrated autocorrelation time (Geyer 1992, "Practical Markov chain Monte Carlo",
initial monotone sequence), with Hall's transformation of Student's t against skewness (Hall 1992,
"On the removal of skewness by transformation").
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BATCH_PER_TAU = 8.0
"""A batch is this many autocorrelation times long: the bias left in its variance is about 1/8."""

MIN_BATCHES, MAX_BATCHES = 8, 64
MIN_SAMPLES = 30
MIN_EFFECTIVE = 30.0


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Summary:
    """What a row says of its runs, in the unit of the samples.

    A quantile is None where the count does not support it (see ``supports``), ``interval`` (of the
    mean) where there are fewer than 8 samples. ``effective`` is the number of independent samples
    that would say as much of the mean.
    """

    count: int
    effective: float
    minimum: float
    median: float
    mean: float
    interval: Interval | None
    median_interval: Interval | None
    p90: float | None
    p95: float | None
    p99: float | None
    variation: float
    """Standard deviation over mean."""


def supports(count: int, quantile: float) -> bool:
    """Whether ``count`` samples say something about a quantile of the tail.

    They do when the largest of them lies above it with 97.5 % certainty (1 - q^n >= 0.975), which
    is when an upper confidence limit exists at all: 36 runs for p90, 72 for p95, 368 for p99.

    >>> [supports(35, 0.9), supports(36, 0.9), supports(367, 0.99), supports(368, 0.99)]
    [False, True, False, True]
    """
    return bool(1 - quantile**count >= 0.975)


def summarize(samples: ArrayLike) -> Summary:
    """Summarise latencies in the order in which they were taken. Raises ValueError without any."""
    values = np.asarray(samples, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("a summary needs at least one sample")
    if not np.isfinite(values).all():
        raise ValueError("a latency is not finite")
    count = len(values)
    mean = float(values.mean())
    tail = {
        q: float(np.quantile(values, q)) if supports(count, q) else None for q in (0.9, 0.95, 0.99)
    }
    return Summary(
        count=count,
        effective=count / autocorrelation_time(values),
        minimum=float(values.min()),
        median=float(np.median(values)),
        mean=mean,
        interval=mean_interval(values),
        median_interval=median_interval(values),
        p90=tail[0.9],
        p95=tail[0.95],
        p99=tail[0.99],
        variation=float(values.std(ddof=1)) / mean if count > 1 and mean else 0.0,
    )


def autocorrelation_time(values: Floats) -> float:
    """Integrated autocorrelation time, at least 1: this many runs say as much as one independent run."""
    count = len(values)
    deviations = values - values.mean()
    spectrum = np.fft.rfft(deviations, 2 * count)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum))[:count]
    if count < 4 or covariance[0] <= 1e-12 * max(1.0, float(values.mean()) ** 2):
        return 1.0
    correlation = covariance / covariance[0]
    pairs = correlation[0 : count - 1 : 2] + correlation[1:count:2]
    negative = np.nonzero(pairs <= 0)[0]
    kept = pairs[: negative[0]] if len(negative) else pairs
    return max(1.0, 2.0 * float(np.minimum.accumulate(kept).sum()) - 1.0) if len(kept) else 1.0


def _batches(values: Floats) -> Floats:
    """Cut MIN_BATCHES values or more into equally long batches, dropping what is left over at the front."""
    count = len(values)
    tau = autocorrelation_time(values)
    length = max(1, math.ceil(BATCH_PER_TAU * (tau - 1)))
    number = min(max(count // length, MIN_BATCHES), MAX_BATCHES)
    length = count // number
    return values[count - number * length :].reshape(number, length)


def mean_interval(samples: ArrayLike) -> Interval | None:
    """95 % interval of the mean; None below 8 samples."""
    values = np.asarray(samples, np.float64)
    if len(values) < MIN_BATCHES:
        return None
    means = _batches(values).mean(axis=1)
    mean = float(values.mean())
    spread = float(means.std(ddof=1))
    if spread == 0.0:
        return Interval(mean, mean)
    number = len(means)
    error = spread / math.sqrt(number)
    quantile = student_t(0.975, number - 1)
    skew = float(((means - means.mean()) ** 3).mean()) / float(means.std()) ** 3
    skew *= number**2 / ((number - 1) * (number - 2)) * ((number - 1) / number) ** 1.5
    return Interval(
        mean - error * _unskewed(quantile, skew / math.sqrt(number)),
        mean - error * _unskewed(-quantile, skew / math.sqrt(number)),
    )


def _unskewed(quantile: float, skew: float) -> float:
    """Invert Hall's monotone transformation T -> ((1 + r T/3)^3 - 1)/r + r/6 at ``quantile``."""
    if abs(skew) < 1e-9:
        return quantile
    inside = 1.0 + skew * (quantile - skew / 6.0)
    return 3.0 / skew * (math.copysign(abs(inside) ** (1 / 3), inside) - 1.0)


def median_interval(samples: ArrayLike) -> Interval | None:
    """95 % interval of the median: order statistics, their ranks spread by the autocorrelation.

    The number of samples below the median is binomial; with correlated samples its variance grows
    by the autocorrelation time of the series "is below the median". None below 8 samples.
    """
    values = np.asarray(samples, np.float64)
    count = len(values)
    if count < MIN_BATCHES:
        return None
    below = (values < np.median(values)).astype(np.float64)
    half = 1.96 * 0.5 * math.sqrt(count * autocorrelation_time(below))
    ordered = np.sort(values)
    low = max(0, math.floor(count / 2 - half))
    high = min(count - 1, math.ceil(count / 2 + half))
    return Interval(float(ordered[low]), float(ordered[high]))


@dataclass(frozen=True)
class Ratio:
    """A latency over another, from rounds in which both were measured one after the other."""

    value: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """faster, slower, or same where the interval holds 1."""
        if self.interval is None or self.interval.low <= 1.0 <= self.interval.high:
            return "same"
        return "faster" if self.interval.high < 1.0 else "slower"

    def __str__(self) -> str:
        """Two figures of it at least: a small net may take a thousandth of another's time.

        >>> print(Ratio(0.537, None), Ratio(0.00337, Interval(0.00309, 0.00351)))
        0.54x 0.0034x [0.0031, 0.0035]
        """
        width = self.interval
        around = "" if width is None else f" [{_figures(width.low)}, {_figures(width.high)}]"
        return f"{_figures(self.value)}x{around}"


def _figures(value: float) -> str:
    return f"{value:.2f}" if not 0 < value < 0.095 else f"{value:.2g}"


def ratio_of_rounds(mine: Sequence[float], other: Sequence[float]) -> Ratio:
    """Ratio of two models' latencies from the medians of their rounds.

    What slows the machine for a while slows both members of a round, so it cancels in the round's
    own ratio. The estimate is the geometric mean of those. Raises ValueError for unequal lengths.
    """
    if len(mine) != len(other) or not len(mine):
        raise ValueError("both models need the same rounds")
    logs = np.log(np.asarray(mine, np.float64)) - np.log(np.asarray(other, np.float64))
    interval = mean_interval(logs)
    return Ratio(
        math.exp(float(logs.mean())),
        None if interval is None else Interval(math.exp(interval.low), math.exp(interval.high)),
    )


@functools.cache
def student_t(probability: float, degrees: int) -> float:
    """Quantile of Student's t for whole degrees of freedom.

    >>> round(student_t(0.975, 7), 4), round(student_t(0.975, 63), 4)
    (2.3646, 1.9983)
    """
    low, high = 0.0, 1000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, degrees) < probability else (low, middle)
    return low


def _t_below(value: float, degrees: int) -> float:
    """P(T <= value) for value >= 0 (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(value / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (k + 1) / (k + 2)
    share = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + share / 2
