"""What every metric asks of its two arrays: finite, not empty, of one shape, read in pieces."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError

Reals = NDArray[Any]
PIECE = 1 << 18
"""Elements that are widened to float64 at a time."""


def check_finite(name: str, values: Reals) -> None:
    """Raise EdgeconvError naming the output ``name`` where it holds NaN or infinity."""
    if values.dtype.kind != "f":
        return
    flat = values.reshape(-1)
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        if not np.isfinite(piece).all():
            place = start + int(np.argmin(np.isfinite(piece)))
            row = place // (flat.size // len(values)) if values.ndim else 0
            what = "NaN" if np.isnan(flat[place]) else "infinity"
            raise EdgeconvError(f"output {name} holds {what}, first in row {row}")


def check_pair(name: str, reference: Reals, other: Reals) -> None:
    """Raise EdgeconvError naming the output unless both are finite, not empty and of one shape."""
    if reference.shape != other.shape:
        raise EdgeconvError(
            f"output {name} is {list(other.shape)} here and {list(reference.shape)} in the reference"
        )
    if reference.size == 0:
        raise EdgeconvError(f"output {name} is empty: there is nothing to compare")
    check_finite(f"{name} of the reference", reference)
    check_finite(name, other)


def pieces(reference: Reals, other: Reals) -> Iterator[tuple[Reals, Reals]]:
    """Yield both arrays, flat, in float64, PIECE elements at a time."""
    a, b = reference.reshape(-1), other.reshape(-1)
    for start in range(0, a.size, PIECE):
        stop = start + PIECE
        yield a[start:stop].astype(np.float64), b[start:stop].astype(np.float64)
