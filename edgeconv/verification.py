"""What an export keeps of its verification: pictures as the model takes them, and float outputs on them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.arrays import read_arrays
from edgeconv.errors import EdgeconvError
from edgeconv.levels import unpack

Arrays = dict[str, NDArray[Any]]

KINDS = {"input:": "biuf", "output:": "biuf", "margin:": "f", "names": "U", "truth": "iu"}
"""How the names of arrays begin that hold a row a picture -> the kinds of numpy's types they may have."""


def read_verification(path: Path) -> Arrays:
    """Return ``input:NAME`` and ``output:NAME``, pictures first, and ``names`` and ``truth`` where known.

    Inputs that are packed there are unpacked. Raises EdgeconvError naming the array that does not belong
    to the others, and where there are no inputs or no outputs.
    """
    found = read_arrays(path, rows=False)
    for name in [name for name in found if name.startswith("packed:")]:
        own = name.removeprefix("packed:")
        packed, levels = found.pop(name), found.pop(f"levels:{own}", None)
        if levels is None or packed.dtype != np.uint8 or levels.shape != (*packed.shape[1:2], 256):
            raise EdgeconvError(f"{path}: {name} and its levels do not belong to each other")
        found[f"input:{own}"] = unpack(packed, levels)
    rows = {name: array for name, array in found.items() if name.startswith(tuple(KINDS))}
    if not all(any(name.startswith(begin) for name in rows) for begin in ("input:", "output:")):
        raise EdgeconvError(f"{path} holds no verification pictures, or no outputs on them")
    for name, array in rows.items():
        kinds = next(kinds for begin, kinds in KINDS.items() if name.startswith(begin))
        if array.ndim == 0 or array.dtype.kind not in kinds:
            raise EdgeconvError(f"{path}: {name} holds nothing for a picture")
    if len({len(array) for array in rows.values()}) > 1:
        counts = ", ".join(f"{name} {len(array)}" for name, array in rows.items())
        raise EdgeconvError(f"{path} holds different numbers of pictures: {counts}")
    return rows
