"""The last stages: the float reference, the files, their evidence, and their verification from disk."""

import contextlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgeconv.ahead import Early, Tick
from edgeconv.artifact import Artifact, save_manifest
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.held import hardly_any
from edgeconv.evaluate.hints import truth_hints
from edgeconv.export.data import load_feeds
from edgeconv.export.departure import begin_departure
from edgeconv.export.emit import EmitRequest, Emitted
from edgeconv.export.evidence import evidence_files, tensor_files
from edgeconv.export.feeds import mixed
from edgeconv.export.half_promise import half_limits, half_notes
from edgeconv.export.hub.cuts import output_cuts
from edgeconv.export.hub.whole import whole_outputs
from edgeconv.export.integer.free_form import held_on
from edgeconv.export.kinds import Io
from edgeconv.export.lower import embedded
from edgeconv.export.manifest import manifest
from edgeconv.export.margins import float_scores
from edgeconv.export.report import (
    ArtifactReport,
    ExportReport,
    artifact_text,
    note_of,
    verdict_text,
)
from edgeconv.export.targets import TARGETS
from edgeconv.export.verify import (
    Expected,
    FileVerdict,
    Promise,
    expect,
    promised,
    verify_file,
)
from edgeconv.export.work import Work
from edgeconv.files import digest, model_files, partner, sha256, write_bytes
from edgeconv.judge.advice import advice
from edgeconv.judge.classes import refuse_truth
from edgeconv.recipe import WITHOUT_ZERO_POINTS
from edgeconv.runtimes.choose import choose
from edgeconv.runtimes.probe import EarlyProbe
from edgeconv.terminal import counted


def begin_reference(work: Work) -> None:
    """Begin to run the float net on every sample that verifies."""
    source, options, data, raw = work.source, work.options, work.data, work.raw

    def run(tick: Tick) -> tuple[Expected, str]:
        from edgeconv.export.reference import open_reference

        feeds = mixed(load_feeds(data.verification, "verification sample"))
        with open_reference(
            module=source.module,
            raw=raw,
            shapes=source.shapes,
            dtypes=source.dtypes,
            embedded=source.preprocessing if embedded(source) else None,
            softmax=work.softmax,
            threads=options.threads or 1,  # one picture's layers are too small to share
            count=len(feeds),
        ) as reference:
            truth = [sample.truth for sample in data.verification]
            expected = expect(reference, feeds, truth, tick)
            return expected, f"{reference.runner.name} {reference.runner.version}"

    work.reference = work.beside.begin(run)


def repeated(work: Work) -> None:
    """Wait until the float net gave the same for the first sample twice: else all further work is for nothing."""
    work.reference.begun()


def begin_probes(work: Work) -> None:
    """Start the children that open and run a file before this process does: their imports take time."""
    for target in work.options.targets:
        if not TARGETS[target].aborts or target in work.refused:
            continue
        with contextlib.suppress(EdgeconvError):  # whoever opens it says that no runtime is here
            runtime = choose(work.file(target, work.options.output)).name
            work.probes[target] = work.beside.keep(EarlyProbe(runtime))


def reference(work: Work) -> None:
    """Wait for the float net's outputs."""
    hub = work.lowered.hub
    with work.stages.stage("reference") as say:
        found, runtime = work.reference.result(work.stages.share("reference"))
        outputs = dict(zip(hub.outputs, found.outputs.values(), strict=True))
        refuse_truth(outputs, found.truth)
        expected = work.expected = replace(
            found,
            outputs=outputs,
            cuts=output_cuts(hub),
            whole=whole_outputs(hub),
            scores={} if work.options.image_input else float_scores(hub, found.feeds),
        )
        say(f"{runtime} on {counted(expected.count, 'sample')}")
    work.names = [work.data.verification[sample].name for sample in expected.samples]
    if work.hint is not None and (hint := work.hint.result()):
        work.notes.insert(0, hint)
    if work.source.weights.get("source") != "random":
        work.notes += filter(None, [hardly_any(outputs, expected.feeds[0])])
        work.notes += truth_hints(outputs, expected.truth, work.labels)


def emit(work: Work, target: str) -> None:
    """Write a target's file, or note why it turns out not to take the net."""
    request = _request(work)
    path = work.file(target, work.place)
    with work.stages.stage(target) as say:
        try:
            made = TARGETS[target].emit(request, path)
        except UsageError:
            raise
        except EdgeconvError as error:
            work.refused[target] = str(error)
            say("cannot be written")
            return
        takes = "/".join(sorted({spec.dtype for spec in made.inputs}))
        gives = "/".join(sorted({spec.dtype for spec in made.outputs}))
        say(artifact_text(path.name, made, f"{takes} in, {gives} out"))
    work.emitted[target] = made
    if target in work.probes:
        work.probes[target].begin(path, work.threads)
    _promise(work, target)
    work.notes += [f"{target}: {note}" for note in (*made.notes, *_unkept(work.options.io, made))]


def _request(work: Work) -> EmitRequest:
    options, raw_pixels = work.options, work.options.embed_preprocessing
    return EmitRequest(
        work.graph,
        work.recipe,
        options,
        options.io or ("uint8" if raw_pixels and work.recipe else "float"),
        work.description,
        work.source.preprocessing if options.image_input else None,
        work.classifier,
        work.softmax_inside or work.probabilities,
        work.expected.outputs,
    )


