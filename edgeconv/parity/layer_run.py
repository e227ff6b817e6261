"""Run one file's layers against the reference's, in a process of its own.

``python -m edgeconv.parity.layer_run JOB.json``; ``run_layers`` is the parent's side.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, match_names
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.parity.child import Job, job_from_json, placed
from edgeconv.parity.layers import Layer, LayerReport, Tally, layer_from_json, weight_sqnr
from edgeconv.parity.opened import (
    PROPORTIONAL,
    Infers,
    Opened,
    Reference,
    open_coreml,
    open_onnx,
    open_tflite,
)
from edgeconv.parity.padding import channel_orders
from edgeconv.runtimes.probe import child_failure
from edgeconv.tensors import Quantization

Array = NDArray[Any]


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
    request = job.out.with_suffix(".layers.json")
    asked = {
        "job": job.to_json(),
        "reference": str(reference),
        "count": count,
        "kind": kind,
        "bisect": None if bisect is None else str(bisect),
    }
    request.write_text(json.dumps(asked))
    what = f"the layers of {job.path.name} in {job.runtime}"
    try:
        child = subprocess.run(
            [sys.executable, "-m", "edgeconv.parity.layer_run", str(request)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise EdgeconvError(f"{what} did not end within {timeout_s:g} s") from error
    if child.returncode:
        raise EdgeconvError(child_failure(what, child.returncode, child.stderr))
    data = json.loads(job.out.with_suffix(".found.json").read_text())
    layers = tuple(layer_from_json(item) for item in data["layers"])
    return LayerReport(label, layers, data["pictures"], tuple(data["unmatched"]))


def grids_of(artifact: Artifact | None) -> dict[str, Quantization]:
    """Return the recipe's quantization of every tensor, for int8."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    from edgeconv.export.quant.recipe import load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    return {t: Quantization(a.scale, a.zero_point) for t, a in recipe.activations.items()}


def _has_zero_points(artifact: Artifact | None) -> bool:
    """Whether the recipe is of the form that Core ML does not take as it is."""
    if not grids_of(artifact):
        return False
    from edgeconv.export.quant.recipe import load_recipe

    assert artifact is not None
    return load_recipe(artifact.evidence("recipe.json")).form == "asymmetric"


def weight_figures(artifact: Artifact | None, model: Any) -> dict[str, float]:
    """Return node name -> SQNR of its integer weights against the prepared graph's float ones."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    from onnx import numpy_helper

    from edgeconv.export.quant.recipe import load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    constants = {i.name: i for i in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        weights = recipe.weights.get(node.name)
        if weights is not None and node.input[1] in constants:
            real = np.asarray(numpy_helper.to_array(constants[node.input[1]]))
            if (
                real.shape == weights.values.shape
                and weights.scales.size == real.shape[weights.axis]
            ):
                found[node.name] = weight_sqnr(real, weights.values, weights.scales, weights.axis)
    return found


def names_for(artifact: Artifact | None, job: Job, reference: Reference) -> dict[str, str]:
    """Return reference tensor -> tensor of the file: from the evidence, else matched."""
    if artifact is not None:
        names = json.loads(artifact.evidence(f"names_{artifact.target}.json").read_text())
        order = [*reference.shapes.keys() - set(reference.tensors), *reference.tensors]
        return {tensor: names[tensor] for tensor in order if tensor in names}
    if job.path.suffix.lower() != ".onnx":
        raise EdgeconvError(
            f"{job.path.name} was not made by edgeconv export, so nothing says which of its tensors "
            "is which of the reference's"
        )
    import onnx

    from edgeconv.parity.surgery_onnx import match_layers

    return match_layers(reference.model, onnx.load(str(job.path)))


def _open(
    job: Job,
    data: bytes,
    names: Mapping[str, str],
    reference: Reference,
    artifact: Artifact | None,
) -> Opened:
    """Open the job's file; ``artifact`` is that of an INT8 export, whose channels may be padded."""
    suffix, shapes, threads = job.path.suffix.lower(), reference.shapes, job.threads
    if suffix == ".mlpackage":
        return open_coreml(job.path, names, shapes)
    if suffix == ".onnx":
        optimize = bool(job.options.get("optimize", True))
        orders = None if artifact is None else channel_orders(artifact)
        return open_onnx(data, names, shapes, optimize=optimize, threads=threads, orders=orders)
    xnnpack = bool(job.options.get("xnnpack", True))
    return open_tflite(data, names, shapes, runtime=job.runtime, xnnpack=xnnpack, threads=threads)


