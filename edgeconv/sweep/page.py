"""A sweep as one page that needs nothing else: accuracy against cost, the front drawn, a table beside."""

import html
from collections.abc import Sequence
from typing import Any

from edgeconv.reports import svg
from edgeconv.reports.style import STYLE
from edgeconv.sweep.results import Cell, SweepReport
from edgeconv.sweep.text import accuracy_text, latency_text, remark

LARGE = svg.Canvas(width=760.0, height=430.0)
SHAPES = ("circle", "square", "diamond", "triangle")
OWN_STYLE = """
.mark{stroke:var(--back);stroke-width:1}.bars{stroke-width:1.2;opacity:.55}.front{fill:none;stroke:var(--dim);
stroke-width:1.5;stroke-dasharray:5 4}.cell.off,tr.off{display:none}.cell.dim{opacity:.35}
.filters{display:flex;flex-wrap:wrap;gap:6px 18px;margin:.6em 0}.filters fieldset{border:1px solid var(--rule);
border-radius:6px;padding:2px 10px 6px;margin:0}.filters legend{color:var(--dim);font-size:.85em}
.filters label{margin-right:10px;white-space:nowrap}.answer{font-size:1.1rem;font-weight:600}
code{overflow-wrap:anywhere}.cell:focus{outline:none}.cell:hover .mark,.cell:focus .mark{stroke:var(--text)}
""" + "".join(
    f".mark.c{n}{{fill:var(--c{n})}}.bars.c{n}{{stroke:var(--c{n})}}" for n in range(svg.COLOURS)
)
SCRIPT = """
const boxes=[...document.querySelectorAll('.filters input')];
function show(){const off={};for(const b of boxes)if(!b.checked)(off[b.name]=off[b.name]||new Set()).add(b.value);
for(const e of document.querySelectorAll('[data-net]')){let hide=false;
for(const name in off)hide=hide||off[name].has(e.dataset[name]);e.classList.toggle('off',hide)}}
for(const b of boxes)b.addEventListener('change',show);show();
"""


