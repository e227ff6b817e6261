"""Whether an output holds class scores: by its shape, unless its name, its values or the net's inputs say otherwise."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.judge.parts import GAP, MOST_FIGURES, Part
from edgeconv.metrics import Reals, class_rows, is_scores

EVEN = 1e-3
"""What the length of a normalized vector may differ by in float arithmetic, half precision too."""
VECTORS = ("embed", "feature", "descriptor")
"""What outputs are called that are compared with each other, not read as classes."""
FIGURES = (
    "pose",
    "translation",
    "rotation",
    "quaternion",
    "angle",
    "offset",
    "bbox",
    "landmark",
    "keypoint",
    "coordinate",
)
"""What outputs of figures are called, if nothing in the name speaks of classes."""
CLASSES = ("class", "cls", "score", "logit", "prob", "label")
ENOUGH_SIGNS = 256
"""Of fewer values none may be below 0 by chance."""
FEWEST = 8
"""Fewer values, or samples, show neither an order nor what stands out: two classes may be as uneven as two figures."""
WIDE = 64
"""Vectors are made of multiples of it, classes are hardly ever so many."""
IN_ORDER = 0.6
"""Correlation of neighbours from which on they are one curve. ImageNet's 1000 classes, in which dogs lie beside dogs, have 0.4."""
APART = 2.0
"""Values whose means differ by so many of their own spreads keep their order, whatever a sample is like."""
STANDS_OUT = 2.5
"""Gaps that the largest value leaves to the second, in those of the smallest: from here on something is found."""


def holds_scores(
    name: str,
    reference: Reals,
    pieces: Collection[Part],
    truth: NDArray[np.integer[Any]] | None,
    fed: Mapping[str, Reals] = MappingProxyType({}),
) -> bool:
    """Return whether an output (samples, ...) with ``pieces`` holds class scores; ``truth`` says that it does.

    ``fed`` are the net's inputs, name -> (samples, ...).
    """
    if not is_scores(reference):
        return False
    if truth is None and (
        _named_vector(name) or _as_fed(reference, fed) or _is_vector(class_rows(reference))
    ):
        return False
    spreads = [float(piece.of(reference).std()) for piece in pieces]
    return not spreads or max(spreads) <= GAP * min(spreads)


def unread(name: str, reference: Reals, fed: Mapping[str, Reals]) -> list[str]:
    """Say so where its length or its signs alone have an output taken for no class scores: 64 classes, or a ReLU's."""
    if not is_scores(reference) or _named_vector(name) or _as_fed(reference, fed):
        return []
    rows = class_rows(reference)
    if _in_order(rows) or _told_by_values(rows) or not _told_by_form(rows):
        return []
    return [
        f"{name}: its {rows.shape[1]} values a sample are not read as class scores, so no agreement is asked; "
        "if they are classes, --truth says it, and parity's --scores"
    ]


def _named_vector(name: str) -> bool:
    """Whether an output is called an embedding or figures, whose largest element says nothing.

    >>> _named_vector("image_embeds"), _named_vector("translation"), _named_vector("pose_logits")
    (True, True, False)
    """
    folded = name.casefold()
    if any(word in folded for word in VECTORS):
        return True
    return any(w in folded for w in FIGURES) and not any(w in folded for w in CLASSES)


def _as_fed(reference: Reals, fed: Mapping[str, Reals]) -> bool:
    """Whether an output has an input's own shape: sound for sound. A table has as many columns as classes by chance."""
    own, *others = (
        [size for size in array.shape[1:] if size > 1] for array in (reference, *fed.values())
    )
    return own[0] > MOST_FIGURES and own in others


def _is_vector(rows: Reals) -> bool:
    """Whether the values of (samples, values) show that the largest of a row names no class."""
    if _in_order(rows):
        return True
    if _shares(rows):
        return False
    return _told_by_form(rows) or _told_by_values(rows)


def _told_by_form(rows: Reals) -> bool:
    """Whether length or signs alone have it that values are no class scores, which classes may share."""
    return rows.shape[1] % WIDE == 0 or _figures(rows)


def _told_by_values(rows: Reals) -> bool:
    return _unit_length(rows) or _tags(rows) or _keeps_order(rows)


def _shares(rows: Reals) -> bool:
    """Whether each row shares out the same whole, as a softmax does: 1, or 100 per cent."""
    whole = rows.sum(axis=1, dtype=np.float64)
    return bool(rows.min() >= 0.0 and np.ptp(whole) < 0.02 * whole.max())


def _figures(rows: Reals) -> bool:
    """Whether no value is below 0 and some are above 1: distances, or features behind a ReLU; logits have either sign."""
    many = rows.size >= ENOUGH_SIGNS
    return many and bool(rows.min() >= 0.0 and rows.max() > 1.0 + EVEN)


def _unit_length(rows: Reals) -> bool:
    """Whether every row is a vector of length 1: an embedding."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    return bool(np.abs(lengths - 1.0).max() <= EVEN)


def _tags(rows: Reals) -> bool:
    """Whether several values of 0 to 1 are high at once in a quarter of the rows: tags, or places, each by itself."""
    several = float(((rows > 0.5).sum(axis=1) > 1).mean())
    return bool(rows.min() >= 0.0 and rows.max() <= 1.0 + EVEN and several > 0.25)


def _in_order(rows: Reals) -> bool:
    """Whether neighbours, or every other value, rise and fall together: a curve, bins of a scale, points as x and y."""
    if min(rows.shape) < FEWEST:
        return False
    moved = rows.astype(np.float64)
    moved -= moved.mean(axis=1, keepdims=True)  # what lifts all classes alike is no order
    moved -= moved.mean(axis=0)
    length = np.linalg.norm(moved, axis=0)
    moves = length > EVEN * length.max()
    if moves.sum() < FEWEST:
        return False
    moved = moved[:, moves] / length[moves]
    together = [float((moved[:, k:] * moved[:, :-k]).sum(axis=0).mean()) for k in (1, 2)]
    return max(together) >= IN_ORDER


def _keeps_order(rows: Reals) -> bool:
    """Whether the same few values are largest in every sample without standing out: coordinates, figures apart."""
    if min(rows.shape) < FEWEST:
        return False
    spread = float(np.sqrt(rows.var(axis=0, dtype=np.float64).mean()))
    if rows.mean(axis=0, dtype=np.float64).std() < APART * spread:
        return False
    gaps = np.diff(np.sort(rows, axis=1), axis=1).mean(axis=0, dtype=np.float64)
    return bool(gaps[-1] < STANDS_OUT * gaps[0])
