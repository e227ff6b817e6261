"""Measure one output against the reference's: every figure that applies to it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.judge.classes import (
    FEWEST_ALIKE,
    accuracy,
    class_figures,
    label_accuracy,
    map_classes,
    one_for_all,
)
from edgeconv.judge.context import Context
from edgeconv.judge.labels import label_figures
from edgeconv.judge.measures import MEASURES, Figures
from edgeconv.judge.parts import MOST_CHANNELS, channel_axis
from edgeconv.judge.whole import whole_kind

Array = NDArray[Any]

ROUNDING = 2.0**-16
"""Share of an output's largest value that sound float32 kernels may differ by: sums of some thousand
terms in another order."""
HALF_ROUNDING = 2.0**-9
"""The same where weights or sums are half precision, 11 bits."""
HALF_OPERAND = 2.0**-11
"""Share of the largest difference between samples that rounding an operand to half precision may cost: half a step."""
CLEAN_DB = 40.0
"""With so little noise in what varies, a large error is one steep place, as between two characters that are read."""
COARSE = 1 / 32
"""Steps in an output's spread: fewer leave it less than 40 dB."""
STEP = 1.0
"""Between two whole numbers."""
FEW_CHANNELS = 64
"""Of no more each is looked at by itself: one of many that keeps few levels is little."""
INTEGER_BITS = 8.0
"""What an INT8 recipe can promise of a number: a sigmoid in half precision keeps a bit less than its 11, and nobody misses it."""
SOFTMAX_STEP = 1 / 256
"""What INT8 prescribes: a class that never moves by so much is none that the net finds."""


def measure(
    name: str, reference: Array, other: Array, context: Context | None = None
) -> tuple[Figures, tuple[str, ...]]:
    """Return every figure that applies to one output, and notes on those that do not.

    Raises EdgeconvError naming the output where shapes differ or a value is NaN or infinite.
    """
    context = context or Context()
    metrics.check_pair(name, reference, other)
    scores = metrics.is_scores(reference) if context.scores is None else context.scores
    notes: list[str] = []
    figures: Figures = {}
    if context.kept:  # a near-tie turns by any rounding, and what is kept is a whole value
        turned = (reference == 0) != (other == 0)
        kept = float(((reference != 0) | (other != 0)).mean())
        figures["differs_low"] = metrics.share_low(turned) / kept if kept else 0.0
        other = np.where(turned, reference, other)
    comparable = True
    if scores and not _same_measure(reference, other):
        comparable = False
        notes.append(
            f"{name}: one side holds probabilities and the other logits, so only classes are compared"
        )
    kind = whole_kind(reference, other, context.whole)
    if kind == "labels":
        figures |= label_figures(name, reference, other, context.floor, context.margins)
        if context.alone and reference.size == len(reference):
            figures |= label_accuracy(reference, other, context)
    elif kind == "amounts":
        figures |= _amounts(name, reference, other, context)
    elif comparable:
        figures |= _values(name, reference, other, context)
        figures |= _quanta(name, reference, other, context)
        figures |= _floor(name, reference, other, context)
        figures |= _levels(name, reference, other, figures, context)
        notes += _coarse(name, reference, other, context)
        figures |= map_classes(name, reference, other, figures, context)
    still = len(reference) >= FEWEST_ALIKE and bool((reference == reference[:1]).all())
    if still:
        notes.append(
            f"{name}: float gives the same in all {len(reference)} samples, so nothing shows what moves it"
        )
    if scores:
        alike = None if context.asked else one_for_all(reference, other)
        if alike is None:
            figures |= class_figures(name, reference, other, figures, context, comparable)
        elif not still:
            notes.append(
                f"{name}: place {alike} is largest in all {len(reference)} samples, so agreement says nothing and is not "
                "asked; if these are class scores, samples of other classes would tell"
            )
        figures |= accuracy(reference, other, context)
    return {key: figures[key] for key in MEASURES if key in figures}, tuple(notes)


