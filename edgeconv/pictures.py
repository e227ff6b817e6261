"""Pictures from disk, turned into what a model's picture input takes."""

import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.arrays import inflate_limit
from edgeconv.artifact import Crop, Preprocessing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import open_file

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"})


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture as (H, W, 3) RGB uint8, turned as its EXIF orientation says.

    Transparency is dropped; 16-bit grey keeps its upper 8 bits. Raises EdgeconvError naming the
    file where it is missing or no readable picture, or where its numbers have no known range.
    """
    with open_picture(path) as opened:
        upright = _upright(opened)
        sixteen = upright.mode.startswith("I;16")
        if upright.mode in ("I", "F"):
            sixteen = opened.format == "PNG"  # it has no wider grey; Pillow before 11 says I
            if not sixteen:
                raise EdgeconvError(
                    f"{path} holds numbers of 32 bits, whose black and white nothing says: "
                    "save it with 8 or 16 bits a channel"
                )
        if sixteen:  # Pillow's own conversion saturates at 255
            grey = (np.asarray(upright) >> 8).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.asarray(upright.convert("RGB"), np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) that a picture's file says, without its pixels and as it lies there."""
    with open_picture(path) as opened:
        wide, high = opened.size
        return int(wide), int(high)


def _upright(opened: Any) -> Any:
    """Return the picture turned as its EXIF orientation says; an EXIF that cannot be read says nothing."""
    opened.load()  # what is wrong with its pixels is told from here
    turned = require("PIL.ImageOps", "images").exif_transpose
    try:
        return turned(opened)
    except Exception:  # Pillow reads all of it, with errors of many kinds
        return opened


class _Quiet:
    """A context that ignores what Pillow warns of, which is metadata that is not read here.

    Any number of threads may be inside: the filters, which all threads share, change as the first enters
    and the last leaves.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\b")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


quiet_pillow = _Quiet()
"""Around all that reads pictures on another thread, so that other filters come and go inside it."""


@contextmanager
def open_picture(path: Path) -> Iterator[Any]:
    """Yield a picture as Pillow opens it; what fails inside is an EdgeconvError that names the file."""
    image_module = require("PIL.Image", "images")
    image_module.MAX_IMAGE_PIXELS = None  # _check_pixels is stricter, and has an option
    try:
        with quiet_pillow, open_file(path) as file:
            opened = image_module.open(file)
            _check_pixels(path, opened.size)
            yield opened
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except (EdgeconvError, MemoryError):
        raise
    except Exception as error:  # every decoder has errors of its own
        reason = _unidentified(path) if "identify" in str(error) else error
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise EdgeconvError(f"{path} is not a readable picture: {reason}") from error


BEGINNINGS = {
    b"\x89PNG\r\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"RIFF": "WebP", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"BM": "BMP",
}  # fmt: skip
"""The first bytes of a file -> its format."""


def _unidentified(path: Path) -> str:
    """Say why Pillow takes a file for none of its formats: damage before the pixels is no reason to it."""
    with open_file(path) as file:
        begins = file.read(8)
    kind = next((name for first, name in BEGINNINGS.items() if begins.startswith(first)), None)
    return f"it begins as {kind} and is damaged" if kind else "its format is not known"


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    """Raise EdgeconvError where a picture's pixels would fill the memory: its own size is foreign data."""
    grown = 3 * size[0] * size[1]
    if grown > inflate_limit():
        raise EdgeconvError(
            f"{path} has {size[0]}x{size[1]} pixels, {grown >> 20} MiB: "
            f"--max-inflate {-(-grown // (1 << 20))} reads it all the same"
        )


def resize_and_crop(
    picture: NDArray[np.uint8], size: tuple[int, int], crop: Crop, margin: int = 0
) -> NDArray[np.uint8]:
    """Return the centre crop (height, width) of ``size`` that is ``crop`` of the resized picture.

    (H, W, 3) uint8 to (height, width, 3) uint8; bilinear, antialiased when shrinking. A letterbox is
    the whole picture between bars of BARS. ``margin`` pixels more on each side are those around the
    crop, the picture's edge again where it ends.
    """
    image_module = require("PIL.Image", "images")
    image = image_module.fromarray(picture)
    place = _place((image.height, image.width), size, crop)
    if (place.wide, place.high) != image.size:
        image = image.resize((place.wide, place.high), image_module.Resampling.BILINEAR)
    framed = np.asarray(_framed(image, place, size, (BARS,) * 3), np.uint8)
    if not margin:
        return framed
    whole, top, left = framed, 0, 0
    if not isinstance(crop, str):
        whole, top, left = np.asarray(image, np.uint8), place.top, place.left
    rows = np.arange(top - margin, top + size[0] + margin).clip(0, len(whole) - 1)
    columns = np.arange(left - margin, left + size[1] + margin).clip(0, whole.shape[1] - 1)
    made: NDArray[np.uint8] = whole[rows][:, columns]
    return made


BARS = 114
"""Grey of a letterbox's bars, by the custom of YOLO's trainings."""


@dataclass(frozen=True)
class _Place:
    """Height and width of the resized picture, and where in it the input begins: negative before it."""

    high: int
    wide: int
    top: int
    left: int


