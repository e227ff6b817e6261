"""A sweep's result as data: cells in a fixed order, JSON, CSV, and the sentence that answers."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeconv.reports import spreadsheet
from edgeconv.sweep.again import export_command
from edgeconv.sweep.budgets import KIBIBYTE, Budgets, below
from edgeconv.sweep.cell import ON_A_MAC, Cell
from edgeconv.sweep.choose import dominated_by, equals, over, pick, smaller, told_apart
from edgeconv.sweep.forms import Form
from edgeconv.sweep.job import Job
from edgeconv.sweep.point import share_right
from edgeconv.terminal import counted

SWEEP_VERSION = 1

NONE_KEEPS = "no cell is sure to keep the budgets"
NAMED = 2
"""Cells of one reason that are named, at most."""

GO_ON = "the same command goes on"
"""Of a sweep that was stopped."""


@dataclass
class SweepReport:
    """Everything a sweep found. ``partial``: it was stopped before its end.

    ``made`` tasks took ``worked`` seconds in all, wherever they ran; the sweep took ``seconds``.
    ``unasked`` says which classes have no picture.
    """

    job: Job
    cells: list[Cell]
    truth: bool
    pictures: int
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False
    made: int = 0
    kept: int = 0
    seconds: float = 0.0
    worked: float = 0.0
    unasked: str | None = None

    def __post_init__(self) -> None:
        self.judge()

    def judge(self) -> None:
        """Decide which cells are dominated, and which one answers the budgets."""
        judged = [(cell, cell.point()) for cell in self.cells]
        made = [(cell, point) for cell, point in judged if point is not None]
        known = [(cell, point) for cell, point in made if not self._open(cell)]
        points = [point for _, point in known]
        by = dominated_by(points)
        self.dominated = {
            id(cell): known[index][0].label
            for (cell, _), index in zip(known, by, strict=True)
            if index is not None
        }
        self.front = [cell for (cell, _), index in zip(known, by, strict=True) if index is None]
        self.budgets = budgets_of(self.job)
        whole = [(cell, point) for cell, point in known if not cell.dropped]
        same = equals([point for _, point in whole], self.budgets) if self.budgets else []
        self.answer = whole[same[0]][0] if same else None
        self.equals = [whole[place][1] for place in same]
        self.rivals = [point for place, (_, point) in enumerate(whole) if place not in same[:1]]
        self._points = {id(cell): point for cell, point in made}

    def _open(self, cell: Cell) -> bool:
        """Whether the sweep was stopped before all that it was to find of a cell."""
        settled = cell.impossible or cell.dropped or cell.error is not None or cell.within is False
        if settled or not self.partial:
            return False
        unseen = len(cell.correct or ()) < self.pictures
        untimed = self.job.bench and cell.timing is None and cell.untimed is None
        return cell.path is None or unseen or untimed

    def status(self, cell: Cell) -> str:
        """Return impossible, open, failed, missed, dropped, dominated or front."""
        if cell.impossible:
            return "impossible"
        if self._open(cell):
            return "open"
        if cell.error is not None or cell.path is None:
            return "failed"
        if not cell.within:
            return "missed"
        if cell.dropped:
            return "dropped"
        return "dominated" if id(cell) in self.dominated else "front"

    def unmade(self) -> list[str]:
        """Return what became of cells that have no file, and why, a line a reason; one for all not done yet."""
        told: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            if cell.error is not None:
                told.setdefault((self.status(cell), cell.error), []).append(cell)
        lines = [
            f"{status}: {self._called(cells)}: {error}" for (status, error), cells in told.items()
        ]
        count = sum(self.status(cell) == "open" for cell in self.cells)
        return lines + (
            [
                f"{count} of {counted(len(self.cells), 'cell')} {'is' if count == 1 else 'are'} not done: {GO_ON}"
            ]
            if count
            else []
        )

    def _called(self, cells: Sequence[Cell]) -> str:
        """Return the nets of ``cells`` where these are all there are of them, else some of their labels."""
        nets = dict.fromkeys(cell.form.called for cell in cells)
        count = len(cells)
        if count > 1 and count == sum(cell.form.called in nets for cell in self.cells):
            return f"{', '.join(nets)} (all {count} cells)"
        more = (
            f" and {count - NAMED} more {'cell' if count - NAMED == 1 else 'cells'}"
            if count > NAMED
            else ""
        )
        return ", ".join(cell.label for cell in cells[:NAMED]) + more

    def failed(self) -> bool:
        """Whether a cell failed, or could not be timed where it should have been."""
        return any(
            self.status(cell) == "failed" or cell.untimed not in (None, ON_A_MAC)
            for cell in self.cells
        )

    def unusable(self) -> bool:
        """Whether no cell has a file, of each because what was asked for cannot be."""
        return all(cell.usage or cell.impossible for cell in self.cells)

    def sentences(self) -> list[str]:
        """Return the answer to the budgets, which neighbours on the front cannot be told apart, what was assumed and left open."""
        said = []
        if self.budgets:
            said.append(self._answer())
            said += [] if (text := smaller(self.equals)) is None else [text]
        points = [self._points[id(cell)] for cell in self.front if not cell.dropped]
        if self.truth or any(p.correct is not None for p in points):
            ordered = sorted(points, key=lambda p: (p.latency_ms or (0, 0, 0))[1])
            pairs = itertools.pairwise(ordered)
            said += [text for a, b in pairs if (text := told_apart(a, b)) is not None]
        assumed = {f"{c.form.called}: pictures {c.assumed}" for c in self.cells if c.assumed}
        return said + sorted(assumed) + ([] if self.unasked is None else [self.unasked])

    def _answer(self) -> str:
        if self.answer is None and self.partial:
            return f"stopped before a cell was sure to keep the budgets: {GO_ON}"
        if self.answer is None:
            if not self._points:
                return f"{NONE_KEEPS}: none could be judged"
            close = sorted(self._points.values(), key=self.budgets.excess)[:3]
            said = "; ".join(f"{point.label}: {self.budgets.missed(point)}" for point in close)
            return f"{NONE_KEEPS} (nearest: {said})"
        point = self._points[id(self.answer)]
        parts = []
        if point.latency_ms is not None:
            low, middle, high = point.latency_ms
            parts.append(f"{middle:.3g} ms [{low:.3g}, {high:.3g}]")
            if self.budgets.ms is not None:
                parts[-1] += f", {below(high, self.budgets.ms)} % below the budget"
        interval = point.accuracy_interval()
        if point.accuracy is not None and interval is not None:
            what = "top-1" if self.truth else "agreement with float"
            low, high = (100 * bound for bound in interval)
            parts.append(f"{what} {100 * point.accuracy:.1f} % [{low:.1f}, {high:.1f}]")
            if self.budgets.top1 is not None:
                least = self.budgets.top1
                parts[-1] += f", at least {low - least:.1f} points above the {least:g} % wanted"
        second = pick(self.rivals, self.budgets)
        if second is not None and (margin := over(point, self.rivals[second])) is not None:
            parts.append(margin)
        parts.append(f"{point.bytes / 1e6:.2f} MB")
        if self.budgets.size is not None:
            parts[-1] += f", {below(point.bytes, self.budgets.size)} % below the budget"
        if self.budgets.arena is not None and point.arena is not None:
            parts.append(f"arena {point.arena / KIBIBYTE:.0f} KiB")
            parts[-1] += f", {below(point.arena, self.budgets.arena)} % below the budget"
        return f"ship {self.answer.label}: {', '.join(parts)} (95 % intervals)"

    def command(self) -> str | None:
        """Return the command that makes the answer's file again."""
        return None if self.answer is None else export_command(self.job, self.answer.form)

    def to_json(self) -> dict[str, Any]:
        """Return the sweep as JSON data; everything but ``timing``, ``run`` and what follows from them repeats."""
        return {
            "edgeconv_sweep": SWEEP_VERSION,
            "truth": self.truth,
            "pictures": self.pictures,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "partial": self.partial,
            "run": {
                "made": self.made,
                "kept": self.kept,
                "seconds": round(self.seconds, 3),
                "worked": round(self.worked, 3),
            },
            "answer": None if self.answer is None else self.answer.label,
            "command": self.command(),
            "sentences": self.sentences(),
            "cells": [self._cell(cell) for cell in self.cells],
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        share = share_right(cell.correct)
        return {
            "label": cell.label,
            **{
                name: getattr(cell.form, name)
                for name in Form.__dataclass_fields__  # every axis of the form
                if name != "called"
            },
            "threads": cell.threads,
            "place": cell.place or "here",
            "status": self.status(cell),
            "reason": cell.error or cell.missed or cell.untimed,
            "dominated_by": self.dominated.get(id(cell)),
            "file": cell.path,
            "sha256": cell.sha256,
            "bytes": cell.bytes,
            "accuracy": share and share[1],
            "accuracy_interval": share and [share[0], share[2]],
            "timing": None if cell.timing is None else dict(cell.timing),
        }

    def to_csv(self) -> str:
        """Return a line a cell."""
        columns = (
            "label", "net", "width", "groups", "ratio", "resolution", "weights", "precision", "recipe", "target",
            "cpu", "io", "threads", "place", "status",
            "accuracy", "accuracy_low", "accuracy_high", "bytes", "latency_ms", "latency_low_ms", "latency_high_ms",
            "arena_mib", "peak_mib", "dominated_by", "file",
        )  # fmt: skip
        return spreadsheet.to_csv(columns, [self._row(cell) for cell in self.cells])

    def _row(self, cell: Cell) -> dict[str, Any]:
        data = self._cell(cell)
        timing = data["timing"] or {}
        low, high = timing.get("interval_ms") or (None, None)
        least, most = data["accuracy_interval"] or (None, None)
        figures = {
            "latency_low_ms": low,
            "latency_high_ms": high,
            "accuracy_low": least,
            "accuracy_high": most,
            **{name: timing.get(name) for name in ("latency_ms", "arena_mib", "peak_mib")},
        }
        return {**data, **figures}


def budgets_of(job: Job) -> Budgets:
    """Return the budgets of a job."""
    size = None if job.budget_mb is None else max(1, int(job.budget_mb * 1e6))
    return Budgets(job.budget_ms, size, job.arena_bytes(), job.min_top1)
