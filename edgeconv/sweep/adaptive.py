"""Successive halving: a cell that surely cannot be the answer is measured no further.

One rule for the command and for its simulation: only where the measurements come from differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.choose import lost
from edgeconv.sweep.point import Point


@dataclass(frozen=True)
class Rung:
    """How far cells are measured: the share of all pictures seen at its end, of the seconds timed anew in it.

    ``seconds`` 0: what was timed before stands.
    """

    pictures: float
    seconds: float


WHOLE = (Rung(1.0, 1.0),)
"""Everything is measured whole."""

HALVING = (
    Rung(1 / 32, 1 / 8),
    *(Rung(share, 0.0) for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)),
    Rung(1.0, 1.0),
)
"""Of --adaptive: what is surely too slow goes first, for that takes the least to see."""

ONE, ALL = 0.99, 0.999
"""Confidence of each comparison that drops a cell: where one cell is the answer, where all that are worth shipping are."""

MeasureCells = Callable[[Sequence[int], Rung], Sequence[Point | None]]
"""Measures the cells at these places as far as a rung; None for one that cannot be judged."""


def narrow(
    count: int, pictures: int, budgets: Budgets, rungs: Sequence[Rung], measure: MeasureCells
) -> list[int]:
    """Measure ``count`` cells rung by rung; return the places of those that were measured to the end.

    ``pictures``: how many there are in all.
    """
    live, confidence = list(range(count)), ONE if budgets else ALL
    for rung in rungs:
        points = measure(live, rung)
        if rung is rungs[-1]:
            break
        known = [(place, point) for place, point in zip(live, points, strict=True) if point]
        gone = lost([point for _, point in known], budgets, confidence, pictures)
        live = [place for (place, _), is_lost in zip(known, gone, strict=True) if not is_lost]
    return live