def _amounts(name: str, reference: Array, other: Array, context: Context) -> Figures:
    """Return the figures of values in steps of 1: what lies between two numbers falls either way."""
    reference, other = reference.astype(np.float64), other.astype(np.float64)
    figures = _values(name, reference, other, context, STEP)
    figures |= _quanta(name, reference, other, replace(context, scale=STEP))
    # what is promised holds as many errors of rounding as the file
    floor = _floor(name, reference, other, replace(context, scale=STEP / 2), metrics.rms_low)
    floor.pop("worst_sample_beyond_db", None)  # a count may turn by much in one sample
    return figures | floor


def _values(
    name: str, reference: Array, other: Array, context: Context, step: float = 0.0
) -> Figures:
    tolerance = metrics.smallest_tolerance(reference, other, name)
    rows = metrics.row_sqnr_db(reference, other, name)
    centred = _centred(name, reference, other)
    beside = max(0.0, tolerance.absolute - step)
    half = _beyond_rounding(reference, beside, HALF_ROUNDING)
    pairs = {m.name: m.of(reference, other, name) for m in MEASURES.values() if m.of is not None}
    return {
        **pairs,
        "max_abs_error": tolerance.absolute,
        "float_error": _beyond_rounding(reference, beside, ROUNDING),
        "half_error": half if centred.get("sqnr_centred_db", 0.0) < CLEAN_DB else 0.0,
        **centred,
        "worst_sample_db": float(rows.min()),
        "worst_sample": float(rows.argmin()),
        **_channels(name, reference, other, context),
        "distinct": float(len(np.unique(other))),
        "distinct_reference": float(len(np.unique(reference))),
        "tolerance_absolute": tolerance.absolute,
        "tolerance_relative": tolerance.relative,
    }


def _beyond_rounding(reference: Array, error: float, rounding: float) -> float:
    """Return ``error`` over the reference's range, less what a float of its size rounds away.

    An output that hardly varies around a large value has a range of a few roundings; one whose elements lie far
    apart, and hardly vary each, has the range of what varies.
    """
    peak = float(np.abs(reference).max())
    beyond = max(0.0, error - rounding * peak)
    if beyond == 0.0:
        return 0.0
    varies = metrics.value_range(_varying(reference))
    spread = min(metrics.value_range(reference), varies or math.inf)
    return beyond / spread if spread > 0.0 else math.inf


def _varying(reference: Array) -> Array:
    """Return what differs between samples: the mean over them removed."""
    varying: Array = reference - reference.mean(axis=0, dtype=np.float64)
    return varying


def _centred(name: str, reference: Array, other: Array) -> Figures:
    centred = metrics.sqnr_centred_db(reference, other, name)
    if centred is None:
        return {}
    high = metrics.sqnr_centred_high_db(reference, other, centred)
    noise, step = metrics.rms_error(reference, other, name), metrics.half_step(reference)
    left = noise**2 - step**2  # around 500 a half has steps of a quarter
    half = centred + 20.0 * math.log10(noise / math.sqrt(left)) if left > 0.0 else math.inf
    return {"sqnr_centred_db": centred, "sqnr_centred_high_db": high, "half_sqnr_db": half}


def _channels(name: str, reference: Array, other: Array, context: Context) -> Figures:
    axis = channel_axis(reference)
    if reference.ndim < 2 or reference.shape[axis] > MOST_CHANNELS:
        return {}
    found: Figures = {}
    promise = reference if context.floor is None else context.floor
    if reference.ndim > 2:
        found["dead_places"] = float(metrics.dead_places(promise, other, axis))
    if reference.shape[axis] > 1:
        rows = np.moveaxis(reference, axis, -1).reshape(-1, reference.shape[axis])
        least = SOFTMAX_STEP if metrics.are_probabilities(rows) else 0.0
        found["lost_channels"] = float(metrics.lost_channels(reference, other, axis, name, least))
    return found


def _quanta(name: str, reference: Array, other: Array, context: Context) -> Figures:
    if context.scale is None:
        return {}
    found = metrics.quanta_error(reference, other, context.scale, name)
    return {
        "quanta_equal": found.equal,
        "quanta_within_one": found.within_one,
        "quanta_max": found.largest,
        "quanta_mean": found.mean,
    }


