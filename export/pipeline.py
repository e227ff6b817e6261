"""Build, trace, simplify, calibrate, quantize, emit, verify: the stages in order, one line each."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.artifact import Artifact, save_manifest
from edgeconv.errors import EdgeconvError
from edgeconv.export.data import Data, choose_data, load_feeds
from edgeconv.export.emit import EmitRequest, Emitted, check_targets, emit
from edgeconv.export.evidence import evidence_files, publish, staging
from edgeconv.export.graph import Graph
from edgeconv.export.manifest import describe, manifest
from edgeconv.export.options import SUFFIX, ExportOptions, Progress
from edgeconv.export.prepare import PixelInput, Prepared, prepare
from edgeconv.export.report import (
    ArtifactReport,
    ExportReport,
    StageLine,
    artifact_text,
    verdict_text,
)
from edgeconv.export.source import Source, open_source, read_labels
from edgeconv.export.stages import Stages
from edgeconv.export.verify import Expected, expect, first_departure, verify_file
from edgeconv.files import sha256, write_bytes

if TYPE_CHECKING:
    import onnx

    from edgeconv.export.quant.recipe import Recipe


@dataclass(frozen=True)
class Lowered:
    """All forms of the net on its way: raw, hub (with what was appended), and what emitters read."""

    raw: "onnx.ModelProto"
    hub: Graph
    prepared: Prepared


def run_export(
    options: ExportOptions,
    progress: Progress | None = None,
    on_line: Callable[[StageLine], None] | None = None,
) -> ExportReport:
    """Run every stage; raise EdgeconvError for what stops it, return the report otherwise."""
    options.check()
    stages = Stages()
    if progress is not None:
        stages.progress = progress
    if on_line is not None:
        stages.on_line = on_line
    threads = options.threads or processors()
    notes: list[str] = []

    with stages.stage("build") as say:
        source = open_source(options)
        say(source.title)
    notes += source.notes
    stem = f"{source.stem}_{options.precision}"
    _refuse_existing(options, stem)
    labels = read_labels(options.labels) if options.labels else source.labels
    data = choose_data(options, source, labels)
    lowered = _lower(options, source, stages, notes)
    check_targets(lowered.prepared.graph, options.targets)
    graph, recipe = _quantize(options, lowered.prepared, data, stages, threads)
    description = describe(options, source, labels, data, recipe)

    with staging(options.output) as place:
        emitted = _emit(options, graph, recipe, description, stages, place / stem)
        expected, names = _expect(options, source, lowered, data, stages)
        evidence = evidence_files(lowered.raw, lowered.hub, graph, recipe, emitted, expected, names)
        for name, content in evidence.items():
            write_bytes(place / f"{stem}.evidence" / name, content)
        report = ExportReport(options, stages.lines, notes)
        _verify(report, stem, place, emitted, description, expected, stages, threads)
        publish(place, options.output, force=options.force)
    first = options.output / (stem + SUFFIX[options.targets[0]])
    report.next_command = f"edgeconv run {shlex.quote(str(first))} PICTURE"
    return report


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _refuse_existing(options: ExportOptions, stem: str) -> None:
    folder = options.output
    if folder.exists() and not folder.is_dir():
        raise EdgeconvError(f"--output {folder} is a file, not a folder")
    for target in options.targets:
        path = folder / (stem + SUFFIX[target])
        if path.exists() and not options.force:
            raise EdgeconvError(f"{path} exists; --force replaces it")
    with staging(folder):
        pass  # an unwritable folder is found before any work


def _lower(options: ExportOptions, source: Source, stages: Stages, notes: list[str]) -> Lowered:
    from edgeconv.export.passes.append_softmax import append_softmax
    from edgeconv.export.passes.embed_preprocessing import embed_preprocessing
    from edgeconv.export.simplify import simplify

    raw = source.model
    if raw is None:
        from edgeconv.export.trace import HUB_OPSET, trace_module

        assert source.module is not None
        with stages.stage("trace") as say:
            raw = trace_module(source.module, source.shapes, source.output_names)
            say(f"ONNX opset {HUB_OPSET}, {len(raw.graph.node)} nodes")
    with stages.stage("simplify") as say:
        simplified = simplify(raw)
        hub = simplified.hub
        check_finite(hub)
        if options.softmax:
            append_softmax(hub)
        pixels = pixel_input(source)
        prepared = prepare(hub, int8=options.precision == "int8", pixels=pixels)
        if pixels is not None and pixels.embedded:
            embed_preprocessing(hub, pixels.mean, pixels.std)
        say(f"{len(raw.graph.node)} nodes to {len(hub.nodes)}")
    if simplified.warning:
        notes.append(simplified.warning)
    return Lowered(raw, hub, prepared)


def pixel_input(source: Source) -> PixelInput | None:
    """Return how the picture input is fed, where there is one."""
    how = source.preprocessing
    return None if how is None else PixelInput(how.mean, how.std, how.embedded)


def check_finite(graph: Graph) -> None:
    """Raise EdgeconvError naming a weight that holds NaN or infinity."""
    for name, value in graph.constants.items():
        if value.dtype.kind == "f" and value.ndim and not np.isfinite(value).all():
            raise EdgeconvError(f"the weight {name} holds NaN or infinity")


def _quantize(
    options: ExportOptions, prepared: Prepared, data: Data, stages: Stages, threads: int
) -> tuple[Graph, "Recipe | None"]:
    if options.precision != "int8":
        return prepared.graph, None
    from edgeconv.export.quant import quantize

    with stages.stage("calibrate") as say:
        feeds = load_feeds(data.calibration, "calibration sample")
        say(f"{len(feeds)} samples · {data.origin}")
    with stages.stage("quantize") as say:
        result = quantize(
            prepared.graph,
            feeds,
            recipe=options.recipe,
            threads=threads,
            progress=stages.share("quantize"),
            input_scale=prepared.exact_inputs,
        )
        say(f"recipe {result.recipe.name}, {result.recipe.form}")
        if result.recipe.float_nodes:
            say(f"{len(result.recipe.float_nodes)} nodes stay in float")
    return result.graph, result.recipe


def _emit(
    options: ExportOptions,
    graph: Graph,
    recipe: "Recipe | None",
    description: dict[str, Any],
    stages: Stages,
    base: Path,
) -> dict[str, Emitted]:
    io = options.io or ("uint8" if options.embed_preprocessing and recipe else "float")
    emitted = {}
    for target in options.targets:
        with stages.stage(target) as say:
            request = EmitRequest(graph, recipe, options.precision, io, options.opset, description)
            emitted[target] = emit(target, request)
            path = base.with_name(base.name + SUFFIX[target])
            write_bytes(path, emitted[target].data)
            say(artifact_text(path.name, len(emitted[target].data), emitted[target].stats))
    return emitted


def _expect(
    options: ExportOptions,
    source: Source,
    lowered: Lowered,
    data: Data,
    stages: Stages,
) -> tuple[Expected, list[str]]:
    from edgeconv.export.reference import open_reference

    with stages.stage("reference") as say:
        feeds = load_feeds(data.verification, "verification sample")
        with open_reference(
            module=source.module,
            raw=lowered.raw,
            shapes=source.shapes,
            outputs=lowered.hub.outputs,
            embedded=source.preprocessing if options.embed_preprocessing else None,
            softmax=options.softmax,
            threads=options.threads or 1,  # one picture's layers are too small to share
        ) as reference:
            truth = [sample.truth for sample in data.verification]
            expected = expect(reference, feeds, truth, stages.share("reference"))
            runner = reference.runner
        say(f"{runner.name} {runner.version} on {len(expected.feeds)} samples")
    return expected, [sample.name for sample in data.verification[: len(expected.feeds)]]


def _verify(
    report: ExportReport,
    stem: str,
    place: Path,
    emitted: dict[str, Emitted],
    description: dict[str, Any],
    expected: Expected,
    stages: Stages,
    threads: int,
) -> None:
    options = report.options
    folder = place / f"{stem}.evidence"
    report.departure = first_departure(
        {name: folder / f"{name}.onnx" for name in ("raw", "hub", "prepared")},
        expected,
        embedded=options.embed_preprocessing,
        softmax=options.softmax,
        int8=options.precision == "int8",
    )
    shared = ("raw.onnx", "hub.onnx", "prepared.onnx", "recipe.json", "verify.npz")
    for target, file in emitted.items():
        path = place / (stem + SUFFIX[target])
        with stages.stage("verify") as say:
            verdict = verify_file(path, options.precision, file.inputs, expected, threads)
            say(f"{target} · {verdict_text(verdict)}")
        kept = [folder / name for name in (*shared, f"names_{target}.json")]
        evidence = {
            "folder": folder.name,
            "files": {item.name: sha256(item) for item in kept if item.exists()},
        }
        content = manifest(
            description, target, path.name, sha256(path), file, evidence, verdict.to_json()
        )
        save_manifest(Artifact(path, content))
        report.artifacts.append(
            ArtifactReport(
                target, options.output / path.name, len(file.data), dict(file.stats), verdict
            )
        )
