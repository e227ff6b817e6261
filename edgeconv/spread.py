"""Which of many samples are taken where some are enough: the one rule, of every command and target.

Pictures lie sorted by class more often than not, so the first ones would be of one class.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


def places(total: int, count: int) -> list[int]:
    """Return the places of ``count`` of ``total`` samples, evenly spread; all where there are no more.

    >>> places(10, 3), places(2, 5)
    ([0, 3, 6], [0, 1])
    """
    count = min(count, total)
    return [index * total // count for index in range(count)]


def spread(samples: Sequence[Item], count: int) -> list[Item]:
    """Return ``count`` of ``samples``, evenly spread; all of them where there are fewer."""
    return [samples[place] for place in places(len(samples), count)]


def spread_rows(rows: int, size: int, count: int) -> NDArray[np.intp]:
    """Return which of ``rows`` belong to ``count`` spread feeds of ``size`` rows each.

    >>> spread_rows(12, 2, 3)
    array([0, 1, 4, 5, 8, 9])
    """
    starts = np.array(places(rows // size, count), np.intp) * size
    return (starts[:, None] + np.arange(size)).ravel()
