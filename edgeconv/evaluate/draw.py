"""Boxes and masks painted over their pictures, as PNG files."""

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.boxes import Boxes
from edgeconv.pictures import picture_boxes, read_picture, resize_and_crop

Array = NDArray[Any]
Colour = tuple[int, int, int]
LEAST = 256
"""Pixels of the shorter side at least: thin lines and names are read on nothing smaller."""
REFERENCE: Colour = (0, 200, 255)
FILE: Colour = (255, 90, 0)


def class_colour(index: int) -> Colour:
    """Return a class's own colour; neighbours differ most.

    >>> class_colour(0) != class_colour(1)
    True
    """
    r, g, b = colorsys.hsv_to_rgb(index * 0.618 % 1.0, 0.85, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


def draw_boxes(
    picture: Path,
    boxes: Boxes,
    how: Preprocessing,
    name: Callable[[int], str],
    path: Path,
) -> None:
    """Write the picture with ``boxes`` (of the model's input), their classes and scores."""
    canvas = _canvas(read_picture(picture))
    colours = [class_colour(int(kind)) for kind in boxes.classes]
    said = [
        f"{name(int(k))} {100 * s:.0f} %" for k, s in zip(boxes.classes, boxes.scores, strict=True)
    ]
    _paint(canvas, picture_boxes(boxes.corners, canvas.given, how), colours, said)
    _write(canvas.image, path)


def draw_both(
    picture: Path, reference: Boxes, found: Boxes, how: Preprocessing, path: Path
) -> None:
    """Write the picture with the reference's boxes (blue) and the file's (orange) over them."""
    canvas = _canvas(read_picture(picture))
    for boxes, colour, width in ((reference, REFERENCE, 5), (found, FILE, 2)):
        said = [str(int(kind)) for kind in boxes.classes]
        placed = picture_boxes(boxes.corners, canvas.given, how)
        _paint(canvas, placed, [colour] * len(boxes), said, width)
    _write(canvas.image, path)


def draw_mask(picture: Path, classes: NDArray[np.int64], how: Preprocessing, path: Path) -> None:
    """Write what the model sees of the picture under the colours of ``classes`` (height, width)."""
    image_module = require("PIL.Image", "images")
    seen = resize_and_crop(read_picture(picture), how.size, how.crop)
    mask = image_module.fromarray(classes.astype(np.int32), "I").resize(
        (seen.shape[1], seen.shape[0]), image_module.Resampling.NEAREST
    )
    kinds, places = np.unique(np.asarray(mask), return_inverse=True)
    colours = np.array([class_colour(int(kind)) for kind in kinds], np.float32)
    mixed = 0.5 * seen + 0.5 * colours[places.reshape(seen.shape[:2])]
    _write(_canvas(mixed.astype(np.uint8)).image, path)


@dataclass(frozen=True)
class _Canvas:
    """A picture made ``factor`` times larger to draw on; ``given`` is its (height, width) before."""

    image: Any
    given: tuple[int, int]
    factor: int


def _canvas(pixels: NDArray[np.uint8]) -> _Canvas:
    image_module = require("PIL.Image", "images")
    image = image_module.fromarray(pixels)
    factor = -(-LEAST // max(1, min(image.size)))
    if factor > 1:
        grown = (image.width * factor, image.height * factor)
        image = image.resize(grown, image_module.Resampling.NEAREST)
    return _Canvas(image, (pixels.shape[0], pixels.shape[1]), factor)


def _paint(
    canvas: _Canvas, corners: Array, colours: Sequence[Colour], said: Sequence[str], width: int = 2
) -> None:
    pen = require("PIL.ImageDraw", "images").Draw(canvas.image)
    for box, colour, words in zip(corners * canvas.factor, colours, said, strict=True):
        x1, y1, x2, y2 = (float(value) for value in box)
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=width)
        words = words.encode("latin-1", "replace").decode("latin-1")  # all that its own font has
        left, top, right, bottom = pen.textbbox((x1 + 3, y1 + 2), words)
        pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=(0, 0, 0))
        pen.text((x1 + 3, y1 + 2), words, fill=colour)


def _write(image: Any, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    except OSError as error:
        raise EdgeconvError(f"cannot write {path}: {error.strerror or error}") from error


def picture_path(data: Path, name: str) -> Path:
    """Return the picture of a sample; raises UsageError where the data is no folder of pictures."""
    if not data.is_dir():
        raise UsageError(f"--draw needs a folder of pictures, {data} is none")
    return data / name


def drawings(names: Sequence[str]) -> list[str]:
    """Return a file name for the drawing of each picture, no two the same.

    >>> drawings(["street/01.jpg", "street_01.jpg", "02.jpg"])
    ['street_01.png', 'street_01_2.png', '02.png']
    """
    made: list[str] = []
    for name in names:
        plain, number = PurePath(name).with_suffix("").as_posix().replace("/", "_"), 1
        while (own := plain if number == 1 else f"{plain}_{number}") + ".png" in made:
            number += 1
        made.append(f"{own}.png")
    return made
