"""The judge's figures, findings and sentences by value: what each is where it can be worked out, on both sides of each limit."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.judge import measure as measured
from edgeconv.judge.advice import advice, said_once
from edgeconv.judge.budget import (
    DEFAULTS,
    EXACT,
    ONCE,
    RANDOM,
    Budget,
    defaults_for,
    held_in,
    load_budgets,
)
from edgeconv.judge.context import Context
from edgeconv.judge.doubts import doubts_of
from edgeconv.judge.labels import Margins, label_figures
from edgeconv.judge.measure import measure
from edgeconv.judge.measures import MEASURES, PART_MEASURES, show
from edgeconv.judge.missed import missed_sentences, verdict_sentence
from edgeconv.judge.outputs import Outputs, inputs_hash, load_folder, load_outputs, save_outputs
from edgeconv.judge.parts import Part, channel_axis, find_parts
from edgeconv.judge.run import all_placed, as_rows, batches, placed, run_feeds
from edgeconv.judge.scores import holds_scores
from edgeconv.judge.text import number
from edgeconv.judge.verdict import Finding, Verdict, compare, no_integers
from edgeconv.judge.whole import whole_kind
from edgeconv.tensors import Quantization, TensorSpec

RNG = np.random.default_rng


def db(ratio: float) -> float:
    return 10 * math.log10(ratio)


# --- classes -------------------------------------------------------------------------------------------------


def one_hot(classes: Any, count: int = 3, size: float = 2.0) -> NDArray[Any]:
    made: NDArray[Any] = np.eye(count)[np.asarray(classes)] * size
    return made


def test_decisions_are_counted_and_held_against_the_noise_that_explains_them() -> None:
    """Of ten pictures one flips across a margin of 0.5 and one across 2; the noise is 1 or what the floor says."""
    reference, other = one_hot([0] * 10, 6), one_hot([0] * 10, 6)
    reference[3] = [2.0, 1.5, 0, 0, 0, 0]
    other[3] = [1.5, 2.0, 0, 0, 0, 0]
    other[7] = [1.0, 3.0, 3.0, 3.0, 3.0, 3.0]
    for floor, beyond in ((reference + 0.2, 1), (reference + 2.0, 0), (reference + 0.01, 2)):
        figures, _ = measure("y", reference, other, Context(floor=floor, scores=True))
        noise = float(np.sqrt(np.square(reference - floor).mean()))
        assert figures["margin_explained"] == pytest.approx(3 * math.sqrt(2) * noise)
        low, high = metrics.wilson_interval(8, 10)
        assert [figures[name] for name in (
            "agreement_top1", "agreement_top1_low", "agreement_top1_high", "agreement_top5", "flips",
            "flips_explained", "flips_beyond", "flips_beyond_share", "widest_flip",
        )] == [0.8, low, high, 0.9, 2.0, 2.0 - beyond, beyond, beyond / 10, 2.0]  # fmt: skip
        assert figures["flips_beyond_low"] == metrics.exact_low(beyond, 10)
        assert figures["kl"] == pytest.approx(metrics.kl_softmax(reference, other))
    alone, _ = measure("y", reference, other, Context(scores=True))
    assert alone["margin_explained"] == pytest.approx(3 * math.sqrt(2) * alone["rms_error"])


@pytest.mark.parametrize(
    ("common", "rare", "come", "leave", "told"),
    [
        (25, 15, 15, 0, (0, 15)), (25, 10, 10, 0, (0, 10)), (25, 9, 9, 0, None), (20, 20, 20, 0, None), (20, 19, 19, 0, (0, 19)),
        (25, 15, 6, 0, (9, 15)), (25, 15, 5, 0, None), (25, 15, 8, 8, None), (25, 15, 0, 8, None), (25, 15, 13, 3, (2, 15)),
    ],
)  # fmt: skip
def test_rare_classes_count_where_they_come_to_the_commonest_one(
    common: int, rare: int, come: int, leave: int, told: tuple[int, int] | None
) -> None:
    """``come`` rare pictures become common ones, ``leave`` common ones rare: with 6 to none it is no chance."""
    classes = np.array([1] * common + [2] * rare)
    now = classes.copy()
    now[common : common + come], now[:leave] = 1, 2
    figures, _ = measure("y", one_hot(classes), one_hot(now), Context(scores=True))
    wanted = None if told is None else metrics.wilson_interval(*told)[1]
    assert figures.get("agreement_rare_high") == wanted


@pytest.mark.parametrize(
    ("shape", "maps"),
    [((8, 2, 4, 4), True), ((8, 1, 4, 4), False), ((8, 2, 4, 1), False), ((8, 2, 2, 2), True), ((8, 2, 16), False)],
)  # fmt: skip
def test_a_map_of_two_classes_has_classes_to_lose(shape: tuple[int, ...], maps: bool) -> None:
    values = RNG(0).normal(size=shape)
    figures, _ = measure("y", values, values, Context(scores=False))
    assert ("lost_classes" in figures) is maps


def test_the_true_classes_say_what_both_sides_are_worth() -> None:
    reference, other = one_hot([0, 1, 2, 0, 1, 2]), one_hot([0, 1, 1, 1, 1, 1])
    truth = np.array([0, 1, 2, 0, 0, -1])
    figures, _ = measure("y", reference, other, Context(truth=truth, scores=True))
    low, high = metrics.wilson_interval(2, 5)
    assert [figures[n] for n in ("top1", "top1_low", "top1_high", "reference_top1", "mcnemar_p")] == [
        0.4, low, high, 0.8, 0.5
    ]  # fmt: skip
    assert figures["top1_drop"] == pytest.approx(0.4)
    for none in (None, np.full(6, -1)):
        assert "top1" not in measure("y", reference, other, Context(truth=none, scores=True))[0]
    with pytest.raises(EdgeconvError, match="there are 5 classes of truth for 6 samples"):
        measure("y", reference, other, Context(truth=truth[:5], scores=True))
    only = np.array([0] + [-1] * 5)
    assert measure("y", reference, other, Context(truth=only, scores=True))[0]["top1"] == 1.0


def test_an_output_that_is_the_class_is_right_or_wrong_by_itself() -> None:
    reference, other = np.array([[0], [1], [2], [3]]), np.array([[0], [1], [3], [3]])
    truth = np.array([0, 2, 2, -1])
    figures, _ = measure("y", reference, other, Context(truth=truth, alone=True))
    assert (figures["top1"], figures["reference_top1"]) == (1 / 3, 2 / 3)
    assert "top1" not in measure("y", reference, other, Context(truth=truth))[0]
    two = reference.repeat(2, 1)
    assert "top1" not in measure("y", two, two, Context(truth=truth, alone=True, scores=False))[0]
    assert "top1" not in measure("y", reference, other, Context(alone=True))[0]


# --- labels --------------------------------------------------------------------------------------------------


def test_labels_are_equal_turned_or_lost() -> None:
    reference = np.zeros((8, 10), int)
    reference[:, :3] = 1
    other, floor = reference.copy(), reference.copy()
    other[:, 0], floor[0, 0] = 0, 0
    figures = label_figures("y", reference, other, floor, None)
    share, low, high = metrics.equal_share(reference, other)
    assert (figures["equal"], figures["equal_low"], figures["equal_high"]) == (share, low, high)
    assert share == pytest.approx(0.9)
    assert figures["differs_low"] == metrics.differs_low(reference, other)
    assert figures["turned_beyond_low"] == pytest.approx(metrics.differs_low(floor, other) - 2 / 80)
    assert figures["turned_row_low"] == metrics.turned_row_low(reference, floor, other)
    assert (figures["lost_labels"], figures["lost_samples_low"]) == (0.0, 0.0)
    assert label_figures("y", reference, other, other, None)["turned_beyond_low"] == 0.0
    scaled = label_figures("y", reference, other + 0.3, floor, None)
    assert scaled == figures
    line = label_figures("y", reference[:, 0], other[:, 0], None, None)
    assert set(line) == {"equal", "equal_low", "equal_high", "differs_low"}
    gone = label_figures("y", reference, np.zeros_like(reference), None, None)
    assert gone["lost_labels"] == 1.0
    assert "turned_beyond_low" not in gone


def test_a_label_that_turns_is_explained_by_how_sure_it_was() -> None:
    reference = np.array([[0, 1], [1, 0], [0, 0], [1, 1]])
    other = np.array([[1, 1], [0, 1], [0, 0], [1, 1]])
    sure = np.array([[0.5, 9.0], [0.75, 0.25], [9.0, 9.0], [9.0, 9.0]])
    figures = label_figures("y", reference, other, None, Margins(sure, 0.5))
    assert {k: v for k, v in figures.items() if "flip" in k or "margin" in k} == {
        "flips": 3.0, "flips_explained": 2.0, "flips_beyond": 1.0, "flips_beyond_share": 0.125,
        "flips_beyond_low": metrics.exact_low(1, 4), "margin_explained": 0.5, "widest_flip": 0.75,
    }  # fmt: skip
    assert label_figures("y", reference, reference, None, Margins(sure, 0.5))["widest_flip"] == 0.0
    for floor, beyond in (
        (other, 0.0),
        (reference, 1.0),
    ):  # the recipe in float turns it too, or not
        found = label_figures("y", reference, other, floor, Margins(sure, 0.5))
        assert found["flips_beyond"] == beyond


# --- values --------------------------------------------------------------------------------------------------


def test_every_figure_of_values_is_what_its_name_says() -> None:
    rng = RNG(1)
    wanted = rng.normal(size=(12, 3)) * [1.0, 2.0, 4.0]
    got, floor = wanted + 0.25 * rng.normal(size=(12, 3)), wanted + 0.1 * rng.normal(size=(12, 3))
    figures, notes = measure("y", wanted, got, Context(scale=0.5, floor=floor, scores=False))
    assert notes == ()
    assert list(figures) == [name for name in MEASURES if name in figures]
    error, noise = np.abs(got - wanted), np.square(got - wanted)
    spread = np.ptp(wanted - wanted.mean(axis=0))
    rows = 10 * np.log10(np.square(wanted).sum(axis=1) / noise.sum(axis=1))
    centred = db(
        float(np.square(wanted - wanted.mean(axis=0)).sum()) * 12 / 11 / float(noise.sum())
    )
    signal = np.square(wanted - wanted.mean(axis=0)).sum(axis=1)
    beside = float(np.linalg.norm(noise.sum(axis=1) / noise.sum() - signal / signal.sum()))
    half_step = metrics.half_step(wanted)
    rms = float(np.sqrt(noise.mean()))
    exact: dict[str, float] = {
        "max_abs_error": error.max(),
        "tolerance_absolute": error.max(),
        "relative_error": error.max() / np.ptp(wanted),
        "rms_error": rms,
        "float_error": (error.max() - 2**-16 * np.abs(wanted).max()) / min(np.ptp(wanted), spread),
        "half_error": (error.max() - 2**-9 * np.abs(wanted).max()) / min(np.ptp(wanted), spread),
        "sqnr_db": db(float(np.square(wanted).sum() / noise.sum())),
        "sqnr_centred_db": centred,
        "sqnr_centred_high_db": centred - db(1 - 1.645 * beside * math.sqrt(12 / 11)),
        "half_sqnr_db": centred + 20 * math.log10(rms / math.sqrt(rms**2 - half_step**2)),
        "worst_sample_db": rows.min(),
        "worst_sample": rows.argmin(),
        "cosine": float((wanted * got).sum() / np.sqrt(np.square(wanted).sum() * np.square(got).sum())),
        "quanta_mean": float(error.mean() / 0.5),
        "quanta_max": float(error.max() / 0.5),
        "quanta_equal": float((error < 0.25).mean()),
        "quanta_within_one": float((error < 0.75).mean()),
        "distinct": 36.0,
        "distinct_reference": 36.0,
        "lost_channels": 0.0,
        "floor_sqnr_db": db(float(np.square(wanted).sum() / np.square(floor - wanted).sum())),
        "below_floor_db": 0.0,  # its own step is 0.5
        "beyond_promise_db": 0.0,
        "lost_bits": 0.0,
        "lost_float_bits": 0.0,
    }  # fmt: skip
    for name, value in exact.items():
        assert figures[name] == pytest.approx(value), name
    line, _ = measure("y", wanted[:, 0], got[:, 0], Context(scores=False))
    assert "lost_channels" not in line
    assert "quanta_max" not in line
    assert "below_floor_db" not in line


@pytest.mark.parametrize(
    ("reference", "error", "wanted"),
    [
        ([[0.0], [4.0]], 1.0, (1 - 0.25) / 4),
        ([[-4.0], [0.0]], 1.0, (1 - 0.25) / 4),
        ([[100.0], [101.0]], 7.3125, (7.3125 - 101 / 16) / 1),
        ([[0.0, 100.0], [1.0, 101.0]], 7.3125, (7.3125 - 101 / 16) / 1),  # elements far apart that vary by 1
        ([[0.0, 100.0], [0.0, 100.0]], 7.25, (7.25 - 6.25) / 100),  # that do not vary: the range is what there is
        ([[3.0], [3.0]], 1.0, math.inf),
        ([[3.0], [3.0]], 0.1875, 0.0),
        ([[0.0], [16.0]], 1.0, 0.0),
    ],
)  # fmt: skip
def test_an_error_counts_beyond_rounding_and_over_what_varies(
    reference: list[list[float]], error: float, wanted: float
) -> None:
    """A sixteenth of the largest value is rounding here."""
    assert measured._beyond_rounding(np.array(reference), error, 1 / 16) == pytest.approx(wanted)


@pytest.mark.parametrize(("error", "clean"), [(2.0, True), (2.1, False)])
def test_from_40_db_one_steep_place_is_no_error_of_half_precision(
    error: float, clean: bool
) -> None:
    """The signal is 2 * 100^2 * 2, and 4 of noise leave exactly 40 dB: no bits are counted either."""
    reference = np.array([[0.0], [200.0]])
    other = reference + np.array([[error], [0.0]])
    figures, _ = measure("y", reference, other, Context(scores=False, floor=reference))
    assert (figures["sqnr_centred_db"] >= 40.0) is clean
    assert (figures["half_error"] == 0.0) is clean
    assert (figures["float_error"] > 0.0) is True


def test_what_halves_round_is_no_noise_of_theirs() -> None:
    """Around 500 a half has steps of a quarter: noise of a quarter and less is explained whole."""
    reference = np.array([[500.0], [504.0]])
    assert (
        measure("y", reference, reference + 0.25, Context(scores=False))[0]["half_sqnr_db"]
        == math.inf
    )
    figures, _ = measure("y", reference, reference + 0.5, Context(scores=False))
    left = math.sqrt(0.25 - 0.0625)
    assert figures["half_sqnr_db"] == pytest.approx(
        figures["sqnr_centred_db"] + 20 * math.log10(0.5 / left)
    )


@pytest.mark.parametrize(
    ("implied", "scale", "size", "half", "least"),
    [
        (0.5, None, 1.0, False, 0.5),
        (0.5, 0.75, 1.0, False, 0.75),
        (0.0, 0.25, 1.0, False, 0.25),
        (0.0, None, 2.0**13, False, 2.0**-3),  # what float32 kernels round of it
        (0.0, None, 2.0**9, True, 2.0**-2),  # half a step of halves at 512
    ],
)
def test_noise_is_above_the_floor_its_step_or_what_is_rounded(
    implied: float, scale: float | None, size: float, half: bool, least: float
) -> None:
    """The largest value is ``size``, and the file is 2 off everywhere; ``half``: in numbers that are halves."""
    reference = np.zeros((8, 4))
    reference[:, 0] = size
    floor = reference + implied
    other = reference + (2.0 if half else 2.0 + 1e-7)
    figures, _ = measure("y", reference, other, Context(floor=floor, scale=scale, scores=False))
    assert figures["below_floor_db"] == pytest.approx(20 * math.log10(2 / least), abs=1e-4)
    assert figures["beyond_promise_db"] == pytest.approx(
        20 * math.log10((2 - implied) / least), abs=1e-4
    )
    assert figures["worst_row_beyond_db"] == pytest.approx(figures["beyond_promise_db"], abs=1e-4)
    assert figures["worst_sample_beyond_db"] == pytest.approx(
        figures["beyond_promise_db"], abs=1e-4
    )
    assert figures["odd_place_beyond_db"] == 0.0


def test_nothing_implied_and_nothing_wrong_is_nothing_beyond() -> None:
    zeros = np.zeros((8, 2))
    same, _ = measure("y", zeros, zeros, Context(floor=zeros, scores=False))
    assert (same["below_floor_db"], same["beyond_promise_db"]) == (0.0, 0.0)
    assert measured._beyond_db(1.0, 0.0) == math.inf
    assert measured._beyond_db(1.0, 1.0) == 0.0
    assert measured._beyond_db(2.0, 1.0) == pytest.approx(6.0206, abs=1e-4)


def test_bits_are_lost_of_the_promise_and_of_the_reference_each() -> None:
    """Promised are 32 of the reference's 64 levels, and 16 are left."""
    reference = np.arange(64.0).repeat(2)[:, None]
    promise, other = reference // 2 * 2, reference // 4 * 4
    figures, _ = measure("y", reference, other, Context(floor=promise, scores=False))
    for name, of in (("lost_bits", promise), ("lost_float_bits", reference)):
        assert figures[name] == pytest.approx(metrics.lost_bits(of, other))
    assert figures["lost_float_bits"] > figures["lost_bits"] + 0.8 > 1.6


