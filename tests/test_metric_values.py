"""Metrics at their borders: small arrays whose figures are worked out by hand, on both sides of each threshold."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.errors import EdgeconvError
from edgeconv.metrics import centred, information, rows
from edgeconv.metrics.rows import odd_place_beyond_db, turned_row_low, worst_row_beyond_db
from edgeconv.metrics.shares import lost_labels, lost_samples_low, share_low

SIGNS = np.array([1.0, -1.0] * 4)
"""Eight samples about 0, each as far from it."""


def test_what_varies_is_signal_and_the_whole_error_is_noise() -> None:
    assert metrics.sqnr_centred_db(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])) == (
        pytest.approx(10 * math.log10(4))  # 1 + 1, of two samples twice that, to 1
    )
    assert metrics.sqnr_centred_db(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]])) == math.inf
    for moved, still in ((0.0079, False), (0.0077, True)):  # 2**-18 of 1024, twice over
        wanted = np.array([[1024.0], [1024.0 + moved]])
        assert (metrics.sqnr_centred_db(wanted, wanted + 1.0) is None) is still


@pytest.mark.parametrize(
    ("noise", "lost"), [(3.0, 1), (2.99, 0)], ids=["nine tenths of the signal", "less"]
)
def test_a_channel_is_lost_from_nine_tenths_of_its_signal(noise: float, lost: int) -> None:
    """Its signal is 8, of five samples 10."""
    wanted = np.zeros((5, 2))
    wanted[:2] = [[2.0, 2.0], [-2.0, -2.0]]
    got = wanted.copy()
    got[4, 1] += noise
    assert metrics.lost_channels(wanted, got) == lost


@pytest.mark.parametrize(
    ("size", "least", "lost"),
    [(0.5, 0.0, 1), (0.49, 0.0, 0), (0.5, 1.0, 1), (0.5, 1.01, 0), (0.0, 0.0, 0)],
)
def test_a_channel_that_hardly_moves_is_not_looked_at(size: float, least: float, lost: int) -> None:
    """It moves from -size to size; a quarter of the median channel's signal is where it begins to count."""
    wanted = np.outer(SIGNS, [1.0, 1.0, size])
    got = wanted * [1.0, 1.0, -1.0]
    assert metrics.lost_channels(wanted, got, least=least) == lost
    assert metrics.lost_channels(wanted[:2], got[:2], least=least) == lost


def test_a_still_net_has_no_channel_to_lose() -> None:
    slow = 0.1 * np.outer(SIGNS, [1.0, 1.0])
    assert metrics.lost_channels(slow, -slow) == 2
    assert metrics.lost_channels(np.ones((8, 3)), np.zeros((8, 3))) == 0
    assert metrics.lost_channels(slow, -slow, least=0.5) == 0


@pytest.mark.parametrize(
    ("sizes", "others", "kept", "dead"),
    [
        ([1.0, 1.0, 1.0], 0.0, 0.0, 1),
        ([1.0], 0.0, 0.0, 0),  # of two places the noise of both is the median
        ([1.0, 1.0, 1.0], 0.0, 0.09, 1),  # a hundredth of its power may be left
        ([1.0, 1.0, 1.0], 0.0, 0.11, 0),
        ([2.17, 2.17, 2.17, 2.17], 0.0, 0.0, 1),  # more than a twentieth of the mean
        ([2.3, 2.3, 2.3, 2.3], 0.0, 0.0, 1),
        ([5.2, 5.2, 5.2, 5.2], 0.0, 0.0, 0),
        ([4.8, 4.8, 4.8, 4.8], 0.0, 0.0, 1),
        ([1.0, 1.0, 1.0], 0.24, 0.0, 1),  # 12 dB above the median place's noise
        ([1.0, 1.0, 1.0], 0.26, 0.0, 0),
        ([1.0, 0.0, 1.0], 0.0, 0.0, 1),  # what is still on both sides is not dead
    ],
)
def test_a_place_is_dead_where_it_moved_and_stands_still(
    sizes: list[float], others: float, kept: float, dead: int
) -> None:
    """The last place moves by 1 and keeps ``kept`` of it; the others are off by ``others``."""
    wanted = SIGNS[:, None, None] * np.array([*sizes, 1.0])
    got = wanted + others
    got[..., -1] = wanted[..., -1] * kept
    assert metrics.dead_places(wanted, got) == dead
    assert metrics.dead_places(wanted[:7], got[:7]) == 0


