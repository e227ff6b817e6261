"""Successive halving: a cell that surely cannot be the answer is measured no further.

One rule for the command and for its simulation: only where the measurements come from differs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.choose import lost
from edgeconv.sweep.draws import Left, outlook
from edgeconv.sweep.point import Point

WHOLE = (1.0,)
"""Everything is measured whole."""

HALVING = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
"""Of --adaptive: which share of all pictures is seen at the end of each rung."""

BRIEF = 1 / 8
"""Of --adaptive: for which share of the seconds each cell is timed in the first rung.

It is timed whole, anew, as soon as that leaves open whether a cell that may be the answer keeps the budget: until then
neither it nor those that are the answer without it can go.
"""

OPEN = 0.02
"""A cell may be the answer, or keep or miss the budget, where it does in more than this share of draws."""

RISK = 0.005
"""In which share of draws the answer may be dropped, in all rungs together.

Each rung may spend as much of it as it sees of the pictures, and what is left (Lan and DeMets 1983, Biometrika 70:659). Of
nets that are nearly equal the one that leads so far does so by chance too, and draws from what was seen believe its lead,
early ones most.
"""

ALL = 0.999
"""Confidence of each comparison that drops a cell where all that are worth shipping are the answer."""

MeasureCells = Callable[[Sequence[int], float, Mapping[int, float]], Sequence[Point | None]]
"""Measures the cells at these places as far as a rung; None for one that cannot be judged.

The mapping says for which share of the seconds each of them is timed by then; where that is as before, its timing stands.
"""


def narrow(
    count: int, pictures: int, budgets: Budgets, rungs: Sequence[float], measure: MeasureCells
) -> list[int]:
    """Measure ``count`` cells rung by rung; return the places of those that were measured to the end.

    ``pictures``: how many there are in all.
    """
    live, spent = list(range(count)), 0.0
    timed = dict.fromkeys(live, BRIEF)
    for rung in rungs:
        if rung == rungs[-1]:
            measure(live, rung, dict.fromkeys(live, 1.0))
            break
        points = measure(live, rung, {place: timed[place] for place in live})
        known = [(place, point) for place, point in zip(live, points, strict=True) if point]
        places, seen = [place for place, _ in known], [point for _, point in known]
        if budgets and seen:
            shares = np.array([timed[place] for place in places])
            ahead = outlook(seen, budgets, Left(pictures, shares))
            gone, lost_now = unlikely(ahead.answer, RISK * rung - spent)
            spent += lost_now
            doubt = np.minimum(ahead.answer, np.minimum(ahead.in_time, 1 - ahead.in_time)) > OPEN
            timed |= {place: 1.0 for place, is_open in zip(places, doubt, strict=True) if is_open}
        else:
            gone = lost(seen, ALL)
        live = [place for place, is_gone in zip(places, gone, strict=True) if not is_gone]
    return live


def unlikely(answer: NDArray[np.floating[Any]], risk: float) -> tuple[list[bool], float]:
    """Return which cells may go, those least likely to be the answer, and how likely one of them is it.

    That stays below ``risk``. ``answer`` (cells,) says how likely each is.
    """
    order = np.argsort(answer, kind="stable")
    summed = np.cumsum(answer[order])
    gone = np.zeros(len(answer), bool)
    gone[order[summed < risk]] = True
    return gone.tolist(), float(answer[gone].sum())
