"""The figures of class scores: decisions of pictures and of places, and accuracy."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.errors import EdgeconvError
from edgeconv.judge.context import Context
from edgeconv.judge.measures import Figures
from edgeconv.judge.parts import MOST_CHANNELS

Array = NDArray[Any]
FEWEST_RARE = 10
"""Fewer pictures of rare classes tell nothing of their share."""
FEWEST_ALIKE = 8
"""Of fewer pictures all may be of one class by chance, and agreement is left open anyway."""
BY_CHANCE = 0.05
"""A p-value above it says nothing."""


OF_CLASSES = frozenset(
    [
        "agreement_top1",
        "agreement_top1_low",
        "agreement_top1_high",
        "agreement_rare_high",
        "agreement_top5",
        "kl",
        "flips",
        "flips_beyond",
        "flips_beyond_share",
        "flips_beyond_low",
        "widest_flip",
    ]
)
"""Figures of class_figures that a limit may be set on."""


def one_for_all(reference: Array, other: Array) -> int | None:
    """Return the place that is largest in every one of many samples, on both sides; None where there is none.

    Agreement is 1 whatever the values are: a translation along the axis, the values of a TopK, or pictures of one class.
    """
    sides = [metrics.class_rows(side).argmax(axis=1) for side in (reference, other)]
    first = int(sides[0][0])
    alike = len(reference) >= FEWEST_ALIKE and all((side == first).all() for side in sides)
    return first if alike else None


def class_figures(
    name: str,
    reference: Array,
    other: Array,
    figures: Figures,
    context: Context,
    comparable: bool,
) -> Figures:
    """Return how scores (pictures, classes) decide against the reference's; not ``comparable``: which is best alone."""
    top1 = metrics.agreeing(reference, other, 1, name)
    low, high = metrics.wilson_interval(int(top1.sum()), len(top1))
    found = {
        "agreement_top1": float(top1.mean()),
        "agreement_top1_low": low,
        "agreement_top1_high": high,
        **_rare(reference, other, top1),
        "agreement_top5": metrics.agreement(reference, other, 5, name),
        "flips": float((~top1).sum()),
    }
    if not comparable:
        return found
    noise = _noise(name, reference, figures, context)
    margin = metrics.explained_margin(noise)
    flips = metrics.split_flips(reference, other, margin, name, context.floor)
    return found | {
        "kl": metrics.kl_softmax(reference, other, name),
        "flips_explained": float(flips.explained),
        "flips_beyond": float(flips.beyond),
        "flips_beyond_share": flips.beyond / len(top1),
        "flips_beyond_low": metrics.exact_low(flips.beyond, len(top1)),
        "margin_explained": flips.threshold,
        "widest_flip": flips.widest,
    }


def map_classes(
    name: str, reference: Array, other: Array, figures: Figures, context: Context
) -> Figures:
    """Return which classes of a map (pictures, classes, height, width) are lost; nothing of what is no map."""
    channels = reference.shape[1] if reference.ndim == 4 else 0
    if not 1 < channels <= MOST_CHANNELS or min(reference.shape[2:]) < 2:
        return {}
    margin = metrics.explained_margin(_noise(name, reference, figures, context))
    return {"lost_classes": float(len(metrics.lost_classes(reference, other, margin, name)))}


def _noise(name: str, reference: Array, figures: Figures, context: Context) -> float:
    """Return the noise that a file is allowed: that of its recipe where one is known."""
    if context.floor is None:
        return figures["rms_error"]
    return metrics.rms_error(reference, context.floor, name)


def _rare(reference: Array, other: Array, agrees: Array) -> Figures:
    """Return how many of the pictures agree that are not of a class that most are of.

    Nothing where as many come to that class as leave it: near its border noise turns rare classes more often,
    whatever the file is like.
    """
    best, now = (metrics.class_rows(side).argmax(axis=1) for side in (reference, other))
    commonest = np.bincount(best).argmax()
    rare = best != commonest
    if rare.sum() < FEWEST_RARE or rare.mean() >= 0.5:
        return {}
    if (now == commonest).sum() <= (~rare).sum() or metrics.mcnemar_p(
        ~rare, now == commonest
    ) > BY_CHANCE:
        return {}
    return {
        "agreement_rare_high": metrics.wilson_interval(int(agrees[rare].sum()), int(rare.sum()))[1]
    }


def accuracy(reference: Array, other: Array, context: Context) -> Figures:
    """Return what both sides are worth where true classes are known."""
    truth = _truth(reference, context)
    if truth is None or truth.max() >= metrics.class_rows(reference).shape[1]:
        return {}  # or it is of another output
    return _accuracy(metrics.correct(reference, truth), metrics.correct(other, truth))


def label_accuracy(reference: Array, other: Array, context: Context) -> Figures:
    """Return the same of an output that is the class itself, one whole number a picture."""
    truth = _truth(reference, context)
    if truth is None:
        return {}
    known = truth >= 0
    sides = (np.rint(side.reshape(-1)[known]) == truth[known] for side in (reference, other))
    return _accuracy(*sides)


def check_classes(name: str, reference: Array, other: Array, offset: int) -> None:
    """Raise EdgeconvError where two outputs (samples, classes) have not as many classes; ``offset`` of them are dropped."""
    if reference.ndim != 2 or other.ndim != 2 or reference.shape[1] == other.shape[1]:
        return
    if len(reference) != len(other):
        raise EdgeconvError(f"output {name}: {len(other)} samples against {len(reference)}")
    extra = other.shape[1] - reference.shape[1]
    hint = ""
    if extra == 1:
        hint = f": if its first class is background, say --class-offset {offset + 1}"
    raise EdgeconvError(
        f"output {name} has {other.shape[1]} classes and the reference {reference.shape[1]}{hint}"
    )


def refuse_truth(outputs: Mapping[str, Array], truth: NDArray[np.integer[Any]] | None) -> None:
    """Raise EdgeconvError where ``truth`` names a class that no output (pictures, classes) has."""
    sizes = {
        n: metrics.class_rows(a, n).shape[1] for n, a in outputs.items() if metrics.is_scores(a)
    }
    if truth is None or not len(truth) or not sizes:
        return
    widest = max(sizes, key=lambda name: sizes[name])
    if (most := int(truth.max())) >= sizes[widest]:
        raise EdgeconvError(
            f"--truth names class {most}, counted from 0, and output {widest} has {sizes[widest]} classes: with folders "
            "every folder that holds pictures is one"
        )


def _truth(reference: Array, context: Context) -> NDArray[np.integer[Any]] | None:
    """Return the class of each picture, None where none is known."""
    truth = context.truth
    if truth is None or not (truth >= 0).any():
        return None
    if len(truth) != len(reference):
        raise EdgeconvError(f"there are {len(truth)} classes of truth for {len(reference)} samples")
    return truth


def _accuracy(float_own: NDArray[np.bool_], own: NDArray[np.bool_]) -> Figures:
    """Return the figures of who is right on which picture."""
    low, high = metrics.wilson_interval(int(own.sum()), len(own))
    return {
        "top1": float(own.mean()),
        "top1_low": low,
        "top1_high": high,
        "reference_top1": float(float_own.mean()),
        "top1_drop": float(float_own.mean() - own.mean()),
        "mcnemar_p": metrics.mcnemar_p(float_own, own),
    }
