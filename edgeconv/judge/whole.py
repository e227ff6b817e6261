"""What the graph decides of an output: labels, which are equal or not, amounts, which may be near, values kept or zero, signals."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Whole = Literal["labels", "amounts", "kept", "signal"]
WHOLES: tuple[Whole, ...] = get_args(Whole)
"""Whole numbers of two kinds; ``kept`` are real ones that a comparison of two computed numbers keeps or makes zero;
``signal`` are those of a map's or sound's places in a row."""

MANY = 32
"""Different values: fewer are more likely classes."""
NEAR = 0.05
"""Share of the values' spread that those which differ are apart: a label that turns goes anywhere."""


def whole_kind(reference: Array, other: Array, told: Whole | None = None) -> Whole | None:
    """Return what an output (samples, ...) holds, None where it is no whole numbers.

    ``told`` is what the graph shows. Without it the type decides, and the differences: labels are
    numbers in no order.

    >>> counts = np.arange(100).reshape(50, 2)
    >>> whole_kind(counts, counts + 1), whole_kind(counts, counts[::-1])
    ('amounts', 'labels')
    """
    if told in ("kept", "signal"):
        return None
    if told is not None or reference.dtype.kind not in "biu":
        return told
    apart = reference != other if reference.shape == other.shape else np.zeros(0, bool)
    if reference.dtype.kind == "b" or not apart.any() or len(np.unique(reference)) < MANY:
        return "labels"
    real = reference.astype(np.float64)
    beside = np.abs(real - other)[apart].mean()
    return "amounts" if beside <= NEAR * real.std(axis=0).mean() else "labels"
