"""The metrics mean what their docstrings define."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.errors import EdgeconvError

Metric = Callable[..., object]
finite = st.floats(-1e3, 1e3, width=32)
rows = arrays(np.float32, (4, 5), elements=finite)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "metric",
    [
        metrics.max_abs_error,
        metrics.relative_error,
        metrics.sqnr_db,
        metrics.cosine,
        metrics.rms_error,
        metrics.agreement,
        metrics.kl_softmax,
        metrics.smallest_tolerance,
    ],
)
def test_nan_and_infinity_fail_and_name_the_output(metric: Metric, bad: float) -> None:
    good = np.ones((3, 4), np.float32)
    broken = good.copy()
    broken[2, 1] = bad
    with pytest.raises(EdgeconvError, match=r"logits holds .* row 2"):
        metric(good, broken, name="logits")
    with pytest.raises(EdgeconvError, match="logits of the reference"):
        metric(broken, good, name="logits")


def test_shapes_that_differ_are_refused_with_both_shapes() -> None:
    with pytest.raises(EdgeconvError, match=r"\[2, 3\] here and \[2, 4\] in the reference"):
        metrics.max_abs_error(np.zeros((2, 4)), np.zeros((2, 3)), "logits")


def test_empty_outputs_are_refused() -> None:
    with pytest.raises(EdgeconvError, match="empty"):
        metrics.sqnr_db(np.zeros((0, 4)), np.zeros((0, 4)))


@given(rows)
def test_an_output_equals_itself_by_every_metric(values: NDArray[Any]) -> None:
    assert metrics.max_abs_error(values, values) == 0.0
    assert metrics.relative_error(values, values) == 0.0
    assert metrics.sqnr_db(values, values) == math.inf
    assert metrics.cosine(values, values) == pytest.approx(1.0)
    assert metrics.agreement(values, values) == 1.0
    assert metrics.kl_softmax(values, values) == 0.0
    assert metrics.split_flips(values, values, 0.0).count == 0


@given(rows, rows)
def test_smallest_tolerance_is_what_allclose_needs(
    a: NDArray[Any],
    b: NDArray[Any],
) -> None:
    found = metrics.smallest_tolerance(a, b)
    wide = np.abs(a.astype(np.float64) - b)
    assert (wide <= found.absolute).all()
    if found.absolute > 0.0:
        assert not (wide <= found.absolute * (1 - 1e-9)).all()
    if math.isfinite(found.relative):
        assert (wide <= found.relative * np.abs(a.astype(np.float64)) * (1 + 1e-12)).all()


def test_large_arrays_are_summed_over_pieces_to_the_same_result() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, metrics.PIECE)).astype(np.float32)
    b = a + rng.normal(scale=0.1, size=a.shape).astype(np.float32)
    wide = a.astype(np.float64) - b
    expected = 10 * math.log10(np.square(a.astype(np.float64)).sum() / np.square(wide).sum())
    assert metrics.sqnr_db(a, b) == pytest.approx(expected, rel=1e-12)
    assert metrics.max_abs_error(a, b) == np.abs(wide).max()


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share_and_stays_inside_0_and_1(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    low, high = metrics.wilson_interval(successes, count)
    assert 0.0 <= low <= successes / count <= high <= 1.0


def test_wilson_is_the_published_interval() -> None:
    low, high = metrics.wilson_interval(81, 263)  # Newcombe 1998, table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    first = np.array([True] * 12 + [False] * 3 + [True] * 85)
    second = np.array([False] * 12 + [True] * 3 + [True] * 85)
    tail = sum(math.comb(15, k) for k in range(4)) / 2**15
    assert metrics.mcnemar_p(first, second) == pytest.approx(2 * tail)
    assert metrics.mcnemar_p(first, first) == 1.0
    assert metrics.mcnemar_p(np.ones(4000, bool), np.zeros(4000, bool)) == 0.0


def test_quanta_count_steps_of_the_scale() -> None:
    a = np.zeros((1, 4))
    found = metrics.quanta_error(a, np.array([[0.0, 0.1, 0.2, -0.3]]), 0.1)
    assert (found.equal, found.within_one) == (0.25, 0.5)
    assert found.largest == pytest.approx(3.0)
    with pytest.raises(EdgeconvError, match="quantum"):
        metrics.quanta_error(a, a, 0.0)


def test_flips_are_split_by_the_margin_of_the_reference() -> None:
    reference = np.array([[0.0, 1.0], [0.0, 0.2], [3.0, 0.0], [0.0, 4.0]])
    other = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    found = metrics.split_flips(reference, other, 0.5)
    assert (found.count, found.explained, found.beyond) == (3, 1, 2)
    assert found.rows == (3, 0)
    assert found.widest == 4.0
    promise = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert metrics.split_flips(reference, other, 0.5, promise=promise).rows == (3,)


def test_ties_go_to_the_lower_class_as_argmax_does() -> None:
    scores = np.array([[2.0, 2.0, 1.0]])
    assert metrics.ranks(scores, np.array([0])).tolist() == [0]
    assert metrics.ranks(scores, np.array([1])).tolist() == [1]


def test_kl_takes_probabilities_as_they_are() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(0.5 / 0.75)
    assert metrics.kl_softmax(p, q) == pytest.approx(expected)


def test_correct_ignores_pictures_of_unknown_truth_and_refuses_a_class_too_many() -> None:
    scores = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert metrics.correct(scores, np.array([1, -1, 1])).tolist() == [True, False]
    with pytest.raises(EdgeconvError, match="class 2, the output has 2"):
        metrics.correct(scores, np.array([2, 0, 0]))


def test_a_picture_output_has_no_classes() -> None:
    with pytest.raises(EdgeconvError, match="no class scores"):
        metrics.class_rows(np.zeros((2, 3, 8, 8)), "mask")
