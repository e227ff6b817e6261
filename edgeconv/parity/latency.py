"""Latency beside accuracy: the artifacts and their float reference take turns, as in ``bench``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.parity.cells import Cell
from edgeconv.runtimes.table import RUNTIMES

REFERENCE = "reference"
"""Key of the float reference's own latency."""


@dataclass(frozen=True)
class Latency:
    """Median of one cell in milliseconds and the ratio to ``reference``, with its 95 % interval.

    ``marks`` are the reasons not to trust the figure, as bench gives them.
    """

    median_ms: float
    ratio: float | None
    low: float | None
    high: float | None
    reference: str | None
    marks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "median_ms": self.median_ms,
            "ratio": self.ratio,
            "ratio_interval": None if self.low is None else [self.low, self.high],
            "reference": self.reference,
            "marks": list(self.marks),
        }

    def __str__(self) -> str:
        said = f"{self.median_ms:.2f} ms"
        if self.ratio is not None:
            said += f" ({self.ratio:.2f}x float)"
        return said + (" *" if self.marks else "")


def measure_latencies(
    cells: Sequence[Cell], threads: int, seconds: float = 2.0
) -> tuple[dict[str, Latency], list[str]]:
    """Return latency by label for every artifact cell that runs, the reference's as REFERENCE, and notes.

    The reference is the net in PyTorch where torch is installed and the manifest names it, else the
    hub graph in onnxruntime. Nothing is measured under emulation, where a time says nothing.
    """
    from edgeconv.bench.engine import measure, to_row
    from edgeconv.bench.plan import Plan, Subject
    from edgeconv.bench.subjects import Choice, reference_rows
    from edgeconv.bench.watch import Watch
    from edgeconv.machine import describe

    machine = describe()
    if machine.emulated:
        return {}, ["this machine is emulated: no latency is shown"]
    chosen = [
        c for c in cells if c.stage in PRECISIONS and not c.python and RUNTIMES[c.runtime].timed
    ]
    subjects = [
        Subject(c.label, c.runtime, threads, str(c.path), options=c.options) for c in chosen
    ]
    first = next((cell for cell in chosen if cell.artifact is not None), None)
    added: list[Subject] = []
    notes = []
    if first is not None and first.artifact is not None:
        try:
            added = reference_rows(first.path, first.artifact, Choice(threads=(threads,)))[:1]
        except EdgeconvError as error:
            notes.append(f"no float reference to compare latency with: {error}")
    watch = Watch()
    turns, partial = measure([*added, *subjects], Plan(seconds=seconds), watch)
    rows = {turn.subject.label: to_row(turn, watch, machine) for turn in turns}
    medians = {turn.subject.label: turn.round_medians_ms for turn in turns}
    anchor = added[0].label if added and rows[added[0].label].error is None else None
    notes += ["the latency measurement was interrupted"] if partial else []
    notes += [f"latency of {label}: {row.error}" for label, row in rows.items() if row.error]
    found = {}
    own = rows[anchor].summary if anchor is not None else None
    if anchor is not None and own is not None:
        marks = tuple(mark.reason for mark in rows[anchor].marks)
        found[REFERENCE] = Latency(own.median, None, None, None, anchor, marks)
    for cell in chosen:
        row = rows[cell.label]
        if row.summary is not None:
            ratio = _ratio(medians[cell.label], medians.get(anchor or ""))
            marks = tuple(mark.reason for mark in row.marks)
            found[cell.label] = Latency(row.summary.median, *ratio, anchor, marks)
    return found, notes


def _ratio(
    mine: Mapping[int, float], other: Mapping[int, float] | None
) -> tuple[float | None, float | None, float | None]:
    from edgeconv.bench.statistics import ratio_of_rounds

    common = sorted(mine.keys() & other.keys()) if other else []
    if not common or other is None:
        return None, None, None
    found = ratio_of_rounds([mine[n] for n in common], [other[n] for n in common])
    if found.interval is None:
        return found.value, None, None
    return found.value, found.interval.low, found.interval.high
