"""Arrays from .npy and .npz files that a user names."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz by name, that of an .npy as ""; each with at least one axis.

    Raises EdgeconvError naming the file where it cannot be read or holds no rows of numbers.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # numpy's, about files of Python 2
            loaded: Any = np.load(file, allow_pickle=False)
            arrays.update({"": loaded} if isinstance(loaded, np.ndarray) else loaded)
    except Exception as error:  # zip, zlib, tokenizer and numpy errors share no base class
        raise EdgeconvError(f"{path} is not a readable {path.suffix} file: {error}") from error
    for name, array in arrays.items():
        if array.ndim == 0 or array.dtype.kind not in "biuf":
            raise EdgeconvError(f"{path}: {name or 'the array'} holds no samples of numbers")
    return arrays
