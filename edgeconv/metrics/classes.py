"""Decisions between classes: who agrees, who is right, and which changes noise explains."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.metrics.pairs import Reals, check_pair

FEWEST_PLACES = 16
"""Fewer places of a map tell nothing of a class."""


def class_rows(scores: Reals, name: str = "output") -> Reals:
    """Return scores as (pictures, classes), dropping axes of length 1.

    >>> class_rows(np.zeros((5, 10, 1, 1))).shape
    (5, 10)
    """
    if scores.ndim >= 2:
        rows = scores.reshape(len(scores), -1)
        if rows.shape[1] > 1 and max(scores.shape[1:]) == rows.shape[1]:
            return rows
    raise EdgeconvError(
        f"output {name} is {list(scores.shape)}: no class scores, (samples, classes)"
    )


def is_scores(array: Reals) -> bool:
    """Whether an output has the shape of class scores: one row of several values a picture."""
    try:
        class_rows(array)
    except EdgeconvError:
        return False
    return True


def ranks(scores: Reals, classes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Place of ``classes`` (pictures,) in each row of ``scores``: 0 is the best.

    Equal scores are ordered by class index, as argmax does: quantized scores often tie.

    >>> ranks(np.array([[0.1, 0.7, 0.7]]), np.array([2]))
    array([1])
    """
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < classes[:, None]
    better = (scores > own) | ((scores == own) & earlier)
    places: NDArray[np.int64] = better.sum(axis=1).astype(np.int64)
    return places


def agreeing(reference: Reals, other: Reals, k: int = 1, name: str = "output") -> NDArray[np.bool_]:
    """For each picture: is the reference's best class among the other's ``k`` best?"""
    check_pair(name, reference, other)
    best = np.argmax(class_rows(reference, name), axis=1)
    inside: NDArray[np.bool_] = ranks(class_rows(other, name), best) < k
    return inside


def agreement(reference: Reals, other: Reals, k: int = 1, name: str = "output") -> float:
    """Share of pictures whose best class in the reference is among the other's ``k`` best.

    >>> agreement(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.1, 0.9], [0.4, 0.6]]))
    0.5
    """
    return float(agreeing(reference, other, k, name).mean())


def correct(scores: Reals, truth: NDArray[np.integer[Any]], k: int = 1) -> NDArray[np.bool_]:
    """For each picture of known ``truth`` (class >= 0): is it among the ``k`` best scores?"""
    known = truth >= 0
    rows = class_rows(scores)[known]
    if known.any() and int(truth[known].max()) >= rows.shape[1]:
        raise EdgeconvError(
            f"the truth names class {int(truth[known].max())}, the output has {rows.shape[1]} classes"
        )
    inside: NDArray[np.bool_] = ranks(rows, truth[known]) < k
    return inside


def margins(scores: Reals, name: str = "output") -> NDArray[np.float64]:
    """Best minus second best score of each picture, in the output's unit.

    >>> margins(np.array([[1.0, 4.0, 2.5]]))
    array([1.5])
    """
    rows = class_rows(scores, name)
    top = np.partition(rows, rows.shape[1] - 2, axis=1)[:, -2:].astype(np.float64)
    gaps: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return gaps


def explained_margin(noise_rms: float, sigmas: float = 3.0) -> float:
    """Largest float margin that noise of ``noise_rms`` on each score explains a flip across.

    A flip needs the difference of two scores to move by the margin; two independent errors add to
    noise_rms * sqrt(2), taken ``sigmas`` times.

    >>> round(explained_margin(0.1), 4)
    0.4243
    """
    return sigmas * math.sqrt(2.0) * noise_rms


@dataclass(frozen=True)
class Flips:
    """Pictures whose best class changed, split by the reference's margin.

    ``explained``: margin at most ``threshold``; ``beyond``: more. ``rows`` are the pictures beyond,
    widest margin first; ``widest`` is the largest margin of any flip (0 without flips).
    """

    count: int
    explained: int
    beyond: int
    threshold: float
    widest: float
    rows: tuple[int, ...]


def split_flips(
    reference: Reals,
    other: Reals,
    threshold: float,
    name: str = "output",
    promise: Reals | None = None,
) -> Flips:
    """Split the changed decisions by whether noise explains them (see explained_margin), or a ``promise`` that decides so too.

    >>> split_flips(np.array([[0.0, 0.1], [0.0, 5.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]), 0.5)
    Flips(count=2, explained=1, beyond=1, threshold=0.5, widest=5.0, rows=(1,))
    """
    flipped = np.flatnonzero(~agreeing(reference, other, 1, name))
    gaps = margins(reference, name)[flipped]
    beyond = gaps > threshold
    if promise is not None:
        beyond &= ~agreeing(promise, other, 1, name)[flipped]
    order = np.argsort(-gaps[beyond], kind="stable")
    return Flips(
        count=len(flipped),
        explained=int((~beyond).sum()),
        beyond=int(beyond.sum()),
        threshold=float(threshold),
        widest=float(gaps.max()) if len(gaps) else 0.0,
        rows=tuple(int(row) for row in flipped[beyond][order]),
    )


def lost_classes(
    reference: Reals, other: Reals, threshold: float, name: str = "output"
) -> tuple[int, ...]:
    """Return the channels of a map that most of the places leave where they are best in the reference.

    Both are (pictures, channels, height, width). A place counts as left where the reference prefers
    its channel to the other's best one by more than ``threshold`` (see explained_margin); channels
    that are best in fewer than FEWEST_PLACES are not looked at.

    >>> wanted = np.zeros((1, 2, 8, 8))
    >>> wanted[0, 1, 2:6, 2:6] = 2.0
    >>> lost_classes(wanted, wanted * 0, 0.5), lost_classes(wanted, wanted * 0.5, 0.5)
    ((1,), ())
    """
    check_pair(name, reference, other)
    count = reference.shape[1]
    places, left = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for real, made in zip(reference, other, strict=True):
        best, chosen = real.argmax(axis=0), made.argmax(axis=0)
        preferred = real.max(axis=0) - np.take_along_axis(real, chosen[None], 0)[0]
        places += np.bincount(best.ravel(), minlength=count)
        left += np.bincount(best[preferred > threshold], minlength=count)
    lost = (places >= FEWEST_PLACES) & (2 * left > places)
    return tuple(int(channel) for channel in np.flatnonzero(lost))
