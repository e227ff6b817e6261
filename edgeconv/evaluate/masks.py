"""Segmentation: mean intersection over union of the classes of every pixel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Crop
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.pictures import UNLABELLED, crop_mask, open_picture

Array = NDArray[Any]


@dataclass
class Masks:
    """Pixels of ``classes`` counted as ``confusion[true, predicted]``."""

    classes: int
    confusion: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.confusion = np.zeros((self.classes, self.classes), np.int64)

    def add(self, scores: Array, truth: NDArray[np.int64]) -> None:
        """Count scores (pictures, classes, height, width) against masks (pictures, height, width).

        >>> counted = Masks(2)
        >>> counted.add(np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0, 0]]]))
        >>> counted.mean
        0.25
        """
        known = truth != UNLABELLED
        if known.any() and int(truth[known].max()) >= self.classes:
            raise EdgeconvError(
                f"a mask holds class {int(truth[known].max())}, the file has {self.classes} classes"
            )
        np.add.at(self.confusion, (truth[known], scores.argmax(axis=1)[known]), 1)

    def __add__(self, other: "Masks") -> "Masks":
        """Return the counts over both sets of pictures."""
        made = Masks(self.classes)
        made.confusion += self.confusion + other.confusion
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON data."""
        return {"confusion": self.confusion.tolist()}

    def of_class(self, index: int) -> float | None:
        """Return a class's intersection over union; None where neither side has it."""
        both = int(self.confusion[index, index])
        either = int(self.confusion[index].sum() + self.confusion[:, index].sum()) - both
        return both / either if either else None

    @property
    def mean(self) -> float:
        """The mean over the classes that occur."""
        found = [iou for k in range(self.classes) if (iou := self.of_class(k)) is not None]
        return float(np.mean(found)) if found else 0.0


def masks_from_json(data: Mapping[str, Any]) -> Masks:
    """Read what Masks.to_json returned."""
    made = Masks(len(data["confusion"]))
    made.confusion += np.array(data["confusion"], np.int64)
    return made


def mask_name(name: str) -> str:
    """Return what the mask of a picture is called in the folder of masks."""
    return Path(name).with_suffix(".png").as_posix()


def read_mask(folder: Path, name: str, crop: Crop, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the mask of a picture as its input shows it, (height, width) of class numbers.

    A mask is a .png of the picture's name whose pixels are classes. Raises UsageError where it is
    not there.
    """
    path = folder / mask_name(name)
    if not path.is_file():
        raise UsageError(f"{path} does not exist: --truth DIR holds a .png mask for each picture")
    with open_picture(path) as image:
        if image.mode not in ("L", "P", "I", "1"):
            raise EdgeconvError(f"{path} is {image.mode}, not one class number a pixel")
        return crop_mask(image, size, crop)