@pytest.mark.parametrize(("channels", "lost"), [(2, True), (64, True), (65, False), (1, False)])
def test_each_of_few_channels_is_asked_for_its_bits(channels: int, lost: bool) -> None:
    reference = np.random.default_rng(0).normal(size=(64, channels))
    other = reference.copy()
    whole = metrics.lost_bits(reference, np.sign(reference)) if channels == 1 else 0.0
    other[:, -1] = np.sign(reference[:, -1])
    found = measured._lost_bits("y", reference, other, math.inf)
    assert (found > 4.0) is (lost or channels == 1)
    assert channels > 1 or found == whole


@pytest.mark.parametrize(("size", "lost"), [(1.0, 0.0), (2000.0, 0.0)])
def test_what_halves_cannot_tell_apart_is_not_lost(size: float, lost: float) -> None:
    """64 values that lie 1/64 apart: around 2000 a half has steps of 1, and so has what was promised."""
    reference = size + np.arange(64.0)[:, None] / 64
    other = reference.astype(np.float16).astype(np.float64)
    assert measured._levels("y", reference, other, {}, Context()) == {"lost_float_bits": lost}
    assert measured._levels("y", reference, other + 1e-4, {}, Context())["lost_float_bits"] == (
        pytest.approx(metrics.lost_bits(reference, other))
    )
    far = np.linspace(-1e6, 1e6, 64)[:, None]
    cut = np.clip(far, -65504.0, 65504.0).astype(np.float16).astype(np.float64)
    assert measured._levels("y", far, cut, {}, Context()) == {"lost_float_bits": 0.0}
    clean = measured._levels("y", far, cut * 0, {"sqnr_centred_db": 40.0}, Context(floor=far))
    assert clean == {"lost_float_bits": 0.0, "lost_bits": 0.0}


