"""Build, trace, simplify, calibrate, quantize, emit, verify: the stages in order, one line each."""

import os
import shlex
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.artifact import Artifact, save_manifest
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UnsupportedOpError, UsageError, reading
from edgeconv.export.checks import check_finite, check_labels, refuse_existing
from edgeconv.export.data import Data, choose_data, load_feeds
from edgeconv.export.emit import EmitRequest, Emitted
from edgeconv.export.evidence import evidence_files
from edgeconv.export.fit_preprocessing import settle_preprocessing
from edgeconv.export.graph import Graph
from edgeconv.export.hub.cuts import output_cuts
from edgeconv.export.hub.simplify import Simplifier, early_simplifier
from edgeconv.export.kinds import Io
from edgeconv.export.manifest import describe, manifest
from edgeconv.export.options import ExportOptions, Progress
from edgeconv.export.prepare import PixelInput, Prepared, prepare
from edgeconv.export.publish import publish, staging
from edgeconv.export.report import (
    ArtifactReport,
    ExportReport,
    StageLine,
    artifact_text,
    verdict_text,
)
from edgeconv.export.source import Source, open_source, read_labels
from edgeconv.export.stages import Stages
from edgeconv.export.targets import TARGETS, refused_targets
from edgeconv.export.verify import Expected, expect, first_departure, promised, verify_file
from edgeconv.files import digest, sha256, write_bytes
from edgeconv.judge.advice import advice
from edgeconv.recipe import FROM_FILE

if TYPE_CHECKING:
    import onnx

    from edgeconv.export.qdq.read import QuantizedModel
    from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Lowered:
    """All forms of the net on its way: raw, hub (with what was appended), and what emitters read."""

    raw: "onnx.ModelProto"
    hub: Graph
    prepared: Prepared
    own: "QuantizedModel | None" = None
    """What a file that is quantized already says itself."""


def run_export(
    options: ExportOptions,
    progress: Progress | None = None,
    on_line: Callable[[StageLine], None] | None = None,
) -> ExportReport:
    """Run every stage; raise EdgeconvError for what stops it, return the report otherwise."""
    options.check()
    foreign = options.named.lower().endswith(".onnx")
    with reading(f"{options.named} cannot be converted") if foreign else nullcontext():
        return _run(options, progress, on_line)


def _run(
    options: ExportOptions,
    progress: Progress | None,
    on_line: Callable[[StageLine], None] | None,
) -> ExportReport:
    stages = Stages()
    if progress is not None:
        stages.progress = progress
    if on_line is not None:
        stages.on_line = on_line
    threads = options.threads or processors()
    notes: list[str] = []
    given = _read_recipe(options)

    with early_simplifier() as simplifier:  # it imports while torch does
        with stages.stage("build") as say:
            source = open_source(options)
            say(source.title)
        if source.preprocessing is not None:
            with stages.stage("pictures") as say:
                source = settle_preprocessing(source, options, say)
        notes += source.notes
        stem = f"{source.stem}_{options.suffix}"
        refuse_existing(options, stem)
        labels = read_labels(options.labels) if options.labels else source.labels
        data = choose_data(options, source, labels)
        classifier = labels if options.image_input else None
        lowered = _lower(options, source, classifier is not None, stages, notes, simplifier)
    refused = refused_targets(lowered.prepared.graph, options.targets)
    if len(refused) == len(options.targets):
        raise UnsupportedOpError("; ".join(refused.values()))
    if given is not None:
        from edgeconv.export.integers import check_recipe

        check_recipe(options.recipe, given, lowered.prepared)
    if options.labels and labels is not None:
        check_labels(options.labels, labels, lowered.hub)
    softmax = options.softmax or classifier is not None
    expected, names = _expect(options, source, lowered, data, softmax, stages)
    graph, recipe = lowered.prepared.graph, None
    if lowered.own is not None:
        graph, recipe = lowered.own.graph, lowered.own.recipe
        notes += lowered.own.notes
    elif options.integer:
        from edgeconv.export.integers import make_integers

        made = make_integers(
            options, lowered.prepared, data, source.preprocessing, expected, stages, threads, given
        )
        graph, recipe = made.graph, made.recipe
        notes += made.notes
    if options.int8_weights:
        notes.append("INT8 weights alone: activations stay in float")
    description = describe(options, source, labels, data, recipe, softmax)

    with staging(options.output) as staged:
        place = staged.place
        request = EmitRequest(
            graph,
            recipe,
            options,
            options.io or ("uint8" if options.embed_preprocessing and recipe else "float"),
            description,
            source.preprocessing if options.image_input else None,
            classifier,
        )
        emitted = _emit(request, stages, notes, place / stem, refused)
        evidence = evidence_files(
            lowered.raw, lowered.hub, graph, recipe, emitted, expected, names, source.preprocessing
        )
        for name, content in evidence.items():
            write_bytes(place / f"{stem}.evidence" / name, content)
        report = ExportReport(options, stages.lines, notes, refused=refused)
        _verify(
            report, stem, place, emitted, description, (graph, recipe), expected, stages, threads
        )
        publish(staged, force=options.force)
    target = TARGETS[report.artifacts[0].target]
    first = options.output / f"{stem}{target.suffix}"
    report.next_command = f"edgeconv {target.then} {shlex.quote(str(first))}"
    return report


