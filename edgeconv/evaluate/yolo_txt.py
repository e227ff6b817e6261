"""Labelled boxes of a folder of .txt files, one a picture, as YOLO's trainings have them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeconv.artifact import Preprocessing
from edgeconv.errors import UsageError
from edgeconv.evaluate.labelled import Row, Truth, labelled, refuse_unlabelled
from edgeconv.foreign import read_text
from edgeconv.pictures import names_below, read_picture
from edgeconv.samples import Sample
from edgeconv.truth import MOST_CLASSES

MOST_OFF = 0.51
"""How far a share may lie from a half: 0 to 1, a little rounded."""


def is_yolo_folder(folder: Path) -> bool:
    """Whether a folder holds .txt files of boxes."""
    return folder.is_dir() and any(names_below(folder, [".txt"]))


def yolo_truth(
    folder: Path, data: str, samples: Sequence[Sample], how: Preprocessing, labels: Sequence[str]
) -> Truth:
    """Return the boxes of every sample, in the pixels of the model's input.

    NAME.txt has a line ``class x y width height`` a box, centre and size as shares of the picture;
    an empty one says that nothing is there. Raises UsageError naming a line that is none.
    """
    paths = [folder / Path(sample.name).with_suffix(".txt") for sample in samples]
    unknown = [s.name for s, path in zip(samples, paths, strict=True) if not path.is_file()]
    refuse_unlabelled(unknown, data, folder, "give each a .txt (an empty one: nothing there)")
    pictures = []
    for sample, path in zip(samples, paths, strict=True):
        size = read_picture(Path(data) / sample.name).shape[:2]
        rows = [_row(line, (size[0], size[1]), path) for line in _lines(path)]
        pictures.append(labelled(rows, (size[0], size[1]), how))
    most = max((int(p.boxes.classes.max()) for p in pictures if len(p.boxes)), default=-1)
    count = max(len(labels), most + 1)
    names = [labels[k] if k < len(labels) else f"class {k}" for k in range(count)]
    return Truth(tuple(pictures), tuple(names))


def _lines(path: Path) -> list[str]:
    """Return the lines that are not empty; raises UsageError for a file that is no text."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} as lines of boxes: {error}") from error


def _row(line: str, size: tuple[int, int], path: Path) -> Row:
    """Read one line; ``size`` is (height, width) of the picture."""
    try:
        kind, x, y, width, height = (float(part) for part in line.split())
        shares = np.array([x, y, width, height])
        known = 0 <= kind < MOST_CLASSES and kind == int(kind)
        sound = known and bool((np.abs(shares - 0.5) <= MOST_OFF).all())
    except (ValueError, OverflowError):
        sound = False
    if not sound:
        raise UsageError(
            f"{path}: {line[:40]!r} is not 'class x y width height', the four as shares of the picture"
        )
    x, width, y, height = x * size[1], width * size[1], y * size[0], height * size[0]
    return Row((x - width / 2, y - height / 2, x + width / 2, y + height / 2), int(kind))
