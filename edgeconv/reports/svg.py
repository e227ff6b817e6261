"""Charts as inline SVG: no script, no font, no request; colours follow the page's own variables."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS, PATTERNS = 6, 3
LOOKS = COLOURS * PATTERNS
"""So many series look different."""


def look(number: int) -> str:
    """Return the classes of the series at place ``number``: its colour, and its pattern once these are used up.

    >>> look(1), look(7)
    ('c1 p0', 'c1 p1')
    """
    return f"c{number % COLOURS} p{number // COLOURS % PATTERNS}"


@dataclass(frozen=True)
class Series:
    """A named line or cloud: points in data units."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """An axis: its title, its range, and whether it is logarithmic."""

    title: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where ``value`` lies, 0 to 1."""
        if self.log:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return (value - low) / (high - low) if high > low else 0.5

    def ticks(self, most: int = 5) -> list[float]:
        """Return round values inside the range, at most ``most`` + 1 of them on a plain axis."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            tens = [10.0**power for power in range(first - 1, last + 1)]
            wide = last - first >= 2
            values = [ten * step for ten in tens for step in ((1,) if wide else (1, 2, 5))]
            return [value for value in values if self.low <= value <= self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10.0 ** math.floor(math.log10(span / most))
        step *= next(m for m in (1, 2, 5, 10, 20) if span / (step * m) <= most)
        count = math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9) + 1
        return [(math.ceil(self.low / step - 1e-9) + i) * step for i in range(count)]


def axis_over(title: str, values: Sequence[float], zero: bool = False, log: bool = False) -> Axis:
    """Return an axis that holds ``values`` with a little room."""
    low, high = min(values), max(values)
    if log:
        return Axis(title, low / 1.5, high * 1.5, True)
    room = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    return Axis(title, 0.0 if zero else low - room, high + room)


@dataclass(frozen=True)
class Canvas:
    """Where charts are drawn, in the units of the picture's own ``width`` and ``height``."""

    width: float = 640.0
    height: float = 256.0
    left: float = 56.0
    right: float = 16.0
    top: float = 28.0
    bottom: float = 46.0

    def x(self, axis: Axis, value: float) -> float:
        """Return how far right a value lies."""
        return self.left + axis.place(value) * (self.width - self.left - self.right)

    def y(self, axis: Axis, value: float) -> float:
        """Return how far down a value lies."""
        space = self.height - self.top - self.bottom
        return self.height - self.bottom - axis.place(value) * space


PLAIN = Canvas()


def _label(value: float) -> str:
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:g}" if abs(value) < 1000 else f"{value:.0f}"


def frame(x: Axis, y: Axis, body: str, title: str, on: Canvas = PLAIN) -> str:
    """Return a chart: axes, ticks and titles around ``body``."""
    end, base = on.width - on.right, on.height - on.bottom
    parts = [
        f'<svg viewBox="0 0 {on.width:g} {on.height:g}" role="img" aria-label="{html.escape(title)}">'
    ]
    for tick in y.ticks(5 if on.height >= PLAIN.height else 2):
        at = on.y(y, tick)
        parts.append(
            f'<line class="grid" x1="{on.left}" x2="{end}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{on.left - 5}" y="{at + 4:.1f}" text-anchor="end">{_label(tick)}</text>'
        )
    for tick in x.ticks():
        at = on.x(x, tick)
        parts.append(
            f'<line class="tick" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>'
            f'<text x="{at:.1f}" y="{base + 17}" text-anchor="middle">{_label(tick)}</text>'
        )
    parts.append(
        f'<text class="title" x="{end}" y="{on.height - 5}" text-anchor="end">{html.escape(x.title)}</text>'
        f'<text class="title" x="{on.left}" y="{on.top - 11}">{html.escape(y.title)}</text>'
    )
    return "".join(parts) + body + "</svg>"


def lines(series: Sequence[Series], x: Axis, y: Axis, title: str, on: Canvas = PLAIN) -> str:
    """Return a line chart."""
    drawn = [
        polyline(one.x, one.y, x, y, f"line {look(number)}", on)
        for number, one in enumerate(series)
    ]
    return frame(x, y, "".join(drawn), title, on)


def points(series: Sequence[Series], x: Axis, y: Axis, title: str, extra: str = "") -> str:
    """Return a scatter chart; ``extra`` is drawn below the points."""
    body = extra
    for number, one in enumerate(series):
        for a, b in zip(one.x, one.y, strict=True):
            at = f'cx="{PLAIN.x(x, a):.1f}" cy="{PLAIN.y(y, b):.1f}"'
            body += f'<circle class="dot {look(number)}" {at} r="3"/>'
    return frame(x, y, body, title)


def histogram(counts: Sequence[int], x: Axis, marks: Sequence[float], title: str) -> str:
    """Return bars of ``counts`` in equal bins over ``x``, a dashed line at each of ``marks``."""
    on = Canvas(width=320.0, height=110.0, left=10.0, right=10.0, top=8.0, bottom=22.0)
    most, base = max(counts, default=0) or 1, on.height - on.bottom
    step = (x.high - x.low) / max(len(counts), 1)
    parts = [
        f'<svg viewBox="0 0 {on.width:g} {on.height:g}" role="img" aria-label="{html.escape(title)}">'
    ]
    for number, count in enumerate(counts):
        left, right = (on.x(x, x.low + step * (number + end)) for end in (0, 1))
        tall = math.sqrt(count / most) * (base - on.top)
        if count:
            parts.append(
                f'<rect class="dot c0" x="{left:.1f}" y="{base - tall:.1f}" '
                f'width="{max(right - left - 0.5, 0.5):.1f}" height="{tall:.1f}"/>'
            )
    for mark in marks:
        at = on.x(x, mark)
        parts.append(f'<path class="roof" d="M{at:.1f} {on.top}V{base}"/>')
    for value, anchor in ((x.low, "start"), (x.high, "end")):
        parts.append(
            f'<text x="{on.x(x, value):.1f}" y="{on.height - 7}" text-anchor="{anchor}">{value:.3g}</text>'
        )
    return "".join([*parts, "</svg>"])


def polyline(
    xs: Sequence[float], ys: Sequence[float], x: Axis, y: Axis, kind: str, on: Canvas = PLAIN
) -> str:
    """Return a bare line, of the class ``kind``."""
    places = " ".join(f"{on.x(x, a):.1f},{on.y(y, b):.1f}" for a, b in zip(xs, ys, strict=True))
    return f'<polyline class="{kind}" points="{places}"/>'
