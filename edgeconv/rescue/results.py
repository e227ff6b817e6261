"""What was tried and what it brought; which attempts are worth it, and which one to take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.judge.text import number
from edgeconv.rescue.attempts import Attempt

if TYPE_CHECKING:
    from edgeconv.judge.verdict import Verdict

ACCURACY = ("top1", "agreement_top1", "sqnr_centred_db", "sqnr_db")
"""Those of these that are known rank attempts: the task's own measure before noise."""


@dataclass
class Tried:
    """One attempt: ``figures`` of its worst place, whether its verdict ``held``, or the ``error``.

    ``float_share`` is the share of multiply-adds that stay in float, ``latency_ms`` a median and
    ``interval_ms`` its interval where the file could be timed.
    """

    attempt: Attempt
    seconds: float
    held: bool = False
    judged: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0
    float_share: float | None = None
    path: Path | None = None
    error: str | None = None
    latency_ms: float | None = None
    interval_ms: tuple[float, float] | None = None

    @property
    def ran(self) -> bool:
        """Whether there is a file."""
        return self.error is None

    @property
    def missed(self) -> bool:
        """Whether there is a file whose verdict was missed; ``judged`` says by what."""
        return self.ran and not self.held

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "flags": list(self.attempt.flags),
            "why": self.attempt.why,
            "seconds": round(self.seconds, 1),
            "ok": self.held,
            "judged": self.judged,
            "figures": {name: number(value) for name, value in self.figures.items()},
            "bytes": self.bytes,
            "float_share": self.float_share,
            "latency_ms": self.latency_ms,
            "interval_ms": self.interval_ms,
            "error": self.error,
        }


@dataclass(frozen=True)
class Rescue:
    """Every attempt in the order of trial, those that were not reached, and what was noticed."""

    tried: tuple[Tried, ...]
    left: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.taken is not None and self.taken.held

    @property
    def measure(self) -> str:
        """Which figure ranks the attempts first."""
        return next(iter(self._measures), "sqnr_db")

    @property
    def _measures(self) -> tuple[str, ...]:
        """The figures that all attempts have: where the first is equal, as of few pictures, the next decides."""
        ran = [tried for tried in self.tried if tried.ran]
        return tuple(m for m in ACCURACY if ran and all(m in t.figures for t in ran))

    @property
    def front(self) -> tuple[Tried, ...]:
        """The attempts that no other beats in accuracy, cost and size at once.

        One whose verdict was missed is none where another's holds: figures are not all of a verdict.
        """
        ran = [tried for tried in self.tried if tried.ran]
        ran = [tried for tried in ran if tried.held] or ran
        ran = [t for n, t in enumerate(ran) if not any(self._same(other, t) for other in ran[:n])]
        costs = {id(t): self._costs(t) for t in ran}
        return tuple(
            one for one in ran if not any(_beats(costs[id(other)], costs[id(one)]) for other in ran)
        )

    @property
    def taken(self) -> Tried | None:
        """The attempt to take: the cheapest whose verdict holds, else the most accurate."""
        front = self.front
        if any(tried.held for tried in front):
            return min(front, key=lambda t: (self._costs(t)[1:], self._costs(t)[0]))
        return min(front, key=lambda t: self._costs(t)[0], default=None)

    def _same(self, earlier: Tried, later: Tried) -> bool:
        """Whether two attempts made what is one file by all that was measured but time, which never comes twice."""
        errors, _, size = self._costs(earlier)
        return (errors, size, earlier.float_share) == (
            *self._costs(later)[::2],
            later.float_share,
        )

    def _costs(self, tried: Tried) -> tuple[tuple[float, ...], float, float]:
        """Return (minus each measure of accuracy, latency or share in float, bytes): less is better."""
        timed = all(t.latency_ms is not None for t in self.tried if t.ran)
        cost = tried.latency_ms if timed else tried.float_share
        errors = tuple(-tried.figures[name] for name in self._measures)
        return errors, math.inf if cost is None else cost, float(tried.bytes)

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        front, taken = {id(t) for t in self.front}, self.taken
        rows = [{**t.to_json(), "front": id(t) in front, "taken": t is taken} for t in self.tried]
        left = [list(attempt.flags) for attempt in self.left]
        return {"measure": self.measure, "tried": rows, "left": left, "notes": list(self.notes)}


def figures_of(verdict: "Verdict") -> dict[str, float]:
    """Return the figures of decisions, and the noise of the worst place."""
    found: dict[str, float] = {}
    for figures in verdict.figures.values():
        for name in ("top1", "agreement_top1", "agreement_top1_low", "agreement_top1_high"):
            if name in figures:
                found.setdefault(name, figures[name])
    for name in ("sqnr_centred_db", "sqnr_db"):
        values = [figures[name] for figures in verdict.places.values() if name in figures]
        if values:
            found[name] = min(values)
    return found


def _beats(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other
