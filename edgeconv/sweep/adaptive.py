"""Successive halving: a cell that surely cannot be the answer is measured no further.

One rule for the command and for its simulation: only where the measurements come from differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.choose import lost
from edgeconv.sweep.draws import Left, chances
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

RISK = 0.0025
"""In which share of draws the answer may be dropped, in all rungs together; each may spend an equal part and what is left.

Of nets that are nearly equal the one that leads so far does so by chance too, and draws from what was seen believe its lead:
they lose the answer some four times as often as they say.
"""

ALL = 0.999
"""Confidence of each comparison that drops a cell where all that are worth shipping are the answer."""

MeasureCells = Callable[[Sequence[int], Rung], Sequence[Point | None]]
"""Measures the cells at these places as far as a rung; None for one that cannot be judged."""


def narrow(
    count: int, pictures: int, budgets: Budgets, rungs: Sequence[Rung], measure: MeasureCells
) -> list[int]:
    """Measure ``count`` cells rung by rung; return the places of those that were measured to the end.

    ``pictures``: how many there are in all.
    """
    live, left, timed = list(range(count)), 0.0, 1.0
    for rung in rungs:
        points = measure(live, rung)
        if rung is rungs[-1]:
            break
        known = [(place, point) for place, point in zip(live, points, strict=True) if point]
        places, seen = [place for place, _ in known], [point for _, point in known]
        timed = rung.seconds or timed
        left += RISK / (len(rungs) - 1)
        if budgets:
            gone, spent = unlikely(seen, budgets, Left(pictures, timed), left)
            left -= spent
        else:
            gone = lost(seen, ALL)
        live = [place for place, is_gone in zip(places, gone, strict=True) if not is_gone]
    return live


def unlikely(
    points: Sequence[Point], budgets: Budgets, left: Left, risk: float
) -> tuple[list[bool], float]:
    """Return which cells may go, those least likely to be the answer, and how likely one of them is it.

    That stays below ``risk``.
    """
    if not points:
        return [], 0.0
    found = chances(points, budgets, left)
    order = np.argsort(found, kind="stable")
    summed = np.cumsum(found[order])
    gone = np.zeros(len(points), bool)
    gone[order[summed < risk]] = True
    return gone.tolist(), float(found[gone].sum())
