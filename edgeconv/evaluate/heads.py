"""Boxes from a detector's outputs, decoded and thinned outside the graph, in numpy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError
from edgeconv.evaluate import HEADS
from edgeconv.evaluate.boxes import MOST, NMS_IOU, Boxes, best_first, thinned
from edgeconv.evaluate.maps import BINS, Size, anchor_maps, channels_first, distance_maps, sigmoid

Array = NDArray[Any]
OUTSIDE = 0.1
"""A probability that was rounded to integers may pass 0 or 1 by less than this; logits pass it."""


@dataclass(frozen=True)
class Candidates:
    """Boxes before any is dropped: corners (pictures, n, 4), scores and classes (pictures, n).

    ``count`` is the number of classes where the outputs say it. ``final`` ones overlap no more.
    """

    corners: Array
    scores: Array
    classes: Array
    count: int | None = None
    final: bool = False


def candidates(arrays: Mapping[str, Array], head: str, size: Size) -> Candidates:
    """Decode the outputs of some pictures; ``size`` is (height, width) of the input.

    Boxes on 0..1 are scaled to it. Raises UsageError where the outputs do not fit ``head``.
    """
    values = list(arrays.values())
    fits, read = READERS[head]
    if not fits([value.shape[1:] for value in values]):
        raise UsageError(f"--head {head} does not fit the outputs ({_said(arrays)})")
    found = read(values, size)
    if on_unit_scale(found.corners):
        scaled = found.corners * np.array([size[1], size[0], size[1], size[0]], np.float64)
        return Candidates(scaled, found.scores, found.classes, found.count, found.final)
    return found


def on_unit_scale(corners: Array) -> bool:
    """Whether boxes are shares of the picture's sides rather than its pixels."""
    return bool(corners.size) and float(np.abs(corners).max()) <= 2.0


def kept(found: Candidates, least: float, iou: float = NMS_IOU, most: int = MOST) -> list[Boxes]:
    """Return each picture's boxes with a score of at least ``least``, after NMS by class at ``iou``."""
    each = zip(found.corners, found.scores, found.classes, strict=True)
    all_boxes = (
        Boxes(corners.astype(np.float64), scores.astype(np.float64), np.rint(kinds).astype(int))
        for corners, scores, kinds in each
    )
    chosen = (best_first(boxes, least) for boxes in all_boxes)
    if found.final:
        return [boxes.at(slice(most)) for boxes in chosen]
    return [thinned(boxes, iou, most) for boxes in chosen]


def find_head(arrays: Mapping[str, Array], size: Size, classes: int | None = None) -> str:
    """Tell the head by the outputs' shapes, and the number of ``classes`` where it is known.

    Raises UsageError where they fit none, or more than one.
    """
    shapes = [array.shape[1:] for array in arrays.values()]
    if len(shapes) == 1 and len(shapes[0]) == 2:
        found = _of_rows(next(iter(arrays.values())), size, classes)
    elif {len(shape) for shape in shapes} in ({3}, {4}):
        found = _of_maps(list(arrays.values()), size, classes)
    else:
        found = [
            head for head in ("ssd-nms", "listed", "ssd", "yolov8") if READERS[head][0](shapes)
        ][:1]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"the outputs ({_said(arrays)}) may be {' or '.join(found)}: say --head")
    if all(len(shape) < 2 for shape in shapes):
        raise UsageError(f"the outputs ({_said(arrays)}) hold no boxes")
    raise UsageError(
        f"the outputs ({_said(arrays)}) are no head that is known: say --head {'|'.join(HEADS)}"
    )


def _of_rows(one: Array, size: Size, classes: int | None) -> list[str]:
    """Tell what one output (pictures, a, b) may be."""
    high, wide = one.shape[1:]
    places = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32))
    if wide == 6 and high <= 1000 and places not in (high, 3 * high) and _is_final(one):
        return ["end-to-end"]
    rows, figures = max(high, wide), min(high, wide)
    if classes is not None and classes in (figures - 4, figures - 5):
        fits, usual = (
            ("yolov8", rows != 3 * places) if classes == figures - 4 else ("yolov5", high > wide)
        )
        return [fits] if usual else ["yolov8", "yolov5"]  # labels may be of other classes
    if figures <= 4:
        return []
    if high < wide:
        return ["yolov8"]
    if rows == places and figures > 5:  # turned by hand, or a head with objectness and no anchors
        return ["yolov8", "yolov5"]
    return ["yolov5"] if figures > 5 else ["yolov8"]


