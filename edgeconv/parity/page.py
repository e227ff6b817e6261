"""The report as one page that needs nothing else: it opens offline, on a phone, in light and dark."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.judge.advice import said_once
from edgeconv.judge.measures import MEASURES, meaning
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.matrix import Matrix, Row
from edgeconv.parity.report import WORDS, environment, summary, table
from edgeconv.parity.rows import Pair, pair_of
from edgeconv.reports import svg
from edgeconv.reports.parts import Bar, confused, scaled
from edgeconv.reports.png import thumbnail
from edgeconv.samples import unit_of
from edgeconv.templates import render
from edgeconv.terminal import counted

POINTS = 400
"""Points of a scatter chart; more hide each other."""
NOISIEST = 12
"""Tensors that are blamed for noise."""
WORST = 6
"""Pictures that are shown."""
CEILING_DB = 120.0
"""Where an infinite SQNR is drawn."""
CLEAN_DB = 90.0
"""Above this no chart is worth its place: float kernels that sum in another order."""

RANKED = ("layer", "op", "own SQNR", "inherited", "quanta off", "clipped", "weights")
ALWAYS = ("quanta", "floor")
"""Words of the legend that no column is called."""


def to_html(matrix: Matrix) -> str:
    """Return the page; it holds no script and makes no request.

    Raises MissingDependencyError without jinja2.
    """
    header, lines = table(matrix)
    files = [row for row in _shown(matrix) if row.outputs is not None]
    names = list(dict.fromkeys(row.label.partition(" · ")[0] for row in files))
    good = sum(row.ok for row in matrix.rows)
    sentences = summary(matrix, layers=False)[:-1]
    return render(
        "pages",
        "parity.html.jinja",
        title=f"{', '.join(names) or 'nothing'} · edgeconv parity",
        names=names,
        ok=good == len(matrix.rows),
        within=f"{good} of {counted(len(matrix.rows), 'cell')} within budget",
        pictures=f"{counted(matrix.samples.count, unit_of(matrix.samples.inputs))} · {matrix.samples.source}",
        steps=said_once(step for row in matrix.rows for step in row.advice),
        sentences=[(_kind(said), said) for said in sentences if not said.startswith("try: ")],
        bars_title=f"Same {'boxes' if any(row.boxes for row in matrix.rows) else 'class'} as the reference",
        hops=_bars(matrix),
        # the verdict comes second: on a phone the figures scroll, it does not
        header=[header[0], header[-1], *header[1:-1]],
        lines=[(line[0], _verdict_kind(line[-1]), line[-1], line[1:-1]) for line in lines],
        words=[
            *((word, said) for word, said in WORDS.items() if word in (*header, *ALWAYS)),
            *_named(matrix),
        ],
        noise=_noise(matrix),
        layers=[_layers(row.layers) for row in matrix.rows if _worth(row.layers)],
        scatter=_scatter(matrix),
        confusion=_confusion(matrix),
        worst=_worst(matrix),
        environment=_environment(),
    )


def _kind(sentence: str) -> str:
    return "bad" if sentence.startswith(("first departure", "missed", "skipped")) else "dim"


def _verdict_kind(verdict: str) -> str:
    return {"ok": "good", "reference": "dim"}.get(verdict, "bad")


def _bars(matrix: Matrix) -> list[Bar]:
    """Return how often each hop names the reference's class, or finds its boxes, with the 95 % interval."""
    bars = []
    for row in matrix.rows:
        figures = _first(row)
        if row.boxes is not None:
            held = row.boxes.matched
            bars.append(Bar(row.label, held.value, str(held), held.interval, 0 if row.ok else 1))
        elif "agreement_top1" in figures:
            share, low, high = (
                float(figures[f"agreement_top1{end}"]) for end in ("", "_low", "_high")
            )
            said = f"{100 * share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
            bars.append(Bar(row.label, share, said, (low, high), 0 if row.ok else 1))
    return bars


