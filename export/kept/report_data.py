"""An export's report as JSON data and back, without what belongs to one output folder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeconv.evaluate.box_parity import BoxParity
from edgeconv.evaluate.classes import Share
from edgeconv.export.options import ExportOptions
from edgeconv.export.report import ArtifactReport, ExportReport, StageLine
from edgeconv.export.verify import FileVerdict
from edgeconv.judge.verdict import Finding, Verdict


def to_data(report: ExportReport) -> dict[str, Any]:
    """Return what ``from_data`` makes the report of."""
    return {
        "stages": [[line.stage, line.text, line.seconds] for line in report.stages],
        "notes": report.notes,
        "warnings": report.warnings,
        "departure": report.departure,
        "artifacts": [_artifact(each) for each in report.artifacts],
    }


def from_data(data: Mapping[str, Any], options: ExportOptions) -> ExportReport:
    """Return the report as it is about the files in ``options.output``; ``advice`` is not in it.

    Raises KeyError, TypeError or ValueError for data that ``to_data`` did not make.
    """
    return ExportReport(
        options,
        [StageLine(*line) for line in data["stages"]],
        list(data["notes"]),
        [_read_artifact(each, options.output) for each in data["artifacts"]],
        data["departure"],
        warnings=tuple(data["warnings"]),
    )


def _artifact(made: ArtifactReport) -> dict[str, Any]:
    found, verdict = made.verdict, made.verdict.verdict
    return {
        "target": made.target,
        "file": made.path.name,
        "bytes": made.bytes,
        "stats": made.stats,
        "runtime": found.runtime,
        "pictures": found.pictures,
        "of": found.of,
        "unit": found.unit,
        "integer": found.integer,
        "boxes": None if found.boxes is None else asdict(found.boxes),
        "findings": [asdict(finding) for finding in verdict.findings],
        "figures": {output: dict(figures) for output, figures in verdict.figures.items()},
        "parts": {o: {p: dict(f) for p, f in parts.items()} for o, parts in verdict.parts.items()},
        "notes": verdict.notes,
        "doubts": verdict.doubts,
    }


def _read_artifact(data: Mapping[str, Any], folder: Path) -> ArtifactReport:
    verdict = Verdict(
        tuple(Finding(**each) for each in data["findings"]),
        data["figures"],
        tuple(data["notes"]),
        data["parts"],
        tuple(data["doubts"]),
    )
    boxes = data["boxes"]
    if boxes is not None:
        shared = {"matched": Share(**boxes["matched"]), "worst": tuple(boxes["worst"])}
        boxes = BoxParity(**{**boxes, **shared})
    counts = data["pictures"], data["of"]
    found = FileVerdict(
        data["runtime"], *counts, verdict, data["integer"], boxes, unit=data["unit"]
    )
    path = folder / data["file"]
    return ArtifactReport(data["target"], path, data["bytes"], data["stats"], found)
