"""Small pictures drawn by numpy: one shape each, of a known class, colour, box and mask."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIZE = 32
SHAPES = ("disc", "square", "triangle", "cross", "ring", "bar", "pillar", "diamond")
COLOURS = np.array(
    [
        [0.9, 0.2, 0.2],
        [0.2, 0.8, 0.3],
        [0.2, 0.3, 0.9],
        [0.9, 0.9, 0.2],
        [0.8, 0.3, 0.8],
        [0.2, 0.8, 0.8],
        [0.95, 0.95, 0.95],
        [0.05, 0.05, 0.05],
    ]
)


@dataclass(frozen=True)
class Scenes:
    """``pictures`` (n, 3, 32, 32) in -1..1; ``shapes`` and ``colours`` (n,) are classes 0..7.

    ``boxes`` (n, 4) are centre x, centre y, width and height in pixels, ``masks`` (n, 32, 32) are 1
    on the shape.
    """

    pictures: Array
    shapes: Array
    colours: Array
    boxes: Array
    masks: Array


def draw(count: int, seed: int) -> Scenes:
    """Return ``count`` scenes, the same for the same seed."""
    rng = np.random.default_rng(seed)
    shapes, colours = rng.integers(0, 8, count), rng.integers(0, 8, count)
    half = rng.uniform(5, 10, count)
    centres = np.stack([rng.uniform(h, SIZE - h, 2) for h in half])
    masks = np.stack([_mask(s, c, h) for s, c, h in zip(shapes, centres, half, strict=True)])
    boxes = np.stack([_box(mask) for mask in masks])
    pictures = np.stack(
        [_paint(mask, COLOURS[c], rng) for mask, c in zip(masks, colours, strict=True)]
    )
    return Scenes(pictures, shapes, colours, boxes, masks)


def _mask(shape: int, centre: Array, half: float) -> Array:
    y, x = (np.arange(SIZE)[:, None] - centre[1]), (np.arange(SIZE)[None, :] - centre[0])
    far, wide, high = np.hypot(x, y), np.abs(x) + 0 * y, np.abs(y) + 0 * x
    inside = {
        "disc": far < half,
        "square": np.maximum(wide, high) < 0.85 * half,
        "triangle": (high < half) & (wide < (y + half) / 2),
        "cross": (np.minimum(wide, high) < half / 4) & (np.maximum(wide, high) < half),
        "ring": (far < half) & (far > 0.55 * half),
        "bar": (wide < half) & (high < half / 3),
        "pillar": (wide < half / 3) & (high < half),
        "diamond": wide + high < half,
    }
    found: Array = inside[SHAPES[shape]].astype(np.float32)
    return found


def _box(mask: Array) -> Array:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], np.float32)


def _paint(mask: Array, colour: Array, rng: np.random.Generator) -> Array:
    ramp = np.linspace(-1, 1, SIZE)
    ground = rng.uniform(0.3, 0.6, 3)[:, None, None] + 0.1 * (
        rng.normal() * ramp[None, :, None] + rng.normal() * ramp[None, None, :]
    )
    picture = ground * (1 - mask) + colour[:, None, None] * rng.uniform(0.8, 1.0) * mask
    noisy = np.clip(picture + rng.normal(scale=0.03, size=picture.shape), 0, 1)
    tensor: Array = (noisy * 2 - 1).astype(np.float32)
    return tensor