def _is_final(rows: Array) -> bool:
    """Whether rows of 6 figures are corners, a score and a class."""
    ordered = (rows[:, :, 2:4] >= rows[:, :, :2] - 1e-3).mean()
    scores = rows[:, :, 4]
    return bool(
        ordered > 0.99 and scores.min() >= -OUTSIDE and scores.max() <= 1 + OUTSIDE
    ) and bool(rows[:, :, 5].min() >= -0.5)


def _of_maps(values: Sequence[Array], size: Size, classes: int | None) -> list[str]:
    """Tell what maps of one or more scales may be, by the channels of a scale."""
    if all(value.ndim == 5 for value in values):
        return ["yolov5-maps"]
    maps = [channels_first(value, size) for value in values]
    finest = [m.shape[1] for m in maps if m.shape[2] == max(m.shape[2] for m in maps)]
    if len(finest) == 2:
        return [h for h, own in (("yolov8-maps", 4 * BINS), ("yolo26-maps", 4)) if own in finest]
    may = {
        "yolov8-maps": finest[0] - 4 * BINS,
        "yolo26-maps": finest[0] - 4,
        "yolov5-maps": finest[0] // 3 - 5 if finest[0] % 3 == 0 else 0,
    }
    return [h for h, own in may.items() if own == classes or (classes is None and own > 0)]


def _centred(one: Array) -> Array:
    """Return corners of boxes given by centre and size, (pictures, n, 4)."""
    centre, half = one[:, :, :2], one[:, :, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=2)


def box_rows(value: Array, size: Size) -> Array:
    """Return (pictures, boxes, figures) from either order: there are more boxes than figures."""
    return value.transpose(0, 2, 1) if boxes_last(value.shape, size) else value


def boxes_last(shape: Sequence[int], size: Size) -> bool:
    """Whether an output (pictures, a, b) of a net that takes ``size`` holds its boxes along b."""
    places = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32))
    across = shape[1] not in (places, 3 * places) and shape[1] < shape[2]
    return across or shape[2] == places


def are_logits(scores: Array) -> bool:
    """Whether scores are no probabilities yet."""
    return bool(scores.size) and not -OUTSIDE <= scores.min() <= scores.max() <= 1 + OUTSIDE


def begin_with_background(scores: Array) -> bool:
    """Whether class 0 of SSD's scores (pictures, n, classes) is the background, which most boxes are."""
    share = scores.sum(axis=2)
    softmax = scores.shape[2] > 1 and np.abs(share - 1).mean() < OUTSIDE
    return bool(softmax and (scores.argmax(axis=2) == 0).mean() > 0.5)


def _scored(corners: Array, scores: Array) -> Candidates:
    """Give every box its best class; scores (pictures, n, classes) may be logits."""
    if are_logits(scores):
        scores = sigmoid(scores)
    best = scores.argmax(axis=2)
    top = np.take_along_axis(scores, best[:, :, None], axis=2)[:, :, 0]
    return Candidates(corners, top, best, scores.shape[2])


def _yolov8(values: Sequence[Array], size: Size) -> Candidates:
    if len(values) == 2:
        sides = next(v for v in values if v.shape[1] == 4)
        scores = next(v for v in values if v is not sides)
        return _scored(_centred(sides.transpose(0, 2, 1)), scores.transpose(0, 2, 1))
    one = box_rows(values[0], size)
    return _scored(_centred(one), one[:, :, 4:])


def _yolov5(values: Sequence[Array], size: Size) -> Candidates:
    one = box_rows(values[0], size)
    return _scored(_centred(one), one[:, :, 4:5] * one[:, :, 5:])


def _end_to_end(values: Sequence[Array], size: Size) -> Candidates:
    one = values[0]
    return Candidates(one[:, :, :4], one[:, :, 4], one[:, :, 5], final=True)


def _ssd(values: Sequence[Array], size: Size) -> Candidates:
    corners = next(v for v in values if v.shape[2] == 4)
    scores = next(v for v in values if v is not corners)
    return _scored(corners, scores[:, :, 1:] if begin_with_background(scores) else scores)


