"""A matrix as data, as a terminal table and as Markdown."""

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from edgeconv import __version__
from edgeconv.deps import versions_of
from edgeconv.judge.advice import said_once
from edgeconv.judge.measures import show
from edgeconv.judge.outputs import inputs_hash
from edgeconv.judge.text import equal_text, what_missed
from edgeconv.judge.text import to_json as verdict_json
from edgeconv.judge.verdict import Verdict
from edgeconv.machine import describe
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.matrix import Matrix, Row
from edgeconv.runtimes.table import DISTRIBUTIONS
from edgeconv.samples import unit_of
from edgeconv.terminal import counted

FORMAT = 1
PACKAGES = ("numpy", *DISTRIBUTIONS, "torch", "onnx")


def to_json(matrix: Matrix) -> dict[str, Any]:
    """Return the whole report as JSON data, as schema.json describes it."""
    departure = matrix.first_departure
    return {
        "edgeconv_parity": FORMAT,
        "exit_code": matrix.exit_code,
        "first_departure": None if departure is None else departure.label,
        "reference": _about(matrix.reference.about),
        "samples": {
            "count": matrix.samples.count,
            "source": matrix.samples.source,
            "skipped": list(matrix.samples.skipped),
            "inputs_sha256": inputs_hash(matrix.samples.inputs),
            "with_truth": 0
            if matrix.samples.truth is None
            else int((matrix.samples.truth >= 0).sum()),
        },
        "reference_latency": None if matrix.latency is None else matrix.latency.to_json(),
        "rows": [_row(row) for row in matrix.rows],
        "notes": list(matrix.notes),
        "environment": environment(),
    }


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    return {key: about[key] for key in sorted(about) if key not in ("scales", "inputs_sha256")}


def _row(row: Row) -> dict[str, Any]:
    about = row.outputs.about if row.outputs else {}
    return {
        "label": row.label,
        "title": row.title,
        "stage": row.stage,
        "runtime": about.get("runtime"),
        "version": about.get("version"),
        "emulated": about.get("emulated"),
        "infer_s": about.get("infer_s"),
        "loop_s": about.get("loop_s"),
        "ok": row.ok,
        "error": row.error,
        "verdict": None if row.verdict is None else verdict_json(row.verdict),
        "before": row.before,
        "step": None if row.step is None else verdict_json(row.step),
        "departs": row.departs,
        "latency": None if row.latency is None else row.latency.to_json(),
        "boxes": None if row.boxes is None else row.boxes.to_json(),
        "layers": None if row.layers is None else row.layers.to_json(),
    }


def environment() -> dict[str, Any]:
    """Return machine, Python and the versions of every package that touches a number."""
    return {
        "edgeconv": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "packages": versions_of(PACKAGES),
        "machine": describe().to_json(),
    }


COLUMNS = (
    ("max err", "max_abs_error"),
    ("rel", "relative_error"),
    ("SQNR dB", "sqnr_db"),
    ("centred", "sqnr_centred_db"),
    ("agree", "agreement_top1"),
    ("equal", "equal"),
    ("KL", "kl"),
    ("top-1", "top1"),
)
WORDS = {
    "max err": "the largest difference of any output value from the reference's",
    "rel": "that difference as a share of the range of the reference's output",
    "SQNR dB": "power of the reference's output over that of the difference: at 20 dB the noise is a tenth "
    "of the signal, at 40 dB a hundredth",
    "floor": "the SQNR that the recipe itself implies, simulated in float: a file cannot be held to more",
    "centred": "SQNR with each value's mean over the samples removed: a frozen output cannot hide "
    "behind a large mean",
    "agree": "share of samples whose best class is the reference's, in percent, with its 95 % interval; "
    "needs no labels",
    "equal": "share of indices, labels or mask values that are the reference's, with its 95 % interval over samples",
    "KL": "how far the class probabilities moved (Kullback-Leibler divergence of the softmax), in nats",
    "top-1": "share of samples whose best class is the true one, in percent, with its 95 % interval",
    "against hop before": "difference from the line above it came from: a conversion alone should add none",
    "quanta": "steps of an integer output: one quantum is its scale",
}
"""What the words of a report mean."""


