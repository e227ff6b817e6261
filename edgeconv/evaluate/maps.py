"""Boxes from raw feature maps, one or two a scale: what a detector gives when it is cut before its decoding."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UsageError

Array = NDArray[Any]
Size = tuple[int, int]
Decoded = tuple[Array, Array]
"""Corners (pictures, boxes, 4) in the input's pixels, and scores (pictures, boxes, classes)."""

BINS = 16
"""Values that each of the four distances of YOLOv8 and 11 is a distribution over."""
ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
"""YOLOv5's own widths and heights in pixels, by stride."""


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), without overflow."""
    found: Array = 0.5 * (1.0 + np.tanh(0.5 * x.astype(np.float64)))
    return found


def channels_first(value: Array, size: Size) -> Array:
    """Return a map as (pictures, channels, height, width), from either layout.

    Height and width are what the input's ``size`` (height, width) is a multiple of, by one stride.
    """
    for high, wide in ((2, 3), (1, 2)):
        h, w = value.shape[high], value.shape[wide]
        if h and w and size[0] % h == 0 and size[1] % w == 0 and size[0] // h == size[1] // w:
            return value if high == 2 else value.transpose(0, 3, 1, 2)
    raise UsageError(
        f"an output is {list(value.shape)}: no map whose height and width divide {size[0]}x{size[1]}"
    )


def scales(values: Sequence[Array], size: Size) -> list[list[Array]]:
    """Return the maps of each scale, channels first, the finest scale first."""
    found: dict[int, list[Array]] = {}
    for value in values:
        one = channels_first(value, size)
        found.setdefault(one.shape[2], []).append(one)
    return [found[height] for height in sorted(found, reverse=True)]


def distance_maps(values: Sequence[Array], size: Size, bins: int) -> Decoded:
    """Decode YOLOv8, 11 (``bins`` 16) and 26 (``bins`` 1): distances to the four sides, and class logits.

    A scale is one map of 4 * bins + classes channels, or one of distances and one of logits.
    """
    corners, scores = [], []
    for maps in scales(values, size):
        distances, logits = _parted(maps, 4 * bins)
        n, _, high, wide = distances.shape
        spread = distances.reshape(n, 4, bins, high * wide)
        far = _expected(spread) if bins > 1 else spread[:, :, 0]
        middle = _grid(high, wide) + 0.5
        low, top = middle[None] - far[:, :2], middle[None] + far[:, 2:]
        corners.append(np.concatenate([low, top], 1).transpose(0, 2, 1) * (size[0] / high))
        scores.append(sigmoid(logits.reshape(n, -1, high * wide)).transpose(0, 2, 1))
    return _joined(corners, scores)


def _parted(maps: Sequence[Array], sides: int) -> tuple[Array, Array]:
    if len(maps) == 1 and maps[0].shape[1] > sides:
        return maps[0][:, :sides], maps[0][:, sides:]
    if len(maps) == 2:
        ours = [m for m in maps if m.shape[1] == sides]
        if ours:
            return ours[0], next(m for m in maps if m is not ours[0])
    said = ", ".join(str(list(m.shape)) for m in maps)
    raise UsageError(f"a scale has maps {said}: none has {sides} channels of distances: say --head")


def _expected(logits: Array) -> Array:
    """Return the mean of a distribution over 0, 1, ... given by logits (n, 4, bins, boxes)."""
    weights = np.exp(logits - logits.max(axis=2, keepdims=True), dtype=np.float64)
    weights /= weights.sum(axis=2, keepdims=True)
    found: Array = np.einsum("nfba,b->nfa", weights, np.arange(logits.shape[2]))
    return found


def anchor_maps(values: Sequence[Array], size: Size) -> Decoded:
    """Decode YOLOv5: three anchors a place, (n, 3 * (5 + classes), h, w) or (n, 3, h, w, 5 + classes)."""
    corners, scores = [], []
    for value in sorted(values, key=lambda v: -v.size):
        first = value if value.ndim == 5 else channels_first(value, size)
        figures, rest = (first.shape[4], 0) if value.ndim == 5 else divmod(first.shape[1], 3)
        if rest or figures < 6:
            raise UsageError(
                f"a map of {list(value.shape)} holds no three anchors of 5 + classes: say --head"
            )
        n, (high, wide) = len(value), first.shape[2:4]
        if value.ndim != 5:
            first = first.reshape(n, 3, figures, high, wide).transpose(0, 1, 3, 4, 2)
        stride = size[0] // high
        if stride not in ANCHORS:
            raise UsageError(f"no anchors are known for stride {stride}: YOLOv5 has 8, 16 and 32")
        raw = sigmoid(first.reshape(n, 3, high * wide, figures))
        centre = (2.0 * raw[..., :2] - 0.5 + _grid(high, wide).T) * stride
        half = 2.0 * raw[..., 2:4] ** 2 * np.array(ANCHORS[stride])[None, :, None]
        found = np.concatenate([centre - half, centre + half], axis=3)
        corners.append(found.reshape(n, -1, 4))
        scores.append((raw[..., 4:5] * raw[..., 5:]).reshape(n, -1, figures - 5))
    return _joined(corners, scores)


def _joined(corners: Sequence[Array], scores: Sequence[Array]) -> Decoded:
    """Return the boxes of all scales as one."""
    classes = [score.shape[2] for score in scores]
    if min(classes) < 1 or len(set(classes)) > 1:
        raise UsageError(f"scales hold {classes} classes: they are of another head, say --head")
    return np.concatenate(corners, 1), np.concatenate(scores, 1)


def _grid(high: int, wide: int) -> Array:
    """Return x and y of every place of a map, (2, high * wide), row by row."""
    y, x = np.indices((high, wide))
    return np.stack([x.reshape(-1), y.reshape(-1)]).astype(np.float64)