def _read_recipe(options: ExportOptions) -> "Recipe | None":
    """Return the recipe of the file that --recipe names, before any work; None where it names none."""
    if not options.integer or options.recipe_file is None:
        return None
    require("onnx", "export")
    from edgeconv.recipe import load_recipe

    return load_recipe(options.recipe_file)


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _lower(
    options: ExportOptions,
    source: Source,
    classifier: bool,
    stages: Stages,
    notes: list[str],
    simplifier: Simplifier,
) -> Lowered:
    from edgeconv.export.passes.append_softmax import append_softmax
    from edgeconv.export.passes.embed_preprocessing import embed_preprocessing
    from edgeconv.export.qdq.qoperator import is_quantized

    raw = source.model
    if raw is not None and is_quantized(raw):
        return _own_integers(options, raw, stages)
    if raw is None:
        from edgeconv.export.hub.trace import HUB_OPSET, trace_module

        assert source.module is not None
        with stages.stage("trace") as say:
            raw = trace_module(source.module, source.shapes, source.output_names, source.dtypes)
            say(f"ONNX opset {HUB_OPSET}, {len(raw.graph.node)} nodes")
    with stages.stage("simplify") as say:
        simplified = simplifier.simplify(raw)
        hub = simplified.hub
        check_finite(hub)
        if options.softmax:
            append_softmax(hub)
        pixels = pixel_input(source, options)
        prepared = prepare(hub, int8=options.integer, pixels=pixels)
        if classifier and not options.softmax:
            append_softmax(hub)  # the package's own comes from its emitter
        if pixels is not None and _embedded(source):
            embed_preprocessing(hub, pixels.mean, pixels.std)
        say(f"{len(raw.graph.node)} nodes to {len(hub.nodes)}")
    if simplified.warning:
        notes.append(simplified.warning)
    return Lowered(raw, hub, prepared)


def _own_integers(options: ExportOptions, raw: "onnx.ModelProto", stages: Stages) -> Lowered:
    """Read a quantized file; raises UsageError for options that would need other integers."""
    from edgeconv.export.hub.simplify_child import converted
    from edgeconv.export.hub.trace import HUB_OPSET
    from edgeconv.export.integer.counts import count_operators
    from edgeconv.export.qdq.read import read_qdq

    _refuse_with_own_integers(options)
    with stages.stage("integers") as say:
        own = read_qdq(converted(raw, HUB_OPSET))
        check_finite(own.graph)
        say(f"the file's own, {own.recipe.form}")
        if in_float := count_operators(own.graph, own.recipe).float_text():
            say(in_float)
    return Lowered(raw, own.graph, Prepared(own.graph, {}), own)


def _refuse_with_own_integers(options: ExportOptions) -> None:
    if not options.integer:
        raise UsageError(f"{options.net} is quantized already: --int8 keeps its own integers")
    contrary = {
        "--recipe": options.recipe_file is not None,
        "--max-drop": options.max_drop is not None,
        "--keep-float": bool(options.keep_float),
        "--softmax": options.softmax,
        "--embed-preprocessing": options.embed_preprocessing,
        "--int8-weights": options.int8_weights,
    }
    for option, given in contrary.items():
        if given:
            raise UsageError(
                f"{options.net} is quantized already and keeps its own integers: leave out {option}, "
                "or export the float model that it was made from"
            )


def pixel_input(source: Source, options: ExportOptions) -> PixelInput | None:
    """Return how the picture input is fed, where there is one.

    Core ML's image input embeds the preprocessing itself, behind the prepared graph's back.
    """
    how = source.preprocessing
    return None if how is None else PixelInput(how.mean, how.std, options.embed_preprocessing)


def _embedded(source: Source) -> bool:
    return source.preprocessing is not None and source.preprocessing.embedded