def _named(matrix: Matrix) -> list[tuple[str, str]]:
    """Return the figures that were missed, and what each is."""
    missed = (
        f.metric for row in matrix.rows if row.verdict is not None for f in row.verdict.missed
    )
    return [(name, meaning(name)) for name in dict.fromkeys(missed) if name in MEASURES]


def _noise(matrix: Matrix) -> list[Bar]:
    """Return the tensors whose rounding is to blame for most of a recipe's noise."""
    for row in matrix.rows:
        shares = {} if row.outputs is None else row.outputs.about.get("noise") or {}
        if shares:
            named = [(name, share, f"{share:.1%}") for name, share in shares.items()]
            return scaled(named[:NOISIEST])
    return []


def _worth(report: LayerReport | None) -> bool:
    return report is not None and len(report.layers) >= 2


def _layers(report: LayerReport | None) -> dict[str, Any]:
    """Return one file's layers: a sentence, and where any of them is noisy a chart and a ranking."""
    assert report is not None
    first = report.first
    said = "no layer departs by itself" if first is None else f"first that departs: {first}"
    found: dict[str, Any] = {"label": report.label, "said": said, "chart": None}
    if first is None and min(x.inherited_sqnr_db for x in report.layers) > CLEAN_DB:
        return {**found, "said": f"{said}; every layer is above {CLEAN_DB:.0f} dB"}
    places = [float(i) for i in range(len(report.layers))]
    series = [
        svg.Series("own error", places, [_drawn(x.own_sqnr_db) for x in report.layers]),
        svg.Series("inherited", places, [_drawn(x.inherited_sqnr_db) for x in report.layers]),
    ]
    chart = svg.lines(
        series,
        svg.axis_over("layer, in order", places),
        svg.axis_over("SQNR, dB", [v for one in series for v in one.y]),
        f"SQNR of the layers of {report.label}",
    )
    ranked = report.ranked(8)
    return {
        **found,
        "chart": chart,
        "key": [one.name for one in series],
        "header": RANKED,
        "rows": [_ranked(layer) for layer in ranked],
        "kinds": ["bad" if layer.departs else "" for layer in ranked],
    }


def _drawn(value: float) -> float:
    return min(max(value, -20.0), CEILING_DB) if not math.isnan(value) else -20.0


def _ranked(layer: Any) -> tuple[str, ...]:
    return (
        layer.node,
        layer.op,
        f"{layer.own_sqnr_db:.1f}",
        f"{layer.inherited_sqnr_db:.1f}",
        "" if layer.mean_quanta is None else f"{layer.mean_quanta:.3f}",
        "" if layer.clipped is None else f"{100 * layer.clipped:.2f} %",
        "" if layer.weight_sqnr_db is None else f"{layer.weight_sqnr_db:.1f}",
    )


def _shown(matrix: Matrix) -> list[Row]:
    """The rows of artifacts, which charts are about; every row where there are none."""
    rows = [row for row in matrix.rows if row.outputs is not None and row.verdict is not None]
    files = [row for row in rows if row.stage in PRECISIONS]
    return files or rows


def _classified(matrix: Matrix) -> list[Row]:
    return [row for row in _shown(matrix) if "agreement_top1" in _first(row)]


def _pair(matrix: Matrix, row: Row) -> Pair:
    return pair_of(matrix.reference, row.outputs or matrix.reference)


def _scatter(matrix: Matrix) -> dict[str, Any] | None:
    rows = [row for row in _shown(matrix) if "sqnr_db" in _first(row)]
    if not rows:
        return None
    series = []
    for row in rows:
        pair = _pair(matrix, row)
        a, b = pair.wanted.reshape(-1), pair.got.reshape(-1)
        keep = np.unique(np.linspace(0, a.size - 1, POINTS).astype(int))
        series.append(svg.Series(row.label, a[keep].tolist(), b[keep].tolist()))
    values = [v for one in series for v in (*one.x, *one.y)]
    x, y = svg.axis_over("reference", values), svg.axis_over("this file", values)
    ends = (min(values), max(values))
    line = svg.polyline(ends, ends, x, y, "roof")
    chart = svg.points(series, x, y, "Outputs against the reference's", line)
    return {"chart": chart, "key": [one.name for one in series]}


