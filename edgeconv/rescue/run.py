"""Try one attempt after another with the export's own stages, as long as the time lasts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.files import temporary_folder
from edgeconv.rescue.attempts import AS_IT_IS, Attempt, attempts, available_samples
from edgeconv.rescue.results import Rescue, Tried, figures_of

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions

TIMED = 0.15
"""Share of the time that is kept for timing what was made."""
SECONDS_EACH = 2.0

Say = Callable[[str], None]


def rescue(options: "ExportOptions", minutes: float, say: Say = lambda _: None) -> Rescue:
    """Export ``options`` as they are, then with each attempt, and time what was made.

    ``minutes`` bounds the work: an attempt that would surely end too late is not begun, the first
    always is. Raises what the export as it is raises; an attempt that fails is a row with its error.
    """
    begin = time.monotonic()
    end = begin + 60.0 * minutes * (1.0 - TIMED)
    with temporary_folder() as scratch:
        first = _try(options, AS_IT_IS, scratch / "0", say)
        if first.error is not None:
            raise EdgeconvError(first.error)
        known = _manifest(first)
        available = 0 if options.calib is None else available_samples(options.calib)
        classes = "agreement_top1" in first.figures
        waiting = attempts(options, known.manifest, available, classes=classes)
        notes: list[str] = []
        if time.monotonic() + 2.0 * first.seconds < end:
            say("halves of the calibration samples, a recipe each")
            notes += _halves(options)
        tried = [first]
        left = []
        for attempt in waiting:
            training = replace(options, **attempt.fields).training_minutes
            longest = max(each.seconds for each in tried) + 60.0 * training
            if time.monotonic() + longest > end:
                left.append(attempt)
            else:
                tried.append(_try(options, attempt, scratch / str(len(tried)), say))
        _time(tried, say)
        for each in tried:
            each.path = None  # it goes with the scratch folder
    return Rescue(tuple(tried), tuple(left), tuple(notes))


def _try(options: "ExportOptions", attempt: Attempt, output: Path, say: Say) -> Tried:
    from edgeconv.export.pipeline import run_export

    say(f"{attempt.label}: {attempt.why}")
    begin = time.monotonic()
    changed = replace(options, **{**attempt.fields, "output": output, "force": True})
    try:
        changed.check()
        report = run_export(changed)
    except EdgeconvError as error:
        return Tried(attempt, time.monotonic() - begin, error=str(error).splitlines()[0])
    if not report.artifacts:
        return Tried(attempt, time.monotonic() - begin, error="; ".join(report.refused.values()))
    from edgeconv.judge.text import judgement

    made = report.artifacts[0]
    verdict = made.verdict.verdict
    share = 1.0 if changed.precision != "int8" else float_share(made.path)
    return Tried(
        attempt,
        time.monotonic() - begin,
        bool(report),
        judgement(verdict, integer=made.verdict.integer),
        figures_of(verdict),
        made.bytes,
        share,
        made.path,
    )


def _manifest(tried: Tried) -> Artifact:
    assert tried.path is not None
    artifact = load_artifact(tried.path)
    assert artifact is not None
    return artifact


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


def _halves(options: "ExportOptions") -> Sequence[str]:
    from edgeconv.export.halves import compare_halves

    try:
        found = compare_halves(options)
    except EdgeconvError:
        return ()  # too few samples for two recipes: the advice of more stands already
    return () if found is None else (str(found),)


def _time(tried: Sequence[Tried], say: Say) -> None:
    """Time the files against each other, all or none: other machines' targets cannot be timed here."""
    from edgeconv.bench.api import bench_models

    made = [each for each in tried if each.path is not None]
    say("timing")
    try:
        report = bench_models(
            [str(each.path) for each in made], seconds=SECONDS_EACH, reference=False
        )
    except EdgeconvError:
        return
    if len(report.rows) != len(made) or any(row.summary is None for row in report.rows):
        return
    for each, row in zip(made, report.rows, strict=True):
        assert row.summary is not None
        each.latency_ms = row.summary.median
        around = row.summary.median_interval
        each.interval_ms = None if around is None else (around.low, around.high)