def _emit(
    request: EmitRequest, stages: Stages, notes: list[str], base: Path, refused: dict[str, str]
) -> dict[str, Emitted]:
    """Write what can be written; ``refused`` gains the targets that turn out not to take the net."""
    emitted: dict[str, Emitted] = {}
    for target in request.options.targets:
        if target in refused:
            continue
        path = base.with_name(base.name + TARGETS[target].suffix)
        with stages.stage(target) as say:
            try:
                made = emitted[target] = TARGETS[target].emit(request, path)
            except UsageError:
                raise
            except EdgeconvError as error:
                refused[target] = str(error)
                say("cannot be written")
                continue
            takes = "/".join(sorted({spec.dtype for spec in made.inputs}))
            gives = "/".join(sorted({spec.dtype for spec in made.outputs}))
            say(artifact_text(path.name, made, f"{takes} in, {gives} out"))
        notes += [f"{target}: {note}" for note in (*made.notes, *_unkept(request.io, made))]
    if not emitted:
        raise EdgeconvError("; ".join(refused.values()))
    return emitted


def _unkept(io: Io, made: Emitted) -> list[str]:
    """Say which borders of an INT8 file are not of the type that --io asked for."""
    if io == "float":
        return []
    return [
        f"--io {io} is not kept by {spec.name}: it stays {spec.dtype}, as it is computed in float"
        for spec in (*made.inputs, *made.outputs)
        if spec.dtype == "float32"
    ]


def _expect(
    options: ExportOptions,
    source: Source,
    lowered: Lowered,
    data: Data,
    softmax: bool,
    stages: Stages,
) -> tuple[Expected, list[str]]:
    from edgeconv.export.reference import open_reference

    with stages.stage("reference") as say:
        feeds = load_feeds(data.verification, "verification sample")
        with open_reference(
            module=source.module,
            raw=lowered.raw,
            shapes=source.shapes,
            dtypes=source.dtypes,
            outputs=lowered.hub.outputs,
            embedded=source.preprocessing if _embedded(source) else None,
            softmax=softmax,
            threads=options.threads or 1,  # one picture's layers are too small to share
        ) as reference:
            truth = [sample.truth for sample in data.verification]
            cuts = output_cuts(lowered.hub)
            expected = expect(reference, feeds, truth, stages.share("reference"), cuts)
            runner = reference.runner
        say(f"{runner.name} {runner.version} on {len(expected.feeds)} samples")
    return expected, [sample.name for sample in data.verification[: len(expected.feeds)]]


def _verify(
    report: ExportReport,
    stem: str,
    place: Path,
    emitted: dict[str, Emitted],
    description: dict[str, Any],
    prepared: tuple[Graph, "Recipe | None"],
    expected: Expected,
    stages: Stages,
    threads: int,
) -> None:
    options, (graph, recipe) = report.options, prepared
    folder = place / f"{stem}.evidence"
    names = ["hub"] if options.image_input else ["hub", "prepared"]
    if not (options.embed_preprocessing or options.image_input or options.softmax):
        names.insert(0, "raw")  # which has neither pixels nor softmax inside
    if recipe is not None and recipe.name == FROM_FILE:
        names = ["raw"]  # the others are its float net, and the file is the reference
    report.departure = first_departure(
        {name: folder / f"{name}.onnx" for name in names}, expected, int8=options.integer
    )
    shared = ("raw.onnx", "hub.onnx", "prepared.onnx", "recipe.json", "verify.npz")
    promise = None
    for target, file in emitted.items():
        path = place / (stem + TARGETS[target].suffix)
        with stages.stage("verify") as say:
            if recipe is not None and promise is None and not options.image_input:
                promise = promised(graph, recipe, expected, threads)
            most = TARGETS[target].verified
            few = expected if most is None else expected.head(most)
            try:
                verdict = verify_file(
                    path,
                    options.precision,
                    (file.inputs, file.outputs),
                    few,
                    threads,
                    promise,
                    file.stats,
                    description["weights"].get("source"),
                )
            except EdgeconvError as error:
                report.refused[target] = f"its file does not run: {error}"
                say(f"{target} · cannot be verified")
                _remove(path, folder / f"names_{target}.json")
                continue
            say(f"{target} · {verdict_text(verdict)}")
        kept = [folder / name for name in (*shared, f"tensors_{target}.json")]
        evidence = {
            "folder": folder.name,
            "files": {item.name: sha256(item) for item in kept if item.exists()},
        }
        content = manifest(
            description,
            target,
            path.name,
            digest(path),
            file,
            evidence,
            verdict.to_json(),
            expected.cuts,
        )
        save_manifest(Artifact(path, content))
        made = options.output / path.name
        steps = advice(verdict.verdict, str(made), description)
        report.artifacts.append(
            ArtifactReport(target, made, file.size, file.figures(), verdict, steps)
        )
    if not report.artifacts:
        raise EdgeconvError("; ".join(report.refused.values()))


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
