"""The report as one page that needs nothing else: it opens offline, on a phone, in light and dark."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.matrix import Matrix, Row
from edgeconv.parity.report import environment, summary, table
from edgeconv.reports import svg
from edgeconv.reports.png import thumbnail
from edgeconv.reports.style import STYLE

POINTS = 400
"""Points of a scatter chart; more hide each other."""
WORST = 6
"""Pictures that are shown."""
CEILING_DB = 120.0
"""Where an infinite SQNR is drawn."""
CLEAN_DB = 90.0
"""Above this no chart is worth its place: float kernels that sum in another order."""

EXTRA = """
.good{color:var(--c2)}.grid{display:grid}.worst{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr));gap:14px}
.card{background:var(--panel);border-radius:6px;padding:10px;min-width:0}.card img{float:right;width:64px;height:64px;
image-rendering:pixelated;border-radius:4px;margin-left:8px}.card p{overflow-wrap:anywhere}.card ol{margin:.2em 0 .6em;padding-left:1.5em;clear:none}
.card h3{font-size:.95rem;margin:0 0 .3em;overflow-wrap:anywhere}.dot{opacity:.55}td.left{white-space:normal;overflow-wrap:anywhere}
td.good,td.dim{white-space:nowrap}
@media(min-width:1100px){body{max-width:1500px}svg{max-width:1080px}}
"""


def to_html(matrix: Matrix) -> str:
    """Return the page; it holds no script and makes no request."""
    body = "".join(
        [
            *_head(matrix),
            *_table(matrix),
            *_layers([row.layers for row in matrix.rows if row.layers is not None]),
            *_scatter(matrix),
            *_worst(matrix),
            *_environment(),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>edgeconv parity</title><style>{STYLE}{EXTRA}</style>'
        f"</head><body>{body}</body></html>\n"
    )


def _text(text: object) -> str:
    return html.escape(str(text))


def _head(matrix: Matrix) -> list[str]:
    good = sum(row.ok for row in matrix.rows)
    kind = "good" if good == len(matrix.rows) else "bad"
    parts = [
        "<h1>Parity</h1>",
        f'<p class="{kind}">{good} of {len(matrix.rows)} cells within budget</p>',
        f'<p class="dim">{matrix.samples.count} pictures · {_text(matrix.samples.source)}</p>',
    ]
    for sentence in summary(matrix, layers=False)[:-1]:
        kind = "bad" if sentence.startswith(("first departure", "missed", "skipped")) else "dim"
        parts.append(f'<p class="{kind}">{_text(sentence)}</p>')
    return parts


def _table(matrix: Matrix) -> list[str]:
    header, lines = table(matrix)
    parts = ["<h2>Hops</h2>", '<div class="scroll"><table><tr>']
    # the verdict comes second: on a phone the figures scroll, it does not
    parts += [f'<th class="left">{_text(title)}</th>' for title in (header[0], header[-1])]
    parts += [f"<th>{_text(title)}</th>" for title in header[1:-1]]
    parts.append("</tr>")
    for line in lines:
        kind = {"ok": "good", "reference": "dim"}.get(line[-1], "bad")
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in line[1:-1])
        parts.append(f'<tr><td>{_text(line[0])}</td><td class="left {kind}">{_text(line[-1])}</td>')
        parts.append(f"{cells}</tr>")
    return [*parts, "</table></div>"]


def _layers(reports: Sequence[LayerReport]) -> list[str]:
    parts: list[str] = []
    for report in reports:
        if len(report.layers) < 2:
            continue
        first = report.first
        said = "no layer departs by itself" if first is None else f"first that departs: {first}"
        if first is None and min(x.inherited_sqnr_db for x in report.layers) > CLEAN_DB:
            said += f"; every layer is above {CLEAN_DB:.0f} dB"
            parts += [f"<h2>Layers of {_text(report.label)}</h2><p>{_text(said)}</p>"]
            continue
        places = [float(i) for i in range(len(report.layers))]
        series = [
            svg.Series("own error", places, [_drawn(x.own_sqnr_db) for x in report.layers]),
            svg.Series("inherited", places, [_drawn(x.inherited_sqnr_db) for x in report.layers]),
        ]
        values = [v for one in series for v in one.y]
        chart = svg.lines(
            series,
            svg.axis_over("layer, in order", places),
            svg.axis_over("SQNR, dB", values),
            f"SQNR of the layers of {report.label}",
        )
        parts += [
            f"<h2>Layers of {_text(report.label)}</h2><p>{_text(said)}</p>",
            chart,
            svg.legend([one.name for one in series]),
            *_ranking(report),
        ]
    return parts


def _drawn(value: float) -> float:
    return min(max(value, -20.0), CEILING_DB) if not math.isnan(value) else -20.0


def _ranking(report: LayerReport) -> list[str]:
    parts = ['<div class="scroll"><table><tr><th>layer</th><th>op</th><th>own SQNR</th>']
    parts.append("<th>inherited</th><th>quanta off</th><th>clipped</th><th>weights</th></tr>")
    for layer in report.ranked(8):
        quanta = "" if layer.mean_quanta is None else f"{layer.mean_quanta:.3f}"
        clipped = "" if layer.clipped is None else f"{100 * layer.clipped:.2f} %"
        weights = "" if layer.weight_sqnr_db is None else f"{layer.weight_sqnr_db:.1f}"
        cells = (layer.op, f"{layer.own_sqnr_db:.1f}", f"{layer.inherited_sqnr_db:.1f}")
        kind = ' class="bad"' if layer.departs else ""
        row = "".join(f"<td>{_text(cell)}</td>" for cell in (*cells, quanta, clipped, weights))
        parts.append(f"<tr{kind}><td>{_text(layer.node)}</td>{row}</tr>")
    return [*parts, "</table></div>"]


def _shown(matrix: Matrix) -> list[Row]:
    """The rows of artifacts, which charts are about; every row where there are none."""
    rows = [row for row in matrix.rows if row.outputs is not None and row.verdict is not None]
    files = [row for row in rows if row.stage in ("fp32", "fp16", "int8")]
    return files or rows


def _pair(matrix: Matrix, row: Row) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return reference and row of the first output, classes aligned, as (pictures, values)."""
    wanted = next(iter(matrix.reference.arrays.values()))
    got = next(iter(row.outputs.arrays.values())) if row.outputs else wanted
    a, b = wanted.reshape(len(wanted), -1), got.reshape(len(got), -1)
    return a, b[:, b.shape[1] - a.shape[1] :]


