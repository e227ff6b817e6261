"""Two labelled detection sets drawn by numpy: coloured shapes in front of noise, and digits on gradients.

A set is pictures of 64x64 pixels, at most four objects each, and their boxes; ``write`` makes it a folder
of PNG files beside a COCO file.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scenes
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
SIDE = 64
DIGITS = (31599, 11415, 29671, 29647, 23497, 31183, 31215, 29257, 31727, 31695)
"""0 to 9 in a font of 3x5 pixels, a bit each, row by row from the highest."""


@dataclass(frozen=True)
class DetectionSet:
    """``pictures`` (n, 64, 64, 3) uint8; ``boxes[i]`` is (objects, 5): class, and corners x1, y1, x2, y2."""

    pictures: NDArray[np.uint8]
    boxes: tuple[Array, ...]
    names: tuple[str, ...]


def shapes(count: int, seed: int) -> DetectionSet:
    """Draw four scenes of one shape side by side, some of them empty."""
    rng = np.random.default_rng(seed)
    drawn = scenes.draw(4 * count, seed)
    half = scenes.SIZE
    pictures = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    boxes: list[list[Array]] = [[] for _ in range(count)]
    for number, tile in enumerate(drawn.pictures):
        picture, (y, x) = number // 4, divmod(number % 4, 2)
        pixels = np.rint((tile.transpose(1, 2, 0) + 1) * 127.5)
        if rng.random() < 0.25:
            pixels = rng.uniform(80, 150, 3) + rng.normal(scale=8, size=pixels.shape)
        else:
            cx, cy, width, height = drawn.boxes[number] + np.array([x * half, y * half, 0, 0])
            sides = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
            boxes[picture].append(np.array([drawn.shapes[number], *sides]))
        place = np.s_[y * half : (y + 1) * half, x * half : (x + 1) * half]
        pictures[picture][place] = pixels.clip(0, 255)
    return DetectionSet(pictures, tuple(_stacked(own) for own in boxes), scenes.SHAPES)


def digits(count: int, seed: int) -> DetectionSet:
    """Draw up to four digits of several sizes, none over another, on a gradient with noise."""
    rng = np.random.default_rng(seed)
    pictures, boxes = [], []
    for _ in range(count):
        ramp = np.linspace(-1, 1, SIDE)
        slopes = rng.normal(scale=25, size=2)
        ground = rng.uniform(60, 190) + slopes[0] * ramp[:, None] + slopes[1] * ramp[None, :]
        canvas = np.repeat(ground[:, :, None], 3, axis=2)
        taken = np.zeros((SIDE, SIDE), bool)
        own: list[Array] = []
        for _ in range(int(rng.integers(1, 7))):
            kind, scale = int(rng.integers(10)), int(rng.integers(3, 6))
            y, x = (int(rng.integers(SIDE - side * scale + 1)) for side in (5, 3))
            place = np.s_[y : y + 5 * scale, x : x + 3 * scale]
            if taken[place].any() or len(own) == 4:
                continue
            taken[place] = True
            ink = canvas[place].mean() + rng.choice([-1, 1]) * rng.uniform(60, 110)
            mask = np.kron(glyph(kind), np.ones((scale, scale), bool))
            canvas[place][mask] = ink + rng.normal(scale=15, size=3)
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            corners = [x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1]
            own.append(np.array([kind, *corners], np.float64))
        noisy = canvas + rng.normal(scale=6, size=canvas.shape)
        pictures.append(np.rint(noisy.clip(0, 255)).astype(np.uint8))
        boxes.append(_stacked(own))
    return DetectionSet(np.stack(pictures), tuple(boxes), tuple("0123456789"))


def glyph(kind: int) -> NDArray[np.bool_]:
    """Return a digit's pixels, (5, 3)."""
    bits = [DIGITS[kind] >> place & 1 for place in range(14, -1, -1)]
    return np.array(bits, bool).reshape(5, 3)


def _stacked(own: list[Array]) -> Array:
    return np.stack(own) if own else np.zeros((0, 5))


SETS: dict[str, Callable[[int, int], DetectionSet]] = {"shapes": shapes, "digits": digits}
"""Name -> what draws so many pictures by a seed."""


def write(made: DetectionSet, folder: Path) -> Path:
    """Write the pictures into ``folder`` and return the COCO file that is written beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (pixels, boxes) in enumerate(zip(made.pictures, made.boxes, strict=True)):
        name = f"{number:04}.png"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for kind, x1, y1, x2, y2 in boxes.tolist():
            box = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"image_id": number, "category_id": int(kind) + 1, "bbox": box})
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(made.names)]
    path = folder.with_suffix(".json")
    data = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(data) + "\n", encoding="utf-8")
    return path
