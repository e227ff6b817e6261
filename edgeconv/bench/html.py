"""A report as one page that needs nothing else: it opens offline, on a phone, in light and dark."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeconv.bench.html_profile import profiles
from edgeconv.bench.results import Report, Row
from edgeconv.bench.text import accuracy, ms, ranked
from edgeconv.bench.watch import Sample
from edgeconv.reports import svg
from edgeconv.reports.parts import Bar
from edgeconv.templates import render

MAX_POINTS = 600


TITLES = (
    "model", "median ms", "p90", "p99", "mean ms [95 %]", "ratio", "accuracy", "MB", "peak MiB",
    "arena MiB",
)  # fmt: skip


def page(report: Report) -> str:
    """Return the page; it holds no script and makes no request.

    Raises MissingDependencyError without jinja2.
    """
    return _render([_board(report, "Latency")])


def devices_page(reports: Sequence[tuple[str, Report]]) -> str:
    """Return one page with the sections of several boards, a heading each."""
    return _render([_board(report, device) for device, report in reports])


def _render(boards: Sequence[dict[str, Any]]) -> str:
    names = dict.fromkeys(name for board in boards for name, _, _ in board["rows"])
    title = f"{', '.join(names) or 'nothing'} · edgeconv bench"
    return render("pages", "bench.html.jinja", title=title, boards=boards)


def _board(report: Report, title: str) -> dict[str, Any]:
    """Return everything about one machine."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.started))
    rows = [row for row in ranked(report) if row.summary is not None]
    shown = [] if report.machine.emulated else rows
    notes = [("warn", note) for note in report.notes]
    if report.partial:
        notes.insert(0, ("bad", "Stopped before the end: these are the figures so far."))
    timed = [row for row in shown if row.rounds_ms and row.latencies_ms]
    charts = [*_distribution(timed), *_trace(timed, report.samples)]
    return {
        "title": title,
        "about": f"{report.machine.board or report.machine.processor} · {when} · edgeconv {report.edgeconv}",
        "notes": notes,
        "faster": _faster(shown),
        "bars": _bars(shown),
        "header": TITLES,
        "rows": [_cells(row, report) for row in ranked(report)],
        "remarks": _remarks(report),
        "charts": charts if report.machine.emulated else [*charts, *_sustained(report)],
        "diagnosis": [] if report.machine.emulated else report.diagnosis,
        "regressions": [] if report.machine.emulated else report.regressions,
        "profiles": [] if report.machine.emulated else profiles(report),
        "machine": _machine(report),
    }


def _faster(rows: Sequence[Row]) -> str:
    """Return which of the fastest two is faster, or that their intervals do not say."""
    if len(rows) < 2:
        return ""
    first, second = rows[0], rows[1]
    assert first.summary is not None
    assert second.summary is not None
    one, two = first.summary.median_interval, second.summary.median_interval
    if any(row.marks for row in (first, second)):
        return "The machine was disturbed, so the order is not to be trusted: see below."
    if one is None or two is None:
        return "There are too few runs to tell: ask for more with --runs or --seconds."
    if one.high >= two.low:
        return (
            f"{first.label} and {second.label} cannot be told apart: the intervals of their medians "
            "overlap. More seconds make them narrower (--seconds)."
        )
    ratio = second.summary.median / first.summary.median
    return f"{first.label} is the fastest: {second.label} takes {ratio:.2f} times as long."


def _bars(rows: Sequence[Row]) -> list[Bar]:
    summaries = [row.summary for row in rows if row.summary is not None]
    intervals = [s.median_interval for s in summaries]
    highs = [i.high for i in intervals if i is not None]
    most = max([*highs, *(s.median for s in summaries)], default=1.0)
    bars = []
    for row, s, interval in zip(rows, summaries, intervals, strict=True):
        ends = None if interval is None else (interval.low / most, interval.high / most)
        bars.append(Bar(row.label, s.median / most, f"{ms(s.median)} ms", ends))
    return bars


def _remarks(report: Report) -> list[tuple[str, str]]:
    said = []
    for row in report.rows:
        if row.error is not None:
            said.append(("bad", f"{row.label}: {row.error}"))
        if row.marks:
            reasons = "; ".join(mark.reason for mark in row.marks)
            said.append(("warn", f"Not to be trusted: {row.label}: {reasons}."))
    return said


