"""A cell of a sweep as it is judged: figures with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeconv.metrics import wilson_interval


@dataclass(frozen=True)
class Point:
    """One cell as it is judged. ``correct`` says for each picture whether it was right, None: not known.

    ``latency_ms`` is (low, estimate, high), None where the cell was not timed. ``arena`` in bytes. Cells of
    one ``function`` compute the same but for rounding; "": no other cell does.
    """

    label: str
    latency_ms: tuple[float, float, float] | None
    correct: NDArray[np.bool_] | None
    bytes: int
    arena: int | None = None
    function: str = ""

    def at(self, confidence: float) -> "Point":
        """Return the cell with the 95 % interval of its latency stretched to ``confidence``."""
        if self.latency_ms is None:
            return self
        low, middle, high = self.latency_ms
        times = deviations(confidence) / deviations(0.95)
        return replace(
            self,
            latency_ms=(middle - times * (middle - low), middle, middle + times * (high - middle)),
        )

    @property
    def accuracy(self) -> float | None:
        """The share that was right."""
        return None if self.correct is None else float(self.correct.mean())

    def accuracy_interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Wilson's interval of ``accuracy``."""
        if self.correct is None:
            return None
        return wilson_interval(int(self.correct.sum()), len(self.correct), confidence)


def share_right(correct: Sequence[bool] | None) -> tuple[float, float, float] | None:
    """Return (low, estimate, high) of the share that was right, by Wilson's 95 % interval; None: not known.

    >>> [round(value, 2) for value in share_right([True, False])]
    [0.09, 0.5, 0.91]
    """
    if correct is None:
        return None
    low, high = wilson_interval(sum(correct), len(correct))
    return low, sum(correct) / len(correct), high


def deviations(confidence: float) -> float:
    """How many standard deviations a two-sided interval of ``confidence`` reaches to each side."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)
