"""A sweep as one page that needs nothing else: accuracy against cost, the front drawn, a table beside."""

import html
from collections.abc import Callable, Sequence
from typing import Any

from edgeconv.reports import svg
from edgeconv.sweep.cell import Cell
from edgeconv.sweep.results import SweepReport
from edgeconv.sweep.text import accuracy_text, latency_text, ranked, remark
from edgeconv.templates import render
from edgeconv.terminal import counted

LARGE = svg.Canvas(width=760.0, height=430.0)
SHAPES = ("circle", "square", "diamond", "triangle")
Cost = tuple[float, float, float]
"""Low, estimate and high."""


def _latency(cell: Cell) -> Cost | None:
    point = cell.measured()
    return None if point is None else point.latency_ms


def _of_bench(name: str) -> Callable[[Cell], Cost | None]:
    def read(cell: Cell) -> Cost | None:
        value = None if cell.timing is None else cell.timing[name]
        return None if value is None else (float(value),) * 3

    return read


COSTS: dict[str, Callable[[Cell], Cost | None]] = {
    "latency, ms": _latency,
    "size, MB": lambda cell: (cell.bytes / 1e6,) * 3,
    "memory, MiB": _of_bench("peak_mib"),
    "arena, MiB": _of_bench("arena_mib"),
}
"""What accuracy is drawn against, a chart each: the axis' title, and how a cell says it; None: not known."""

TOLD: dict[str, Callable[[Cell], str]] = {
    "net": lambda cell: cell.form.net,
    "precision": lambda cell: cell.form.precision,
    "target": lambda cell: cell.form.target,
    "verdict": lambda cell: "kept" if cell.within else "MISSED",
}
"""What the page's filters tell cells apart by, and how a cell says it."""


def page(report: SweepReport) -> str:
    """Return the page; it makes no request, and its one script filters what is shown.

    Raises MissingDependencyError without jinja2.
    """
    cells = ranked(report)
    sentences = report.sentences()
    return render(
        "pages",
        "sweep.html.jinja",
        title=f"{', '.join(dict.fromkeys(cell.form.net for cell in cells))} · edgeconv sweep",
        about=_about(report),
        answer=sentences[0] if report.budgets else "",
        sentences=sentences[1:] if report.budgets else sentences,
        command=report.command(),
        filters=_filters(cells),
        charts=_charts(report, cells),
        header=("cell", "top-1 %" if report.truth else "as float %", "latency, ms", "MB", "remark"),
        cells=[_row(report, cell) for cell in cells],
        rest=report.unmade(),
    )


def _about(report: SweepReport) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in report.versions.items() if v)
    what = "with their classes known" if report.truth else "against the float net"
    pictures = (
        f"{counted(report.pictures, 'picture')}, {what}" if report.pictures else "no pictures"
    )
    return " · ".join(filter(None, (pictures, _timed_on(report), versions)))


def _timed_on(report: SweepReport) -> str:
    """Say where latencies were measured; nothing where none was."""
    timed = [c for c in report.cells if c.timing and c.timing["latency_ms"] is not None]
    here = report.machine.get("processor", "")
    places = dict.fromkeys(cell.place or here for cell in timed)
    return f"timed on {', '.join(places)}" if places else ""


