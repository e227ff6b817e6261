"""Inputs that the user fixes (``--freeze-input``): what was given as values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.arrays import read_arrays
from edgeconv.errors import UsageError
from edgeconv.foreign import refuse_no_file

Array = NDArray[Any]
WORDS = {"true": True, "false": False}


def frozen_value(
    name: str, given: Any, shape: Sequence[int | None] | None, dtype: "np.dtype[Any] | None"
) -> Array:
    """Return the constant of input ``name``: ``given`` as ``dtype`` (None: its own) in ``shape``.

    A single number fills the shape, whose sizes may be None; None leaves even the rank open.
    ``given`` is a number, a nest of them, or a text: numbers between commas, true, false, or an .npy
    file. Raises UsageError where it does not fit.
    """
    value = np.asarray(_read(name, given) if isinstance(given, str) else given)
    if value.dtype.kind not in "biuf":
        raise UsageError(f"--freeze-input {name}: {given!r} is no number")
    if dtype is None:
        dtype = np.dtype(np.float32) if value.dtype == np.float64 and value.ndim else value.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        made = value.astype(dtype)
    exact = np.allclose(made, value) if dtype.kind == "f" else np.array_equal(made, value)
    if not exact:
        raise UsageError(f"--freeze-input {name}: {given} is no {dtype}")
    if shape is None:
        return made
    sizes = [size for size in shape if size is not None]
    if len(sizes) == len(shape) and made.size == 1:
        return np.full(sizes, made.reshape(-1)[0])
    if len(sizes) == len(shape) and made.ndim == 1 and made.size == np.prod(sizes):
        return made.reshape(sizes)
    fits = made.ndim == len(shape) and all(
        size in (None, got) for size, got in zip(shape, made.shape, strict=True)
    )
    if not fits:
        said = ", ".join("?" if size is None else str(size) for size in shape)
        raise UsageError(
            f"--freeze-input {name}: the input is [{said}], {list(made.shape)} was given"
            + (f"; --input-shape {name}= settles its size" if None in shape else "")
        )
    return made


def _read(name: str, text: str) -> Any:
    if text.endswith(".npy"):
        refuse_no_file(Path(text), before=f"--freeze-input {name}: ")
        return next(iter(read_arrays(Path(text), rows=False).values()))
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [WORDS[p.lower()] if p.lower() in WORDS else _number(p) for p in parts]
    except ValueError:
        raise UsageError(
            f"--freeze-input {name}: {text!r} is no number, numbers between commas, true, false or FILE.npy"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def plain(value: Array) -> Any:
    """Return a constant as JSON data: one number where it holds no other."""
    one = value.size and (value == value.reshape(-1)[0]).all()
    return value.reshape(-1)[0].item() if one else value.tolist()


def told(frozen: Mapping[str, Any]) -> list[str]:
    """Say which inputs are constants now, and of what."""
    arrays = {name: np.asarray(value) for name, value in frozen.items()}
    return [
        f"input {name} became the constant "
        + (str(value.item()) if value.size == 1 else f"{value.dtype} {list(value.shape)}")
        for name, value in arrays.items()
    ]