def _cells(row: Row, report: Report) -> tuple[str, str, list[str]]:
    """Return the row's model, its runtime and threads, and its figures."""
    size = row.about.get("bytes")
    name = row.label.rpartition(" (")[0] or row.label
    threads = "1 thread" if row.threads == 1 else f"{row.threads} threads"
    how = f"{row.runtime} · {threads}"
    tail = [accuracy(row), "-" if size is None else f"{size / 1e6:.2f}"]
    tail.append("-" if row.peak_mib is None else f"{row.peak_mib:.0f}")
    tail.append("-" if row.arena_mib is None else f"{row.arena_mib:.1f}")
    if row.summary is None or report.machine.emulated:
        return name, how, ["failed" if row.error else "emulated", "", "", "", "", *tail]
    s, ratio = row.summary, "reference" if row.label in report.references.values() else "-"
    if row.ratio is not None:
        ratio = str(row.ratio)
    mean = ms(s.mean)
    if s.interval is not None:
        mean += f" [{ms(s.interval.low)}, {ms(s.interval.high)}]"
    return name, how, [ms(s.median), ms(s.p90), ms(s.p99), mean, ratio, *tail]


def _section(
    title: str, charts: Sequence[str], key: Sequence[str] = (), said: Sequence[str] = ()
) -> dict[str, Any]:
    return {"title": title, "charts": charts, "key": key, "said": said}


def _distribution(rows: Sequence[Row]) -> list[dict[str, Any]]:
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
    return [_section("Distribution", [chart], [row.label for row in rows])]


def _trace(rows: Sequence[Row], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    if not rows:
        return []
    zero = min(row.starts_s[0] for row in rows)
    series = [
        svg.Series(row.label, [t - zero for t in row.starts_s], row.rounds_ms) for row in rows
    ]
    x = svg.axis_over("s", [t for one in series for t in one.x], zero=True)
    y = svg.axis_over("ms, median of a round", [v for one in series for v in one.y], zero=True)
    charts = [svg.lines(series, x, y, "Latency over time")]
    inside = [s for s in samples if 0 <= s.at - zero <= x.high]
    clocks = [(s.at - zero, max(s.clocks_mhz)) for s in inside if s.clocks_mhz]
    heat = [(s.at - zero, s.temperature_c) for s in inside if s.temperature_c is not None]
    for title, pairs in (("MHz, the fastest processor", clocks), ("°C, the hottest sensor", heat)):
        if len(pairs) > 1:
            line = svg.Series(title, [a for a, _ in pairs], [b for _, b in pairs])
            charts.append(
                svg.lines([line], x, svg.axis_over(title, line.y), title, svg.Canvas(height=160.0))
            )
    said = [] if heat else ["This machine shows no temperature."]
    return [_section("Round by round", charts, [row.label for row in rows], said)]


def _sustained(report: Report) -> list[dict[str, Any]]:
    curves = {label: c for label, c in report.sustained.items() if "error" not in c}
    if not curves:
        return []
    series = [svg.Series(label, c["at_s"], c["medians_ms"]) for label, c in curves.items()]
    x = svg.axis_over("s", [v for one in series for v in one.x], zero=True)
    y = svg.axis_over("ms", [v for one in series for v in one.y], zero=True)
    said = [
        f"{label} keeps {100 * c['retention']:.0f} % of its first speed."
        for label, c in curves.items()
    ]
    return [_section("Sustained", [svg.lines(series, x, y, "Sustained")], list(curves), said)]


def _machine(report: Report) -> list[tuple[str, str]]:
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
        "load before": None if report.load_before is None else f"{report.load_before:.1f}",
        "memory": f"{machine.memory_mib} MiB",
        "system": f"{machine.system}, kernel {machine.kernel}",
        "container": machine.container,
        "versions": ", ".join(f"{k} {v}" for k, v in report.versions.items() if v),
        "settings": ", ".join(
            f"{k} {v}" for k, v in report.settings.items() if v not in (None, [])
        ),
    }
    known = [(name, str(said)) for name, said in facts.items() if said not in (None, "")]
    hashes = [(row.label, row.about.get("sha256")) for row in report.rows]
    return [*known, *((label, f"sha256 {digest}") for label, digest in hashes if digest)]
