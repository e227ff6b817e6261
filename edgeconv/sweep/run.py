"""A sweep from its job to its report: export, evaluate in shards, time alone, judge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv import __version__
from edgeconv.deps import version_of
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.targets import TARGETS, packages
from edgeconv.files import check_writable
from edgeconv.foreign import refuse_no_file
from edgeconv.machine import describe
from edgeconv.models.specs import SPECS, is_own
from edgeconv.sweep.cell import Cell
from edgeconv.sweep.data import Evaluation, choose
from edgeconv.sweep.engine import Engine
from edgeconv.sweep.exports import export, settle
from edgeconv.sweep.figures import Figures
from edgeconv.sweep.forms import MISSING, Form, Impossible, expand
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.sweep.look import look
from edgeconv.sweep.progress import Progress, Say
from edgeconv.sweep.results import SweepReport

RESULTS = 7
"""Form of what tasks answer: results of another form are made anew."""


def sweep(job: Job, inputs: Inputs, engine: Engine, say: Say) -> SweepReport:
    """Run ``job`` on ``engine``; what the store holds already is not made again.

    An interrupt gives a partial report of what is done. Raises UsageError or EdgeconvError for a job
    that cannot be.
    """
    forms, impossible = expand(job)
    refuse_nothing(job, forms, impossible)
    cells = [
        Cell(form, threads, place)
        for form in forms
        for threads in job.threads
        for place in places(job)
    ]
    evaluation = evaluated_on(job, inputs, forms)
    pictures = 0 if evaluation is None else evaluation.count
    guess = {
        "export": 10.0,
        "evaluate": 0.003 * min(pictures, job.shard),
        "bench": job.seconds + 2.0,
    }
    progress = Progress(say, len(cells), engine.running, guess)
    figures = Figures(job, inputs, engine, progress, evaluation, _versions())
    partial = False
    try:
        figures.expect(cells)
        if evaluation is not None and job.data is not None:  # our own can be read
            look(evaluation, job.shard, inputs, engine, progress, figures.versions)
        exported = export(job, inputs, engine, progress, forms, figures.versions)
        for cell in cells:
            settle(cell, exported, engine.store.folder.parent)
        figures.narrow(cells)
    except KeyboardInterrupt:
        partial = True
    finally:
        engine.close()
    cells += [_impossible(item) for item in impossible]
    return SweepReport(
        job,
        cells,
        evaluation is not None and evaluation.truth != "",
        pictures,
        describe().to_json(),
        figures.versions,
        partial,
        progress.done - progress.kept,
        progress.kept,
        progress.seconds,
        progress.worked,
        None if evaluation is None else evaluation.unasked(),
    )


def evaluated_on(job: Job, inputs: Inputs, forms: Sequence[Form]) -> Evaluation | None:
    """Return what ``forms`` are evaluated on; raise UsageError where an option of ``job`` asks for more.

    Also where a file that is named is not there.
    """
    for net in job.nets:
        code, colon, _ = net.rpartition(":")
        if net.endswith(".onnx") or (is_own(net) and (not colon or code.endswith(".py"))):
            refuse_no_file(Path(code or net))
    bundled = all(form.net in SPECS and form.weights in (None, "bundled") for form in forms)
    evaluation = choose(job, inputs, bundled=bundled and bool(forms))
    if job.min_top1 is not None and (evaluation is None or not evaluation.truth):
        raise UsageError(
            "--min-top1 needs pictures whose classes are known: --data with a folder a class, or --truth"
        )
    if job.adaptive and evaluation is None and not job.bench:
        raise UsageError(
            "--adaptive saves pictures and seconds of timing: with --no-bench and no --data there are none, "
            "leave it out"
        )
    return evaluation


def _versions() -> dict[str, Any]:
    """Return what every result depends on besides its task."""
    named = {name: version_of(name) for name in packages(TARGETS)}
    return {"edgeconv": __version__, "results": RESULTS, **named}


def places(job: Job) -> tuple[str, ...]:
    """Return where cells are timed: here, or on every board that is named."""
    return job.device or ("",)


def refuse_nothing(
    job: Job, forms: Sequence[Form], impossible: Sequence[Impossible], *, listed: bool = False
) -> None:
    """Raise UsageError where no form can be made at all; ``listed``: the reasons were said already."""
    if forms or not impossible:
        return
    first = impossible[0]
    if (
        job.weights is not None
        and "{" in job.weights
        and all(i.reason.endswith(MISSING) for i in impossible)
    ):
        raise UsageError(
            f"--weights {job.weights} names no file that is there (the first: {first.form.weights})"
        )
    others = len(impossible) - 1
    more = f"; {others} more: --dry-run lists them" if others and not listed else ""
    raise UsageError(f"nothing can be made: {first.form.label}: {first.reason}{more}")


def _impossible(item: Impossible) -> Cell:
    return Cell(item.form, 1, error=item.reason, impossible=True)


def check_output(output: Path) -> None:
    """Raise where ``output`` cannot be the folder of a sweep."""
    check_writable(output, "--output", folder=True)
    if output.is_dir() and any(output.iterdir()) and not (output / "cells").is_dir():
        raise EdgeconvError(f"--output {output} holds other files: name an empty or a new folder")