def _place(given: tuple[int, int], size: tuple[int, int], crop: Crop) -> _Place:
    """Return where a picture of (height, width) lies in the input of ``size``."""
    if isinstance(crop, str):
        factor = min(size[0] / given[0], size[1] / given[1])
        high, wide = max(1, round(given[0] * factor)), max(1, round(given[1] * factor))
    else:
        factor = max(size[0] / crop / given[0], size[1] / crop / given[1])
        high, wide = max(round(given[0] * factor), size[0]), max(round(given[1] * factor), size[1])
    return _Place(high, wide, (high - size[0]) // 2, (wide - size[1]) // 2)


def _framed(image: Any, place: _Place, size: tuple[int, int], bars: Any) -> Any:
    """Return the input's frame of a resized Pillow image, ``bars`` where the image does not reach."""
    framed = require("PIL.Image", "images").new(image.mode, size[::-1], bars)
    framed.paste(image, (-place.left, -place.top))
    return framed


UNLABELLED = 255
"""The value of a mask's pixels that belong to no class, by the custom of labelled masks."""


def crop_mask(mask: Any, size: tuple[int, int], crop: Crop) -> NDArray[np.int64]:
    """Return a mask (a Pillow image) resized and cropped like its picture, no two classes mixed.

    A letterbox's bars are UNLABELLED.
    """
    image_module = require("PIL.Image", "images")
    place = _place((mask.height, mask.width), size, crop)
    numbers = image_module.fromarray(np.asarray(mask).astype(np.int32))
    moved = numbers.resize((place.wide, place.high), image_module.Resampling.NEAREST)
    return np.asarray(_framed(moved, place, size, UNLABELLED), np.int64)


def placed_box(
    box: Sequence[float], given: tuple[int, int], how: Preprocessing
) -> tuple[tuple[float, float, float, float], float]:
    """Return corners x1, y1, x2, y2 in a picture of (height, width) as the model's input shows them.

    And the share of the box's area that the crop leaves to be seen.
    """
    place = _place(given, how.size, how.crop)
    across, down = place.wide / given[1], place.high / given[0]
    x1, x2 = (x * across - place.left for x in box[0::2])
    y1, y2 = (y * down - place.top for y in box[1::2])
    seen_x1, seen_x2 = (min(max(x, 0.0), float(how.size[1])) for x in (x1, x2))
    seen_y1, seen_y2 = (min(max(y, 0.0), float(how.size[0])) for y in (y1, y2))
    whole = (x2 - x1) * (y2 - y1)
    share = (seen_x2 - seen_x1) * (seen_y2 - seen_y1) / whole if whole > 0 else 0.0
    return (seen_x1, seen_y1, seen_x2, seen_y2), share


def picture_boxes(boxes: NDArray[Any], given: tuple[int, int], how: Preprocessing) -> NDArray[Any]:
    """Return boxes (n, 4) of the model's input in the pixels of its picture of (height, width)."""
    place = _place(given, how.size, how.crop)
    moved = boxes + np.array([place.left, place.top] * 2)
    scaled = moved * np.array([given[1] / place.wide, given[0] / place.high] * 2)
    found: NDArray[Any] = np.clip(scaled, 0.0, np.array([given[1], given[0]] * 2, np.float64))
    return found


def to_input(pixels: NDArray[np.uint8], how: Preprocessing, channels: int) -> NDArray[np.float32]:
    """Turn (H, W, 3) pixels into (1, channels, H, W) float32 as ``how`` says.

    One channel takes ITU-R 601 luma, as Pillow does. Embedded preprocessing keeps 0..255.
    """
    if not {len(how.mean), len(how.std)} <= {1, channels}:
        raise UsageError(f"--mean and --std take one value, or {channels} for this model")
    planes = pixels.astype(np.float32).transpose(2, 0, 1)
    if channels == 3 and how.order == "bgr":
        planes = planes[::-1]
    if channels == 1:
        planes = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), planes, 1)[None]
        planes = np.rint(planes)
    if not how.embedded:
        mean = np.asarray(how.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(how.std, np.float32).reshape(-1, 1, 1)
        planes = (planes / np.float32(255.0) - mean) / std
    return np.ascontiguousarray(planes[None], np.float32)


def find_pictures(folder: Path) -> list[Path]:
    """Return every picture below ``folder``, sorted; raises UsageError where there is none."""
    return [folder / name for name in picture_names(folder)]


def picture_names(folder: Path) -> list[str]:
    """Return the path of every picture relative to ``folder``, with slashes, in the order of sorted paths.

    Raises UsageError where there is none.
    """
    if not folder.is_dir():
        what = "is not a folder of pictures" if folder.exists() else "does not exist"
        raise UsageError(f"{folder} {what}")
    found = list(names_below(folder, SUFFIXES))
    if not found:
        known = " ".join(sorted(SUFFIXES))
        raise UsageError(f"{folder} holds no picture ({known})")
    return found


def names_below(
    folder: Path, suffixes: Collection[str], before: str = "", above: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield every file below ``folder`` whose suffix is one of ``suffixes``, linked folders followed.

    ``before`` begins the names; of the real folders ``above`` none is entered again.
    """
    try:
        real = os.path.realpath(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        return
    for entry in entries:
        if os.path.isdir(entry):  # entry.is_dir() raises where links go round
            if not entry.is_symlink() or os.path.realpath(entry) not in (*above, real):
                inner = f"{before}{entry.name}/"
                yield from names_below(folder / entry.name, suffixes, inner, (*above, real))
        elif os.path.splitext(entry.name)[1].lower() in suffixes and os.path.isfile(entry):
            yield before + entry.name