@pytest.mark.parametrize(("active", "dead"), [(2, 0), (4, 1), (6, 1)])
def test_what_moves_in_two_samples_alone_may_be_rounded_away(active: int, dead: int) -> None:
    wanted = np.ones((1, 3)) * SIGNS[:, None, None]
    wanted[active:, :, 2] = 0.0
    got = wanted.copy()
    got[:, :, 2] = 0.0
    assert metrics.dead_places(wanted, got) == dead


def test_a_channel_that_says_nothing_of_a_place_has_no_say() -> None:
    """Both move at the first place; at the second one does, and it is the one that dies."""
    wanted = SIGNS[:, None, None] * np.array(
        [[[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0, 1.0]]]
    )
    got = wanted.copy()
    got[:, 0, 1] = 0.0
    assert metrics.dead_places(wanted, got) == 1
    got[:, 0, 2] = 0.0
    assert metrics.dead_places(wanted, got) == 1
    assert metrics.dead_places(wanted.swapaxes(1, 2), got.swapaxes(1, 2), axis=2) == 1


def test_what_stands_still_far_from_0_is_not_dead() -> None:
    wanted = np.full((8, 1, 4), 10.0)
    wanted[:, 0, :3] += SIGNS[:, None]
    got = wanted.copy()
    assert metrics.dead_places(wanted, got) == 0
    got[:, 0, 2] = 10.0
    assert metrics.dead_places(wanted, got) == 1
    assert metrics.sqnr_centred_db(np.zeros((3, 2)), np.zeros((3, 2))) is None


def test_class_rows_are_what_has_one_long_axis() -> None:
    shapes: tuple[tuple[int, ...], ...] = ((5, 3), (5, 1, 3), (5, 3, 1, 1), (5, 2))
    for shape in shapes:
        assert metrics.class_rows(np.zeros(shape)).shape == (5, shape[1] * int(np.prod(shape[2:])))
    for shape in [(5,), (5, 1), (5, 1, 1), (5, 2, 2), (5, 3, 2)]:
        assert not metrics.is_scores(np.zeros(shape))
        with pytest.raises(EdgeconvError, match="no class scores"):
            metrics.class_rows(np.zeros(shape))


def test_ranks_count_who_is_better_and_equals_of_a_lower_class() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 2.0]] * 4)
    assert metrics.ranks(scores, np.arange(4)).tolist() == [3, 0, 1, 2]
    reference = np.array([[0.0, 9.0, 0.0, 0.0]] * 3)
    other = np.array([[5.0, 9.0, 1.0, 0.0], [9.0, 5.0, 1.0, 0.0], [9.0, 1.0, 5.0, 0.0]])
    for k, wanted in ((1, [True, False, False]), (2, [True, True, False]), (3, [True, True, True])):
        assert metrics.agreeing(reference, other, k).tolist() == wanted
        assert metrics.agreement(reference, other, k) == pytest.approx(sum(wanted) / 3)
    assert metrics.agreeing(reference, other).tolist() == [True, False, False]
    assert metrics.agreement(reference, other) == pytest.approx(1 / 3)


def test_truth_says_who_is_right_and_class_0_is_one() -> None:
    scores = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [1.0, 2.0, 0.0]])
    assert metrics.correct(scores, np.array([0, 0, 0])).tolist() == [True, False, False]
    assert metrics.correct(scores, np.array([0, 1, 0]), 2).tolist() == [True, True, True]
    assert metrics.correct(scores, np.array([2, 2, 2])).tolist() == [False, True, False]
    assert metrics.correct(scores, np.array([-1, -1, -1])).tolist() == []
    with pytest.raises(EdgeconvError, match="the truth names class 3, the output has 3 classes"):
        metrics.correct(scores, np.array([0, 3, 0]))


def test_a_flip_is_explained_up_to_its_margin() -> None:
    reference = np.array([[0.0, 0.5], [0.0, 0.75], [0.0, 2.0], [0.0, 1.0]])
    other = reference[:, ::-1].copy()
    other[3] = reference[3]
    found = metrics.split_flips(reference, other, 0.5)
    assert found == metrics.Flips(3, 1, 2, 0.5, 2.0, (2, 1))
    assert metrics.split_flips(reference, reference, 0.5) == metrics.Flips(0, 0, 0, 0.5, 0.0, ())
    assert metrics.explained_margin(2.0) == pytest.approx(6 * math.sqrt(2))
    assert metrics.explained_margin(2.0, 1.0) == pytest.approx(2 * math.sqrt(2))