def _floor(
    name: str,
    reference: Array,
    other: Array,
    context: Context,
    rms: Callable[[Array, Array, str], float] = metrics.rms_error,
) -> Figures:
    if context.floor is None:
        return {}
    # two sound kernels may round an output apart: less than its own step, or than what floats round
    # where nothing is integers, is no loss, and where Core ML computes in half precision an output
    # around 500 has steps of a quarter
    implied = metrics.rms_error(reference, context.floor, name)
    # the operands of its float parts are halves there too, whatever type it has
    halves = HALF_OPERAND * float(np.abs(_varying(reference)).max())
    floats = max(ROUNDING * float(np.abs(reference).max()), halves)
    least = max(implied, context.scale or 0.0, 0.5 * _half_step(other), floats)
    return {
        "floor_sqnr_db": metrics.sqnr_db(reference, context.floor, name),
        "below_floor_db": _beyond_db(rms(reference, other, name), least),
        "below_floor_low_db": metrics.below_floor_low_db(reference, context.floor, other, least),
        "beyond_promise_db": _beyond_db(rms(context.floor, other, name), least),
        "shift_to_floor": metrics.shift_to_floor(reference, context.floor, other, least),
        "worst_row_beyond_db": metrics.worst_row_beyond_db(reference, context.floor, other, least),
        "worst_sample_beyond_db": metrics.worst_sample_beyond_db(
            reference, context.floor, other, least
        ),
        "odd_place_beyond_db": metrics.odd_place_beyond_db(reference, context.floor, other, least),
    }


def _levels(
    name: str, reference: Array, other: Array, figures: Figures, context: Context
) -> Figures:
    """Return what an output's values tell apart less than those promised, in half precision where it holds halves."""
    sides = {"lost_float_bits": reference}
    if context.floor is not None:
        sides["lost_bits"] = context.floor
    if figures.get("sqnr_centred_db", 0.0) >= CLEAN_DB:
        return dict.fromkeys(sides, 0.0)
    if _half_step(other):
        with np.errstate(over="ignore"):
            sides = {
                key: np.clip(side, -65504.0, 65504.0).astype(np.float16)
                for key, side in sides.items()
            }
    most = {"lost_float_bits": math.inf, "lost_bits": INTEGER_BITS}
    return {key: _lost_bits(name, side, other, most[key]) for key, side in sides.items()}


def _lost_bits(name: str, promise: Array, other: Array, most: float) -> float:
    """Return what the whole output loses, or the channel of few that loses most, of at most so many bits."""
    lost = metrics.lost_bits(promise, other, name, most)
    axis = channel_axis(promise)
    if promise.ndim < 2 or not 1 < promise.shape[axis] <= FEW_CHANNELS:
        return lost
    pairs = ((promise.take(k, axis), other.take(k, axis)) for k in range(promise.shape[axis]))
    return max(lost, *(metrics.lost_bits(a, b, name, most) for a, b in pairs))


def _half_step(values: Array) -> float:
    """Return half precision's step at the largest of ``values``; 0 where they are no such numbers."""
    with np.errstate(over="ignore"):
        if values.dtype.kind != "f" or not np.array_equal(values.astype(np.float16), values):
            return 0.0
    return metrics.half_step(values)


def _coarse(name: str, reference: Array, other: Array, context: Context) -> list[str]:
    """Return a note on an output whose own steps in half precision are coarse beside what it varies by."""
    step, spread = _half_step(other), float(reference.std(axis=0).mean())
    if not spread or step < max(COARSE * spread, context.scale or 0.0):
        return []
    much = f"half precision has steps of {step:g} there, and it varies by {spread:.3g}"
    return [f"{name}: {much}: --coreml-compute fp32 keeps its digits"]


def _beyond_db(noise: float, least: float) -> float:
    if noise <= least:
        return 0.0
    return 20.0 * math.log10(noise / least) if least > 0.0 else math.inf


def _same_measure(reference: metrics.Reals, other: metrics.Reals) -> bool:
    """Whether both are logits, or both probabilities."""
    if metrics.are_probabilities(reference) == metrics.are_probabilities(other):
        return True
    return metrics.within_unit(reference) and metrics.within_unit(other)
