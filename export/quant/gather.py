"""What is kept of one tensor of the float net, chunk after chunk of pictures."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError

Floats = NDArray[np.float32]

SAMPLES = 100_000
"""Values kept of each tensor to choose its range by, over all pictures that are gathered whole."""
MOST_EXTREMES = 128
"""Rows of extremes kept of each tensor; even, so that rows of one parity are half of the pictures."""


@dataclass
class TensorStats:
    """What one tensor did, in real values.

    ``low`` and ``high`` are (rows, channels) extremes: a row is one picture, of more than
    MOST_EXTREMES every MOST_EXTREMES-th together; ``sample`` is (pictures gathered whole, k) values
    taken at the same k flat ``places`` of each picture, ``channel`` (k,) the channel of each. A
    tensor's channels are its second axis.
    """

    low: Floats
    high: Floats
    sample: Floats
    channel: NDArray[np.int64]
    places: NDArray[np.int64]


class Gatherer:
    """Summarises one tensor over chunks."""

    def __init__(
        self,
        tensor: str,
        shape: tuple[int, ...],
        count: int,
        counts: Collection[int],
        rows: int,
    ) -> None:
        self.tensor, self.shape = tensor, shape
        self.taken = 0
        size = int(np.prod(shape))
        self.channels = shape[1] if len(shape) > 1 else 1
        self.batch = shape[0] if len(shape) > 1 else 1
        shift = np.random.default_rng(size).random(min(size, count))
        places = ((np.arange(len(shift)) + shift) * (size / len(shift))).astype(np.int64)
        self.places = np.arange(size) if size <= count else np.minimum(places, size - 1)
        self.counts = sorted(counts)
        self.total = np.zeros(size if self.counts else 0, np.float32)
        self.totals: dict[int, Floats] = {}
        self.low = np.full((rows, self.channels), np.inf, np.float32)
        self.high = np.full((rows, self.channels), -np.inf, np.float32)
        self.samples: list[Floats] = []

    def take(self, values: Floats) -> None:
        """Add a chunk (n, ...)."""
        n = len(values)
        flat = values.reshape(n, -1)
        self._take_extremes(values)
        self.samples.append(flat.take(self.places, axis=1))
        for start, stop in self._parts(n):
            for row in flat[start:stop]:  # a product would write a vector of its own first
                self.total += row
            if self.taken + stop in self.counts:
                self.totals[self.taken + stop] = self.total.reshape(self.shape).copy()
        self.taken += n

    def take_extremes(self, values: Floats) -> None:
        """Add to the extremes alone: a chunk, or the highest values of its channels."""
        self._take_extremes(values)
        self.taken += len(values)

    def _take_extremes(self, values: Floats) -> None:
        n = len(values)
        rows = values.reshape(n, self.batch, self.channels, -1)
        low, high = rows.min(axis=(1, 3)), rows.max(axis=(1, 3))
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise EdgeconvError(
                f"the float net makes a value that is not finite in {self.tensor}: check the "
                "weights and the pictures"
            )
        places = np.arange(self.taken, self.taken + n) % len(self.low)
        self.low[places] = np.minimum(self.low[places], low)
        self.high[places] = np.maximum(self.high[places], high)

    def _parts(self, n: int) -> Iterator[tuple[int, int]]:
        """Cut a chunk of ``n`` where a sum is due; nothing comes after the last."""
        ends = [count - self.taken for count in self.counts if count > self.taken]
        start = 0
        for end in ends:
            if start < min(end, n):
                yield start, min(end, n)
            start = end

    def stats(self) -> TensorStats:
        """Join what the chunks left."""
        plane = max(1, int(np.prod(self.shape[2:])))
        channel = self.places // plane % self.channels
        sample = np.concatenate(self.samples)
        return TensorStats(self.low, self.high, sample, channel, self.places)