@pytest.mark.parametrize(
    ("spread", "scale", "coarse"),
    [(4.0, None, True), (16.1, None, False), (4.0, 0.6, False), (4.0, 0.5, True), (0.0, None, False)],
)  # fmt: skip
def test_an_output_whose_halves_are_coarse_is_told_what_keeps_its_digits(
    spread: float, scale: float | None, coarse: bool
) -> None:
    """Around 1000 a half has steps of a half: a 32nd of a spread of 16."""
    reference = np.array([[1000.0 - spread], [1000.0 + spread]])
    _, notes = measure("y", reference, np.round(reference), Context(scale=scale, scores=False))
    said = f"y: half precision has steps of 0.5 there, and it varies by {spread:.3g}: --coreml-compute fp32 keeps its digits"
    assert notes == ((said,) if coarse else ())


@pytest.mark.parametrize(
    ("size", "lost"), [(1.0, 1.0), (0.0039, 1.0), (0.0039 / 2, 0.0)], ids=["all", "a step", "half a step"]
)  # fmt: skip
def test_a_class_of_a_softmax_counts_that_moves_by_a_step_of_int8(size: float, lost: float) -> None:
    wanted = np.full((8, 2), 0.5)
    wanted[::2] += [size / 2, -size / 2]
    wanted[1::2] -= [size / 2, -size / 2]
    found = measured._channels("y", wanted, wanted[:, ::-1], Context())
    assert found["lost_channels"] == 2 * lost * (size >= 1 / 256) if size != 0.0039 else True
    logits = measured._channels("y", wanted * 8, wanted[:, ::-1] * 8, Context())
    assert logits["lost_channels"] == 2.0


