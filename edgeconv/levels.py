"""Pictures as a model takes them, in a byte a value: the 256 levels of a channel, and which it is."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def pack(values: Floats, levels: Floats) -> NDArray[np.uint8] | None:
    """Return the level of each of ``values``, (pictures, channels, ...), or None where one is none.

    ``levels`` is (channels, 256), rising; unpacking gives every bit back.
    """
    packed = np.empty(values.shape, np.uint8)
    for channel, table in enumerate(levels):
        step = (table[-1] - table[0]) / 255
        near = np.clip(np.rint((values[:, channel] - table[0]) / step), 0, 255).astype(np.uint8)
        if not np.array_equal(table[near], values[:, channel]):
            return None
        packed[:, channel] = near
    return packed


def unpack(packed: NDArray[np.uint8], levels: Floats) -> Floats:
    """Return the values that ``pack`` was given.

    >>> levels = np.linspace(-1, 1, 256, dtype=np.float32)[None]
    >>> values = levels[:, [0, 7, 255]][None]
    >>> bool((unpack(pack(values, levels), levels) == values).all())
    True
    """
    values = np.empty(packed.shape, np.float32)
    for channel, table in enumerate(levels):
        values[:, channel] = table[packed[:, channel]]
    return values
