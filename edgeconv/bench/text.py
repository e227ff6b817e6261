"""A report for the terminal and as CSV."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from edgeconv.bench.results import Report, Row
from edgeconv.bench.statistics import Interval
from edgeconv.bench.text_profile import print_profiles
from edgeconv.reports import spreadsheet
from edgeconv.tables import Column, print_headed, print_sentences, print_table

COLUMNS = (
    Column("model"),
    Column("runtime", named=False),
    *(
        Column(title, right=True)
        for title in ("threads", "median ms", "p90", "p99", "mean ms", "ratio", "accuracy", "MB")
    ),
)


def ms(value: float | None) -> str:
    """Milliseconds with three figures.

    >>> ms(0.12345), ms(12.345), ms(123.45), ms(None)
    ('0.123', '12.3', '123', '-')
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def accuracy(row: Row) -> str:
    """What the manifest says of accuracy, in a few words."""
    known: dict[str, Any] = row.about.get("accuracy") or {}
    if known.get("top1") is not None:
        return f"top-1 {100 * known['top1']:.1f} %"
    if known.get("boxes") is not None:
        return f"boxes {100 * known['boxes']:.1f} %"
    if known.get("agreement") is not None:
        return f"agrees {100 * known['agreement']:.1f} %"
    return "-"


def ranked(report: Report) -> list[Row]:
    """Rows by median, the fastest first; failed ones last."""
    return sorted(report.rows, key=lambda row: row.summary.median if row.summary else float("inf"))


def _name(row: Row) -> str:
    return row.label.rpartition(" (")[0] or row.label


def _within(interval: Interval | None, mean: float) -> str:
    return "" if interval is None else f"±{100 * interval.half_width / mean:.1f}%"


def print_report(report: Report, console: Console) -> None:
    """Print the table, then what is wrong with it, then why INT8 did or did not pay."""
    lines = [_cells(row, report, report.machine.emulated) for row in ranked(report)]
    print_table(console, COLUMNS, lines)
    _print_remarks(report, console)
    if not report.machine.emulated:
        _print_diagnosis(report, console)
        _print_sustained(report, console)
        print_profiles(report, console)


def print_devices(reports: Sequence[tuple[str, Report]], console: Console) -> None:
    """Print the rows of several boards as one table, and then what is wrong with each."""
    lines = [
        [device, *_cells(row, report, report.machine.emulated)]
        for device, report in reports
        for row in ranked(report)
    ]
    if lines:  # no board answered: its sentence says so
        print_table(console, (Column("device"), *COLUMNS), lines, keys=2)
    for device, report in reports:
        machine = report.machine
        what = f"{device}: {machine.board or machine.processor}, {machine.system}"
        console.print(escape(what))
        _print_remarks(report, console)
        if not machine.emulated:
            _print_diagnosis(report, console)
            _print_sustained(report, console)
            print_profiles(report, console)


def _print_remarks(report: Report, console: Console) -> None:
    for row in report.rows:
        if row.error is not None:
            print_headed(console, "failed", f"  {row.label}: {row.error}", "red")
    for row in report.rows:
        if row.marks:
            reasons = "; ".join(mark.reason for mark in row.marks)
            print_headed(console, "* marked", f"  {row.label}: {reasons}", "yellow")
    if report.partial:
        said = "  stopped before the end; these are the figures so far"
        print_headed(console, "partial", said, "yellow")
    for note in report.notes:
        print_headed(console, "note", f"     {note}")


def _cells(row: Row, report: Report, emulated: bool) -> list[str]:
    size = row.about.get("bytes")
    size_text = "-" if size is None else f"{size / 1e6:.2f}"
    name = _name(row) + (" *" if row.marks else "")
    threads = str(row.threads)
    head = [name, row.runtime, threads]
    if emulated and row.error is None:  # what came from a board has no summary then
        return [*head, "emulated", "", "", "", "", accuracy(row), size_text]
    if row.summary is None:
        return [*head, "failed", "", "", "", "", accuracy(row), size_text]
    s = row.summary
    ratio = "reference" if row.label in report.references.values() else "-"
    if row.ratio is not None:
        ratio = str(row.ratio)
    mean = f"{ms(s.mean)} {_within(s.interval, s.mean)}"
    return [*head, ms(s.median), ms(s.p90), ms(s.p99), mean, ratio, accuracy(row), size_text]


def _print_diagnosis(report: Report, console: Console) -> None:
    for item in report.diagnosis:
        console.print()
        print_sentences(console, [item["verdict"]])
        for cause in item["causes"]:
            cure = f" -> {cause['cure']}" if cause["cure"] else ""
            print_headed(console, f"  {cause['code']}", f": {cause['sentence']}{cure}", "bold")
    for item in report.regressions:
        style = "red" if item["regressed"] else "dim"
        print_headed(console, "history", f"  {item['sentence']}", style)


def _print_sustained(report: Report, console: Console) -> None:
    for label, curve in report.sustained.items():
        console.print()
        console.print(
            f"sustained {curve['seconds']:.0f} s  {escape(label)}: keeps"
            f" {100 * curve['retention']:.0f} % of its first speed"
            f" ({ms(curve['first_ms'])} -> {ms(curve['last_ms'])} ms)"
        )


CSV_COLUMNS = (
    "label", "runtime", "version", "threads", "threads_ran", "count", "effective", "median_ms",
    "p90_ms", "p95_ms", "p99_ms", "min_ms", "mean_ms", "mean_low_ms", "mean_high_ms", "variation",
    "throughput", "cpu_ms", "load_ms", "first_ms", "peak_mib", "arena_mib", "bytes", "sha256", "ratio",
    "ratio_low", "ratio_high", "marks", "error",
)  # fmt: skip


def to_csv(report: Report) -> str:
    """Return one line a row; empty cells where there is no figure."""
    rows = [_csv_row(row, report.machine.emulated) for row in report.rows]
    return spreadsheet.to_csv(CSV_COLUMNS, rows)


def devices_to_csv(reports: Sequence[tuple[str, Report]]) -> str:
    """Return ``to_csv`` of several boards, whose names are the first column."""
    rows = [
        {"device": device, **_csv_row(row, report.machine.emulated)}
        for device, report in reports
        for row in report.rows
    ]
    return spreadsheet.to_csv(("device", *CSV_COLUMNS), rows)


def _csv_row(row: Row, emulated: bool) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "label": row.label,
        "runtime": row.runtime,
        "version": row.version,
        "threads": row.threads,
        "threads_ran": row.threads_ran,
        "peak_mib": row.peak_mib,
        "arena_mib": row.arena_mib,
        "bytes": row.about.get("bytes"),
        "sha256": row.about.get("sha256"),
        "marks": " ".join(mark.code for mark in row.marks),
        "error": row.error,
    }
    if row.summary is None or emulated:
        return cells
    s = row.summary
    cells |= {
        "count": s.count,
        "effective": s.effective,
        "median_ms": s.median,
        "min_ms": s.minimum,
    }
    cells |= {"p90_ms": s.p90, "p95_ms": s.p95, "p99_ms": s.p99, "mean_ms": s.mean}
    cells |= {"variation": s.variation, "throughput": row.throughput, "cpu_ms": row.cpu_ms}
    cells |= {"load_ms": row.load_ms, "first_ms": row.first_ms}
    if s.interval is not None:
        cells |= {"mean_low_ms": s.interval.low, "mean_high_ms": s.interval.high}
    if row.ratio is not None:
        cells["ratio"] = row.ratio.value
        if row.ratio.interval is not None:
            cells |= {"ratio_low": row.ratio.interval.low, "ratio_high": row.ratio.interval.high}
    return cells