@pytest.mark.parametrize(
    ("places", "left", "margin", "lost"),
    [
        (16, 16, 1.0, (1,)), (15, 15, 1.0, ()), (16, 9, 1.0, (1,)), (16, 8, 1.0, ()), (16, 16, 0.5, ()), (16, 16, 0.6, (1,)),
    ],
)  # fmt: skip
def test_a_class_is_lost_where_more_than_half_of_its_places_leave(
    places: int, left: int, margin: float, lost: tuple[int, ...]
) -> None:
    wanted, got = np.zeros((2, 3, 2, 10)), np.zeros((2, 3, 2, 10))
    wanted[:, 0], got[:, 0] = 0.1, 0.1
    for values, count in ((wanted, places), (got, places - left)):
        flat = values[:, 1].reshape(-1)
        flat[:count] = 0.1 + margin
        values[:, 1] = flat.reshape(2, 2, 10)
    assert metrics.lost_classes(wanted, got, 0.55) == lost


def test_distances_have_the_sign_of_neither_side() -> None:
    a, b = np.array([1.0, -2.0, 4.0]), np.array([1.5, -3.0, 4.0])
    assert metrics.max_abs_error(a, b) == 1.0
    assert metrics.relative_error(a, b) == pytest.approx(1 / 6)
    assert metrics.relative_error(np.ones(3), np.ones(3)) == 0.0
    assert metrics.relative_error(np.ones(3), np.ones(3) + 1) == math.inf
    assert metrics.rms_error(a, b) == pytest.approx(math.sqrt(1.25 / 3))
    assert metrics.sqnr_db(a, b) == pytest.approx(10 * math.log10(21 / 1.25))
    assert metrics.sqnr_db(np.zeros(3), b) == -math.inf
    assert metrics.smallest_tolerance(a, b) == metrics.Tolerance(1.0, 0.5)
    assert metrics.smallest_tolerance(np.array([0.0, 4.0]), np.array([1.0, 5.0])) == (
        metrics.Tolerance(1.0, math.inf)
    )
    assert metrics.smallest_tolerance(np.array([0.0, 4.0]), np.array([0.0, 5.0])) == (
        metrics.Tolerance(1.0, 0.25)
    )
    assert metrics.cosine(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == pytest.approx(
        8 / math.sqrt(65)
    )
    assert metrics.cosine(np.array([1.0, 2.0]), np.array([-1.0, -2.0])) == pytest.approx(-1.0)
    assert metrics.cosine(np.zeros(2), np.zeros(2)) == 1.0
    assert metrics.cosine(np.zeros(2), np.ones(2)) == metrics.cosine(np.ones(2), np.zeros(2)) == 0.0
    assert metrics.value_range(a) == 6.0
    assert metrics.relative_error(a / 16, b / 16) == pytest.approx(1 / 6)
    assert metrics.sqnr_db(a / 16, b / 16) == pytest.approx(10 * math.log10(21 / 1.25))
    falling = np.arange(100.0, 0.0, -2.5)[None]
    falling[0, 0] = 101.0
    assert metrics.margins(falling) == metrics.margins(falling[:, ::-1]) == [3.5]


def test_what_is_worst_in_the_first_piece_is_not_forgotten_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("pairs", "centred", "divergence"):
        monkeypatch.setattr(f"edgeconv.metrics.{module}.PIECE", 2)
    a = np.array([[1.0, 2.0, 4.0], [8.0, 5.0, 3.0]])
    b = a + np.array([[0.0, 3.0, 0.5], [1.0, 0.0, -0.25]])
    assert metrics.max_abs_error(a, b) == 3.0
    assert metrics.smallest_tolerance(a, b) == metrics.Tolerance(3.0, 1.5)
    found = metrics.quanta_error(a, b, 0.5)
    assert found == metrics.Quanta(1 / 3, 0.5 + 1 / 6, 6.0, 9.5 / 6)
    power = 9 + 0.25 + 1 + 0.0625
    assert metrics.rms_error(a, b) == pytest.approx(math.sqrt(power / 6))
    assert metrics.sqnr_db(a, b) == pytest.approx(10 * math.log10(119 / power))
    assert metrics.cosine(a, b) == pytest.approx(
        float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))
    )
    assert metrics.row_sqnr_db(a, b) == pytest.approx(
        [10 * math.log10(21 / 9.25), 10 * math.log10(98 / 1.0625)]
    )
    signal = np.square(a - a.mean(axis=0)).sum() * 2
    assert metrics.sqnr_centred_db(a, b) == pytest.approx(10 * math.log10(signal / power))
    p, q = metrics.log_softmax(a), metrics.log_softmax(b)
    assert metrics.kl_softmax(a, b) == pytest.approx(float((np.exp(p) * (p - q)).sum() / 2))
    with pytest.raises(EdgeconvError, match="NaN, first in row 1"):
        metrics.check_finite("y", np.array([[0.0, 1.0, 2.0], [3.0, 4.0, math.nan]]))


