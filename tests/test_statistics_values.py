"""Statistics of latencies against tables and formulas worked out here, and the pairs of two profiles' layers."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.bench import statistics
from edgeconv.bench.pairs import Layer, pair_layers, with_pairs
from edgeconv.bench.statistics import (
    Interval,
    Ratio,
    autocorrelation_time,
    mean_interval,
    median_interval,
    ratio_of_rounds,
    student_t,
    summarize,
    supports,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [
        (0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 3, 3.1824), (0.975, 4, 2.7764), (0.975, 5, 2.5706),
        (0.975, 10, 2.2281), (0.975, 30, 2.0423), (0.6, 5, 0.2672), (0.9, 6, 1.4398), (0.999, 2, 22.3271),
    ],
)  # fmt: skip
def test_students_t_is_the_tables(probability: float, degrees: int, quantile: float) -> None:
    assert student_t(probability, degrees) == pytest.approx(quantile, abs=5e-5)


def series(kind: str, count: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(5)
    values = rng.normal(size=count)
    if kind == "slow":
        for k in range(1, count):
            values[k] += 0.8 * values[k - 1]
    if kind == "turning":
        values = np.tile([1.0, 3.0], count)[:count]
    return values + 10.0


@pytest.mark.parametrize(
    ("kind", "count"), [("white", 200), ("slow", 200), ("slow", 61), ("turning", 9), ("slow", 4)]
)
def test_the_autocorrelation_time_is_geyers_sum(kind: str, count: int) -> None:
    values = series(kind, count)
    off = values - values.mean()
    correlation = [float(off[: count - k] @ off[k:]) / float(off @ off) for k in range(count)]
    least, total = math.inf, 0.0
    for k in range(0, count - 1, 2):
        pair = correlation[k] + correlation[k + 1]
        if pair <= 0:
            break
        least = min(least, pair)
        total += least
    assert autocorrelation_time(values) == pytest.approx(max(1.0, 2 * total - 1))


def test_what_hardly_varies_is_not_correlated() -> None:
    slow = series("slow", 100) - 10.0
    assert autocorrelation_time(slow) > 2.0
    assert autocorrelation_time(slow[:3]) == 1.0
    assert autocorrelation_time(np.array([1.0, 1.0, -1.0, -1.0])) == pytest.approx(1.5)
    assert autocorrelation_time(1e-5 * slow / math.sqrt(slow @ slow)) > 2.0
    assert autocorrelation_time(1e-7 * slow / math.sqrt(slow @ slow)) == 1.0
    assert autocorrelation_time(1e-4 * slow / math.sqrt(slow @ slow) + 1e3) == 1.0
    assert autocorrelation_time(1e-2 * slow / math.sqrt(slow @ slow) + 1e3) > 2.0


@pytest.mark.parametrize(
    ("count", "tau", "shape"),
    [
        (100, 1.0, (64, 1)), (100, 1.1, (64, 1)), (200, 1.2, (64, 3)), (100, 2.0, (12, 8)), (100, 1.25, (50, 2)),
        (100, 10.0, (8, 12)), (8, 1.0, (8, 1)), (9, 5.0, (8, 1)), (130, 1.0, (64, 2)),
    ],
)  # fmt: skip
def test_batches_are_eight_autocorrelation_times_long(
    monkeypatch: pytest.MonkeyPatch, count: int, tau: float, shape: tuple[int, int]
) -> None:
    """At least 8 and at most 64 of them; what is left over falls away at the front."""
    monkeypatch.setattr(statistics, "autocorrelation_time", lambda values: tau)
    found = statistics._batches(np.arange(float(count)))
    assert found.shape == shape
    assert found.reshape(-1).tolist() == list(range(count - shape[0] * shape[1], count))


def hall(t: float, skew: float) -> float:
    """Hall's transformation of a studentised mean."""
    return ((1 + skew * t / 3) ** 3 - 1) / skew + skew / 6


@pytest.mark.parametrize("skew", [0.4, -0.4, 1.5])
@pytest.mark.parametrize("quantile", [2.3, -2.3])
def test_the_skew_is_taken_out_by_halls_transformation(skew: float, quantile: float) -> None:
    assert hall(statistics._unskewed(quantile, skew), skew) == pytest.approx(quantile)
    assert statistics._unskewed(quantile, 1e-10) == quantile


def test_the_interval_of_a_mean_is_students_where_nothing_is_skewed() -> None:
    values = [1.0, 3.0] * 4
    half = 2.36462 * math.sqrt(8 / 7) / math.sqrt(8)
    found = mean_interval(values)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-5)
    assert found.half_width == pytest.approx(half, rel=1e-5)
    assert mean_interval(values[:7]) is None
    assert mean_interval([5.0] * 8) == Interval(5.0, 5.0)


def test_the_interval_of_a_skewed_mean_holds_what_the_transformation_allows() -> None:
    """Its ends transform to Student's quantiles, the skew being the unbiased one of the batches."""
    values = np.array([1.0, 1.2, 1.1, 1.0, 4.0, 1.1, 1.3, 1.0])
    found = mean_interval(values)
    assert found is not None
    count, error = 8, float(values.std(ddof=1)) / math.sqrt(8)
    third = float((values - values.mean()).__pow__(3).sum())
    skew = count * third / ((count - 1) * (count - 2)) / float(values.std(ddof=1)) ** 3
    ends = [
        hall((values.mean() - end) / error, skew / math.sqrt(8)) for end in (found.low, found.high)
    ]
    assert ends == pytest.approx([2.36462, -2.36462], rel=1e-5)