def test_dead_places_are_asked_of_what_was_promised() -> None:
    wanted = np.random.default_rng(0).normal(size=(12, 2, 9))
    frozen = wanted.copy()
    frozen[:, :, 3] = 0.0
    both = Context(floor=frozen)
    assert measured._channels("y", wanted, frozen, Context())["dead_places"] == 1.0
    assert measured._channels("y", wanted, frozen, both)["dead_places"] == 0.0
    assert "dead_places" not in measured._channels("y", wanted[:, :, 0], frozen[:, :, 0], Context())
    one = measured._channels("y", wanted[:, :1], frozen[:, :1], Context())
    assert set(one) == {"dead_places"}


def test_amounts_may_fall_either_side_of_a_whole_number() -> None:
    """Counts that are one off are not wrong; of two beyond the promise one step is rounding."""
    reference = np.arange(120).reshape(40, 3) * 2
    other = reference + 1
    figures, _ = measure("y", reference, other, Context(floor=reference, whole="amounts"))
    assert (figures["max_abs_error"], figures["float_error"], figures["half_error"]) == (
        1.0,
        0.0,
        0.0,
    )
    assert (figures["quanta_max"], figures["quanta_within_one"]) == (1.0, 1.0)
    assert figures["below_floor_db"] == pytest.approx(20 * math.log10(1 / 0.5))
    assert "worst_sample_beyond_db" not in figures
    three, _ = measure("y", reference, reference + 3, Context(floor=reference, whole="amounts"))
    error = (2 - 238 * 2**-16) / np.ptp(reference - reference.mean(axis=0))
    assert three["float_error"] == pytest.approx(error)
    assert three["beyond_promise_db"] == pytest.approx(20 * math.log10(3 / 0.5))


def test_scores_are_what_has_their_shape_where_nobody_says() -> None:
    values = one_hot([0, 1, 2])
    assert "agreement_top1" in measure("y", values, values)[0]
    assert "agreement_top1" not in measure("y", values[:, :1], values[:, :1])[0]
    assert "agreement_top1" not in measure("y", values, values, Context(scores=False))[0]
    softmax = np.full((3, 4), 0.25)
    for pair in ((softmax, 10 * softmax), (10 * softmax, softmax)):
        figures, notes = measure("y", *pair)
        assert notes == (
            "y: one side holds probabilities and the other logits, so only classes are compared",
        )
        assert "max_abs_error" not in figures
        assert measure("y", *pair, Context(scores=False))[1] == ()
    coarse = np.tile([42, 42, 42, 0, 0, 0, 0, 0], (3, 1)) / 127  # a softmax in steps of 1/127
    figures, notes = measure("y", np.tile([1 / 3] * 3 + [0.0] * 5, (3, 1)), 0.97 * coarse)
    assert notes == ()
    assert figures["max_abs_error"] == pytest.approx(1 / 3 - 0.97 * 42 / 127)


# --- parts, scores, whole numbers ----------------------------------------------------------------------------


def test_a_part_is_cut_along_its_axis() -> None:
    values = np.arange(24).reshape(2, 3, 4)
    assert Part(1, 1, 3).of(values).tolist() == values[:, 1:3].tolist()
    assert Part(2, 0, 1).of(values).tolist() == values[:, :, :1].tolist()
    assert (str(Part(1, 2, 3)), str(Part(1, 1, 3))) == ("channel 2", "channels 1 to 2")


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3), 1), ((2, 4, 3), 2), ((2, 3, 3), 1), ((2, 3, 4), 1), ((2, 4, 3, 1), 1), ((2,), 1)]
)  # fmt: skip
def test_channels_are_the_shorter_axis_of_two(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(np.zeros(shape)) == axis


@pytest.mark.parametrize(
    ("cuts", "parts"),
    [
        ((1, 0, 2), ["channels 0 to 1", "channels 2 to 4"]),
        ((2, 0, 1, 3), ["channel 0", "channels 1 to 2", "channel 3"]),
        ((1, 0, 0, 2), ["channels 0 to 1", "channels 2 to 4"]),
        ((1, 0, 5), []),
        ((1, 0), []),
        ((0, 0, 2), []),
        ((3, 0, 2), []),
    ],
)
def test_the_graph_says_where_an_output_is_cut(cuts: tuple[int, ...], parts: list[str]) -> None:
    values = np.ones((6, 5, 4)) * np.arange(6.0)[:, None, None]
    assert [str(part) for part in find_parts("y", values, {"y": cuts})] == parts
    assert find_parts("y", values, {"z": cuts}) == ()


def channels(*sizes: float) -> NDArray[Any]:
    made: NDArray[Any] = np.outer([1.0, -1.0] * 4, np.repeat(sizes, 12)).reshape(8, -1, 12)
    return made


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ((1.0, 8.0), ["channel 0", "channel 1"]),
        ((1.0, 7.9), []),
        ((1.0, 7.0, 56.0), ["channels 0 to 1", "channel 2"]),
        ((1.0, 9.0, 90.0), ["channels 0 to 1", "channel 2"]),  # the widest gap is the one
        ((9.0, 1.0, 9.0, 1.0), ["channel 0", "channel 1", "channel 2", "channel 3"]),
        ((9.0, 1.0, 9.0, 1.0, 9.0), []),
        ((1.0, 0.0), []),
        ((1.0, 0.0, 9.0), ["channels 0 to 1", "channel 2"]),
        ((1e-5, 1.0), ["channel 0", "channel 1"]),
        ((1e-7, 1.0), []),
        ((1.0,), []),
    ],
)
def test_channels_of_other_ranges_are_other_parts(
    sizes: tuple[float, ...], parts: list[str]
) -> None:
    assert [str(part) for part in find_parts("y", channels(*sizes), None)] == parts
    turned = find_parts("y", np.repeat(channels(*sizes), 2, axis=2).swapaxes(1, 2), None)
    assert [(part.axis, str(part)) for part in turned] == [(2, part) for part in parts]