def page(report: SweepReport) -> str:
    """Return the page; it makes no request, and its one script filters what is shown."""
    cells = [cell for cell in report.cells if not cell.impossible and cell.path is not None]
    nets = list(dict.fromkeys(cell.form.net for cell in cells))
    targets = list(dict.fromkeys(cell.form.target for cell in cells))
    body = [
        "<h1>edgeconv sweep</h1>",
        f'<p class="dim">{_text(_about(report))}</p>',
        *_said(report),
        *_filters(cells),
        *_charts(report, cells, nets, targets),
        *_table(report, cells),
        *_not_made(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>edgeconv sweep</title><style>{STYLE}{OWN_STYLE}</style>'
        f"</head><body>{''.join(body)}<script>{SCRIPT}</script></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _about(report: SweepReport) -> str:
    machine = report.machine.get("processor", "")
    versions = ", ".join(f"{k} {v}" for k, v in report.versions.items() if v)
    what = "with their classes known" if report.truth else "against the float net"
    pictures = f"{report.pictures} pictures, {what}" if report.pictures else "no pictures"
    return f"{pictures} · timed on {machine} · {versions}"


def _said(report: SweepReport) -> list[str]:
    parts = [
        f'<p class="answer">{_text(text)}</p>' for text in report.sentences()[:1] if report.budgets
    ]
    rest = report.sentences()[1:] if report.budgets else report.sentences()
    parts += [f"<p>{_text(text)}</p>" for text in rest]
    if report.command() is not None:
        parts.append(f"<p><code>{_text(report.command())}</code></p>")
    return parts


def _filters(cells: Sequence[Cell]) -> list[str]:
    sets: dict[str, dict[str, None]] = {name: {} for name in ("net", "precision", "target")}
    for cell in cells:
        for name, values in sets.items():
            values[str(getattr(cell.form, name))] = None
    parts = []
    for name, values in sets.items():
        if len(values) < 2:
            continue
        boxes = "".join(
            f'<label><input type="checkbox" name="{name}" value="{_text(v)}" checked> {_text(v)}</label>'
            for v in values
        )
        parts.append(f"<fieldset><legend>{name}</legend>{boxes}</fieldset>")
    return [f'<form class="filters">{"".join(parts)}</form>'] if parts else []


def _charts(
    report: SweepReport, cells: Sequence[Cell], nets: Sequence[str], targets: Sequence[str]
) -> list[str]:
    accuracy = "top-1" if report.truth else "agreement with the float net"
    known = [c for c in cells if (p := c.point()) is not None and p.accuracy is not None]
    if not known:
        return ["<p>No cell has an accuracy: name --data to compare them.</p>"]
    key = svg.legend(nets) if len(nets) <= svg.COLOURS else ""
    marks = ", ".join(f"{SHAPES[i % len(SHAPES)]}: {t}" for i, t in enumerate(targets))
    parts = [
        key,
        f'<p class="dim">Shape: {_text(marks)}. Bars are 95 % intervals; pale: dominated.</p>',
    ]
    timed = [c for c in known if c.timing is not None and c.timing["latency_ms"] is not None]
    if timed:
        parts.append(f"<h2>{accuracy} against latency</h2>")
        parts.append(_chart(report, timed, nets, targets, accuracy, "ms"))
    parts.append(f"<h2>{accuracy} against size</h2>")
    parts.append(_chart(report, known, nets, targets, accuracy, "MB"))
    return parts


def _cost(cell: Cell, unit: str) -> tuple[float, float, float]:
    if unit == "MB" or cell.timing is None:
        return (cell.bytes / 1e6,) * 3
    middle = float(cell.timing["latency_ms"])
    low, high = cell.timing["interval_ms"] or (middle, middle)
    return float(low), middle, float(high)


def _chart(
    report: SweepReport,
    cells: Sequence[Cell],
    nets: Sequence[str],
    targets: Sequence[str],
    accuracy: str,
    unit: str,
) -> str:
    places = []
    for cell in cells:
        point = cell.point()
        assert point is not None
        interval = point.accuracy_interval()
        assert interval is not None
        assert point.accuracy is not None
        low, high = (100 * value for value in interval)
        places.append((cell, _cost(cell, unit), (low, 100 * point.accuracy, high)))
    costs = [value for _, cost, _ in places for value in cost]
    shares = [value for _, _, share in places for value in share]
    wide = max(costs) > 8 * max(min(costs), 1e-9)
    x = svg.axis_over(f"latency, {unit}" if unit == "ms" else "size, MB", costs, log=wide)
    y = svg.axis_over(f"{accuracy}, %", shares)
    body = _front(report, places, x, y)
    for cell, cost, share in places:
        body += _mark(report, cell, cost, share, x, y, nets, targets, unit)
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
    colour = f"c{nets.index(cell.form.net) % svg.COLOURS}"
    at, up = LARGE.x(x, cost[1]), LARGE.y(y, share[1])
    shape = SHAPES[targets.index(cell.form.target) % len(SHAPES)]
    says = f"{cell.label}: {share[1]:.1f} % [{share[0]:.1f}, {share[2]:.1f}], {cost[1]:.3g} {unit}"
    bars = (
        f'<path class="bars {colour}" d="M{LARGE.x(x, cost[0]):.1f} {up:.1f}H{LARGE.x(x, cost[2]):.1f}'
        f'M{at:.1f} {LARGE.y(y, share[0]):.1f}V{LARGE.y(y, share[2]):.1f}"/>'
    )
    faint = "" if report.status(cell) == "front" else " dim"
    return (
        f'<g class="cell{faint}" tabindex="0" {_data(cell)}><title>{_text(says)}</title>'
        f"{bars}{_shape(shape, at, up, colour)}</g>"
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
    return " ".join(
        f'data-{name}="{_text(getattr(cell.form, name))}"'
        for name in ("net", "precision", "target")
    )


def _table(report: SweepReport, cells: Sequence[Cell]) -> list[str]:
    head = "".join(
        f"<th>{name}</th>"
        for name in ("cell", "top-1 %" if report.truth else "as float %", "latency, ms", "MB", "")
    )
    rows = []
    for cell in cells:
        rows.append(
            f"<tr {_data(cell)}><td>{_text(cell.label)}</td><td>{accuracy_text(cell)}</td><td>{latency_text(cell)}</td>"
            f'<td>{cell.bytes / 1e6:.2f}</td><td class="left">{_text(remark(report, cell))}</td></tr>'
        )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return ["<h2>Cells</h2>", f'<div class="scroll" tabindex="0">{table}</div>']


def _timed(cell: Cell) -> bool:
    return cell.timing is not None and cell.timing["latency_ms"] is not None


def _not_made(report: SweepReport) -> list[str]:
    rest = [c for c in report.cells if report.status(c) in ("failed", "impossible")]
    if not rest:
        return []
    items = "".join(
        f"<li>{_text(report.status(c))}: {_text(c.label)} ({_text(c.error)})</li>" for c in rest
    )
    return ["<h2>Not made</h2>", f"<ul>{items}</ul>"]