@pytest.mark.parametrize(
    ("count", "tau", "low", "high"),
    [(8, 1.0, 1, 7), (9, 1.0, 1, 8), (30, 1.0, 9, 21), (30, 4.0, 4, 26), (30, 40.0, 0, 29), (10, 1.0, 1, 9)],
)  # fmt: skip
def test_the_interval_of_a_median_is_of_ranks(
    monkeypatch: pytest.MonkeyPatch, count: int, tau: float, low: int, high: int
) -> None:
    """Ranks count / 2 -+ 0.98 sqrt(count tau), outwards."""
    monkeypatch.setattr(statistics, "autocorrelation_time", lambda values: tau)
    values = np.random.default_rng(0).permutation(count)
    assert median_interval(values) == Interval(float(low), float(high))


def test_whether_the_median_is_correlated_is_asked_of_what_is_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[float]] = []

    def time_of(values: NDArray[np.float64]) -> float:
        asked.append(values.tolist())
        return 1.0

    monkeypatch.setattr(statistics, "autocorrelation_time", time_of)
    median_interval([1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 1.0, 9.0])
    assert asked == [[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    assert median_interval([1.0] * 7) is None


def test_a_summary_is_of_all_runs_and_of_tails_that_the_count_supports() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1.0, 73.0))
    found = summarize(values)
    assert (found.count, found.minimum, found.median, found.mean) == (72, 1.0, 36.5, 36.5)
    assert [found.p90, found.p95] == pytest.approx([64.9, 68.45])
    assert found.p99 is None
    assert found.variation == pytest.approx(math.sqrt(72 * 73 / 12) / 36.5)
    assert found.effective == pytest.approx(72 / autocorrelation_time(values))
    assert (found.interval, found.median_interval) == (
        mean_interval(values),
        median_interval(values),
    )
    few = summarize([3.0])
    assert (few.variation, few.interval, few.median_interval, few.p90, few.effective) == (
        0.0, None, None, None, 1.0
    )  # fmt: skip
    assert summarize([1.0, 3.0]).variation == pytest.approx(math.sqrt(2) / 2)
    assert summarize([-1.0, 1.0]).variation == 0.0
    assert supports(1, 0.025)
    for wrong in ([], [[1.0]], [math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match=r"at least one sample|not finite"):
            summarize(wrong)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.8, 0.9, "faster"), (0.8, 1.0, "same"), (1.0, 1.2, "same"), (0.9, 1.1, "same"), (1.01, 1.2, "slower")],
)  # fmt: skip
def test_a_ratio_is_faster_or_slower_where_its_interval_leaves_1_out(
    low: float, high: float, verdict: str
) -> None:
    assert Ratio(1.0, Interval(low, high)).verdict == verdict
    assert Ratio(0.1, None).verdict == "same"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0949, "0.095x"), (0.095, "0.10x"), (0.2, "0.20x"), (0.0, "0.00x"), (12.345, "12.35x"), (0.00123, "0.0012x")],
)  # fmt: skip
def test_a_ratio_is_said_with_two_figures_at_least(value: float, said: str) -> None:
    assert str(Ratio(value, None)) == said
    assert str(Ratio(value, Interval(value, value))) == f"{said} [{said[:-1]}, {said[:-1]}]"


def test_a_ratio_is_the_geometric_mean_of_the_rounds() -> None:
    found = ratio_of_rounds([1.0, 4.0], [2.0, 2.0])
    assert found.value == pytest.approx(1.0)
    assert found.interval is None
    found = ratio_of_rounds([1.0, 2.0] * 5, [2.0, 2.0] * 5)
    logs = mean_interval(np.log([0.5, 1.0] * 5))
    assert logs is not None
    assert found.value == pytest.approx(math.sqrt(0.5))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (math.exp(logs.low), math.exp(logs.high))
    )
    for mine, other in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError, match="the same rounds"):
            ratio_of_rounds(mine, other)


def op(name: str, order: int, macs: int, us: float) -> dict[str, Any]:
    return {
        "name": name,
        "order": order,
        "macs": macs,
        "us": us,
        "of_peak": us / 100 if macs else None,
    }


MINE = [op("b", 2, 100, 4.0), op("pad", 0, 0, 0.5), op("a", 1, 50, 2.0), op("copy", 3, 0, 0.25)]


@pytest.mark.parametrize(
    ("macs", "same"), [(50, True), (99, True), (100, False), (26, True), (25, False)]
)
def test_layers_are_paired_in_the_order_they_run(macs: int, same: bool) -> None:
    other = [op("x", 5, macs, 8.0), op("y", 9, 100, 16.0), op("move", 7, 0, 32.0)]
    found = pair_layers(MINE, other)
    assert found == (
        [
            Layer("a", 50, 2.0, 8.0, 0.02, 0.08),
            Layer("b", 100, 4.0, 16.0, 0.04, 0.16),
            Layer("all that only moves data", 0, 0.75, 32.0, None, None),
        ]
        if same
        else None
    )


def test_other_nets_are_not_paired() -> None:
    assert pair_layers(MINE, MINE[:1]) is None
    assert pair_layers(MINE[1:2], MINE[1:2]) is None
    profiles: dict[str, dict[str, Any]] = {
        "int8": {"ops": MINE, "more": 1}, "float": {"ops": MINE}, "bare": {}, "small": {"ops": MINE[:2]}
    }  # fmt: skip
    found = with_pairs(
        profiles, {"int8": "float", "bare": "float", "small": "float", "gone": "int8"}
    )
    assert {label for label, one in found.items() if "pairs" in one} == {"int8"}
    assert found["int8"]["more"] == 1
    assert found["int8"]["pairs"]["reference"] == "float"
    assert [row["name"] for row in found["int8"]["pairs"]["layers"]] == [
        "a", "b", "all that only moves data"
    ]  # fmt: skip
    assert "pairs" not in profiles["int8"]
    assert "pairs" not in with_pairs(profiles, {"int8": "bare"})["int8"]
