"""A report as one page that needs nothing else: it opens offline, on a phone, in light and dark."""

import html
import time
from collections.abc import Sequence

import numpy as np

from edgeconv.bench.html_profile import profiles
from edgeconv.bench.results import Report, Row
from edgeconv.bench.text import accuracy, ms, ranked
from edgeconv.bench.watch import Sample
from edgeconv.reports import svg
from edgeconv.reports.style import STYLE

MAX_POINTS = 600


def page(report: Report) -> str:
    """Return the page; it holds no script and makes no request."""
    return _whole(_sections(report))


def devices_page(reports: Sequence[tuple[str, Report]]) -> str:
    """Return one page with the sections of several boards, a heading each."""
    parts = []
    for device, report in reports:
        parts += [f'<h1 class="device">{_text(device)}</h1>', *_sections(report)]
    return _whole(parts)


def _sections(report: Report) -> list[str]:
    rows = [row for row in ranked(report) if row.summary is not None]
    figures = [] if report.machine.emulated else [
        *_distribution(rows),
        *_trace(rows, report.samples),
        *_diagnosis(report),
        *_sustained(report),
        *profiles(report),
    ]  # fmt: skip
    return [*_head(report), *_table(report), *figures, *_machine(report)]


def _whole(parts: Sequence[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>edgeconv bench</title><style>{STYLE}</style>'
        f"</head><body>{''.join(parts)}</body></html>\n"
    )


def _text(text: object) -> str:
    return html.escape(str(text))


def _head(report: Report) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.started))
    machine = report.machine
    what = machine.board or machine.processor
    parts = [
        "<h1>Latency</h1>",
        f'<p class="dim">{_text(what)} · {when} · edgeconv {_text(report.edgeconv)}</p>',
    ]
    if report.partial:
        parts.append('<p class="bad">Stopped before the end: these are the figures so far.</p>')
    parts += [f'<p class="warn">{_text(note)}</p>' for note in report.notes]
    return parts


def _table(report: Report) -> list[str]:
    titles = ("model", "median ms", "p90", "p99", "mean ms [95 %]", "ratio",
              "accuracy", "MB", "peak MiB", "arena MiB")  # fmt: skip
    parts = ['<div class="scroll"><table><tr>', *(f"<th>{t}</th>" for t in titles), "</tr>"]
    for row in ranked(report):
        parts.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(row, report)) + "</tr>")
    parts.append("</table></div>")
    for row in report.rows:
        if row.error is not None:
            parts.append(f'<p class="bad">{_text(row.label)}: {_text(row.error)}</p>')
        if row.marks:
            reasons = _text("; ".join(mark.reason for mark in row.marks))
            parts.append(f'<p class="warn">Not to be trusted: {_text(row.label)}: {reasons}.</p>')
    return parts


def _cells(row: Row, report: Report) -> list[str]:
    size = row.about.get("bytes")
    name = _text(row.label.rpartition(" (")[0] or row.label)
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    head = [f'{name}<br><span class="dim">{_text(row.runtime)} · {_text(threads)}</span>']
    tail = [_text(accuracy(row)), "-" if size is None else f"{size / 1e6:.2f}"]
    tail.append("-" if row.peak_mib is None else f"{row.peak_mib:.0f}")
    tail.append("-" if row.arena_mib is None else f"{row.arena_mib:.1f}")
    if row.summary is None or report.machine.emulated:
        return [*head, "failed" if row.error else "emulated", "", "", "", "", *tail]
    s, ratio = row.summary, "reference" if row.label in report.references.values() else "-"
    if row.ratio is not None:
        ratio = f"{row.ratio.value:.2f}"
        if row.ratio.interval is not None:
            ratio += f" [{row.ratio.interval.low:.2f}, {row.ratio.interval.high:.2f}]"
    mean = ms(s.mean)
    if s.interval is not None:
        mean += f" [{ms(s.interval.low)}, {ms(s.interval.high)}]"
    return [*head, ms(s.median), ms(s.p90), ms(s.p99), mean, ratio, *tail]


def _distribution(rows: Sequence[Row]) -> list[str]:
    """Cumulative shares on a logarithmic axis: medians, tails and second modes are all visible."""
    if not rows:
        return []
    series = []
    for row in rows:
        ordered = np.sort(np.asarray(row.latencies_ms))
        shares = (np.arange(len(ordered)) + 1) / len(ordered)
        keep = np.unique(np.linspace(0, len(ordered) - 1, MAX_POINTS).astype(int))
        series.append(svg.Series(row.label, ordered[keep].tolist(), (100 * shares[keep]).tolist()))
    values = [v for one in series for v in one.x]
    x = svg.axis_over("ms", values, log=max(values) > 3 * min(values))
    chart = svg.lines(series, x, svg.Axis("% of runs at most", 0, 100), "Latency distribution")
    return ["<h2>Distribution</h2>", svg.legend([row.label for row in rows]), chart]