def table(matrix: Matrix) -> tuple[list[str], list[list[str]]]:
    """Return the header and a line for each output of each row, the reference's first.

    Columns without a figure go.
    """
    used = {key for row in matrix.rows for f in row.figures.values() for key in f}
    columns = [(title, key) for title, key in COLUMNS if key in used]
    timed = any(row.latency for row in matrix.rows)
    latency = [str(matrix.latency or "")] if timed else []
    name = matrix.reference.about.get("title") or matrix.reference.label
    blank = [_figure_of_reference(key, matrix) for _, key in columns]
    lines = [[str(name), *blank, "", *latency, "reference"]]
    for row in matrix.rows:
        lines += _lines(row, columns, timed)
    heading = ["latency"] if timed else []
    return ["hop", *(t for t, _ in columns), "against hop before", *heading, "verdict"], lines


def _figure_of_reference(key: str, matrix: Matrix) -> str:
    """Return the reference's accuracy, which is what the others are held against."""
    for row in matrix.rows:
        for figures in row.figures.values():
            if key == "top1" and "reference_top1" in figures:
                return f"{100 * figures['reference_top1']:.1f}"
    return ""


def _lines(row: Row, columns: Sequence[tuple[str, str]], timed: bool) -> list[list[str]]:
    latency = [str(row.latency or "")] if timed else []
    if row.error is not None:
        return [[row.label, *("" for _ in columns), "", *latency, f"failed: {row.error}"]]
    lines = []
    places = {} if row.verdict is None else row.verdict.places
    for (output, part), figures in places.items():
        cells = [_figure(key, figures) for _, key in columns]
        place = ", ".join(filter(None, (output, part)))
        name = f"{row.label} [{place}]" if len(places) > 1 else row.label
        step = "" if part else _step(row, output)
        word = "MISSED" if not row.ok and _to_blame(row.verdict, output, part) else "ok"
        lines.append([name, *cells, step, *latency, word])
    return lines or [[row.label, *("" for _ in columns), "", *latency, "MISSED"]]


def _to_blame(verdict: Verdict | None, output: str, part: str = "") -> bool:
    """Whether what was missed is about an output or a part of it, or about none that has a line."""
    missed = () if verdict is None else tuple((f.output, f.part) for f in verdict.missed)
    if verdict is None or not missed or output not in verdict.figures:
        return True
    if any(place not in verdict.places for place in missed):
        return True
    return any(o == output and part in ("", p) for o, p in missed)


def _figure(key: str, figures: Mapping[str, float]) -> str:
    if key not in figures:
        return ""
    if key in ("agreement_top1", "top1"):
        low, high = figures[f"{key}_low"], figures[f"{key}_high"]
        return f"{100 * figures[key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    if key == "equal":
        return equal_text(figures)
    if key == "sqnr_db" and "floor_sqnr_db" in figures:
        return f"{show(key, figures[key])} (floor {show(key, figures['floor_sqnr_db'])})"
    return show(key, figures[key])


def _step(row: Row, output: str) -> str:
    if row.step is None or not row.step.figures:
        return ""
    by_place = dict(zip(row.figures, row.step.figures.values(), strict=False))
    figures = row.step.figures.get(output) or by_place.get(output) or {}
    if "quanta_max" in figures:
        text = f"max {show('quanta_max', figures['quanta_max'])} quanta"
    elif "relative_error" in figures:
        text = f"rel {show('relative_error', figures['relative_error'])}"
    else:
        text = f"{100 * figures['equal']:.1f} % equal" if "equal" in figures else ""
    # a hop may depart and the file be good all the same: only a row that missed says so in red
    departs = not (row.step or row.ok) and _to_blame(row.step, output)
    return f"{text} DEPARTS".lstrip() if departs else text


