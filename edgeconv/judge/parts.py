"""The parts of an output that mixes quantities, such as boxes beside class scores.

One figure over all of it hides the part with the smaller range: each is judged by itself. An export
knows the parts from the Concat before the output; elsewhere the channels' own ranges show them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics

Array = NDArray[Any]
Cuts = Mapping[str, Sequence[int]]
"""Output -> axis, and then where each part begins, the first at 0; as an export writes it."""

GAP = 8.0
"""Channels whose spreads differ by more than this, with nothing between, are other quantities."""
MOST_FIGURES = 16
"""Longer vectors are class scores, of which one may hardly move, or embeddings."""
MOST_CHANNELS = 4096
"""More are positions of a map, not channels."""
MOST_RUNS = 4
"""More runs than these are channels of one quantity that happen to differ."""


@dataclass(frozen=True)
class Part:
    """Channels ``start`` to ``stop`` (exclusive) of an output along ``axis``."""

    axis: int
    start: int
    stop: int

    def of(self, array: Array) -> Array:
        """Return this part of an output, (samples, ...)."""
        cut: Array = np.moveaxis(
            np.moveaxis(array, self.axis, 0)[self.start : self.stop], 0, self.axis
        )
        return cut

    def __str__(self) -> str:
        if self.stop - self.start == 1:
            return f"channel {self.start}"
        return f"channels {self.start} to {self.stop - 1}"


def find_parts(name: str, reference: Array, cuts: Cuts | None) -> tuple[Part, ...]:
    """Return the parts of one output, none where it is of one piece.

    ``reference`` is (samples, ...); ``cuts`` are known from the graph.
    """
    axis, *begins = (cuts or {}).get(name, (0,))
    if 0 < axis < reference.ndim and len(begins) > 1:
        ends = [*begins[1:], reference.shape[axis]]
        found = [Part(axis, b, e) for b, e in zip(begins, ends, strict=True) if e > b]
        return tuple(found) if len(found) > 1 else ()
    return _by_range(reference)


def channel_axis(array: Array) -> int:
    """Return where an output (samples, ...) has its channels: boxes are more than their figures.

    >>> channel_axis(np.zeros((2, 8400, 84))), channel_axis(np.zeros((2, 16, 4, 4)))
    (2, 1)
    """
    if array.ndim == 3 and array.shape[2] < array.shape[1]:
        return 2
    return 1


def _few_figures(reference: Array) -> bool:
    """Whether a vector may hold figures of several kinds: a distance beside an angle, no probabilities."""
    few = reference.ndim == 2 and reference.shape[1] <= MOST_FIGURES
    return few and not (reference.min() >= 0.0 and reference.max() <= 1.0)


def _by_range(reference: Array) -> tuple[Part, ...]:
    if reference.ndim < 2 or (metrics.is_scores(reference) and not _few_figures(reference)):
        return ()
    axis = channel_axis(reference)
    channels = np.moveaxis(reference, axis, 0).reshape(reference.shape[axis], -1)
    if not 2 <= len(channels) <= MOST_CHANNELS:
        return ()
    spread = channels.std(axis=1, dtype=np.float64)
    moving = np.sort(spread[spread > 1e-6 * spread.max(initial=0.0)])
    if len(moving) < 2:
        return ()
    ratios = moving[1:] / moving[:-1]
    place = int(ratios.argmax())
    if ratios[place] < GAP:
        return ()
    wide = spread > np.sqrt(moving[place] * moving[place + 1])
    begins = [0, *(int(i) for i in np.flatnonzero(wide[1:] != wide[:-1]) + 1)]
    if len(begins) > MOST_RUNS:
        return ()
    ends = [*begins[1:], len(channels)]
    return tuple(Part(axis, begin, end) for begin, end in zip(begins, ends, strict=True))
