"""Budgets of a sweep: which cells surely keep them, by how much, and what a cell misses, in words."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgeconv.sweep.point import Point
from edgeconv.terminal import unlike

KIBIBYTE = 1 << 10


def below(figure: float, bound: float) -> str:
    """Return by how many percent ``figure`` is below ``bound``: 100 and 0 only where it is so.

    >>> below(6, 10), below(0.023, 5), below(9.98, 10), below(10, 10)
    ('40', '99.5', '0.2', '0')
    """
    share = 100 * (1 - figure / bound)
    digits = next((n for n in range(4) if 0 < round(share, n) < 100), 0)
    return f"{share:.{digits}f}"


@dataclass(frozen=True)
class Budgets:
    """Upper bounds of latency (ms), size and arena (bytes), and the least top-1 (percent)."""

    ms: float | None = None
    size: int | None = None
    arena: int | None = None
    top1: float | None = None

    def __bool__(self) -> bool:
        return any(v is not None for v in (self.ms, self.size, self.arena, self.top1))

    def excess(self, point: Point) -> float:
        """Return by what share ``point`` may be over the budget it misses most; 0: it keeps all."""
        return max((share for share, _ in self._missed(point)), default=0.0)

    def missed(self, point: Point) -> str | None:
        """Return the budget that ``point`` misses most, or is not sure to keep, in words; None: it fits."""
        worst = max(self._missed(point), key=lambda found: found[0], default=None)
        return None if worst is None else worst[1]

    def _missed(self, point: Point) -> Iterator[tuple[float, str]]:
        """Yield (share by which it is missed, words) of every budget that is not surely kept."""
        if self.ms is not None and point.latency_ms is None:
            yield math.inf, "it was not timed"
        elif self.ms is not None and point.latency_ms is not None:
            low, _, high = point.latency_ms
            if high > self.ms:
                sure = "takes at least" if low > self.ms else "may take up to"
                figure = unlike(low if low > self.ms else high, self.ms, ".3g")
                yield high / self.ms - 1, f"it {sure} {figure} ms of {self.ms:g}"
        if self.size is not None and point.bytes > self.size:
            figure = unlike(point.bytes / 1e6, self.size / 1e6, ".2f")
            yield point.bytes / self.size - 1, f"it has {figure} MB of {self.size / 1e6:g}"
        if self.arena is not None and point.arena is None:
            yield math.inf, "its arena is not known"
        elif self.arena is not None and point.arena is not None and point.arena > self.arena:
            figure = unlike(point.arena / KIBIBYTE, self.arena / KIBIBYTE, ".0f")
            said = f"its arena is {figure} KiB of {self.arena / KIBIBYTE:g}"
            yield point.arena / self.arena - 1, said
        if self.top1 is not None:
            yield from self._too_poor(point, self.top1)

    def _too_poor(self, point: Point, least: float) -> Iterator[tuple[float, str]]:
        interval = point.accuracy_interval()
        if interval is None:
            yield math.inf, "its accuracy is not known"
            return
        low, high = (100 * bound for bound in interval)
        if low < least:
            sure = "has at most" if high < least else "may have only"
            figure = unlike(high if high < least else low, least, ".1f")
            yield (least - low) / 100, f"it {sure} {figure} % of the {least:g} % wanted"
