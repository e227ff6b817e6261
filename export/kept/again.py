"""An export whose equal was made before: its files are copied, checked by their hashes and published."""

import json
import time
from dataclasses import replace
from pathlib import Path

from edgeconv.export.checks import refuse_existing
from edgeconv.export.kept.key import key_of
from edgeconv.export.kept.report_data import from_data, to_data
from edgeconv.export.kept.shelf import LIMIT, Shelf, most_bytes, shelf_of
from edgeconv.export.options import ExportOptions
from edgeconv.export.publish import publish, staging
from edgeconv.export.report import ArtifactReport, ExportReport, StageLine
from edgeconv.export.stages import Stages
from edgeconv.export.targets import TARGETS
from edgeconv.export.work import Work
from edgeconv.judge.advice import advice

TOLD = ("pictures", "verify", "nms")
"""Stages, beside those of the targets, whose lines hold of the files too: how pictures are prepared, and the verdicts."""


def find_shelf(options: ExportOptions) -> Shelf | None:
    """Return where this export is, or is to be, kept; None for one that is made anew each time."""
    key = key_of(options) if most_bytes() else None
    return None if key is None else shelf_of(key)


def made_again(options: ExportOptions, shelf: Shelf | None, stages: Stages) -> ExportReport | None:
    """Publish what an equal export made, and return its report; None where there is none.

    Raises UsageError where the output exists and --force was not given.
    """
    if shelf is None or options.fresh or not shelf.holds:
        return None
    start = time.perf_counter()
    with staging(options.output) as staged:
        try:
            report = from_data(shelf.take(staged.place) or {}, options)
            report.artifacts = [_advised(made, staged.place) for made in report.artifacts]
        except (LookupError, TypeError, ValueError, OSError):
            return None
        first = report.artifacts[0]
        refuse_existing(options, first.path.name.removesuffix(TARGETS[first.target].suffix))
        publish(staged, force=options.force)
    said = f"files of an equal export, their hashes checked; --fresh or {LIMIT}=0 converts anew"
    told = [line for line in report.stages if line.stage in TOLD or line.stage in options.targets]
    report.stages = [
        StageLine("kept", said, time.perf_counter() - start),
        *(replace(line, seconds=0.0) for line in told),
    ]
    for line in report.stages:
        stages.tell(line)
    return report


def _advised(made: ArtifactReport, folder: Path) -> ArtifactReport:
    known = json.loads((folder / f"{made.path.name}.json").read_bytes())
    return replace(made, advice=advice(made.verdict.verdict, str(made.path), known))


def keep(work: Work, shelf: Shelf | None) -> None:
    """Keep the finished files of ``work`` before they are published; not if its inputs changed meanwhile."""
    whole = not work.refused and shelf is not None
    if whole and shelf is not None and find_shelf(work.options) == shelf:
        shelf.keep(work.place, to_data(work.report))