@pytest.mark.parametrize(
    ("count", "low", "parts"),
    [(16, -9.0, True), (17, -9.0, False), (16, 0.0, True), (16, None, False)],
)
def test_a_vector_of_few_figures_may_hold_several_kinds(
    count: int, low: float | None, parts: bool
) -> None:
    two = np.abs(channels(0.2, 2.0)[:, :, 0])
    two[::2] = 0.0
    assert find_parts("y", two, None)
    assert not find_parts("y", two / 2, None)
    values = np.abs(channels(*([1.0] * (count - 1)), 9.0)[:, :, 0])
    values[::2] *= 0.0 if low is None or low == 0.0 else -1.0
    if low is None:
        values /= 9.0  # within 0 and 1: probabilities
    assert bool(find_parts("y", values, None)) is parts


def test_scores_are_not_what_is_called_or_shaped_like_a_vector() -> None:
    rng = RNG(0)
    logits = rng.normal(size=(32, 8))
    for name, scores in (
        ("logits", True),
        ("Image_EMBEDS", False),
        ("features", False),
        ("descriptor_0", False),
    ):
        assert holds_scores(name, logits, (), None) is scores
    assert not holds_scores("y", logits[:, :1], (), np.zeros(32, int))
    assert not holds_scores("y", np.abs(logits) * 3, (), None)
    assert holds_scores("y", np.abs(logits)[:31] * 3, (), None)  # 248 values: by chance
    for most, scores in ((1.0005, True), (1.0015, False), (2.0, False)):
        low = np.abs(logits) / 10
        low[0, 0] = most
        assert holds_scores("y", low, (), None) is scores
    unit = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    for scale, scores in ((1.0, False), (1.0009, False), (1.0011, True), (0.9989, True)):
        assert holds_scores("y", unit * scale, (), None) is scores
    one = np.eye(8)
    assert holds_scores("y", one, (), None)  # of length 1, and probabilities
    parts = (Part(1, 0, 4), Part(1, 4, 8))
    for size, scores in ((1.0, True), (20.0, False)):
        assert holds_scores("y", logits * ([1.0] * 4 + [size] * 4), parts, None) is scores


@pytest.mark.parametrize(("count", "kind"), [(32, "amounts"), (31, "labels")])
def test_fewer_than_32_different_numbers_are_labels(count: int, kind: str) -> None:
    values = np.arange(count)[:, None] * 4
    other = values.copy()
    other[-1] -= 1
    assert whole_kind(values, other) == kind
    assert whole_kind(values, other[:, :0]) == "labels"
    assert whole_kind(values, other, "labels") == "labels"
    assert whole_kind(values.astype(np.float32), other) is None
    assert whole_kind(values > 3, other > 3) == "labels"
    assert whole_kind(values.astype(np.uint8), other.astype(np.uint8)) == kind


@pytest.mark.parametrize(("step", "kind"), [(2, "amounts"), (3, "labels")])
def test_amounts_are_apart_by_a_twentieth_of_their_spread(step: int, kind: str) -> None:
    """200 numbers spread by 57.7, of which a twentieth is 2.9; what is equal does not count."""
    values = np.arange(200)[:, None]
    other = values.copy()
    other[::7] += step
    assert whole_kind(values, other) == kind
    both = np.concatenate([values, values + 1000], axis=1)
    assert whole_kind(both, np.concatenate([other, other + 1000], axis=1)) == kind


# --- verdicts, budgets ---------------------------------------------------------------------------------------


def test_the_limits_and_what_each_figure_is(golden: Any) -> None:
    """Every default limit, and every figure with its direction, its form and its question."""
    lines = []
    for title, budgets in (("", DEFAULTS), (" of random weights", RANDOM)):
        for kind, budget in budgets.items():
            if title and budget is DEFAULTS[kind]:
                continue
            lines.append(f"{kind}{title}{': ' if budget.open else ''}{budget.open}")
            for name, limit in budget.of("y").items():
                bound = "at least" if MEASURES[name].better == "high" else "at most"
                doubt = (
                    f", in doubt up to {budget.doubtful[name]}" if name in budget.doubtful else ""
                )
                lines.append(f"  {name} {bound} {limit!r} ({show(name, limit)}){doubt}")
    lines.append("in a runtime that no processor's kernels are in")
    lines += [f"  {name} at most {limit!r}" for name, limit in EXACT.items()]
    lines.append("in a runtime that rounds once")
    lines += [f"  {name} at most {limit!r}" for name, limit in ONCE.items()]
    lines.append("figures")
    for m in MEASURES.values():
        of = "" if m.of is None else f", {m.of.__name__}"
        most = "" if math.isinf(m.most) else f", at most {m.most:g}"
        part = ", of parts too" if m.name in PART_MEASURES else ""
        lines.append(
            f"  {m.name} ({m.better}, {m.form}, of the {m.asks}{of}{most}{part}): {m.says}"
        )
    golden.check("verdict_limits.txt", "\n".join(lines) + "\n")


