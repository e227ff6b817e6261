"""What rescue does in a process of its own, which can be stopped when the time is up."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.arguments import settled
from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.rescue.results import figures_of

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions


def as_data(options: "ExportOptions") -> dict[str, Any]:
    """Return options, of a net that has a name or a file, as JSON data."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        return dict(value) if isinstance(value, Mapping) else value

    return {field.name: plain(getattr(options, field.name)) for field in fields(options)}


def _options(value: Mapping[str, Any]) -> "ExportOptions":
    from edgeconv.export.options import ExportOptions

    return ExportOptions(**settled(value))


def export_here(value: Mapping[str, Any]) -> dict[str, Any]:
    """Export, and return what Tried holds of the file; raises EdgeconvError where there is none."""
    from edgeconv.export.pipeline import run_export
    from edgeconv.judge.text import judgement

    options = _options(value)
    report = run_export(options)
    if not report.artifacts:
        raise EdgeconvError("; ".join(report.refused.values()))
    made = report.artifacts[0]
    verdict = made.verdict.verdict
    return {
        "held": bool(report),
        "judged": judgement(verdict, integer=made.verdict.integer),
        "figures": figures_of(verdict),
        "bytes": made.bytes,
        "float_share": 1.0 if options.precision != "int8" else float_share(made.path),
        "path": str(made.path),
    }


def float_share(path: Path) -> float | None:
    """Return the share of multiply-adds of an INT8 file that its recipe leaves in float."""
    from edgeconv.models.onnx_summary import summarize_onnx
    from edgeconv.recipe import load_recipe

    artifact = load_artifact(path)
    if artifact is None:
        return None
    recipe = load_recipe(artifact.evidence("recipe.json"))
    layers = summarize_onnx(artifact.evidence("prepared.onnx")).layers
    whole = sum(layer.multiply_adds for layer in layers)
    real = sum(layer.multiply_adds for layer in layers if layer.name not in recipe.weights)
    return real / whole if whole else None


def halves_here(value: Mapping[str, Any]) -> str | None:
    """Return what recipes of two halves of the calibration samples say, if they say anything."""
    from edgeconv.export.halves import compare_halves

    found = compare_halves(_options(value))
    return None if found is None else str(found)


def time_here(value: Mapping[str, Any]) -> list[tuple[float, tuple[float, float] | None]] | None:
    """Time the files ``paths`` against each other for ``seconds`` each: medians and intervals, or None.

    All or none: other machines' targets cannot be timed here.
    """
    from edgeconv.bench.api import bench_models

    report = bench_models(value["paths"], seconds=value["seconds"], reference=False)
    summaries = [row.summary for row in report.rows if row.summary is not None]
    if len(summaries) != len(value["paths"]):
        return None
    around = [s.median_interval for s in summaries]
    return [
        (s.median, None if i is None else (i.low, i.high))
        for s, i in zip(summaries, around, strict=True)
    ]
