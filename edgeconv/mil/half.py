"""Round float32 to the nearest half-precision number, without numpy's slow conversions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLOCK = 1 << 15
"""Elements at once, so that all passes over them stay in the second-level cache."""
OVERFLOW = 65520.0
"""The least magnitude that rounds to infinity."""
EXPONENT, LEAST = 0x7F800000, 113 << 23
"""Bits of a float32's exponent; those of 2^-14, below which half-precision steps stay 2^-24."""
UP = (13 << 23) | (1 << 22)
"""Added to the bits of 2^e it makes 1.5 * 2^(e + 13), whose float32 step is half precision's at 2^e."""


def round_to_half(x: Array) -> Array:
    """Return float32 values rounded to IEEE binary16, half to even; only -0.0 may become 0.0.

    Adding and subtracting a number with the wanted step rounds to that step. Three to twenty times
    as fast as ``x.astype(float16).astype(float32)``, which is slowest on zeros and tiny numbers.

    >>> round_to_half(np.array([1.0004, 65519.0, 65520.0, 3e-8], np.float32)).tolist()
    [1.0, 65504.0, inf, 5.960464477539063e-08]
    """
    x = np.ascontiguousarray(x).reshape(x.shape)  # numpy gives a scalar an axis
    made = np.empty_like(x)
    source, target = x.reshape(-1), made.reshape(-1)
    room = np.empty(min(BLOCK, source.size), np.uint32)
    for start in range(0, source.size, BLOCK):
        here, there = source[start : start + BLOCK], target[start : start + BLOCK]
        if not (here.min() > -OVERFLOW and here.max() < OVERFLOW):  # infinities, NaN too
            with np.errstate(over="ignore", invalid="ignore"):
                there[:] = here.astype(np.float16)
            continue
        bits = room[: here.size]
        np.bitwise_and(here.view(np.uint32), EXPONENT, out=bits)
        np.maximum(bits, LEAST, out=bits)
        np.add(bits, UP, out=bits)
        large = bits.view(np.float32)
        np.add(here, large, out=there)
        np.subtract(there, large, out=there)
    return made
