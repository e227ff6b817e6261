"""Boxes of a file against the float reference's from outputs alone, where they are a detector's beyond doubt."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import match_names
from edgeconv.errors import UsageError
from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.box_parity import PARITY_IOU, BoxParity, box_parity
from edgeconv.evaluate.heads import OUTSIDE, Candidates, box_rows, candidates, find_head, kept
from edgeconv.evaluate.hints import unseen
from edgeconv.evaluate.task import task_of
from edgeconv.judge.budget import Budget
from edgeconv.judge.verdict import BOXES, Finding
from edgeconv.tensors import Layout

Array = NDArray[Any]
INSIDE = 0.9
"""Share of a detector's boxes whose centre lies in the picture, at least: other figures are anywhere."""

BACKGROUND = 0.05
"""Score that half of a detector's places stay below, where it is sure of nothing too."""


def lost_boxes(budget: Budget, held: BoxParity | None) -> tuple[Finding, ...]:
    """Return what a budget's limits on a detector's boxes find, a doubt where an interval reaches its limit.

    How much noise a box can stand depends on its size: the noise of all figures together does not say it.
    """
    if held is None:
        return ()
    share, high = held.matched.value, held.matched.interval[1]
    kept = f"it keeps {held.matched} of the float model's {held.matched.count} boxes (IoU {PARITY_IOU:g}, same class)"
    found = []
    for metric, got in zip(BOXES, (share, high), strict=True):
        if (limit := budget.limits.get(metric)) is None:
            continue
        part = "half" if limit == 0.5 else f"{100 * limit:g} %"
        why = f"{kept}, {'surely ' if metric == BOXES[1] else ''}fewer than {part}"
        if got >= limit:
            doubtful = share < limit
            why = f"{kept}, too few to tell whether {part} of them are kept" if doubtful else ""
        found.append(Finding("", metric, got, limit, got >= limit, why))
    return tuple(found)


def boxes_held(
    reference: Mapping[str, Array],
    other: Mapping[str, Array],
    inputs: Mapping[str, Array],
    layout: Layout = "nchw",
) -> BoxParity | None:
    """Compare two files' outputs (pictures, ...) for one picture in ``layout`` as boxes.

    None where they are no detector's beyond doubt, or hold no box: nothing is guessed of maps, logits and tokens,
    whose head is named to ``edgeconv eval --head``.
    """
    read = _read(reference, inputs, layout)
    names = match_names(list(reference), list(other), "output")
    other = {name: other[own] for name, own in names.items()}
    if read is None or not all(map(_real, other.values())):
        return None
    head, size, found = read
    if not _in_picture(found, found.scores >= MIN_SCORE, size):
        return None
    try:
        wanted, got = kept(found, MIN_SCORE), kept(candidates(other, head, size), MIN_SCORE)
    except UsageError:
        return None
    return box_parity(wanted[: len(got)], got) if any(map(len, wanted)) else None


def hardly_any(
    reference: Mapping[str, Array], inputs: Mapping[str, Array], layout: Layout = "nchw"
) -> str | None:
    """Return a sentence where a float detector finds nothing in most pictures; None of what is no detector."""
    read = _read(reference, inputs, layout)
    if read is None:
        return None
    _, size, found = read
    surest = found.scores == found.scores.max(axis=1, keepdims=True)
    sparse = found.final or float(np.median(found.scores)) < BACKGROUND
    if not sparse or not _in_picture(found, surest, size):
        return None
    counts = (found.scores >= MIN_SCORE).sum(axis=1)
    return unseen([int(count) for count in counts], MIN_SCORE, "the float model")


def _read(
    arrays: Mapping[str, Array], inputs: Mapping[str, Array], layout: Layout
) -> tuple[str, tuple[int, int], Candidates] | None:
    """Return head, (height, width) and boxes of what a net gives for one picture; None where it is no detector by its form."""
    shapes = [array.shape for array in inputs.values()]
    if (
        len(shapes) != 1
        or len(shapes[0]) != 4
        or task_of([a.shape for a in arrays.values()]) != "boxes"
        or not all(map(_real, arrays.values()))
    ):
        return None
    first = 1 if layout == "nhwc" else 2
    size = (shapes[0][first], shapes[0][first + 1])
    try:
        head = find_head(arrays, size)
        if head.endswith("-maps") or not _probable(arrays, head, size):
            return None
        return head, size, candidates(arrays, head, size)
    except UsageError:
        return None


def _real(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(array.size)


def _probable(arrays: Mapping[str, Array], head: str, size: tuple[int, int]) -> bool:
    """Whether what may be scores lies within 0..1: of one output the figures behind the four sides.

    Where all figures of a row or column add up to 1, its sides are probabilities too, of a reader of characters.
    """
    if head in ("end-to-end", "ssd-nms"):
        return True  # told by the scores already
    values = list(arrays.values())
    if len(values) == 1:
        if any(np.allclose(values[0].sum(axis=axis), 1, atol=OUTSIDE) for axis in (1, 2)):
            return False
        scores = box_rows(values[0], size)[:, :, 4:]
    else:
        scores = next((v for v in values if 4 not in v.shape[1:]), np.zeros(1))
    return float(scores.min()) >= -OUTSIDE and float(scores.max()) <= 1 + OUTSIDE


def _in_picture(found: Candidates, counts: NDArray[np.bool_], size: tuple[int, int]) -> bool:
    """Whether the boxes that count, (pictures, n), have an extent, and nearly all their centre in the picture."""
    corners = found.corners[counts]
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    across = (middle >= 0) & (middle <= np.array([size[1], size[0]]))
    sound = (across & (corners[:, 2:] > corners[:, :2])).all(axis=1)
    return len(corners) > 0 and float(np.mean(sound)) >= INSIDE