def test_a_budget_file_replaces_a_kind_or_adds_to_it(tmp_path: Path) -> None:
    path = tmp_path / "b.json"

    def load(**tables: Any) -> dict[str, Budget]:
        path.write_text(json.dumps(tables), encoding="utf-8")
        return load_budgets(path)

    assert load_budgets(None) == DEFAULTS
    assert load() == DEFAULTS
    own = load(int8={"kl": 1, "outputs": {"y": {"kl": 2.5}}}, fp32={"extend": True, "kl": 0.5})
    assert own["int8"] == Budget({"kl": 1.0}, {"y": {"kl": 2.5}}, frozenset({"kl"}))
    assert own["int8"].of("y") == {"kl": 2.5}
    assert own["int8"].of("z") == {"kl": 1.0}
    assert own["fp32"] == Budget({**DEFAULTS["fp32"].limits, "kl": 0.5}, {}, frozenset({"kl"}))
    assert own["fp16"] is DEFAULTS["fp16"]
    (tmp_path / "b.toml").write_text("[int8]\nkl = 0.25\n", encoding="utf-8")
    assert load_budgets(tmp_path / "b.toml")["int8"].limits == {"kl": 0.25}
    assert load(int8={"top1": 1.0, "kl": 1e300})["int8"].limits == {"top1": 1.0, "kl": 1e300}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"int4": {}}, "b.json: int4 is no kind of budget: fp32, fp16, int8, lowered, kernels"),
        ({"int8": 3}, "b.json: int8 is no kind of budget"),
        ({"int8": {"outputs": 3}}, r"b.json: int8\.outputs is no table of outputs"),
        ({"int8": {"outputs": {"y": 3}}}, r"b.json: int8\.outputs\.y is no table of limits"),
        ({"int8": {"sqnr": 3}}, "b.json: int8 sets sqnr, which no budget knows; did you mean sqnr_db"),
        ({"int8": {"qqqqqq": 3}}, "b.json: int8 sets qqqqqq, which no budget knows$"),
        ({"int8": {"distinct": 3}}, "b.json: int8 sets distinct, which no budget knows; did you mean distinct"),
        ({"int8": {"kl": True}}, r"b.json: int8\.kl is 'True', not a number"),
        ({"int8": {"kl": "much"}}, r"b.json: int8\.kl is 'much', not a number"),
        ({"int8": {"kl": 2e300}}, r"b.json: int8\.kl is '2e\+300', not a number"),
        ({"int8": {"top1": 95}}, r"b.json: int8\.top1 is 95, and a share is at most 1: 95 % is 0\.95"),
    ]  # fmt: skip
    for tables, said in refused:
        with pytest.raises(UsageError, match=said):
            load(**tables)
    for text, said in (
        ("[1]", "holds no table"),
        ("{", "is neither TOML nor JSON"),
        ("[" * 99999, "is nested too deeply"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(EdgeconvError, match=said):
            load_budgets(path)
    with pytest.raises(UsageError, match="does not exist"):
        load_budgets(tmp_path / "none.toml")


def test_weights_and_runtimes_choose_among_the_defaults() -> None:
    assert defaults_for("random") is RANDOM
    assert defaults_for(None) is defaults_for("file") is DEFAULTS
    assert dict(held_in(DEFAULTS["int8"], "mil-reference").limits) == {
        **DEFAULTS["int8"].limits,
        **EXACT,
        **ONCE,
    }
    for runtime in ("onnxruntime", "ai-edge-litert"):
        assert held_in(DEFAULTS["int8"], runtime).limits == {**DEFAULTS["int8"].limits, **ONCE}
    for other, variant in (("ai-edge-litert", "/no-xnnpack"), ("openvino", ""), (None, "")):
        assert held_in(DEFAULTS["int8"], other, variant).limits == DEFAULTS["int8"].limits
    assert held_in(DEFAULTS["fp32"], "mil-reference") == DEFAULTS["fp32"]
    assert held_in(DEFAULTS["int8"], "mil-reference").doubtful == DEFAULTS["int8"].doubtful


def finding(metric: str, got: float, wanted: float, ok: bool = False, part: str = "") -> Finding:
    return Finding("y", metric, got, wanted, ok, part=part)


def test_a_finding_says_output_part_figure_and_limit() -> None:
    assert str(finding("sqnr_db", 3.04, 10.0)) == "y: sqnr_db is 3.0, wanted at least 10.0"
    assert (
        str(finding("kl", 0.5, 0.25, part="channel 1"))
        == "y, channel 1: kl is 5.00e-01, wanted at most 2.50e-01"
    )
    assert str(finding("sqnr_db", 9.999, 10.0)) == "y: sqnr_db is 9.999, wanted at least 10.0"
    assert (
        str(finding("sqnr_db", 10.0, 10.0, ok=True)) == "y: sqnr_db is 10.0, wanted at least 10.0"
    )
    assert str(replace(finding("sqnr_db", 1.0, 2.0), why="because")) == "because"
    assert finding("sqnr_db", 1.0, 2.0).about_recipe
    assert not finding("below_floor_db", 1.0, 2.0).about_recipe
    assert not finding("int8_compute", 0.0, 1.0).about_recipe


@pytest.mark.parametrize(
    ("findings", "below", "truth", "converted", "good", "blames"),
    [
        ((), 0.0, True, True, True, False),
        ((("sqnr_db", 5.0, 10.0, True),), 0.0, True, True, True, False),
        ((("sqnr_db", 5.0, 10.0, False),), 0.0, False, True, False, True),
        ((("below_floor_db", 9.0, 8.0, False),), 9.0, False, False, True, False),
        (
            (("below_floor_db", 9.0, 8.0, False), ("sqnr_db", 5.0, 10.0, False)),
            4.9,
            False,
            False,
            False,
            True,
        ),
        (
            (("below_floor_db", 9.0, 8.0, False), ("sqnr_db", 5.0, 10.0, False)),
            5.0,
            False,
            False,
            False,
            False,
        ),
        (
            (("below_floor_db", 9.0, 8.0, False), ("sqnr_centred_db", 5.0, 12.0, False)),
            6.0,
            False,
            False,
            False,
            True,
        ),
        (
            (("below_floor_db", 9.0, 8.0, False), ("cosine", 0.5, 0.9, False)),
            0.0,
            False,
            False,
            False,
            False,
        ),
    ],
)
def test_a_verdict_answers_both_questions(
    findings: tuple[Any, ...], below: float, truth: bool, converted: bool, good: bool, blames: bool
) -> None:
    made = Verdict(tuple(finding(*one) for one in findings), {"y": {"below_floor_db": below}})
    assert (bool(made), made.converted, made.good_enough, made.blames_recipe) == (
        truth,
        converted,
        good,
        blames,
    )
    said = "; ".join(str(one) for one in made.findings if not one.ok)
    assert str(made) == (said or f"within budget ({len(findings)} limits)")
    assert made.missed == tuple(one for one in made.findings if not one.ok)
    parts = Verdict(
        (), {"y": {"kl": 1.0}}, parts={"y": {"p": {"kl": 2.0}}, "z": {"p": {"kl": 3.0}}}
    )
    assert parts.places == {("y", ""): {"kl": 1.0}, ("y", "p"): {"kl": 2.0}}


def test_limits_are_held_on_the_side_that_is_better() -> None:
    reference, other = (
        {"y": np.array([[1.0, 2.0], [3.0, 5.0]])},
        {"y": np.array([[1.0, 2.0], [3.0, 6.0]])},
    )
    for limits, ok in (
        ({"max_abs_error": 1.0}, True), ({"max_abs_error": 0.99}, False), ({"cosine": 0.9}, True), ({"cosine": 1.0}, False),
        ({"top1": 0.5}, True),  # not measured, and nobody asked
    ):  # fmt: skip
        assert bool(compare(reference, other, budget=Budget(limits))) is ok
    asked = compare(
        reference,
        other,
        budget=Budget({"top1": 0.5}, {"y": {"quanta_max": 1.0}}, frozenset({"top1"})),
    )
    assert [str(one) for one in asked.missed] == [
        "top1 has a limit and was not measured", "y: quanta_max has a limit and was not measured"
    ]  # fmt: skip
    assert [(one.wanted, math.isnan(one.got)) for one in asked.missed] == [(0.5, True), (1.0, True)]
    own = compare(
        reference, other, budget=Budget({"max_abs_error": 0.5}, {"y": {"max_abs_error": 2.0}})
    )
    assert own
    known = compare(reference, reference, found=(finding("kl", 1.0, 0.5),))
    assert known.findings[0].metric == "kl"
    assert not known
    opened = compare(reference, reference, budget=Budget({}, open="why"))
    assert opened.doubts == ("why",)


def test_values_that_are_not_finite_are_a_finding_of_their_pictures() -> None:
    good, bad = np.zeros((4, 2)), np.zeros((4, 2))
    bad[[1, 3], 0] = math.nan, math.inf
    for pair, side in (((good, bad), "this file"), ((bad, good), "the reference")):
        found = compare({"y": pair[0]}, {"y": pair[1]})
        assert [str(one) for one in found.findings] == [
            f"y: {side} holds NaN or infinity in 2 samples, first 1"
        ]
        assert not found
        assert (found.findings[0].metric, found.findings[0].wanted) == ("max_abs_error", 0.0)


def test_classes_that_differ_in_number_say_which_offset_would_do() -> None:
    three = {"y": np.zeros((2, 3))}
    for count, said in (
        (4, r"has 4 classes and the reference 3: if .*say --class-offset 1$"),
        (5, "has 5 classes and the reference 3$"),
    ):
        with pytest.raises(EdgeconvError, match=said):
            compare(three, {"y": np.zeros((2, count))})
    with pytest.raises(EdgeconvError, match=r"--class-offset 2$"):
        compare(three, {"y": np.zeros((2, 5))}, class_offset=1)
    with pytest.raises(EdgeconvError, match="output y: 3 samples against 2"):
        compare(three, {"y": np.zeros((3, 4))})
    wide = np.arange(8.0).reshape(2, 4)
    assert (
        compare({"y": wide[:, 1:]}, {"y": wide}, class_offset=1).figures["y"]["max_abs_error"]
        == 0.0
    )
    line = compare({"y": np.array([1.0, 2.0])}, {"y": np.array([[1.0], [2.0]])})
    assert line.figures["y"]["max_abs_error"] == 0.0


def test_few_whole_numbers_hold_as_labels_where_they_miss_as_amounts() -> None:
    reference = np.arange(31).repeat(4).reshape(-1, 1)
    other = reference.copy()
    other[0] = 30
    budget = Budget({"float_error": 0.01, "equal": 0.9})
    told = compare({"y": reference}, {"y": other}, budget=budget, whole={"y": "amounts"})
    assert told
    assert "equal" in told.figures["y"]
    many = np.arange(124).reshape(-1, 1)
    wrong = many.copy()
    wrong[0] = 123
    assert (
        "equal"
        not in compare({"y": many}, {"y": wrong}, budget=budget, whole={"y": "amounts"}).figures[
            "y"
        ]
    )
    none = compare({"y": reference}, {"y": 30 - reference}, budget=budget, whole={"y": "amounts"})
    assert not none
    assert "equal" not in none.figures["y"]


def test_each_part_is_judged_by_itself() -> None:
    reference = RNG(0).normal(size=(40, 4)) * [100.0, 100.0, 1.0, 1.0]
    other = reference.copy()
    other[:, 2:] += 0.5
    found = compare({"y": reference}, {"y": other}, budget=Budget({"max_abs_error": 0.1, "cosine": 0.5}), cuts={"y": (1, 0, 2)},
                    scales={"y": 0.25}, floor={"y": other})  # fmt: skip
    assert list(found.parts["y"]) == ["channels 0 to 1", "channels 2 to 3"]
    assert [f.part for f in found.missed] == ["", "channels 2 to 3"]
    part = found.parts["y"]["channels 2 to 3"]
    assert set(part) <= set(PART_MEASURES)
    assert part["max_abs_error"] == pytest.approx(0.5)
    assert (part["below_floor_db"], part["beyond_promise_db"]) == (0.0, 0.0)
    assert part["floor_sqnr_db"] == pytest.approx(part["sqnr_db"])
    assert found.figures["y"]["quanta_max"] == pytest.approx(2.0)
    assert "agreement_top1" not in found.figures["y"]
    assert "agreement_top1" in compare({"y": reference}, {"y": other}, scores=["y"]).figures["y"]
    assert (
        "agreement_top1" not in compare({"y": reference}, {"y": other}, scores=["z"]).figures["y"]
    )


@pytest.mark.parametrize(
    ("kind", "stats", "found"),
    [
        ("int8", {"compute": 3}, True), ("int8", {"compute": 3, "int8_compute": 1}, False), ("fp32", {"compute": 3}, False),
        ("int8", {"compute": 0}, False), ("int8", {}, False), ("int8", {"compute": 1, "int8_compute": 0}, True),
    ],
)  # fmt: skip
def test_an_int8_file_computes_something_in_integers(
    kind: str, stats: dict[str, int], found: bool
) -> None:
    said = no_integers(kind, stats)
    assert bool(said) is found
    if found:
        assert said[0] == Finding(
            "", "int8_compute", 0.0, 1.0, False,
            f"none of its {stats['compute']} convolutions and products computes in integers: this is no INT8 file",
        )  # fmt: skip


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high", "samples", "said"), [
    (0.9, 0.95, 100, False), (0.89, 0.95, 100, True), (0.89, 0.94, 100, False), (0.5, 0.6, 7, True), (0.5, 0.6, 8, False),
])  # fmt: skip
def test_shares_of_few_samples_stay_open(low: float, high: float, samples: int, said: bool) -> None:
    budget = Budget(
        {"agreement_top1_high": 0.95}, doubtful={"agreement_top1_high": "agreement_top1_high"}
    )
    figures = {"agreement_top1_low": low, "agreement_top1_high": high}
    found = doubts_of("y", "", figures, budget, samples)
    sentence = f"y: too few samples to tell whether 95 % agree, it may be {100 * low:.1f} to {100 * high:.1f} %"
    assert found == ((sentence,) if said else ())
    assert doubts_of("y", "", {}, budget, samples) == ()
    equal = {"equal_low": low, "equal_high": high}
    same = Budget({"equal_high": 0.95}, doubtful={"equal_high": "equal_high"})
    assert doubts_of("y", "p", equal, same, samples) == (
        (sentence.replace("y:", "y, p:").replace("agree", "of its values are equal"),)
        if said
        else ()
    )