def _filters(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Return what a reader may leave out: each name with its values, where there are several."""
    sets = [(name, dict.fromkeys(_told(cell)[name] for cell in cells)) for name in TOLD]
    return [(name, list(values)) for name, values in sets if len(values) > 1]


def _told(cell: Cell) -> dict[str, str]:
    return {name: told(cell) for name, told in TOLD.items()}


def _row(report: SweepReport, cell: Cell) -> dict[str, Any]:
    figures = (accuracy_text(cell), latency_text(cell), f"{cell.bytes / 1e6:.2f}")
    return {
        "told": _told(cell),
        "label": cell.label,
        "figures": figures,
        "remark": remark(report, cell),
    }


def _charts(report: SweepReport, cells: Sequence[Cell]) -> dict[str, Any] | None:
    """Return a chart for each cost that is known, and their keys, None where no cell has an accuracy."""
    nets = list(dict.fromkeys(cell.form.net for cell in cells))
    targets = list(dict.fromkeys(cell.form.target for cell in cells))
    accuracy = "top-1" if report.truth else "agreement with the float net"
    known = [c for c in cells if (p := c.measured()) is not None and p.accuracy is not None]
    if not known:
        return None
    drawn = [
        (cost, [(cell, found) for cell in known if (found := read(cell)) is not None])
        for cost, read in COSTS.items()
    ]
    return {
        "key": nets if len(nets) <= svg.LOOKS else [],
        "shapes": ", ".join(f"{SHAPES[i % len(SHAPES)]}: {t}" for i, t in enumerate(targets)),
        "missed": any(report.status(cell) == "missed" for cell in known),
        "drawn": [
            (
                f"{accuracy} against {cost.partition(',')[0]}",
                _chart(report, some, nets, targets, accuracy, cost),
            )
            for cost, some in drawn
            if some
        ],
    }


def _chart(
    report: SweepReport,
    cells: Sequence[tuple[Cell, Cost]],
    nets: Sequence[str],
    targets: Sequence[str],
    accuracy: str,
    what: str,
) -> str:
    places = []
    for cell, cost in cells:
        point = cell.measured()
        assert point is not None
        interval = point.accuracy_interval()
        assert interval is not None
        assert point.accuracy is not None
        low, high = (100 * value for value in interval)
        places.append((cell, cost, (low, 100 * point.accuracy, high)))
    costs = [value for _, cost, _ in places for value in cost]
    shares = [value for _, _, share in places for value in share]
    wide = max(costs) > 8 * max(min(costs), 1e-9)
    x = svg.axis_over(what, costs, log=wide)
    y = svg.axis_over(f"{accuracy}, %", shares)
    body = _front(report, places, x, y)
    for cell, cost, share in places:
        body += _mark(report, cell, cost, share, x, y, nets, targets, what.rpartition(" ")[2])
    return svg.frame(x, y, body, f"{accuracy} against {x.title}", LARGE)


def _front(
    report: SweepReport, places: Sequence[tuple[Cell, Any, Any]], x: svg.Axis, y: svg.Axis
) -> str:
    """The step line of the best accuracy at each cost, over the cells worth shipping."""
    on = sorted((c[1], s[1]) for cell, c, s in places if report.status(cell) == "front")
    points: list[tuple[float, float]] = []
    best = float("-inf")
    for cost, share in on:
        if share <= best:
            continue
        if points:
            points.append((cost, best))
        points.append((cost, share))
        best = share
    if len(points) < 2:
        return ""
    return svg.polyline([p[0] for p in points], [p[1] for p in points], x, y, "front", LARGE)


def _mark(
    report: SweepReport,
    cell: Cell,
    cost: tuple[float, float, float],
    share: tuple[float, float, float],
    x: svg.Axis,
    y: svg.Axis,
    nets: Sequence[str],
    targets: Sequence[str],
    unit: str,
) -> str:
    colour = svg.look(nets.index(cell.form.net))
    at, up = LARGE.x(x, cost[1]), LARGE.y(y, share[1])
    shape = SHAPES[targets.index(cell.form.target) % len(SHAPES)]
    says = f"{cell.label}: {share[1]:.1f} % [{share[0]:.1f}, {share[2]:.1f}], {cost[1]:.3g} {unit}"
    bars = (
        f'<path class="bars {colour}" d="M{LARGE.x(x, cost[0]):.1f} {up:.1f}H{LARGE.x(x, cost[2]):.1f}'
        f'M{at:.1f} {LARGE.y(y, share[0]):.1f}V{LARGE.y(y, share[2]):.1f}"/>'
    )
    status = report.status(cell)
    kind = {"front": "", "missed": " missed"}.get(status, " dim")
    drawn = _shape(shape, at, up, colour)
    if status == "missed":
        says += f", MISSED: {cell.missed}"
        drawn += f'<path class="mark {colour}" d="M{at - 3:.1f} {up - 3:.1f}l6 6m0 -6l-6 6"/>'
    return (
        f'<g class="cell{kind}" tabindex="0" {_data(cell)}><title>{html.escape(says)}</title>'
        f"{bars}{drawn}</g>"
    )


def _shape(shape: str, x: float, y: float, colour: str) -> str:
    if shape == "circle":
        return f'<circle class="mark {colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    corners = {
        "square": ((-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)),
        "diamond": ((0, -6), (6, 0), (0, 6), (-6, 0)),
        "triangle": ((0, -6), (6, 5), (-6, 5)),
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="mark {colour}" points="{points}"/>'


def _data(cell: Cell) -> str:
    return " ".join(f'data-{name}="{html.escape(said)}"' for name, said in _told(cell).items())