def _first(row: Row) -> Mapping[str, float]:
    return next(iter(row.figures.values()), {})


def _confusion(matrix: Matrix) -> list[tuple[str, list[tuple[str, str, int, int]]]]:
    """Return each file's confused pairs of classes, where the truth is known and some are."""
    truth = matrix.samples.truth
    if truth is None:
        return []
    found = []
    for row in _classified(matrix):
        pair = _pair(matrix, row)
        taken = pair.got.argmax(axis=1)
        pairs = confused(truth[pair.pictures], taken, lambda index: _class(matrix, index))
        found.append((row.label, pairs))
    return [(label, pairs) for label, pairs in found if pairs]


def _worst(matrix: Matrix) -> list[dict[str, Any]]:
    """Return the pictures whose outputs are furthest from the reference's, each with its classes."""
    rows = _classified(matrix)
    if not rows:
        return []
    pairs = [_pair(matrix, row) for row in rows]
    spread = np.zeros(matrix.samples.count)
    for pair in pairs:
        flipped = pair.wanted.argmax(axis=1) != pair.got.argmax(axis=1)
        error = np.sqrt(np.square(pair.wanted.astype(np.float64) - pair.got).mean(axis=1))
        error += flipped * error.max(initial=0.0)
        spread[pair.pictures] = np.maximum(spread[pair.pictures], error)
    order = np.argsort(-spread, kind="stable")[:WORST]
    return [_card(matrix, int(picture), rows, pairs) for picture in order]


def _card(
    matrix: Matrix,
    picture: int,
    rows: Sequence[Row],
    pairs: Sequence[Pair],
) -> dict[str, Any]:
    names, truth = matrix.samples.names, matrix.samples.truth
    seen = [(row, p.of(picture)) for row, p in zip(rows, pairs, strict=True)]
    ran = [(row, both) for row, both in seen if both is not None]
    reference = ran[0][1][0]
    lists, same = [("reference", _top5(matrix, reference))], []
    for row, (_, values) in ran:
        if (_best(values) == _best(reference)).all():
            same.append(row.label)  # thirteen equal lists would hide the one that differs
        else:
            lists.append((row.label, _top5(matrix, values)))
    known = truth is not None and truth[picture] >= 0
    return {
        "name": names[picture] if picture < len(names) else str(picture),
        "image": _image(matrix, picture),
        "truth": _class(matrix, int(truth[picture])) if truth is not None and known else "",
        "lists": lists,
        "same": ", ".join(same),
    }


def _image(matrix: Matrix, picture: int) -> str:
    """Return the picture as a data address, empty where the input is none."""
    array = next(iter(matrix.samples.inputs.values()))
    if array.ndim != 4:
        return ""
    values = np.asarray(array[picture])
    if matrix.samples.layout == "nhwc":
        values = values.transpose(2, 0, 1)
    return thumbnail(values) if len(values) in (1, 3) else ""


def _class(matrix: Matrix, index: int) -> str:
    labels = matrix.samples.labels
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"


def _best(values: NDArray[Any]) -> NDArray[np.intp]:
    """Return the five best classes, best first."""
    return np.argsort(-values, kind="stable")[:5]


def _top5(matrix: Matrix, values: NDArray[Any]) -> list[str]:
    return [f"{_class(matrix, int(i))} {float(values[i]):.3g}" for i in _best(values)]


def _environment() -> list[tuple[str, str]]:
    found = environment()
    machine = found["machine"]
    items = {
        "edgeconv": found["edgeconv"],
        "Python": found["python"],
        **found["packages"],
        "machine": machine.get("board") or machine.get("processor"),
        "system": machine.get("system", found["platform"]),
    }
    return [(name, str(said)) for name, said in items.items()]