def _unkept(io: Io | None, made: Emitted) -> list[str]:
    """Say which borders of an INT8 file are not of the type that --io asked for."""
    if io in (None, "float"):
        return []
    return [
        f"--io {io} is not kept by {spec.name}: it stays {spec.dtype}, as it is computed in float"
        for spec in (*made.inputs, *made.outputs)
        if spec.dtype == "float32"
    ]


def begin_evidence(work: Work) -> None:
    """Begin to make the evidence that no file of a target is part of."""
    lowered, graph, recipe = work.lowered, work.graph, work.recipe
    expected, names, how = work.expected, work.names, work.source.preprocessing
    work.evidence = work.beside.begin(
        lambda _: evidence_files(lowered.raw, lowered.hub, graph, recipe, expected, names, how)
    )


def prove(work: Work) -> None:
    """Write the evidence and begin to find where the float forms of the net first depart."""
    if not work.emitted:
        raise EdgeconvError("; ".join(work.refused.values()))
    options = work.options
    folder = work.place / f"{work.stem}.evidence"
    evidence = work.evidence.result() | tensor_files(work.emitted)
    for name, content in evidence.items():
        write_bytes(folder / name, content)
    work.report = ExportReport(options, work.stages.lines, work.notes, refused=work.refused)
    work.report.warnings = work.source.warnings
    begin_departure(work, folder)


def conclude(work: Work) -> None:
    """Wait for where the float forms of the net first depart: nothing reads the evidence afterwards."""
    work.report.departure = work.departure.result()


def _promise(work: Work, target: str) -> Early[Promise] | None:
    """Begin what the recipe gives with the integer outputs of ``target``'s file, once for each set and form."""
    if work.recipe is None or work.softmax != work.softmax_inside:
        return None
    real = all(spec.dtype == "float32" for spec in work.emitted[target].outputs)
    held = held_on(work.graph, work.recipe, target, real)
    free = target in WITHOUT_ZERO_POINTS
    key = free, held.form, frozenset(held.activations)
    if key not in work.promises:
        graph, expected, threads = work.graph, work.expected, work.threads
        work.promises[key] = work.beside.begin(
            lambda tick: promised(graph, held, expected, threads, tick, free)
        )
    return work.promises[key]


def verify(work: Work, target: str) -> None:
    """Read a target's file back, judge it, and write its manifest."""
    options, file, row = work.options, work.emitted[target], TARGETS[target]
    path, folder = work.file(target, work.place), work.place / f"{work.stem}.evidence"
    promise = _promise(work, target)
    with work.stages.stage("verify") as say:
        try:
            verdict = verify_file(
                path,
                options.precision,
                (file.inputs, file.outputs),
                work.expected,
                work.threads,
                None if promise is None else promise.result(work.stages.share("verify")),
                file.stats,
                work.description["weights"].get("source"),
                row.verified,
                work.probes.get(target),
                partial(half_limits, work.graph, threads=work.threads, tensors=row.halves_tensors)
                if options.precision == "fp16" and work.softmax == work.softmax_inside
                else None,
            )
        except EdgeconvError as error:
            work.refused[target] = f"its file does not run: {error}"
            say(f"{target} · cannot be verified")
            _remove(path, folder / f"tensors_{target}.json")
            return
        say(f"{target} · {verdict_text(verdict)}")
    said = *verdict.verdict.notes, *half_notes(verdict.halves), *_without_integers(file)
    for note in said:
        note_of(work.report.notes, target, note)
    shared = ("raw.onnx", "hub.onnx", "prepared.onnx", "recipe.json", "verify.npz")
    kept = [folder / name for name in (*shared, f"tensors_{target}.json")]
    evidence = {
        "folder": folder.name,
        "files": {item.name: sha256(item) for item in kept if item.exists()},
    }
    content = manifest(
        work.description,
        target,
        path.name,
        digest(path),
        file,
        evidence,
        {**verdict.to_json(), "try": list(_advice(work, target, verdict, path.name))},
        work.expected,
    )
    if partner(path) is not None:  # which of the two has changed, sha256 does not tell
        content["files"] = {file.name: sha256(file) for file in model_files(path)}
    save_manifest(Artifact(path, content))
    made = options.output / path.name
    steps = _advice(work, target, verdict, str(made))
    work.report.artifacts.append(
        ArtifactReport(target, made, file.size, file.figures(), verdict, steps)
    )


def _without_integers(file: Emitted) -> list[str]:
    """Return a note where an INT8 file has nothing to compute in integers."""
    if file.stats.get("int8_operators") or file.stats.get("integer_layers", 1):
        return []
    return ["no operator of this net has an INT8 form: the file computes in float"]


def _advice(work: Work, target: str, verdict: FileVerdict, path: str) -> tuple[str, ...]:
    halves = "fp16" not in TARGETS[target].lacks
    return advice(verdict.verdict, path, work.description, halves=halves)


def suppress(work: Work, target: str) -> None:
    """Write the file for apps beside the verified one, where --nms asks for it."""
    from edgeconv.export.nms.stage import suppress as write

    if target in work.emitted and target not in work.refused:
        write(work, target, _request(work))


def _remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
            continue
        if (other := partner(path)) is not None:
            other.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
