"""What the pages' templates draw: bars, and which classes are taken for which."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

CONFUSED = 12
"""Pairs of classes that are shown."""


@dataclass(frozen=True)
class Bar:
    """A named bar: its length and its interval as shares of the widest, and the figure in words."""

    name: str
    share: float
    said: str
    interval: tuple[float, float] | None = None
    colour: int = 0


def scaled(named: Sequence[tuple[str, float, str]]) -> list[Bar]:
    """Return bars of positive values, the largest one full.

    >>> [bar.share for bar in scaled([("a", 4.0, "4 ms"), ("b", 1.0, "1 ms")])]
    [1.0, 0.25]
    """
    most = max((value for _, value, _ in named), default=0.0) or 1.0
    return [Bar(name, value / most, said) for name, value, said in named]


def confused(
    truth: NDArray[Any], found: NDArray[Any], called: Callable[[int], str]
) -> list[tuple[str, str, int, int]]:
    """Return (class shown, class taken for, pictures, pictures of the class), the commonest first.

    ``truth`` and ``found`` are class indices; a negative truth is unknown.
    """
    totals = Counter(truth.tolist())
    wrong = Counter(
        (shown, taken)
        for shown, taken in zip(truth.tolist(), found.tolist(), strict=True)
        if shown >= 0 and shown != taken
    )
    return [
        (called(shown), called(taken), count, totals[shown])
        for (shown, taken), count in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    ][:CONFUSED]