def measure_layers(
    job: Job, reference_path: Path, count: int, kind: str = "fp32", bisect: Path | None = None
) -> LayerReport:
    """Run reference, file and (INT8) simulated recipe on ``count`` pictures and tally every layer."""
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
    if opened.kind == "coreml" and _has_zero_points(artifact):
        simulated = (
            None  # Core ML takes other scales there, so the recipe says nothing of its noise
        )
    hub = {name: np.load(path, mmap_mode="r") for name, path in job.inputs.items()}
    count = min(count, *(len(array) for array in hub.values()))
    tallies = {tensor: Tally() for tensor in opened.codecs}
    run = Run(job, reference, opened, simulated, grids, hub, count)
    if kind == "lowered":
        _rescale(run)
    for picture in range(count):
        _tally(run, picture, tallies)
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


@dataclass(frozen=True)
class Run:
    """What one comparison of layers works with."""

    job: Job
    reference: Reference
    opened: Opened
    simulated: tuple[bytes, Opened] | None
    grids: Mapping[str, Quantization]
    hub: Mapping[str, Array]
    count: int


@dataclass(frozen=True)
class Pass:
    """One picture: real tensors, the file's own inputs, and the stored results of each run."""

    real: Mapping[str, Array]
    pictures: Mapping[str, Array]
    inherited: Mapping[str, Array]
    own: Mapping[str, Array]
    expected: Mapping[str, Array] | None

    def wanted(self, tensor: str, run: Run) -> Array | None:
        """Real values that the simulated recipe gives for ``tensor``, where it has one."""
        if run.simulated is None or self.expected is None:
            return None
        source = run.simulated[1]
        if tensor not in source.codecs:
            return None
        return source.codecs[tensor].decode(self.expected[source.outs[tensor]])


def _bisect(folder: Path, layer: Layer, job: Job, run: Run, data: bytes) -> None:
    from edgeconv.parity.bisect import Shown, write_repro

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

    data, names = simulated_model(artifact)
    wanted = {t: names[t] for t in opened.codecs if t in names}
    shapes = reference.shapes
    found = open_onnx(data, wanted, shapes, optimize=False, threads=threads, expose=False)
    found.plan_codecs(reference.shapes, grids)
    return data, found


def one_pass(run: Run, picture: int) -> Pass:
    """Run reference, file and simulated recipe on one picture."""
    opened = run.opened
    real = run.reference.run(run.hub, picture)
    assert opened.exposed is not None
    pictures = border(opened.exposed, run.job, run.hub, picture)
    inherited = opened.exposed.infer(pictures)
    if picture == 0:
        opened.settle(real, inherited)
    own = opened.severed.infer({**pictures, **opened.feeds(real)})
    expected = None
    if run.simulated is not None:
        source = run.simulated[1]
        plain = {
            spec.name: np.asarray(real[spec.name], spec.dtype)
            for spec in source.severed.inputs
            if spec.name in real and spec.name not in source.feds.values()
        }
        expected = source.severed.infer({**plain, **source.feeds(real)})
    return Pass(real, pictures, inherited, own, expected)


def _rescale(run: Run) -> None:
    """Take equalised channels for what they are: the prepared INT8 graph holds them in other units."""
    for tolerance, own in zip(PROPORTIONAL, (False, True), strict=True):
        passes = [one_pass(run, picture) for picture in range(run.count)]
        seen = [(found.real, found.own if own else found.inherited) for found in passes]
        run.opened.rescale(seen, tolerance)


def _tally(run: Run, picture: int, tallies: Mapping[str, Tally]) -> None:
    found = one_pass(run, picture)
    for tensor, codec in run.opened.codecs.items():
        out, grid = run.opened.outs[tensor], run.grids.get(tensor)
        limits = None
        if grid is not None:
            low, high = (grid.scale * (end - grid.zero_point) for end in (-128, 127))
            limits = (grid.scale, low, high)
        inherited, own = codec.decode(found.inherited[out]), codec.decode(found.own[out])
        wanted = found.wanted(tensor, run)
        tallies[tensor].add(found.real[tensor], inherited, own, wanted, limits, codec.snapped(own))


def border(runner: Infers, job: Job, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
    """Return the file's own inputs for one picture."""
    specs = [placed(spec, job.input_specs, job.file_layout) for spec in runner.inputs]
    known = list(job.input_specs)
    if len(known) == len(specs):  # a rewired TFLite model has lost its signature's names
        specs = [replace(k, name=s.name) for k, s in zip(known, specs, strict=True)]
    names = match_names([spec.name for spec in specs], list(hub), "input")
    return {
        spec.name: adapt_inputs(
            np.asarray(hub[names[spec.name]][picture : picture + 1]), job.layout, spec
        )
        for spec in specs
    }


def main(request: str) -> int:
    """Do one job; the child's entry point. Returns the exit code."""
    asked = json.loads(Path(request).read_text())
    job = job_from_json(asked["job"])
    bisect = None if asked["bisect"] is None else Path(asked["bisect"])
    try:
        report = measure_layers(
            job, Path(asked["reference"]), asked["count"], asked["kind"], bisect
        )
    except EdgeconvError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    job.out.with_suffix(".found.json").write_text(json.dumps(report.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
