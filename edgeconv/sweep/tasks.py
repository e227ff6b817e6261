"""What a sweep does, a function a kind: look, export, evaluate, bench, and measure for
``edgeconv eval``. Each is told by JSON and answers in JSON."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, adapt_outputs, match_names
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import lay, temporary_folder
from edgeconv.pictures import picture_names, read_picture
from edgeconv.preprocessing import ASSUMED
from edgeconv.runtimes.base import Runner, open_runner
from edgeconv.samples import Feed, InputSpec, Sample, load_samples
from edgeconv.sweep.boards import bench_there
from edgeconv.sweep.inputs import Files

Places = Mapping[str, Files]
"""Hash -> the files of that hash on this machine."""


def perform(kind: str, spec: Mapping[str, Any], places: Places, folder: Path) -> dict[str, Any]:
    """Do a task: read its inputs where ``places`` says, write files into ``folder``, return its result.

    The task sees its inputs below a folder of its own, by their bare names, so that nothing of this
    machine's paths gets into what it writes. Raises EdgeconvError for what cannot be done.
    """
    with temporary_folder() as bench:
        for key, files in places.items():
            files.lay(bench / key)
        with contextlib.chdir(bench):
            found: dict[str, Any] = TASKS[kind](_named(spec), folder.absolute())
    return found


def _named(spec: Any) -> Any:
    """Turn every "@HASH/NAME" into the path HASH/NAME below the task's folder."""
    if isinstance(spec, str):
        return spec[1:] if spec.startswith("@") else spec
    if isinstance(spec, Mapping):
        return {key: _named(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return [_named(value) for value in spec]
    return spec


def _look(spec: Mapping[str, Any], _folder: Path) -> dict[str, Any]:
    """Read every picture. Raises UsageError for the first that cannot be."""
    folder = Path(spec["data"])
    names = picture_names(folder)
    try:
        for name in names:
            read_picture(folder / name)
    except EdgeconvError as error:
        raise UsageError(str(error)) from error
    return {"pictures": len(names)}


def _export(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from edgeconv.api import export_model

    options = dict(spec)
    _as_at_home(options)
    net, targets = options.pop("net"), tuple(options.pop("targets"))
    for name in ("mean", "std"):
        if name in options:
            options[name] = tuple(options[name])
    if "input_shapes" in options:
        options["input_shapes"] = tuple(tuple(shape) for shape in options["input_shapes"])
    if "labels" in options:
        options["labels"] = Path(options["labels"])
    report = export_model(net, targets=targets, output=folder, threads=1, **options)
    made = {
        a.target: {
            "file": a.path.name,
            "bytes": a.bytes,
            "graph": a.stats,
            "verification": a.verdict.to_json(),
        }
        for a in report.artifacts
    }
    pictures = next((line.text for line in report.stages if line.stage == "pictures"), "")
    return {
        "artifacts": made,
        "refused": {t: report.refused.get(t, "not written") for t in targets if t not in made},
        "departure": report.departure,
        "assumed": pictures if ASSUMED in pictures else None,
    }


def _as_at_home(options: dict[str, Any]) -> None:
    """Let code of the user's find what it read where the sweep was started, and build what it built there.

    Raises EdgeconvError where it builds other weights.
    """
    state, beside = options.pop("state", None), options.pop("beside", None)
    if beside is not None:
        for path in sorted(p for p in Path(beside).rglob("*") if p.is_file()):
            shown = Path(path.relative_to(beside))
            shown.parent.mkdir(parents=True, exist_ok=True)
            if not shown.exists():
                lay(path, shown)
    if state is None:
        return
    from edgeconv.sweep.beside import build, seed

    built = build(options["net"])
    if built is not None and built.state != state:
        raise EdgeconvError(
            f"{options['net']} builds another net where the task ran than where the sweep was started: "
            "what it reads has to lie in its folder"
        )
    seed()


def _evaluate(spec: Mapping[str, Any], _folder: Path) -> dict[str, Any]:
    """Classify the pictures (of arrays: samples start..stop); compare with their truth, or with the float hub."""
    path = Path(spec["file"])
    artifact = load_artifact(path)
    if artifact is None:
        raise EdgeconvError(f"{path.name} has no manifest beside it")
    samples = _samples(artifact, spec)
    if not samples:
        return {"classifier": False}
    with open_runner(path, threads=1) as runner:
        predicted = _classes(runner, artifact, samples)
    if predicted is None:
        return {"classifier": False}
    wanted: NDArray[np.int64] | None
    if spec["truth"] is not None:
        wanted = np.array([-1 if s.truth is None else s.truth for s in samples], np.int64)
    else:
        with open_runner(Path(spec["hub"]), threads=1) as runner:
            wanted = _classes(runner, artifact, samples, hub=True)
        if wanted is None:
            return {"classifier": False}
    return {"classifier": True, "predicted": predicted.tolist(), "wanted": wanted.tolist()}


def _samples(artifact: Artifact, spec: Mapping[str, Any]) -> list[Sample]:
    from edgeconv.sweep.data import ARRAYS, shuffled

    how = artifact.preprocessing
    shapes = {}
    for tensor in artifact.inputs:
        n, *rest = tensor.shape
        nhwc = tensor.layout == "nhwc"
        shapes[tensor.name] = (n, rest[2], *rest[:2]) if nhwc else tensor.shape
    truth = {} if spec["truth"] in (None, ARRAYS) else spec["truth"]

    def part(count: int) -> list[int]:
        return shuffled(count)[slice(*spec["part"])]

    inputs = InputSpec(shapes, how)
    return load_samples(spec["data"], inputs, truth, part if spec["part"] else None)


def _classes(
    runner: Runner, artifact: Artifact, samples: list[Sample], *, hub: bool = False
) -> NDArray[np.int64] | None:
    """Return the class of every sample, None where the first output holds no class scores.

    The float ``hub`` takes samples as they are, an exported file in its own layout and type.
    """
    output = runner.outputs[0]
    if len(output.shape) != 2 or output.shape[1] < 2:
        return None
    names = match_names([s.name for s in runner.inputs], [s.name for s in artifact.inputs], "input")
    declared = {s.name: s for s in artifact.inputs}
    found = []
    for sample in samples:
        feed: Feed = sample.load()
        fed = {
            own: feed[name] if hub else adapt_inputs(feed[name], "nchw", declared[name])
            for own, name in names.items()
        }
        made = runner.infer(fed)
        found.append(int(adapt_outputs(made[output.name], output)[0].argmax()))
    return np.array(found, np.int64)


def _measure(spec: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    from edgeconv.sweep.part import measure_part

    return measure_part(spec, folder)


def _bench(spec: Mapping[str, Any], _folder: Path) -> dict[str, Any]:
    """Time one file with one number of threads: on a board where ``spec`` names one, else here."""
    found = timed(bench_there(spec) if spec.get("board") else _bench_here(spec))
    if found["arena_mib"] is None:
        found["arena_mib"] = planned_arena(Path(spec["file"]))
    return found


def planned_arena(path: Path) -> float | None:
    """Return the MiB that TensorFlow Lite Micro would need for a .tflite file; None for other files."""
    if path.suffix != ".tflite":
        return None
    from edgeconv.export.tflite.inspect import read_tflite
    from edgeconv.mcu.arena import plan_arena

    return plan_arena(read_tflite(path.read_bytes(), path.name)).total / (1 << 20)


def _bench_here(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    from edgeconv.bench.plan import Plan
    from edgeconv.bench.run import Request, bench
    from edgeconv.bench.subjects import Choice

    choice = Choice(threads=(spec["threads"],), reference=False)
    report = bench(Request((spec["file"],), choice=choice, plan=Plan(seconds=spec["seconds"])))
    if report.partial:
        raise KeyboardInterrupt
    return report.to_json()


def timed(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sweep keeps of a bench's report of one row; of an emulated board no latency.

    Raises EdgeconvError where it failed.
    """
    row = report["rows"][0]
    if row["error"] is not None:
        raise EdgeconvError(str(row["error"]))
    emulated = report["machine"]["emulated"]
    summary = None if emulated else row["summary"]
    return {
        "emulated": emulated,
        "latency_ms": None if summary is None else summary["median"],
        "interval_ms": None
        if summary is None or summary["median_interval"] is None
        else [summary["median_interval"]["low"], summary["median_interval"]["high"]],
        "arena_mib": row["arena_mib"],
        "peak_mib": row["peak_mib"],
        "runtime": row["runtime"],
        "version": row["version"],
        "marks": [mark["reason"] for mark in row["marks"]],
        # what has no latency is not timed again for a better one
        "busy": not emulated
        and any(mark["code"] in ("load", "steal", "switched") for mark in row["marks"]),
        "machine": report["machine"]["processor"],
        "load_before": report["load_before"],
    }


TASKS: dict[str, Callable[[Mapping[str, Any], Path], dict[str, Any]]] = {
    "look": _look,
    "export": _export,
    "evaluate": _evaluate,
    "bench": _bench,
    "measure": _measure,
}
"""Kind of task -> what does it."""
