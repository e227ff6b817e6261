"""A sweep on the terminal: a table of cells, then the sentences."""

from typing import TYPE_CHECKING

from edgeconv.sweep.cell import Cell
from edgeconv.sweep.point import share_right
from edgeconv.sweep.results import GO_ON, SweepReport

if TYPE_CHECKING:
    from rich.console import Console


def print_sweep(report: SweepReport, console: "Console") -> None:
    """Print every cell that ran, those worth shipping first, then those that did not, then what follows."""
    from rich.text import Text

    from edgeconv.tables import Column, print_sentences, print_table

    figures = ("top-1 %" if report.truth else "as float %", "ms", "MB")
    columns = (
        Column("cell"),
        *(Column(name, right=True) for name in figures),
        Column("", named=False),
    )
    cells = ranked(report)
    styles = ["bold" if report.status(cell) == "front" else "dim" for cell in cells]
    if cells:
        print_table(console, columns, [_row(report, cell) for cell in cells], styles)
    for line in report.unmade():
        print_sentences(console, [line])
    for sentence in report.sentences():
        print_sentences(console, [sentence])
    if report.command() is not None:
        console.print(Text(f"make it    {report.command()}"), soft_wrap=True)


def _row(report: SweepReport, cell: Cell) -> tuple[str, ...]:
    size = f"{cell.bytes / 1e6:.2f}"
    return cell.label, accuracy_text(cell), latency_text(cell), size, remark(report, cell)


def ranked(report: SweepReport) -> list[Cell]:
    """Return the cells that have a file: those worth shipping first, then the faster, then the smaller."""
    shown = [c for c in report.cells if c.path is not None and c.error is None]
    return sorted(
        shown, key=lambda c: (report.status(c) != "front", _milliseconds(c), c.bytes, c.label)
    )


def _milliseconds(cell: Cell) -> float:
    timed = None if cell.timing is None else cell.timing["latency_ms"]
    return float("inf") if timed is None else float(timed)


def accuracy_text(cell: Cell) -> str:
    """Return the share that was right and its interval, in percent; "-" where it is not known."""
    share = share_right(cell.correct)
    if share is None:
        return "-"
    low, middle, high = (100 * value for value in share)
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def latency_text(cell: Cell) -> str:
    """Return the median time and its interval, in milliseconds; "-" where it is not timed."""
    if cell.timing is None or cell.timing["latency_ms"] is None:
        return "-"
    interval = cell.timing["interval_ms"]
    around = "" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]"
    return f"{cell.timing['latency_ms']:.3g}{around}"


def remark(report: SweepReport, cell: Cell) -> str:
    """Return what became of a cell, in words."""
    status = report.status(cell)
    said = {
        "front": "worth shipping",
        "dominated": f"dominated by {report.dominated.get(id(cell))}",
        "missed": f"MISSED: {cell.missed}",
        "dropped": "dropped early",
        "open": f"not done: {GO_ON}",
    }.get(status, status)
    if cell.correct is not None and len(cell.correct) < report.pictures:
        said += f" · {len(cell.correct)} of {report.pictures} pictures seen"
    if cell.untimed:
        said += f" · {cell.untimed}"
    if cell.timing is not None and cell.timing["emulated"]:
        said += " · an emulated board has no latency"
    if cell.timing is not None and cell.timing["busy"]:
        said += " · timed on a busy machine"
    return said