def _scatter(matrix: Matrix) -> list[str]:
    rows = [row for row in _shown(matrix) if "sqnr_db" in _first(row)]
    if not rows:
        return []
    series = []
    for row in rows:
        a, b = (side.reshape(-1) for side in _pair(matrix, row))
        keep = np.unique(np.linspace(0, a.size - 1, POINTS).astype(int))
        series.append(svg.Series(row.label, a[keep].tolist(), b[keep].tolist()))
    values = [v for one in series for v in (*one.x, *one.y)]
    x, y = svg.axis_over("reference", values), svg.axis_over("this file", values)
    ends = (min(values), max(values))
    line = svg.polyline(ends, ends, x, y, "roof")
    chart = svg.points(series, x, y, "Outputs against the reference's", line)
    return ["<h2>Outputs</h2>", chart, svg.legend([one.name for one in series])]


def _first(row: Row) -> Mapping[str, float]:
    return next(iter(row.figures.values()), {})


def _worst(matrix: Matrix) -> list[str]:
    rows = [row for row in _shown(matrix) if "agreement_top1" in _first(row)]
    if not rows:
        return []
    pairs = [_pair(matrix, row) for row in rows]
    spread = np.zeros(matrix.samples.count)
    for a, b in pairs:
        flipped = a.argmax(axis=1) != b.argmax(axis=1)
        error = np.sqrt(np.square(a.astype(np.float64) - b).mean(axis=1))
        spread = np.maximum(spread, error + flipped * error.max(initial=0.0))
    order = np.argsort(-spread, kind="stable")[:WORST]
    parts = ["<h2>Worst pictures</h2>", '<div class="worst">']
    for picture in order:
        parts.append(_card(matrix, int(picture), rows, pairs))
    return [*parts, "</div>"]


def _card(
    matrix: Matrix,
    picture: int,
    rows: Sequence[Row],
    pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> str:
    names = matrix.samples.names
    title = names[picture] if picture < len(names) else str(picture)
    parts = [f'<div class="card">{_image(matrix, picture)}<h3>{_text(title)}</h3>']
    truth = matrix.samples.truth
    if truth is not None and truth[picture] >= 0:
        parts.append(f'<p class="dim">truth: {_text(_class(matrix, int(truth[picture])))}</p>')
    reference = pairs[0][0][picture]
    parts.append(_top5(matrix, "reference", reference))
    same = []
    for row, (_, values) in zip(rows, pairs, strict=True):
        if (_best(values[picture]) == _best(reference)).all():
            same.append(row.label)  # thirteen equal lists would hide the one that differs
        else:
            parts.append(_top5(matrix, row.label, values[picture]))
    if same:
        parts.append(f'<p class="dim">the same five in this order: {_text(", ".join(same))}</p>')
    return "".join([*parts, "</div>"])


def _image(matrix: Matrix, picture: int) -> str:
    array = next(iter(matrix.samples.inputs.values()))
    if array.ndim != 4:
        return ""
    values = np.asarray(array[picture])
    if matrix.samples.layout == "nhwc":
        values = values.transpose(2, 0, 1)
    if len(values) not in (1, 3):
        return ""
    return f'<img alt="" src="{thumbnail(values)}">'


def _class(matrix: Matrix, index: int) -> str:
    labels = matrix.samples.labels
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"


def _best(values: NDArray[Any]) -> NDArray[np.intp]:
    """Return the five best classes, best first."""
    return np.argsort(-values, kind="stable")[:5]


def _top5(matrix: Matrix, label: str, values: NDArray[Any]) -> str:
    order = _best(values)
    items = "".join(
        f"<li>{_text(_class(matrix, int(i)))} {float(values[i]):.3g}</li>" for i in order
    )
    return f'<p class="dim">{_text(label)}</p><ol>{items}</ol>'


def _environment() -> list[str]:
    found = environment()
    machine = found["machine"]
    items = {
        "edgeconv": found["edgeconv"],
        "Python": found["python"],
        **found["packages"],
        "machine": machine.get("board") or machine.get("processor"),
        "system": machine.get("system", found["platform"]),
    }
    pairs = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in items.items())
    return ["<h2>Environment</h2>", f"<dl>{pairs}</dl>"]
