"""Segmentation: mean intersection over union of the classes of every pixel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Crop
from edgeconv.errors import EdgeconvError
from edgeconv.evaluate.resample import draws, interval
from edgeconv.foreign import refuse_no_file
from edgeconv.pictures import UNLABELLED, crop_mask, open_picture
from edgeconv.terminal import counted

Array = NDArray[Any]


@dataclass
class Masks:
    """Pixels of ``classes`` by picture, (pictures, classes): in truth and file both, and in either.

    ``truths`` are all pictures' pixels of each class in the truth, those without a class last.
    """

    classes: int
    both: NDArray[np.int64] = field(init=False)
    either: NDArray[np.int64] = field(init=False)
    truths: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.truths = np.zeros(self.classes + 1, np.int64)
        self.both = np.zeros((0, self.classes), np.int64)
        self.either = np.zeros((0, self.classes), np.int64)

    def add(self, scores: Array, truth: NDArray[np.int64]) -> None:
        """Count scores (pictures, classes, height, width) against masks (pictures, height, width).

        >>> counted = Masks(2)
        >>> counted.add(np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[0, 0]]]))
        >>> counted.mean, counted.of_class(1)
        (0.25, 0.0)
        """
        known = truth != UNLABELLED
        if known.any() and int(truth[known].max()) >= self.classes:
            raise EdgeconvError(
                f"a mask holds class {int(truth[known].max())}, the file has {counted(self.classes, 'class')}"
            )
        self.count(scores.argmax(axis=1), truth)

    def count(self, found: Array, truth: NDArray[np.int64]) -> None:
        """Count labels, (pictures, height, width), against masks."""
        known = truth != UNLABELLED
        places = np.where(known, truth, self.classes)
        self.truths += np.bincount(places.reshape(-1), minlength=self.classes + 1)
        both = np.zeros((len(truth), self.classes), np.int64)
        either = np.zeros_like(both)
        for picture, (mine, theirs, sure) in enumerate(zip(found, truth, known, strict=True)):
            same, *sides = (
                np.bincount(pixels, minlength=self.classes)
                for pixels in (mine[sure & (mine == theirs)], mine[sure], theirs[sure])
            )
            both[picture], either[picture] = same, sides[0] + sides[1] - same
        self.both = np.concatenate([self.both, both])
        self.either = np.concatenate([self.either, either])

    def __add__(self, other: "Masks") -> "Masks":
        """Return the counts over both sets of pictures, of as many classes as the one that saw more."""
        made = Masks(max(self.classes, other.classes))
        mine, theirs = ((0, made.classes - own.classes) for own in (self, other))
        made.both = np.concatenate(
            [np.pad(self.both, ((0, 0), mine)), np.pad(other.both, ((0, 0), theirs))]
        )
        made.either = np.concatenate(
            [np.pad(self.either, ((0, 0), mine)), np.pad(other.either, ((0, 0), theirs))]
        )
        for own in (self, other):
            made.truths[: own.classes] += own.truths[:-1]
            made.truths[-1] += own.truths[-1]
        return made

    @property
    def says_nothing(self) -> bool:
        """Whether the truth is 0 and 255 alone: what should be a class is none."""
        return bool(self.truths[-1]) and not self.truths[1:-1].any()

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON data."""
        return {name: getattr(self, name).tolist() for name in ("both", "either", "truths")}

    def of_class(self, index: int) -> float | None:
        """Return a class's intersection over union; None where neither side has it."""
        either = int(self.either[:, index].sum())
        return int(self.both[:, index].sum()) / either if either else None

    @property
    def mean(self) -> float:
        """The mean over the classes that occur."""
        found = [iou for k in range(self.classes) if (iou := self.of_class(k)) is not None]
        return float(np.mean(found)) if found else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval, by drawing the pictures again; everything where there is but one."""
        if len(self.both) < 2 or not self.either.any():
            return 0.0, 1.0
        drawn = draws(len(self.both))
        both, either = (drawn @ counts for counts in (self.both, self.either))
        shares = np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)
        return interval(np.nanmean(shares, axis=1))


def counted_maps(labels: Array, truth: NDArray[np.int64]) -> Masks:
    """Count maps of labels (pictures, height, width) against masks of their size."""
    known = truth[truth != UNLABELLED]
    if int(labels.min()) < 0:
        raise EdgeconvError(f"the file gives class {int(labels.min())}: that is no class")
    made = Masks(int(max(labels.max(initial=0), known.max(initial=0))) + 1)
    made.count(labels.astype(np.int64), truth)
    return made


def masks_from_json(data: Mapping[str, Any]) -> Masks:
    """Read what Masks.to_json returned."""
    both, either, truths = (np.array(data[n], np.int64) for n in ("both", "either", "truths"))
    made = Masks(len(truths) - 1)
    made.both, made.either, made.truths = both, either, truths
    return made


def mask_name(name: str) -> str:
    """Return what the mask of a picture is called in the folder of masks."""
    return Path(name).with_suffix(".png").as_posix()


def read_mask(
    folder: Path, picture: tuple[Path, str], crop: Crop, size: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the mask of a picture as its input shows it, (height, width) of class numbers.

    ``picture`` is the folder and the name in it. A mask is a .png of the same name whose pixels are classes, of the
    picture's size or a multiple of it. Raises UsageError where it is not there.
    """
    data, name = picture
    path = folder / mask_name(name)
    refuse_no_file(path, after=": --truth DIR holds a .png mask for each picture")
    with open_picture(path) as image:
        if image.mode not in ("L", "P", "I", "1"):
            raise EdgeconvError(f"{path} is {image.mode}, not one class number a pixel")
        with open_picture(data / name) as shown:
            if not _alike(image.size, shown.size):
                raise EdgeconvError(
                    f"{path} is {image.width}x{image.height} and {data / name} {shown.width}x{shown.height}: no mask of it"
                )
        return crop_mask(image, size, crop)


def _alike(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether two (width, height) are of one shape but for a pixel, either way up: EXIF may turn a picture.

    >>> _alike((33, 22), (100, 66)), _alike((20, 32), (32, 32))
    (True, False)
    """
    off = min(abs(mask[0] * side - mask[1] * other) for side, other in (picture[::-1], picture))
    return off <= max(*mask, *picture)
