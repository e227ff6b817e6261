"""The table of figures: what each is, which way is better, how it prints, what it answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from edgeconv.metrics import distances

Array = NDArray[Any]
Figures = dict[str, float]


@dataclass(frozen=True)
class Measure:
    """One figure: which way is better ("info": a budget makes no sense), how it prints, what it is.

    ``asks`` is the question that a limit on it answers: is the file what was promised, or is the
    recipe good enough? ``of`` computes a figure of two arrays alone, (reference, other, name);
    the others follow from more (judge/measure.py). ``most`` is the largest value there can be, 1 of shares.
    """

    name: str
    better: Literal["low", "high", "info"]
    form: str
    says: str
    asks: Literal["file", "recipe"] = "file"
    of: Callable[[Array, Array, str], float] | None = None
    most: float = math.inf


def _share(
    name: str,
    better: Literal["low", "high", "info"],
    says: str,
    asks: Literal["file", "recipe"] = "file",
) -> Measure:
    return Measure(name, better, ".4f", says, asks, most=1.0)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("max_abs_error", "low", ".3g", "largest absolute difference"),
        Measure(
            "relative_error",
            "low",
            ".2e",
            "largest difference over the reference's range",
            of=distances.relative_error,
        ),
        Measure(
            "float_error",
            "low",
            ".2e",
            "the same beyond float32 rounding of the largest value, over the range of what varies if that is less",
        ),
        Measure(
            "half_error",
            "low",
            ".2e",
            "the same beyond half precision's rounding; 0 from 40 dB (mean removed)",
        ),
        Measure(
            "rms_error", "low", ".3g", "root of the mean squared difference", of=distances.rms_error
        ),
        Measure(
            "sqnr_db",
            "high",
            ".1f",
            "signal to quantization noise, dB",
            "recipe",
            of=distances.sqnr_db,
        ),
        Measure(
            "sqnr_centred_db",
            "high",
            ".1f",
            "the same, mean over the samples removed, dB",
            "recipe",
        ),
        Measure(
            "sqnr_centred_high_db", "high", ".1f", "upper end of its 95 % interval, dB", "recipe"
        ),
        Measure(
            "half_sqnr_db",
            "high",
            ".1f",
            "the same of what a step of half precision at the largest value does not explain, dB",
        ),
        _share("equal", "high", "of whole numbers: share of equal values", "recipe"),
        _share("equal_low", "high", "lower end of its 95 % interval over samples", "recipe"),
        _share("equal_high", "high", "upper end of its 95 % interval over samples", "recipe"),
        _share(
            "turned_beyond_low",
            "low",
            "lower end of the share that differs from the recipe in float, less twice what that turns",
        ),
        Measure("lost_labels", "low", ".0f", "whole numbers that most of their places leave"),
        _share(
            "lost_samples_low",
            "low",
            "lower end of the share of samples that lose most of their rarer labels, less twice what the recipe loses",
        ),
        _share(
            "turned_row_low",
            "low",
            "the same as turned_beyond_low of the row that differs most, in a wider interval",
        ),
        _share("differs_low", "low", "lower end of the share of values that differ"),
        Measure("worst_sample_db", "info", ".1f", "SQNR of the sample that has least, dB"),
        Measure("worst_sample", "info", ".0f", "which sample that is"),
        Measure(
            "lost_channels", "low", ".0f", "channels that hold more noise than signal", "recipe"
        ),
        Measure(
            "dead_places",
            "low",
            ".0f",
            "places of a map that stand still where those of the recipe in float move, in three samples at least",
        ),
        Measure(
            "lost_classes",
            "low",
            ".0f",
            "classes of a map that most of their places leave",
            "recipe",
        ),
        Measure("distinct", "info", ".0f", "different values"),
        Measure("distinct_reference", "info", ".0f", "different values of the reference"),
        Measure(
            "cosine", "high", ".5f", "cosine of both as vectors", "recipe", of=distances.cosine
        ),
        Measure("tolerance_absolute", "low", ".3g", "smallest absolute tolerance that passes"),
        Measure("tolerance_relative", "low", ".3g", "smallest relative tolerance that passes"),
        _share("quanta_equal", "high", "share within half a quantum of the output scale"),
        _share("quanta_within_one", "high", "share within one quantum"),
        Measure("quanta_max", "low", ".1f", "largest difference in quanta"),
        Measure("quanta_mean", "low", ".2f", "mean difference in quanta"),
        Measure("floor_sqnr_db", "info", ".1f", "SQNR that the recipe itself implies, dB"),
        Measure(
            "below_floor_db",
            "low",
            ".2f",
            "noise above the floor's, or above one quantum where the floor is less, dB",
        ),
        Measure(
            "below_floor_low_db", "low", ".2f", "lower end of its 95 % interval over samples, dB"
        ),
        Measure(
            "beyond_promise_db",
            "low",
            ".2f",
            "what sets it apart from the recipe in float, above the same floor, dB",
        ),
        Measure(
            "shift_to_floor",
            "low",
            ".2f",
            "what sets it apart from the recipe in float alike in all samples, over the same floor (rms)",
        ),
        Measure(
            "worst_row_beyond_db",
            "low",
            ".2f",
            "the same of the row of an output that is farthest beyond it, dB",
        ),
        Measure(
            "worst_sample_beyond_db",
            "low",
            ".2f",
            "the same of the sample that is farthest, above what the recipe in float loses of any, dB",
        ),
        Measure(
            "odd_place_beyond_db",
            "low",
            ".2f",
            "the same of a row of places (a map's row, a token) that is not as the others; 0 where none is, dB",
        ),
        Measure(
            "lost_bits",
            "low",
            ".2f",
            "bits that its values, or one channel's, hold less than those of the recipe in float; 0 from 40 dB (mean removed)",
        ),
        Measure(
            "lost_float_bits",
            "low",
            ".2f",
            "bits that its values, or one channel's, hold less than the reference's; 0 from 40 dB (mean removed)",
        ),
        _share(
            "agreement_top1",
            "high",
            "share with the reference's best class on top",
            "recipe",
        ),
        _share("agreement_top1_low", "high", "lower end of its 95 % Wilson interval", "recipe"),
        _share("agreement_top1_high", "high", "upper end of its 95 % Wilson interval", "recipe"),
        _share(
            "agreement_rare_high",
            "high",
            "the same of samples that are not of the reference's commonest class",
            "recipe",
        ),
        _share("agreement_top5", "high", "share with it among the best five", "recipe"),
        Measure("kl", "low", ".2e", "mean KL(reference || other) of the softmax, nats", "recipe"),
        Measure("flips", "low", ".0f", "samples whose best class changed"),
        Measure(
            "flips_explained", "info", ".0f", "of these, within the margin that noise explains"
        ),
        Measure("flips_beyond", "low", ".0f", "of these, beyond that margin"),
        _share("flips_beyond_share", "low", "the same as a share of all samples"),
        _share("flips_beyond_low", "low", "lower end of its exact 95 % interval"),
        Measure("margin_explained", "info", ".3g", "float margin that the noise explains"),
        Measure("widest_flip", "low", ".3g", "largest float margin that flipped"),
        _share(
            "boxes_kept", "high", "of a detector: share of float's boxes that are kept", "recipe"
        ),
        _share("boxes_kept_high", "high", "upper end of its 95 % Wilson interval", "recipe"),
        _share("top1", "high", "accuracy where the truth is known", "recipe"),
        _share("top1_low", "high", "lower end of its 95 % Wilson interval", "recipe"),
        _share("top1_high", "high", "upper end of its 95 % Wilson interval", "recipe"),
        _share("reference_top1", "info", "accuracy of the reference on the same samples"),
        _share("top1_drop", "low", "reference_top1 minus top1", "recipe"),
        Measure("mcnemar_p", "high", ".3g", "exact p-value that both err equally often", "recipe"),
    )
}
"""Every figure by name, in the order of reports."""

PART_MEASURES = (
    "max_abs_error",
    "relative_error",
    "float_error",
    "half_error",
    "sqnr_db",
    "sqnr_centred_db",
    "sqnr_centred_high_db",
    "half_sqnr_db",
    "lost_channels",
    "dead_places",
    "distinct",
    "distinct_reference",
    "floor_sqnr_db",
    "below_floor_db",
    "below_floor_low_db",
    "beyond_promise_db",
    "shift_to_floor",
    "worst_row_beyond_db",
    "worst_sample_beyond_db",
    "odd_place_beyond_db",
    "lost_bits",
    "lost_float_bits",
)
"""What is measured of a part of an output; decisions between classes are those of whole outputs."""


def show(name: str, value: float) -> str:
    """Return a figure as it prints, inf and -inf spelled out.

    >>> show("sqnr_db", 21.46), show("sqnr_db", math.inf)
    ('21.5', 'inf')
    """
    return format(value, MEASURES[name].form) if math.isfinite(value) else str(value)


def meaning(name: str) -> str:
    """Return what a figure is where it stands alone: MEASURES says of some that they are the same of something else.

    >>> meaning("agreement_top1_high")
    "share with the reference's best class on top: upper end of its 95 % Wilson interval"
    """
    own = MEASURES[name].says
    if not _refers(own):
        return own
    names = list(MEASURES)
    before = (MEASURES[other].says for other in reversed(names[: names.index(name)]))
    whole = next(says for says in before if not _refers(says))
    return f"{whole.removesuffix(', dB')}: {own}"


def _refers(says: str) -> bool:
    if says.startswith("the same as turned"):
        return False  # which it names
    return says.startswith(("the same", "of these")) or "its 95 %" in says or "its exact" in says
