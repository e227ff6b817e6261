"""The intervals hold what they promise, on latencies worse than real ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bench import statistics as stats

TRUE_MEAN = 10.0
RUNS = 2000


def synthetic(kind: str, phi: float, repeats: int, seed: int) -> np.ndarray:
    """(repeats, RUNS) autocorrelated latencies of mean 10 with a heavy tail to the right."""
    rng = np.random.default_rng(seed)
    shape = (repeats, RUNS + 200)
    if kind == "lognormal":
        noise = rng.lognormal(0.0, 0.75, shape) - math.exp(0.75**2 / 2)
    elif kind == "pareto":
        noise = rng.pareto(3.5, shape) - 1 / 2.5
    elif kind == "student":
        noise = rng.standard_t(4, shape)
    else:  # one run in thirty is hit by something else on the machine
        noise = rng.normal(0, 1, shape)
        noise += (rng.random(shape) < 0.03) * rng.exponential(10, shape) - 0.3
    series = np.zeros(shape)
    for i in range(1, shape[1]):
        series[:, i] = phi * series[:, i - 1] + noise[:, i]
    return TRUE_MEAN + series[:, 200:]


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("kind", ["lognormal", "pareto", "student", "spikes"])
def test_95_percent_intervals_of_the_mean_cover_93_to_97_percent(kind: str, phi: float) -> None:
    intervals = [stats.mean_interval(row) for row in synthetic(kind, phi, 3000, seed=7)]
    covered = [i is not None and i.low <= TRUE_MEAN <= i.high for i in intervals]
    assert 0.93 <= np.mean(covered) <= 0.97, np.mean(covered)


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_intervals_of_the_mean_cover_on_a_small_simulation(phi: float) -> None:
    intervals = [stats.mean_interval(row) for row in synthetic("lognormal", phi, 300, seed=3)]
    covered = [i is not None and i.low <= TRUE_MEAN <= i.high for i in intervals]
    assert 0.91 <= np.mean(covered) <= 0.99, np.mean(covered)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_95_percent_intervals_of_the_median_cover_93_to_97_percent(phi: float) -> None:
    series = synthetic("lognormal", phi, 3000, seed=11)
    truth = float(np.median(synthetic("lognormal", phi, 3000, seed=12)))
    intervals = [stats.median_interval(row) for row in series]
    covered = [i is not None and i.low <= truth <= i.high for i in intervals]
    assert 0.93 <= np.mean(covered) <= 0.97, np.mean(covered)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [40, 80])
def test_intervals_of_a_ratio_cover_although_the_machine_drifts(rounds: int) -> None:
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(3000):
        drift = np.exp(0.1 * np.cumsum(rng.normal(0, 0.3, rounds)))
        a = 0.5 * drift * rng.lognormal(0, 0.05, rounds)
        b = drift * rng.lognormal(0, 0.05, rounds)
        interval = stats.ratio_of_rounds(a.tolist(), b.tolist()).interval
        assert interval is not None
        covered.append(interval.low <= 0.5 <= interval.high)
    assert 0.93 <= np.mean(covered) <= 0.97, np.mean(covered)


def test_a_textbook_interval_would_be_too_narrow_where_runs_depend_on_each_other() -> None:
    rows = synthetic("lognormal", 0.8, 300, seed=1)
    error = 1.96 * rows.std(axis=1, ddof=1) / math.sqrt(RUNS)
    naive = np.mean(np.abs(rows.mean(axis=1) - TRUE_MEAN) <= error)
    assert naive < 0.6


def test_quantiles_appear_only_where_the_count_supports_them() -> None:
    rng = np.random.default_rng(0)
    few = stats.summarize(rng.random(35))
    assert (few.p90, few.p95, few.p99) == (None, None, None)
    some = stats.summarize(rng.random(100))
    assert some.p90 is not None
    assert some.p95 is not None
    assert some.p99 is None
    assert stats.summarize(rng.random(400)).p99 is not None


def test_independent_runs_count_fully_and_dependent_ones_less() -> None:
    independent = stats.summarize(np.random.default_rng(2).random(2000))
    assert independent.effective > 1500
    dependent = stats.summarize(synthetic("lognormal", 0.8, 1, seed=2)[0])
    assert dependent.effective < 500  # (1 + 0.8) / (1 - 0.8) = 9 runs to one


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300))
def test_a_summary_is_ordered_and_scales_with_its_unit(values: list[float]) -> None:
    one = stats.summarize(values)
    assert one.minimum <= one.median <= max(values)
    assert one.count == len(values)
    if one.interval is not None:
        assert one.interval.low <= one.interval.high
    thousand = stats.summarize([1000 * v for v in values])
    assert thousand.median == pytest.approx(1000 * one.median)


def test_identical_runs_have_no_width_and_no_runs_are_refused() -> None:
    same = stats.summarize([2.0] * 100)
    assert same.interval == stats.Interval(2.0, 2.0)
    assert same.variation == 0
    with pytest.raises(ValueError, match="at least one"):
        stats.summarize([])
    with pytest.raises(ValueError, match="finite"):
        stats.summarize([1.0, float("nan")])


def test_a_ratio_says_faster_slower_or_same() -> None:
    rng = np.random.default_rng(4)
    base = rng.lognormal(0, 0.02, 40)
    verdicts = [
        stats.ratio_of_rounds((f * rng.lognormal(0, 0.02, 40)).tolist(), base.tolist()).verdict
        for f in (0.5, 2.0)
    ]
    assert verdicts == ["faster", "slower"]
    assert stats.ratio_of_rounds([1.0] * 40, [1.0] * 40).verdict == "same"
    with pytest.raises(ValueError, match="same rounds"):
        stats.ratio_of_rounds([1.0], [1.0, 2.0])
