"""Which pictures two runs have in common: a slow runtime's run may hold some of them."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.judge.outputs import Outputs

Array = NDArray[Any]


def common(*runs: Outputs) -> tuple[NDArray[np.intp], list[dict[str, Array]]]:
    """Return the pictures that every run holds, and each run's outputs (pictures, ...) on them.

    Raises EdgeconvError where a run does not say which pictures its rows are of.
    """
    held = [run.rows for run in runs]
    shared = reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), held)
    return shared, [_taken(run, rows, shared) for run, rows in zip(runs, held, strict=True)]


@dataclass(frozen=True)
class Pair:
    """The first output of two runs, (pictures, values), on the ``pictures`` that both hold."""

    pictures: NDArray[np.intp]
    wanted: Array
    got: Array

    def of(self, picture: int) -> tuple[Array, Array] | None:
        """Return both rows of a picture, None where one run has it not."""
        place = int(np.searchsorted(self.pictures, picture))
        if place == len(self.pictures) or self.pictures[place] != picture:
            return None
        return self.wanted[place], self.got[place]


def pair_of(reference: Outputs, other: Outputs) -> Pair:
    """Return the first output of both, without leading classes that only ``other`` has."""
    pictures, both = common(reference, other)
    a, b = (next(iter(side.values())).reshape(len(pictures), -1) for side in both)
    return Pair(pictures, a, b[:, b.shape[1] - a.shape[1] :])


def _taken(run: Outputs, rows: NDArray[np.intp], shared: NDArray[np.intp]) -> dict[str, Array]:
    if np.array_equal(rows, shared):
        return {name: array[: len(rows)] for name, array in run.arrays.items()}
    order = np.argsort(rows)
    chosen = order[np.searchsorted(rows, shared, sorter=order)]
    return {name: array[chosen] for name, array in run.arrays.items()}