def summary(matrix: Matrix, layers: bool = True) -> list[str]:
    """Return the sentences under the table: what departed first, what missed, what was skipped.

    ``layers`` adds those about single layers.
    """
    said = []
    departure = matrix.first_departure
    if departure is not None:
        judged = departure.step if departure.step is not None else departure.verdict
        behind = departure.before or "the reference"
        layer = None if departure.layers is None else departure.layers.first
        reason = f"first layer: {layer}" if layer is not None else str(judged)
        said.append(f"first departure: {departure.label}, against {behind}: {reason}")
    if matrix.latency is not None and matrix.latency.marks:
        said.append(f"* latency of the reference: {'; '.join(matrix.latency.marks)}")
    for row in matrix.rows:
        if row.verdict is not None and not row.verdict and row.error is None:
            said.append(f"missed: {row.label}: {what_missed(row.verdict, integer=row.integer)}")
        if row.latency is not None and row.latency.marks:
            said.append(f"* latency of {row.label}: {'; '.join(row.latency.marks)}")
        if layers and row.layers is not None:
            said += _layer_lines(row.layers, unit_of(matrix.samples.inputs))
    said += [f"boxes: {row.label}: {row.boxes}" for row in matrix.rows if row.boxes is not None]
    verdicts = [row.verdict for row in matrix.rows if row.verdict is not None]
    notes = [note for verdict in verdicts for note in (*verdict.notes, *verdict.doubts)]
    notes += [
        f"{row.label} departs from {row.before} ({row.step}) and counts for nothing: it is within "
        "its budget against the reference"
        for row in matrix.rows
        if row.ok and row.departs
    ]
    said += [f"note: {note}" for note in dict.fromkeys([*matrix.notes, *notes])]
    said += [f"skipped: {reason}" for reason in matrix.samples.skipped]
    if matrix.samples.prepared is not None:
        said.append(f"pictures: {matrix.samples.prepared}")
    if matrix.samples.told is not None:
        said.append(f"truth: {matrix.samples.told}")
    steps = said_once(step for row in matrix.rows for step in row.advice)
    said += [f"try: {step}" for step in steps]
    ran = sum(row.error is None for row in matrix.rows)
    good = sum(row.ok for row in matrix.rows)
    lost = len(matrix.samples.skipped)
    said.append(
        f"{good} of {counted(len(matrix.rows), 'cell')} within budget, {len(matrix.rows) - ran} failed to run, "
        f"{counted(matrix.samples.count, unit_of(matrix.samples.inputs))} ({matrix.samples.source})"
        f"{f', {lost} more could not be read' if lost else ''}"
    )
    return said


def _layer_lines(report: LayerReport, unit: str) -> list[str]:
    first = report.first
    what = "no layer departs by itself" if first is None else f"first layer that departs: {first}"
    lines = [
        f"layers of {report.label} ({len(report.layers)}, {counted(report.pictures, unit)}): {what}"
    ]
    lines += [
        f"  most noise of its own: {layer.op} {layer.node}: own SQNR "
        f"{show('sqnr_db', layer.own_sqnr_db)} dB, inherited {show('sqnr_db', layer.inherited_sqnr_db)} dB"
        + (f", weights {layer.weight_sqnr_db:.1f} dB" if layer.weight_sqnr_db is not None else "")
        + (f", {100 * layer.clipped:.2f} % clipped" if layer.clipped else "")
        for layer in report.ranked(3)
        if layer.damage > 0
    ]
    if report.unmatched:
        lines.append(f"  without counterpart: {', '.join(report.unmatched[:5])}")
    return lines


def to_markdown(matrix: Matrix) -> str:
    """Return table and summary as GitHub Markdown."""
    header, lines = table(matrix)
    parts = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    parts += ["| " + " | ".join(map(literal, line)) + " |" for line in lines]
    said = [f"- {literal(sentence)}" for sentence in summary(matrix)]
    return "\n".join([*parts, "", *said]) + "\n"


def literal(text: str) -> str:
    """Return ``text`` so that Markdown shows every character of it, on one line.

    >>> print(literal("net_v1 [boxes] | 2"))
    net_v1 \\[boxes\\] \\| 2
    """
    line = text.replace("\n", " ")
    return re.sub(r"[\\`*\[\]<|]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)