def _coreml_nms(values: Sequence[Array], size: Size) -> Candidates:
    boxes = next(v for v in values if v.shape[2] == 4)
    return _scored(_centred(boxes), next(v for v in values if v is not boxes))


def _ssd_nms(values: Sequence[Array], size: Size) -> Candidates:
    boxes = next(v for v in values if v.ndim == 3)
    number = next(v for v in values if v.size == len(v)).reshape(-1, 1)
    found = np.arange(boxes.shape[1]) < number  # the rest is left over from other pictures
    pair = [np.where(found, v, 0.0) for v in values if v.shape == boxes.shape[:2]][:2]
    whole = [bool((v == np.rint(v)).all()) for v in pair]
    classes, scores = pair if whole[0] or not whole[1] else pair[::-1]
    corners = np.where(found[:, :, None], boxes[:, :, [1, 0, 3, 2]], 0.0)
    return Candidates(corners, scores, classes, final=True)


def _listed(values: Sequence[Array], size: Size) -> Candidates:
    boxes = next(v for v in values if v.ndim == 3)
    pair = [v for v in values if v is not boxes]
    scores, classes = sorted(
        pair, key=lambda v: (v.dtype.kind in "iu", bool((v == np.rint(v)).all()))
    )
    return Candidates(boxes, scores, classes, final=True)


Shapes = Sequence[tuple[int, ...]]


def _one(shapes: Shapes, figures: int) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 2 and min(shapes[0]) >= figures


def _heights(shapes: Shapes) -> set[int]:
    return {shape[0] for shape in shapes if len(shape) == 2}


def _maps(shapes: Shapes) -> bool:
    return len(shapes) > 0 and all(len(shape) == 3 and min(shape) > 0 for shape in shapes)


def _pair(shapes: Shapes, axis: int) -> bool:
    """Whether one of two outputs is four figures a box along ``axis``, and both have as many boxes."""
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return False
    return shapes[0][1 - axis] == shapes[1][1 - axis] and 4 in (shapes[0][axis], shapes[1][axis])


READERS: dict[
    str, tuple[Callable[[Shapes], bool], Callable[[Sequence[Array], Size], Candidates]]
] = {
    "yolov8": (lambda s: _one(s, 5) or _pair(s, 0), _yolov8),
    "yolov8-maps": (_maps, lambda values, size: _scored(*distance_maps(values, size, BINS))),
    "yolo26-maps": (_maps, lambda values, size: _scored(*distance_maps(values, size, 1))),
    "yolov5": (lambda s: _one(s, 6), _yolov5),
    "yolov5-maps": (
        lambda s: (
            _maps(s) or all(len(shape) == 4 and shape[0] == 3 and min(shape) > 0 for shape in s)
        ),
        lambda values, size: _scored(*anchor_maps(values, size)),
    ),
    "end-to-end": (lambda s: _one(s, 1) and s[0][1] == 6, _end_to_end),
    "ssd": (lambda s: _pair(s, 1), _ssd),
    "ssd-nms": (
        lambda s: (
            len(s) == 4 and any(s.count((n, 4)) == 1 and s.count((n,)) >= 2 for n in _heights(s))
        ),
        _ssd_nms,
    ),
    "coreml-nms": (lambda s: _pair(s, 1), _coreml_nms),
    "listed": (
        lambda s: (
            len(s) == 3
            and any(sorted(s, key=len) == [(n,), (n,), (n, 4)] for n, *_ in filter(None, s))
        ),
        _listed,
    ),
}
"""Head -> whether outputs of these shapes (without the pictures' axis) may be it, and what reads them.

yolov8: 4 + classes figures a box, centre and size (YOLOv8, 11, and 26 without its end-to-end head), joined
or as two outputs. yolov5: 5 + classes, with objectness. end-to-end: 6 figures, corners, score, class
(YOLOv10, 26). ssd: boxes by corners and scores; scores that add up to 1 begin with the background. ssd-nms:
boxes, classes, scores and their number, as TensorFlow's detectors end. coreml-nms: centre and size, and
scores, as Core ML's NMS takes and gives them. listed: boxes by corners, scores and classes, as torchvision's
detectors end, of as many as there are. *-maps: one or two raw maps a scale.
"""


def _said(arrays: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
