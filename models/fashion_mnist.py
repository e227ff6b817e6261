"""Fashion-MNIST (Zalando Research, MIT licence), as Debian's dataset-fashion-mnist installs it."""

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
LABELS = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
Pictures = npt.NDArray[np.uint8]


def load(split: str, folder: Path = FOLDER) -> tuple[Pictures, Pictures]:
    """Return pictures (N, 28, 28) and labels (N,) of ``split``, train (60,000) or t10k (10,000).

    Raises EdgeconvError where a file is missing or is not an IDX file.
    """
    return (
        _read_idx(folder / f"{split}-images-idx3-ubyte.gz"),
        _read_idx(folder / f"{split}-labels-idx1-ubyte.gz"),
    )


def resize(pictures: Pictures, size: int) -> Pictures:
    """Resize (N, H, W) grey pictures to (N, size, size) by Pillow's bilinear filter."""
    image = require("PIL.Image", "images")
    result = np.empty((len(pictures), size, size), np.uint8)
    for index, picture in enumerate(pictures):
        result[index] = image.fromarray(picture).resize((size, size), image.Resampling.BILINEAR)
    return result


def _read_idx(path: Path) -> Pictures:
    """Read a gzipped IDX file of unsigned bytes: magic 0x0000080R, R big-endian sizes, the data."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise EdgeconvError(
            f"no file {path}: install the Debian package dataset-fashion-mnist or name its folder"
        ) from error
    except (OSError, EOFError) as error:
        raise EdgeconvError(f"{path} is not a whole gzip file: {error}") from error
    rank = data[3] if len(data) > 4 and data[:3] == b"\0\0\x08" else 0
    shape = struct.unpack_from(f">{rank}I", data, 4) if len(data) >= 4 + 4 * rank else ()
    body = np.frombuffer(data, np.uint8, offset=min(len(data), 4 + 4 * rank))
    if not shape or body.size != int(np.prod(shape)):
        raise EdgeconvError(f"{path} is not an IDX file of unsigned bytes")
    return body.reshape(shape).copy()