def test_a_kept_verdict_says_what_it_comes_to() -> None:
    assert (
        verdict_sentence({"ok": True})
        == "The file does what the float model does, within the budget."
    )
    assert verdict_sentence({"ok": True, "doubts": []}) == verdict_sentence({"ok": True})
    assert (
        verdict_sentence({"ok": True, "doubts": ["d"]})
        == "Nothing was missed, and not all is decided:"
    )
    assert verdict_sentence({"ok": False, "doubts": ["d"]}).startswith(
        "The file is not within the budget"
    )
    departs = "It departs from what it was made from: a recipe or a float net that is sound."
    costs = "It is what it was made from: its precision or its recipe costs the net too much."
    missed = [
        {"metric": "kl", "text": "y: kl is 1"},
        {"metric": "kl", "text": "other"},
        {"metric": "none", "text": "t"},
        {"text": "u"},
    ]
    said = [f"y: kl is 1 ({MEASURES['kl'].says})", "other", "t", "u"]
    assert missed_sentences({"converted": False, "good_enough": False, "missed": missed}) == [
        departs,
        *said,
    ]
    assert missed_sentences({"good_enough": False, "missed": missed[:1]}) == [costs, said[0]]
    assert missed_sentences({"converted": True}) == missed_sentences({}) == []


