"""An export: a tuple of stages, which a run walks to the end and --dry-run as far as it costs nothing."""

import gc
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgeconv.ahead import Beside
from edgeconv.errors import EdgeconvError, reading
from edgeconv.export.checks import check_first, refuse_existing
from edgeconv.export.coverage import coverage
from edgeconv.export.finish import (
    begin_evidence,
    begin_probes,
    begin_reference,
    conclude,
    emit,
    prove,
    reference,
    repeated,
    suppress,
    verify,
)
from edgeconv.export.hub.simplify import Simplifier, early_simplifier
from edgeconv.export.kept.again import find_shelf, keep, made_again
from edgeconv.export.kept.shelf import Shelf
from edgeconv.export.lower import (
    begin_calibration,
    begin_hint,
    build,
    lower,
    say_preprocessing,
    trace,
)
from edgeconv.export.manifest import describe
from edgeconv.export.options import ExportOptions, Progress
from edgeconv.export.publish import publish, staging
from edgeconv.export.report import ExportReport, StageLine
from edgeconv.export.source import foretold_stem
from edgeconv.export.stages import Stages
from edgeconv.export.targets import TARGETS, lacking, readers
from edgeconv.export.work import Stage, Work
from edgeconv.pictures import quiet_pillow
from edgeconv.recipe import Recipe
from edgeconv.system import processors


def _quantize(work: Work) -> None:
    from edgeconv.export import integers

    how = work.source.preprocessing
    prepared, data = work.lowered.prepared, work.data
    made = integers.make_integers(
        work.options,
        prepared,
        data,
        how,
        lambda: work.expected,
        work.stages,
        work.threads,
        work.given,
        work.calibration,
    )
    work.graph, work.recipe = made.graph, made.recipe
    work.notes += made.notes


def _plan_quantize(work: Work) -> Sequence[tuple[str, str]]:
    options = work.options
    if work.given is not None:
        said = f"recipe {work.given.name} from {options.recipe}, {work.given.form}"
        return (("quantize", said),)
    data = options.calib or "the bundled pictures"
    return (
        ("calibrate", f"up to {options.calib_count} samples of {data}"),
        ("quantize", f"recipe {options.recipe}"),
    )


def _plan_file(work: Work, target: str) -> Sequence[tuple[str, str]]:
    path = work.file(target, work.options.output)
    return ((target, f"{path}{' (exists)' if path.exists() else ''}"),)


def _describe(work: Work) -> None:
    if work.options.int8_weights:
        work.notes.append("INT8 weights alone: activations stay in float")
    work.notes += work.data.doubts()
    work.description = describe(
        work.options,
        work.source,
        work.labels,
        work.data,
        work.recipe,
        softmax=work.softmax,
        probabilities=work.probabilities,
        expected=work.expected,
    )


def _calibrates(work: Work) -> bool:
    return work.options.integer and work.given is None and not work.dry


LOWERING = (
    Stage(build),
    Stage(say_preprocessing),
    Stage(begin_calibration, when=_calibrates),
    Stage(trace, when=lambda work: work.source.module is not None),
    Stage(begin_reference, when=lambda work: not work.dry),
    Stage(lower),
    Stage(begin_hint, when=lambda work: not work.dry),
    Stage(repeated, when=lambda work: not work.dry),
)

REFERENCE = Stage(
    reference, lambda _: (("reference", "the float net on every sample that verifies"),)
)

MEASURING = (
    replace(REFERENCE, when=lambda work: work.reference_first),
    Stage(
        _quantize,
        _plan_quantize,
        lambda work: work.options.integer and work.lowered.own is None,
    ),
    replace(REFERENCE, when=lambda work: not work.reference_first),
    Stage(_describe, lambda _: ()),
)


def stages_of(targets: Sequence[str]) -> tuple[Stage, ...]:
    """Return every stage of an export in order; later ones read what earlier ones found."""
    return (*LOWERING, *MEASURING, *_writing(targets))


def _writing(targets: Sequence[str]) -> tuple[Stage, ...]:
    def taken(work: Work, target: str) -> bool:
        return target not in work.refused

    def plan_verify(_: Work, target: str) -> Sequence[tuple[str, str]]:
        return (("verify", f"{target} · from disk, against the float net"),)

    def plan_nms(work: Work, target: str) -> Sequence[tuple[str, str]]:
        return (("nms", f"{target} · a file for apps, {work.lowered.nms} decoded, beside"),)

    def thinned(work: Work, target: str) -> bool:
        return work.options.nms is not None and target in readers("nms") and taken(work, target)

    def each(
        run: Callable[..., None],
        plans: Callable[..., Sequence[tuple[str, str]]],
        when: Callable[..., bool] = taken,
    ) -> list[Stage]:
        return [
            Stage(partial(run, target=t), partial(plans, target=t), partial(when, target=t))
            for t in targets
        ]

    return (
        Stage(begin_evidence, lambda _: ()),
        *each(emit, _plan_file),
        Stage(prove, lambda _: ()),
        *each(verify, plan_verify),
        *each(suppress, plan_nms, thinned),
        Stage(conclude, lambda _: ()),
    )