def _trace(rows: Sequence[Row], samples: Sequence[Sample]) -> list[str]:
    if not rows:
        return []
    zero = min(row.starts_s[0] for row in rows)
    series = [
        svg.Series(row.label, [t - zero for t in row.starts_s], row.rounds_ms) for row in rows
    ]
    x = svg.axis_over("s", [t for one in series for t in one.x], zero=True)
    y = svg.axis_over("ms, median of a round", [v for one in series for v in one.y], zero=True)
    parts = ["<h2>Round by round</h2>", svg.lines(series, x, y, "Latency over time")]
    inside = [s for s in samples if 0 <= s.at - zero <= x.high]
    clocks = [(s.at - zero, max(s.clocks_mhz)) for s in inside if s.clocks_mhz]
    heat = [(s.at - zero, s.temperature_c) for s in inside if s.temperature_c is not None]
    for title, pairs in (("MHz, the fastest processor", clocks), ("°C, the hottest sensor", heat)):
        if len(pairs) > 1:
            line = svg.Series(title, [a for a, _ in pairs], [b for _, b in pairs])
            parts.append(
                svg.lines([line], x, svg.axis_over(title, line.y), title, svg.Canvas(height=160.0))
            )
    if not heat:
        parts.append('<p class="dim">This machine shows no temperature.</p>')
    return parts


def _diagnosis(report: Report) -> list[str]:
    if not report.diagnosis and not report.regressions:
        return []
    parts = ["<h2>Did INT8 pay?</h2>"] if report.diagnosis else []
    for item in report.diagnosis:
        parts.append(f"<p>{_text(item['verdict'])}.</p><ul class='causes'>")
        for cause in item["causes"]:
            cure = f" <span class='dim'>{_text(cause['cure'])}.</span>" if cause["cure"] else ""
            parts.append(
                f"<li><b>{_text(cause['code'])}</b>: {_text(cause['sentence'])}.{cure}</li>"
            )
        parts.append("</ul>")
    for item in report.regressions:
        style = "bad" if item["regressed"] else "dim"
        parts.append(f'<p class="{style}">{_text(item["sentence"])}</p>')
    return parts


def _sustained(report: Report) -> list[str]:
    curves = {label: c for label, c in report.sustained.items() if "error" not in c}
    if not curves:
        return []
    series = [svg.Series(label, c["at_s"], c["medians_ms"]) for label, c in curves.items()]
    x = svg.axis_over("s", [v for one in series for v in one.x], zero=True)
    y = svg.axis_over("ms", [v for one in series for v in one.y], zero=True)
    parts = ["<h2>Sustained</h2>", svg.legend(list(curves)), svg.lines(series, x, y, "Sustained")]
    for label, c in curves.items():
        parts.append(
            f"<p>{_text(label)} keeps {100 * c['retention']:.0f} % of its first speed.</p>"
        )
    return parts


def _machine(report: Report) -> list[str]:
    machine = report.machine
    clusters = ", ".join(
        f"{len(c.cpus)} x {c.core}" + (f" up to {c.max_mhz:.0f} MHz" if c.max_mhz else "")
        for c in machine.clusters
    )
    facts = {
        "board": machine.board,
        "processor": machine.processor,
        "cores": clusters,
        "features": ", ".join(machine.features),
        "governor": ", ".join(report.governors),
        "load before": report.load_before,
        "memory": f"{machine.memory_mib} MiB",
        "system": f"{machine.system}, kernel {machine.kernel}",
        "container": machine.container,
        "versions": ", ".join(f"{k} {v}" for k, v in report.versions.items() if v),
        "settings": ", ".join(
            f"{k} {v}" for k, v in report.settings.items() if v not in (None, [])
        ),
    }
    parts = ["<h2>Machine</h2><dl>"]
    parts += [f"<dt>{k}</dt><dd>{_text(v)}</dd>" for k, v in facts.items() if v not in (None, "")]
    for row in report.rows:
        if digest := row.about.get("sha256"):
            parts.append(f"<dt>{_text(row.label)}</dt><dd>sha256 {_text(digest)}</dd>")
    return [*parts, "</dl>"]
