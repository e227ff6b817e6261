"""Average precision of one class when pictures are drawn again: from matches that are made once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read, by COCO's custom."""


@dataclass(frozen=True)
class Matches:
    """A class's boxes in all pictures, the surest first.

    ``picture`` (boxes,) is whose they are; ``right`` and ``wrong`` (IoUs, boxes) say which match a
    labelled box and which none, neither for those that count for nothing; ``wanted`` (pictures,) is
    how many labelled boxes there are.
    """

    picture: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def matches_of(pictures: Sequence[Mapping[str, Any] | None], most: int = 100) -> Matches:
    """Return the matches of pycocotools' pictures of one class, at most so many boxes each."""
    there = [(place, one) for place, one in enumerate(pictures) if one is not None]
    wanted = np.zeros(len(pictures), np.int64)
    for place, one in there:
        wanted[place] = int((np.asarray(one["gtIgnore"]) == 0).sum())
    if not there:
        nothing = np.zeros((10, 0), bool)
        return Matches(np.zeros(0, np.int64), nothing, nothing, wanted)
    scores = np.concatenate([np.asarray(one["dtScores"])[:most] for _, one in there])
    order = np.argsort(-scores, kind="stable")
    matched, ignored = (
        np.concatenate([np.asarray(one[key])[:, :most] for _, one in there], axis=1)[:, order] > 0
        for key in ("dtMatches", "dtIgnore")
    )
    owner = [np.full(len(one["dtScores"][:most]), place) for place, one in there]
    picture = np.concatenate(owner).astype(np.int64)[order]
    return Matches(picture, matched & ~ignored, ~matched & ~ignored, wanted)


def resampled(one: Matches, drawn: NDArray[np.int64]) -> Array:
    """Return average precision by resampling and IoU, (draws, IoUs); ``drawn`` is (draws, pictures).

    NaN where a resampling has no labelled box of the class.
    """
    total = drawn @ one.wanted
    found = np.full((len(drawn), len(one.right)), np.nan)
    for number, weights in enumerate(drawn[:, one.picture]):
        if not total[number]:
            continue
        right, wrong = (np.cumsum(side * weights, axis=1) for side in (one.right, one.wrong))
        recall = right / total[number]
        precision = right / np.maximum(right + wrong, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for level in range(len(recall)):
            places = np.searchsorted(recall[level], RECALLS, side="left")
            read = places < recall.shape[1]
            found[number, level] = best[level][places[read]].sum() / len(RECALLS)
    return found