@pytest.mark.parametrize(
    ("peak", "step"), [(65503.0, 32.0), (65504.0, math.inf), (1.0, 2.0**-10), (-3.0, 2.0**-9)]
)
def test_a_half_has_this_step_at_its_peak(peak: float, step: float) -> None:
    assert metrics.half_step(np.array([0.5, peak])) == step
    assert metrics.half_step(np.zeros(0)) == 2.0**-24


def test_an_error_that_varies_over_the_samples_is_surely_less() -> None:
    wanted, got = np.zeros((4, 2)), np.array([[1.0, 1.0], [1.0, 3.0], [2.0, 2.0], [1.0, 1.0]])
    each = np.array([1.0, 5.0, 4.0, 1.0])
    low = each.mean() - 1.645 * each.std(ddof=1) / 2
    assert metrics.rms_low(wanted, got) == pytest.approx(math.sqrt(low))
    assert metrics.rms_low(wanted[:2], got[:2]) == 0.0
    assert metrics.rms_low(wanted[2:3], got[2:3]) == 2.0
    assert metrics.rms_low(np.array([1.0, 2.0]), np.array([1.5, 2.5])) == 0.5


def test_a_quantum_is_counted_between_its_halves() -> None:
    wanted = np.zeros(6)
    got = np.array([0.0, 0.49, 0.5, -1.4, 1.5, 9.0])
    found = metrics.quanta_error(wanted, got, 1.0)
    assert (found.equal, found.within_one, found.largest) == (2 / 6, 4 / 6, 9.0)
    assert found.mean == pytest.approx(12.89 / 6)
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(EdgeconvError, match="a quantum must be above 0"):
            metrics.quanta_error(wanted, got, scale)


def test_rows_are_probabilities_within_two_hundredths() -> None:
    for row, are in (
        ([0.5, 0.5], True), ([0.5, 0.519], True), ([0.5, 0.481], True), ([0.5, 0.521], False), ([0.5, 0.479], False),
        ([0.0, 1.0], True), ([-0.01, 1.0], False),
    ):  # fmt: skip
        assert metrics.are_probabilities(np.array([[0.5, 0.5], row])) is are
    logs = metrics.log_probabilities(np.array([[0.0, 0.5], [0.5, 0.5], [0.25, 0.75]]))
    assert np.exp(logs) == pytest.approx(
        np.array([[2e-9, 1.0], [0.5, 0.5], [0.25, 0.75]]), rel=1e-6
    )
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    first = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert metrics.kl_softmax(p, q) == pytest.approx((first + math.log(2)) / 2, abs=1e-7)


def test_bits_are_lost_from_32_values_on_that_move() -> None:
    def column(count: int) -> NDArray[Any]:
        return np.concatenate([np.arange(1.0, count + 1), np.zeros(3)])

    for count, lost in ((31, 0.0), (32, 5.0)):
        got = np.where(column(count) > 0, 1.0, 0.0)
        assert metrics.lost_bits(column(count), got) == pytest.approx(lost)
    assert metrics.lost_bits(np.where(column(32) > 0, 1.0, 0.0), column(32)) == 0.0
    eight = np.repeat(np.arange(1.0, 9.0), 5)
    flat = np.concatenate([eight, np.zeros(9)])
    assert metrics.lost_bits(flat, np.where(flat > 4, 4.0, flat)) == pytest.approx(
        3.0 - (3 / 8 * 3 + 5 / 8 * math.log2(8 / 5))
    )
    assert metrics.lost_bits(np.array(1.0), np.array(1.0)) == 0.0
    assert metrics.lost_bits(flat.reshape(7, 7), np.minimum(flat, 4.0).reshape(7, 7)) > 0.9


