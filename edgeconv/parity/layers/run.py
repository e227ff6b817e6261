"""Run one file's layers against the reference's, in a process of its own.

``run_layers`` is the parent's side, ``work`` the child's.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.deps import require
from edgeconv.isolate import call
from edgeconv.parity.child import Job, job_from_json
from edgeconv.parity.layers.evidence import (
    channel_orders,
    grids_of,
    held_recipe,
    names_for,
    weight_figures,
)
from edgeconv.parity.layers.exposed import Reference
from edgeconv.parity.layers.figures import Layer, LayerReport, Tally, layer_from_json
from edgeconv.parity.layers.one_picture import Run, one_pass, rescale, tally_picture
from edgeconv.parity.layers.opened import Opened
from edgeconv.parity.layers.openers import open_coreml, open_onnx, open_tflite
from edgeconv.runtimes.table import RUNTIMES
from edgeconv.spread import places
from edgeconv.tensors import Quantization


def run_layers(
    job: Job,
    reference: Path,
    label: str,
    *,
    kind: str = "fp32",
    count: int = 8,
    bisect: Path | None = None,
    timeout_s: float | None = None,
) -> LayerReport:
    """Compare the layers of ``job.path`` with those of the ONNX file ``reference``, in a child.

    ``bisect`` is a folder for the repro of the first layer that departs. Raises EdgeconvError with the child's own sentence, or the signal's name where it crashed.
    """
    asked = {
        "job": job.to_json(),
        "reference": str(reference),
        "count": count,
        "kind": kind,
        "bisect": None if bisect is None else str(bisect),
    }
    what = f"the layers of {job.path.name} in {job.runtime}"
    data = call("edgeconv.parity.layers.run:work", asked, what, timeout_s=timeout_s)
    layers = tuple(layer_from_json(item) for item in data["layers"])
    return LayerReport(label, layers, data["pictures"], tuple(data["unmatched"]))


def _open(
    job: Job,
    data: bytes,
    names: Mapping[str, str],
    reference: Reference,
    artifact: Artifact | None,
) -> Opened:
    """Open the job's file; ``artifact`` is that of an INT8 export, whose channels may be padded."""
    suffix, shapes = job.path.suffix.lower(), reference.shapes
    if suffix == ".mlpackage":
        return open_coreml(job.path, names, shapes)
    model = RUNTIMES[job.runtime].load().open_model
    opens = functools.partial(model, threads=job.threads, **job.options)
    if suffix == ".onnx":
        orders = None if artifact is None else channel_orders(artifact)
        return open_onnx(data, names, shapes, opens, orders=orders)
    return open_tflite(data, names, shapes, opens)


def measure_layers(
    job: Job, reference_path: Path, count: int, kind: str = "fp32", bisect: Path | None = None
) -> LayerReport:
    """Run reference, file and (INT8) simulated recipe on ``count`` spread pictures and tally every layer."""
    require("onnx", "export")
    artifact = load_artifact(job.path) if job.input_specs else None
    reference = Reference(reference_path, job.threads)
    names = names_for(artifact, job, reference)
    data = b"" if job.path.is_dir() else job.path.read_bytes()
    integer = artifact is not None and artifact.precision == "int8"
    opened = _open(job, data, names, reference, artifact if integer else None)
    grids = grids_of(artifact) if integer else {}
    opened.plan_codecs(reference.shapes, grids)
    simulated = _simulated(artifact, opened, reference, grids, job.threads) if integer else None
    whole = {name: np.load(path, mmap_mode="r") for name, path in job.inputs.items()}
    chosen = places(min(len(array) for array in whole.values()), count)
    hub, count = {name: array[chosen] for name, array in whole.items()}, len(chosen)
    tallies = {tensor: Tally() for tensor in opened.codecs}
    run = Run(job, reference, opened, simulated, grids, hub, count)
    if kind == "lowered":
        rescale(run)
    for picture in range(count):
        tally_picture(run, picture, tallies)
    weights = weight_figures(artifact, reference.model)
    layers = []
    for tensor, tally in tallies.items():
        node, op = reference.nodes[tensor]
        before = reference.together(tensor, opened.codecs) if tensor in reference.makers else ()
        layers.append(tally.layer(tensor, node, op, kind, weights.get(node), before))
    held = {names[tensor] for tensor in opened.outs}
    unmatched = tuple(
        t
        for t in reference.tensors
        if names.get(t) not in held
        and not t.endswith("_before_clamp")
        and not reference.inside(t, opened.codecs)
    )
    report = LayerReport(job.path.name, tuple(layers), count, unmatched)
    if bisect is not None and report.first is not None:
        _bisect(bisect, report.first, job, run, data)
    return report


def _bisect(folder: Path, layer: Layer, job: Job, run: Run, data: bytes) -> None:
    from edgeconv.parity.layers.bisect import Shown, write_repro

    best: Shown | None = None
    most = -1.0
    for picture in range(run.count):
        found = one_pass(run, picture)
        codec = run.opened.codecs[layer.tensor]
        observed = codec.decode(found.own[run.opened.outs[layer.tensor]])
        wanted = found.wanted(layer.tensor, run)
        expected = found.real[layer.tensor] if wanted is None else wanted
        error = float(np.abs(observed - expected).max())
        if best is None or not error <= most:  # NaN is the worst there is
            best, most = Shown(found.real, found.pictures, expected, observed), error
    assert best is not None
    runner = run.opened.severed
    what = f"{runner.name} {runner.version}, {job.path.name}"
    write_repro(folder, layer, best, run.opened, run.reference, run.simulated, data, what)


def _simulated(
    artifact: Artifact | None,
    opened: Opened,
    reference: Reference,
    grids: Mapping[str, Quantization],
    threads: int,
) -> tuple[bytes, Opened] | None:
    if artifact is None or not grids:
        return None
    from edgeconv.parity.simulate import simulated_model
    from edgeconv.runtimes.onnxrt import open_model

    data, names = simulated_model(artifact, held_recipe(artifact))
    wanted = {t: names[t] for t in opened.codecs if t in names}
    shapes = reference.shapes
    opens = functools.partial(open_model, threads=threads, optimize=False)
    found = open_onnx(data, wanted, shapes, opens, expose=False)
    found.plan_codecs(reference.shapes, grids)
    return data, found


def work(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Compare here and return the report as JSON data; the child's side of ``run_layers``."""
    bisect = None if asked["bisect"] is None else Path(asked["bisect"])
    job, reference = job_from_json(asked["job"]), Path(asked["reference"])
    found: dict[str, Any] = measure_layers(
        job, reference, asked["count"], asked["kind"], bisect
    ).to_json()
    return found
