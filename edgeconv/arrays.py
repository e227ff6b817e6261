"""Arrays from .npy and .npz files that a user or another machine names."""

import os
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError, brief
from edgeconv.foreign import open_file

INFLATE_VARIABLE = "EDGECONV_MAX_INFLATE_MIB"
INFLATE_MIB = 256
BELIEVED = 50
"""An archive may grow that much whatever its size: arrays of one value compress further."""
MOST = 10_000
"""How many arrays an archive may hold: no model has so many borders, and each costs time."""


def inflate_limit() -> int:
    """Return the bytes that a small file may grow to in memory: --max-inflate, else 256 MiB."""
    given = os.environ.get(INFLATE_VARIABLE, "")
    return (int(given) if given.isdecimal() else INFLATE_MIB) << 20


def read_arrays(path: Path, *, rows: bool = True) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz by name, that of an .npy as "".

    With ``rows`` each has at least one axis and holds numbers. Raises EdgeconvError naming the file
    where it cannot be read, holds something else, or would grow beyond ``inflate_limit``.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with warnings.catch_warnings(), open_file(path) as file:
            warnings.simplefilter("ignore")  # numpy's, about files of Python 2
            _check_size(file, path)
            loaded: Any = np.load(file, allow_pickle=False)
            arrays.update({"": loaded} if isinstance(loaded, np.ndarray) else loaded)
    except (EdgeconvError, MemoryError):
        raise
    except OSError as error:
        raise EdgeconvError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # zip, zlib, tokenizer and numpy errors share no base class
        raise EdgeconvError(
            f"{path} is not a readable {path.suffix} file: {brief(error)}"
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # np.load hands over members that are no array
            raise EdgeconvError(f"{path}: {name} is no array")
        if rows and (array.ndim == 0 or array.dtype.kind not in "biuf"):
            raise EdgeconvError(f"{path}: {name or 'the array'} holds no samples of numbers")
    return arrays


def _check_size(file: BinaryIO, path: Path) -> None:
    """Raise EdgeconvError where the file says that it holds more than it can, or than is safe."""
    size = os.fstat(file.fileno()).st_size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MOST:
                raise EdgeconvError(f"{path} holds {len(members)} arrays, more than {MOST}")
            grown = sum(member.file_size for member in members)
            if grown > inflate_limit() and grown > BELIEVED * size:
                raise EdgeconvError(
                    f"{path} has {size / 1e6:.1f} MB and would grow to {grown / 1e6:.0f} MB: "
                    f"--max-inflate {-(-grown // (1 << 20))} reads it all the same"
                )
            for member in members:
                if member.filename.endswith(".npy"):
                    with archive.open(member) as inner:
                        _check_header(inner, member.file_size, f"{path}: {member.filename}")
    else:
        file.seek(0)
        _check_header(file, size, str(path))
    file.seek(0)


def _check_header(file: IO[bytes], size: int, what: str) -> None:
    """Raise EdgeconvError where the header of an .npy of ``size`` bytes says that it holds more."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError as error:
        raise EdgeconvError(f"{what} is damaged, cut short or holds no array") from error
    read = np.lib.format.read_array_header_1_0
    shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
    wanted, held = int(np.prod(shape, dtype=object)) * dtype.itemsize, size - file.tell()
    if wanted > held and not dtype.hasobject:
        raise EdgeconvError(f"{what} says that it holds {wanted} bytes of numbers and has {held}")