def test_of_very_many_values_evenly_spread_samples_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(information, "MOST_VALUES", 80)
    wanted = np.arange(1.0, 401.0).reshape(10, 40)
    got = wanted.copy()
    got[[1, 2, 7, 8]] = 1.0  # of ten rows the first and the last are seen
    assert metrics.lost_bits(wanted, got) == 0.0
    got[9] = 1.0
    assert metrics.lost_bits(wanted, got) > 0.5
    monkeypatch.setattr(information, "MOST_VALUES", 39)
    got = wanted.copy()
    got[1:] = 1.0
    assert metrics.lost_bits(wanted, got) == 0.0


def test_what_has_no_shape_or_no_value_is_refused() -> None:
    with pytest.raises(EdgeconvError, match=r"output y is \[2\] here and \[3\] in the reference"):
        metrics.check_pair("y", np.zeros(3), np.zeros(2))
    with pytest.raises(EdgeconvError, match="output y is empty: there is nothing to compare"):
        metrics.check_pair("y", np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(EdgeconvError, match="output y of the reference holds NaN"):
        metrics.check_pair("y", np.array([math.nan]), np.array([math.nan]))
    metrics.check_finite("y", np.array([2**62]))


def noise_in(row: int, size: float, shape: tuple[int, ...] = (8, 4, 3)) -> NDArray[Any]:
    """Return zeros with ``size`` in one row of the second axis of three."""
    made = np.zeros(shape)
    made[:, row] = size
    return made


@pytest.mark.parametrize(
    ("wrong", "implied", "least", "wanted"),
    [
        (2.0, 0.0, 0.5, 10 * math.log10(4 / 0.25)),  # row 1 alone holds 4, the least is 0.25
        (2.0, 1.0, 0.1, 10 * math.log10(4)),  # the promise itself loses 1 everywhere
        (2.0, 1.0, 1.5, 10 * math.log10(4 / 2.25)),
        (0.9, 1.0, 0.1, 0.0),
        (2.0, 0.0, 0.0, 0.0),  # nothing is implied at all: no floor, nothing to say
    ],
)
def test_the_worst_row_is_held_against_what_the_promise_loses(
    wrong: float, implied: float, least: float, wanted: float
) -> None:
    reference = np.zeros((8, 4, 3))
    promise = reference + implied
    other = promise + noise_in(1, wrong)
    assert worst_row_beyond_db(reference, promise, other, least) == pytest.approx(wanted)
    a, b, c = (side.swapaxes(1, 2) for side in (reference, promise, other))
    assert worst_row_beyond_db(a, b, c, least) == pytest.approx(wanted)


def test_a_row_that_the_promise_loses_more_in_may_lose_it() -> None:
    """Rows lose 0, 4, 0, 0 by the promise (1 on average), and the file is 2 off in one of them."""
    reference = np.zeros((8, 4, 1))
    promise = reference + noise_in(1, 2.0, (8, 4, 1))
    assert (
        worst_row_beyond_db(reference, promise, promise + noise_in(1, 2.0, (8, 4, 1)), 0.1) == 0.0
    )
    assert worst_row_beyond_db(
        reference, promise, promise + noise_in(2, 2.0, (8, 4, 1)), 0.1
    ) == pytest.approx(10 * math.log10(4))


def test_an_axis_of_one_has_no_rows() -> None:
    one, two = np.zeros((8, 1)), np.zeros((8, 2))
    assert worst_row_beyond_db(one, one, one + 2, 1.0) == 0.0
    assert worst_row_beyond_db(two, two, two + np.array([0.0, 2.0]), 1.0) == pytest.approx(
        10 * math.log10(4)
    )


def test_of_very_many_rows_the_lower_end_of_what_they_lose_counts() -> None:
    many = rows.MANY_ROWS + 1
    reference = np.zeros((8, many))
    steady, loud = reference.copy(), reference.copy()
    steady[:, 5] = 1.0
    loud[0, 5] = math.sqrt(8)  # as much in one sample alone
    assert worst_row_beyond_db(reference, reference, steady, 0.1) == pytest.approx(20.0)
    assert worst_row_beyond_db(reference, reference, loud, 0.1) == 0.0
    assert worst_row_beyond_db(reference[:7], reference[:7], steady[:7], 0.1) == 0.0
    few = slice(1, None)
    assert worst_row_beyond_db(reference[:, few], reference[:, few], loud[:, few], 0.1) > 19.9


def test_the_lower_end_of_a_loud_row_is_so_many_standard_errors_below() -> None:
    """Eight samples lose 1 or 2 in one of 2000 rows: the mean 1.5 less 4.4 standard errors of 0.19."""
    reference = np.zeros((8, 2000))
    other = reference.copy()
    other[:, 7] = np.sqrt([1.0, 2.0] * 4)
    deviations = 4.4172 * np.array([1.0, 2.0] * 4).std(ddof=1) / math.sqrt(8)
    assert rows._surely(2000) == pytest.approx(4.4172, abs=1e-3)
    assert rows._surely(3) == rows._surely(1024) == pytest.approx(4.2703, abs=1e-3)
    found = worst_row_beyond_db(reference, reference, other, 0.1)
    assert found == pytest.approx(10 * math.log10((1.5 - deviations) / 0.01), abs=1e-3)


@pytest.mark.parametrize(
    ("promised", "made", "least", "wanted"),
    [
        (0.0, 2.0, 0.5, 10 * math.log10(16)), (1.0, 2.0, 0.5, 10 * math.log10(4)), (1.0, 1.0, 0.5, 0.0),
        (0.0, 2.0, 0.0, math.inf), (0.0, 0.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_the_worst_sample_is_held_against_the_promises_worst(
    promised: float, made: float, least: float, wanted: float
) -> None:
    reference = np.zeros((3, 2))
    promise, other = reference.copy(), reference.copy()
    promise[0] = promised
    other[0] = promised
    other[2] = made
    assert metrics.worst_sample_beyond_db(reference, promise, other, least) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("rest", "wrong", "wanted"),
    [(0.5, 2.0, 10 * math.log10(4)), (1.01, 2.0, 0.0), (0.0, 0.9, 0.0), (0.99, 2.0, 10 * math.log10(4)),
     (0.0, 1.5, 10 * math.log10(2.25))],
)  # fmt: skip
def test_an_odd_place_stands_out_of_the_median_one(
    rest: float, wrong: float, wanted: float
) -> None:
    """Every place is ``rest`` off and one is ``wrong`` off, where the promise allows 1, all twice over: four times the median is odd."""
    reference = np.zeros((8, 2, 5))
    other = reference + 2 * rest
    other[:, :, 3] = 2 * wrong
    assert odd_place_beyond_db(reference, reference, other, 2.0) == pytest.approx(wanted)
    assert odd_place_beyond_db(
        reference.swapaxes(1, 2), reference.swapaxes(1, 2), other.swapaxes(1, 2), 2.0
    ) == pytest.approx(wanted)
    assert odd_place_beyond_db(reference, reference, other, 0.0) == 0.0


def test_channels_of_a_map_are_no_places() -> None:
    reference = np.zeros((8, 5, 4, 4))
    other = reference.copy()
    other[:, 3] = 2.0
    assert odd_place_beyond_db(reference, reference, other, 1.0) == 0.0
    assert worst_row_beyond_db(reference, reference, other, 1.0) == pytest.approx(
        10 * math.log10(4)
    )
    assert odd_place_beyond_db(
        reference.swapaxes(1, 3), reference.swapaxes(1, 3), other.swapaxes(1, 3), 1.0
    ) == pytest.approx(10 * math.log10(4))
    assert odd_place_beyond_db(np.zeros((8, 5)), np.zeros((8, 5)), other[:, :, 0, 0], 1.0) == 0.0


def test_labels_of_a_row_that_turn_are_counted_over_the_samples() -> None:
    """Of 4 labels in a row 3 or 4 turn, sample by sample; the promise turns 1 of 4 in one sample of 8."""
    reference = np.zeros((8, 3, 4), int)
    other = reference.copy()
    other[:, 1, 1:] = 1
    other[::2, 1, 0] = 1
    promise = reference.copy()
    promise[0, 1, 0] = 1
    apart = np.array([1.0, 0.75] * 4)
    low = apart.mean() - rows._surely(3) * apart.std(ddof=1) / math.sqrt(8)
    assert turned_row_low(reference, reference, other) == pytest.approx(low)
    against = apart.copy()
    against[0] -= 0.25
    low = against.mean() - rows._surely(3) * against.std(ddof=1) / math.sqrt(8) - 2 / 32
    assert turned_row_low(reference, promise, other) == pytest.approx(low)
    assert turned_row_low(reference[:7], reference[:7], other[:7]) == 0.0
    assert turned_row_low(reference, other, other) == 0.0
    deep = np.zeros((8, 2, 3, 4), int)
    wrong = deep.copy()
    wrong[:, 1, 2, 3] = 1  # of the last axis' rows one turns in a sixth of its places
    assert turned_row_low(deep, deep, wrong) == pytest.approx(1 / 6)
    assert turned_row_low(deep[:, :1, :1, :1], deep[:, :1, :1, :1], 1 - deep[:, :1, :1, :1]) == 0.0
    assert turned_row_low(deep[:, :, :1, :1], deep[:, :, :1, :1], 1 - deep[:, :, :1, :1]) == 1.0


def test_the_share_of_a_sample_says_as_much_as_it_is_steady() -> None:
    """Kish's design effect: the share varies over samples by less than a coin would."""
    steady = np.zeros((8, 10), bool)
    steady[:, :3] = True
    assert share_low(steady) == pytest.approx(metrics.wilson_interval(24, 80)[0])
    assert share_low(steady[:7]) == pytest.approx(metrics.wilson_interval(2.1, 7)[0])
    nearly = steady.copy()
    nearly[0, 3] = True
    share, spread = 25 / 80, nearly.mean(axis=1).var(ddof=1)
    draws = min(80.0, share * (1 - share) * 8 / spread)
    assert share_low(nearly) == pytest.approx(metrics.wilson_interval(share * draws, draws)[0])
    uneven = np.zeros((8, 10), bool)
    uneven[:4, :9], uneven[4:, :2] = True, True
    share, spread = 0.55, uneven.mean(axis=1).var(ddof=1)
    draws = share * (1 - share) * 8 / spread
    assert 8 < draws < 80
    assert share_low(uneven) == pytest.approx(metrics.wilson_interval(share * draws, draws)[0])
    whole = np.zeros((8, 10), bool)
    whole[:4] = True  # all or nothing: no more than a draw a sample
    assert share_low(whole) == pytest.approx(metrics.wilson_interval(4, 8)[0])
    assert share_low(np.zeros((8, 10), bool)) == 0.0
    assert share_low(np.ones((8, 10), bool)) == metrics.wilson_interval(8, 8)[0]
    assert share_low(np.array(True)) == metrics.wilson_interval(1, 1)[0]
    found = metrics.differs_low(np.zeros((8, 10)), steady.astype(float))
    assert found == share_low(steady)
    wanted, got = np.zeros((4, 2), int), np.array([[0, 0], [0, 1], [0, 0], [1, 1]])
    assert metrics.equal_share(wanted, got) == (0.625, *metrics.wilson_interval(2.5, 4))
    assert metrics.equal_share(np.array(1), np.array(1)) == (1.0, *metrics.wilson_interval(1, 1))


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilsons_interval_is_the_published_one(
    successes: int, count: int, low: float, high: float
) -> None:
    """Newcombe 1998, table I, and 10 / (10 + 1.96^2) where all succeed."""
    assert metrics.wilson_interval(successes, count) == pytest.approx((low, high), abs=5e-5)


def test_an_interval_asks_for_a_share_and_is_as_wide_as_it_is_sure() -> None:
    for successes, count in ((-1, 4), (5, 4), (0, 0)):
        with pytest.raises(EdgeconvError, match=f"{successes} of {count} is no share"):
            metrics.wilson_interval(successes, count)
    low, high = metrics.wilson_interval(5, 10, confidence=0.5)
    z = 0.6744898
    half = z * math.sqrt(0.025 + z * z / 400) / (1 + z * z / 10)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))


@pytest.mark.parametrize(
    ("places", "kept", "promised", "lost"),
    [
        (10, 4, 10, 1), (10, 5, 10, 0), (9, 0, 9, 0), (10, 2, 5, 1), (10, 4, 6, 0), (10, 4, 7, 1), (16, 4, 8, 0), (16, 3, 8, 1),
    ],
)  # fmt: skip
def test_a_label_is_lost_with_half_of_its_places_and_a_quarter_of_the_promised(
    places: int, kept: int, promised: int, lost: int
) -> None:
    def map_of(held: int) -> NDArray[np.int64]:
        made = np.zeros(30, np.int64)
        made[np.arange(places) % 3 * 10 + np.arange(places) // 3] = np.arange(places) < held
        return made.reshape(3, 10)

    assert lost_labels(map_of(places), map_of(kept), map_of(promised)) == lost


def test_a_label_counts_that_three_samples_hold() -> None:
    wanted = np.zeros((3, 20), int)
    wanted[:2, :6] = 1
    assert lost_labels(wanted, np.zeros_like(wanted), None) == 0
    wanted[2, 0] = 1
    assert lost_labels(wanted, np.zeros_like(wanted), None) == 1
    assert (
        lost_labels(wanted, 2 - wanted, None) == 1
    )  # the one that most have is lost, the other is kept


@pytest.mark.parametrize(("held", "kept", "lost"), [(10, 4, 8), (10, 5, 0), (9, 0, None)])
def test_a_sample_is_lost_with_more_than_half_of_its_rare_labels(
    held: int, kept: int, lost: int | None
) -> None:
    """Eight samples with as many places of a rare label; two more hold none of it."""
    wanted, other = np.zeros((10, 40), int), np.zeros((10, 40), int)
    wanted[:8, :held] = 1
    other[:8, :kept] = 1
    low = 0.0 if lost is None else metrics.wilson_interval(lost, 8)[0]
    assert lost_samples_low(wanted, other, None) == pytest.approx(low)
    promise = wanted.copy()
    promise[0, :held] = 0
    assert lost_samples_low(wanted, other, promise) == pytest.approx(max(0.0, low - 2 / 8))


def test_paired_errors_are_a_coins() -> None:
    first = np.array([True] * 3 + [False] * 5)
    second = np.array([False] * 3 + [True] * 1 + [False] * 4)
    assert metrics.mcnemar_p(first, second) == 2 * 5 / 16
    assert metrics.mcnemar_p(second, first) == 2 * 5 / 16
    assert metrics.mcnemar_p(first, ~first) == pytest.approx(2 * 93 / 256)
    with pytest.raises(EdgeconvError, match="8 and 7 samples cannot be paired"):
        metrics.mcnemar_p(first, second[:7])


def test_the_constants_of_the_metrics_are_those_of_their_documentation() -> None:
    assert (centred.STILL, centred.FEWEST_SAMPLES) == (2.0**-18, 8)
    assert (rows.MANY_ROWS, rows.BY_CHANCE, rows.ODD) == (1024, 0.01, 4.0)
    assert (information.FEWEST_VALUES, information.MOST_VALUES) == (32, 2**20)
    assert metrics.PIECE == 2**18


@pytest.mark.parametrize(
    "metric",
    [
        metrics.max_abs_error, metrics.relative_error, metrics.sqnr_db, metrics.rms_error, metrics.rms_low, metrics.cosine,
        metrics.smallest_tolerance, partial(metrics.quanta_error, scale=0.5), metrics.sqnr_centred_db, metrics.row_sqnr_db,
        metrics.lost_channels, metrics.kl_softmax, metrics.lost_bits, metrics.equal_share, metrics.differs_low,
        metrics.agreeing, metrics.agreement, partial(metrics.split_flips, threshold=0.5),
        partial(metrics.lost_classes, threshold=0.5),
    ],
)  # fmt: skip
def test_every_metric_asks_for_one_shape_and_for_finite_values(metric: Any) -> None:
    good = np.random.default_rng(0).normal(size=(8, 3))
    if getattr(metric, "func", None) is metrics.lost_classes:
        good = good.reshape(1, 3, 8, 1)
    bad = good.copy()
    bad.reshape(-1)[3] = math.nan
    for a, b in ((good, good[:, :1]), (good[:, :1], good)):
        with pytest.raises(EdgeconvError, match=r"^output y is .* in the reference$"):
            metric(a, b, name="y")
    with pytest.raises(EdgeconvError, match=r"^output y holds NaN"):
        metric(good, bad, name="y")
    with pytest.raises(EdgeconvError, match=r"^output y of the reference holds NaN"):
        metric(bad, good, name="y")