def run_export(
    options: ExportOptions,
    progress: Progress | None = None,
    on_line: Callable[[StageLine], None] | None = None,
) -> ExportReport:
    """Run every stage, or none where an equal export is kept; raise EdgeconvError for what stops it."""
    stages = Stages()
    if progress is not None:
        stages.progress = progress
    if on_line is not None:
        stages.on_line = on_line
    with _reading(options):
        given = check_first(options)
        if (stem := foretold_stem(options)) is not None:
            refuse_existing(options, f"{stem}_{options.suffix}")
        shelf = find_shelf(options)
        report = made_again(options, shelf, stages)
        if report is None:
            report = _converted(options, given, shelf, stages)
    first = report.artifacts[0]
    then = TARGETS[first.target].then
    report.next_command = f"edgeconv {then} {shlex.quote(str(first.path))}"
    return report


def _converted(
    options: ExportOptions, given: Recipe | None, shelf: Shelf | None, stages: Stages
) -> ExportReport:
    with _beside(options) as (simplifier, beside, threads):  # onnxsim is imported while torch is
        work = Work(options, stages, threads, simplifier, beside, given=given)
        with _starting():
            _walk(work, LOWERING)
        simplifier.close()
        begin_probes(work)
        _walk(work, MEASURING)
        with staging(options.output) as staged:
            work.place = staged.place
            _walk(work, _writing(options.targets))
            if not work.report.artifacts:
                raise EdgeconvError("; ".join(work.refused.values()))
            keep(work, shelf)
            publish(staged, force=options.force)
    return work.report


@contextmanager
def _beside(options: ExportOptions) -> Iterator[tuple[Simplifier, Beside, int]]:
    """Yield what works beside the stages, of which nothing is left at the end, and an export's threads."""
    threads = options.threads or len(processors())
    with (
        quiet_pillow,
        early_simplifier(_foreign(options)) as simplifier,
        Beside(2 if threads > 1 else 0) as beside,
    ):
        yield simplifier, beside, threads


def _foreign(options: ExportOptions) -> Path | None:
    """Return the .onnx file that is converted; whoever made it, it is opened in a child first."""
    net = options.net
    path = Path(net) if isinstance(net, str) and net.endswith(".onnx") else None
    return path if path is not None and path.is_file() else None


@contextmanager
def _starting() -> Iterator[None]:
    """Import and trace without looking for garbage, of which there is none, and without spinning threads.

    OpenMP reads the variable when torch loads it: a net traced one picture at a time keeps no
    second thread busy.
    """
    collecting = gc.isenabled()
    gc.disable()
    before = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_WAIT_POLICY", None)
        if collecting:
            gc.enable()


def measure(options: ExportOptions, *, quantized: bool = True) -> Work:
    """Walk an export up to its files: the float reference ran, and the recipe is made if asked for."""
    with _reading(options), _beside(options) as (simplifier, beside, threads):
        work = Work(options, Stages(), threads, simplifier, beside)
        work.given = check_first(options)
        _walk(work, LOWERING)
        _walk(work, MEASURING if quantized else (REFERENCE,))
    return work


def _walk(work: Work, stages: Sequence[Stage]) -> None:
    for stage in stages:
        if stage.when(work):
            stage.run(work)


def plan(options: ExportOptions) -> list[str]:
    """Return a line for each that an export would say, and which target takes which operator.

    The net is found, traced and simplified, so that what is wrong with it is said here too.
    """
    with _reading(options), _beside(options) as (simplifier, beside, threads):
        work = Work(options, Stages(), threads, simplifier, beside, dry=True)
        work.given = check_first(options)
        lines: list[tuple[str, str]] = []
        for stage in stages_of(options.targets):
            if not stage.when(work):
                continue
            if stage.plans is not None:
                lines += stage.plans(work)
                continue
            before = len(work.stages.lines)
            stage.run(work)
            lines += [(line.stage, line.text) for line in work.stages.lines[before:]]
    missing = lacking(options)
    taken = coverage(work.graph, options.targets, integer=options.integer, lacking=missing).lines()
    return [f"{name:10} {text}" for name, text in lines] + taken


def _reading(options: ExportOptions) -> AbstractContextManager[None]:
    foreign = options.named.lower().endswith(".onnx")
    return reading(f"{options.named} cannot be converted") if foreign else nullcontext()