def test_reasons_are_said_once() -> None:
    assert said_once(["--a 1: why", "--a 2: why", "--b: else", "--c"]) == [
        "--a 1: why",
        "--b: else",
        "--c",
    ]
    assert advice(Verdict(()), "a.tflite", {}) == ()
    assert [number(value) for value in (1, math.inf, -math.inf)] == [1.0, "inf", "-inf"]
    assert number(math.nan) == "nan"


# --- outputs that are kept, files that run -------------------------------------------------------------------


def test_outputs_name_their_pictures_and_steps() -> None:
    found = Outputs({"y": np.zeros((3, 2)), "z": np.zeros((2, 2))}, {"scales": {"y": 1}})
    assert (found.label, found.rows.tolist(), found.scales) == ("outputs", [0, 1], {"y": 1.0})
    assert Outputs({}).rows.tolist() == []
    assert Outputs({"y": np.zeros(2)}, {"label": "l", "rows": [4, 1]}).rows.tolist() == [4, 1]
    for rows in ([1], [1, 1], [1, 2, 3]):
        with pytest.raises(EdgeconvError, match=f"l: rows names {len(rows)} samples, it has 2"):
            Outputs({"y": np.zeros(2)}, {"label": "l", "rows": rows}).rows  # noqa: B018 - it raises


def test_the_hash_of_inputs_is_of_names_types_shapes_and_bytes() -> None:
    one: dict[str, NDArray[Any]] = {"a": np.zeros((2, 3), np.float32), "b": np.ones(2)}
    assert inputs_hash(one) == inputs_hash(dict(reversed(one.items())))
    assert inputs_hash(one) == inputs_hash(
        {"a": np.zeros((3, 2), np.float32).T.copy(), "b": np.ones(2)}
    )
    others: list[dict[str, Any]] = [
        {**one, "a": np.zeros((3, 2), np.float32)}, {**one, "a": np.zeros((2, 3), np.int32)}, {**one, "b": np.zeros(2)},
        {"a": one["a"], "c": one["b"]}, {"a": one["a"]},
    ]  # fmt: skip
    assert len({inputs_hash(other) for other in (one, *others)}) == 6


def test_outputs_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "b.npz"
    save_outputs(path, Outputs({"y": np.arange(3.0)}, {"label": "l", "threads": 2}))
    found = load_outputs(path)
    assert (found.arrays["y"].tolist(), found.about) == (
        [0.0, 1.0, 2.0],
        {"edgeconv_outputs": 1, "label": "l", "threads": 2},
    )
    np.savez(tmp_path / "a.npz", q=np.ones((2, 2)))
    plain = load_outputs(tmp_path / "a.npz")
    assert (plain.label, list(plain.arrays)) == ("a", ["q"])
    assert [one.label for one in load_folder(tmp_path)] == ["a", "l"]
    np.savez(path, **{"output:y": np.ones(2), "else": np.ones(3)})  # type: ignore[arg-type]
    assert list(load_outputs(path).arrays) == ["y"]
    for wrong in (np.array(1.0), np.array(["a"])):
        np.savez(path, y=wrong)
        with pytest.raises(EdgeconvError, match="y holds no rows of numbers"):
            load_outputs(path)
    np.savez(path, about=np.array("{}"))
    with pytest.raises(EdgeconvError, match="holds no outputs"):
        load_outputs(path)
    np.savez(path, about=np.array("{"), y=np.ones(2))
    with pytest.raises(EdgeconvError, match="about is no JSON"):
        load_outputs(path)
    with pytest.raises(EdgeconvError, match=r"holds no saved outputs \(\.npz\)"):
        load_folder(tmp_path / "none")


class Runs:
    """A runner that adds 1 to an NHWC int8 picture and gives a number without a batch beside it."""

    def __init__(self) -> None:
        self.fed: list[Any] = []

    def infer(self, feeds: Any) -> dict[str, Any]:
        self.fed.append(feeds["x"])
        return {"y": feeds["x"] + 1, "n": np.array(float(feeds["x"].sum()))}


def test_a_file_runs_over_samples_in_its_own_layout_and_type() -> None:
    inputs = [TensorSpec("x", (2, 1, 2, 3), "int8", "nhwc", Quantization(0.5, 1))]
    outputs = [
        TensorSpec("y", (2, 1, 2, 3), "int8", "nhwc", Quantization(0.5, 1)),
        TensorSpec("n", ()),
    ]
    pictures = np.arange(24, dtype=np.float32).reshape(4, 3, 1, 2) / 2
    runner: Any = Runs()
    found, seconds = run_feeds(runner, batches({"hub": pictures}, 2, 4), inputs, outputs)
    assert found["y"].tolist() == (pictures + 0.5).tolist()
    assert found["n"].shape == (4,)
    assert found["n"][0] == found["n"][1] == float((pictures[:2] * 2 + 1).sum())
    assert runner.fed[0].dtype == np.int8
    assert runner.fed[0].tolist() == np.moveaxis(pictures[:2] * 2 + 1, 1, -1).tolist()
    assert 0.0 <= seconds < 60.0
    one = [TensorSpec("x", (), "float32")]
    empty, _ = run_feeds(runner, [{"x": np.array(2.0)}], one, [TensorSpec("n", ())])
    assert empty["n"].tolist() == [2.0]


def test_the_manifest_describes_a_tensor_of_its_name_shape_and_type() -> None:
    spec = TensorSpec("a", (1, 3, 8, 8), "int8", "other", Quantization(1.0, 0))
    known = TensorSpec("a", (1, 3, 8, 8), "int8", "nhwc", Quantization(2.0, 0))
    assert placed(spec, [replace(known, name="b"), known]) is known
    assert placed(spec, [replace(known, dtype="uint8")]) is spec
    assert placed(spec, [], "nhwc") == replace(spec, layout="nhwc")
    assert placed(replace(spec, shape=(1, 3)), [], "nhwc").layout == "other"
    assert all_placed([replace(spec, name="q")], [known]) == [replace(known, name="q")]
    assert all_placed([replace(spec, name="q")], [known, known]) == [replace(spec, name="q")]
    two = [replace(spec, name="q"), spec]
    assert all_placed(two, [known, replace(known, name="z")]) == [two[0], known]
    assert as_rows(np.arange(2), 3).tolist() == [[0, 1]] * 3
