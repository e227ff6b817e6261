"""Run one file's layers against the reference's, in a process of its own.

``python -m edgeconv.parity.layer_run JOB.json``; ``run_layers`` is the parent's side.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.adapt import adapt_inputs, match_names
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.parity.child import Job, job_from_json, placed
from edgeconv.parity.codec import Codec, fits
from edgeconv.parity.layers import LayerReport, Tally, layer_from_json, weight_sqnr
from edgeconv.runtimes.base import Runner
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
    timeout_s: float | None = None,
) -> LayerReport:
    """Compare the layers of ``job.path`` with those of the ONNX file ``reference``, in a child.

    Raises EdgeconvError with the child's own sentence, or the signal's name where it crashed.
    """
    request = job.out.with_suffix(".layers.json")
    asked = {"job": job.to_json(), "reference": str(reference), "count": count, "kind": kind}
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


@dataclass
class Opened:
    """A file exposed and severed at the tensors that have a counterpart in the reference.

    ``outs`` and ``feds`` map reference tensors to the file's own outputs and new inputs.
    """

    exposed: Runner | None
    severed: Runner
    outs: Mapping[str, str]
    feds: Mapping[str, str]
    known: Mapping[str, Quantization] = field(default_factory=dict)
    channels_first: bool = False
    codecs: dict[str, Codec] = field(default_factory=dict)

    def plan_codecs(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        grids: Mapping[str, Quantization],
    ) -> None:
        """Say how each tensor is stored; tensors whose shape cannot be told are dropped."""
        specs = {spec.name: spec for spec in self.severed.outputs}
        for tensor, out in self.outs.items():
            spec = specs[out]
            options = fits(shapes[tensor], spec.shape)
            if self.channels_first:
                options = [last for last in options if not last]
            if not options:
                continue
            grid = grids.get(tensor)
            if grid is not None and spec.dtype == "uint8":
                grid = replace(grid, zero_point=grid.zero_point + 128)
            quantization = grid or self.known.get(out) or spec.quantization
            self.codecs[tensor] = Codec(
                shapes[tensor], spec.shape, spec.dtype, quantization, options[0]
            )

    def settle(self, reference: Mapping[str, Array], inherited: Mapping[str, Array]) -> None:
        """Where both layouts fit a shape, take the one whose values lie nearer the reference."""
        for tensor, codec in self.codecs.items():
            if self.channels_first or len(fits(codec.shape, codec.stored)) < 2:
                continue
            other = replace(codec, last=not codec.last)
            stored = inherited[self.outs[tensor]]
            wrong = [np.abs(c.decode(stored) - reference[tensor]).sum() for c in (codec, other)]
            if wrong[1] < wrong[0]:
                self.codecs[tensor] = other

    def feeds(self, reference: Mapping[str, Array]) -> dict[str, Array]:
        """Return the severed model's new inputs, from the reference's own tensors."""
        own = {spec.name: spec for spec in self.severed.inputs}
        fed = {}
        for tensor, name in self.feds.items():
            codec = self.codecs.get(tensor)
            if name not in own:
                continue
            if codec is None:
                fed[name] = np.zeros(own[name].shape, own[name].dtype)
            else:
                fed[name] = codec.encode(reference[tensor])
        return fed


def open_onnx(
    data: bytes, names: Mapping[str, str], *, optimize: bool, threads: int, expose: bool = True
) -> Opened:
    """Open an ONNX model for ``names``, reference tensor -> its tensor."""
    import onnx

    from edgeconv.parity.surgery_onnx import FED, made_by, quantizations, rewire
    from edgeconv.runtimes.onnxrt import open_model

    model = onnx.load_from_string(data)
    made = made_by(model)
    outs = unique({t: n for t, n in names.items() if n in made})

    def opened(sever: bool) -> Runner:
        changed = rewire(model, list(outs.values()), sever=sever)
        return open_model(changed.SerializeToString(), threads=threads, optimize=optimize)

    feds = {t: n + FED for t, n in outs.items()}
    exposed = opened(False) if expose else None
    return Opened(exposed, opened(True), outs, feds, quantizations(model), channels_first=True)


def open_tflite(
    data: bytes, names: Mapping[str, str], *, runtime: str, xnnpack: bool, threads: int
) -> Opened:
    """Open a TFLite model for ``names``, reference tensor -> its tensor."""
    from edgeconv.parity.surgery_tflite import FED, OUT, read_model, rewire, tensor_indices

    if runtime != "ai-edge-litert":
        raise EdgeconvError(f"layers of a .tflite need ai-edge-litert, not {runtime}")
    from edgeconv.runtimes.litert import open_model

    model = read_model(data)
    indices = tensor_indices(model)
    chosen = unique({t: n for t, n in names.items() if n in indices})
    own = {t: indices[n] for t, n in chosen.items()}
    outs = {t: f"{OUT}{i}" for t, i in own.items()}

    def opened(sever: bool) -> Runner:
        changed = rewire(model, list(own.values()), sever=sever)
        return open_model(changed, threads=threads, xnnpack=xnnpack)

    feds = {t: f"{FED}{i}" for t, i in own.items()}
    return Opened(opened(False), opened(True), outs, feds)


def unique(names: Mapping[str, str]) -> dict[str, str]:
    """Drop later tensors that share a counterpart: a reshape that only relabels has no layer."""
    seen: set[str] = set()
    kept = {}
    for tensor, name in names.items():
        if name not in seen:
            seen.add(name)
            kept[tensor] = name
    return kept


class Reference:
    """The reference graph with every tensor exposed, in onnxruntime without rewrites."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnx

        from edgeconv.parity.surgery_onnx import inferred, made_by, rewire
        from edgeconv.runtimes.onnxrt import open_model

        self.model = onnx.load(str(path))
        makers = made_by(self.model)
        shaped = {value.name for value in inferred(self.model)}
        self.tensors = [t for t in makers if t in shaped and makers[t].op_type != "Constant"]
        self.nodes = {t: _credited(t, makers) for t in self.tensors}
        data = rewire(self.model, self.tensors, sever=False).SerializeToString()
        self.runner = open_model(data, threads=threads, optimize=False)
        self.shapes = {spec.name: spec.shape for spec in self.runner.outputs}
        for spec in self.runner.inputs:
            self.shapes[spec.name] = spec.shape
            self.nodes[spec.name] = (spec.name, "input")

    def run(self, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
        """Return every tensor, the inputs included, for one picture."""
        names = match_names([spec.name for spec in self.runner.inputs], list(hub), "input")
        feeds = {
            spec.name: np.asarray(hub[names[spec.name]][picture : picture + 1], spec.dtype)
            for spec in self.runner.inputs
        }
        return {**feeds, **self.runner.infer(feeds)}


def _credited(tensor: str, makers: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and operator of the layer that makes ``tensor``: a fused clamp is its producer's."""
    node = makers[tensor]
    if node.op_type in ("Relu", "Clip") and node.input[0].endswith("_before_clamp"):
        node = makers.get(node.input[0], node)
    return node.name or tensor, node.op_type


def grids_of(artifact: Artifact | None) -> dict[str, Quantization]:
    """Return the recipe's quantization of every tensor, for int8."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    from edgeconv.export.quant.recipe import load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    return {t: Quantization(a.scale, a.zero_point) for t, a in recipe.activations.items()}


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


def measure_layers(job: Job, reference_path: Path, count: int, kind: str = "fp32") -> LayerReport:
    """Run reference, file and (INT8) simulated recipe on ``count`` pictures and tally every layer."""
    require("onnx", "export")
    artifact = load_artifact(job.path) if job.input_specs else None
    reference = Reference(reference_path, job.threads)
    names = names_for(artifact, job, reference)
    data = job.path.read_bytes()
    if job.path.suffix.lower() == ".onnx":
        optimize = bool(job.options.get("optimize", True))
        opened = open_onnx(data, names, optimize=optimize, threads=job.threads)
    else:
        xnnpack = bool(job.options.get("xnnpack", True))
        opened = open_tflite(data, names, runtime=job.runtime, xnnpack=xnnpack, threads=job.threads)
    integer = artifact is not None and artifact.precision == "int8"
    grids = grids_of(artifact) if integer else {}
    opened.plan_codecs(reference.shapes, grids)
    simulated = _simulated(artifact, opened, reference, grids, job.threads) if integer else None
    hub = {name: np.load(path, mmap_mode="r") for name, path in job.inputs.items()}
    count = min(count, *(len(array) for array in hub.values()))
    tallies = {tensor: Tally() for tensor in opened.codecs}
    for picture in range(count):
        _tally(job, reference, opened, simulated, grids, hub, picture, tallies)
    weights = weight_figures(artifact, reference.model)
    layers = [
        tallies[t].layer(t, *reference.nodes[t], kind, weights.get(reference.nodes[t][0]))
        for t in tallies
    ]
    unmatched = tuple(
        t
        for t in reference.tensors
        if t not in opened.codecs and not t.endswith("_before_clamp") and t not in names
    )
    return LayerReport(job.path.name, tuple(layers), count, unmatched)


def _simulated(
    artifact: Artifact | None,
    opened: Opened,
    reference: Reference,
    grids: Mapping[str, Quantization],
    threads: int,
) -> Opened | None:
    if artifact is None or not grids:
        return None
    from edgeconv.parity.simulate import simulated_model

    data, names = simulated_model(artifact)
    wanted = {t: names[t] for t in opened.codecs if t in names}
    found = open_onnx(data, wanted, optimize=False, threads=threads, expose=False)
    found.plan_codecs(reference.shapes, grids)
    return found


def _tally(
    job: Job,
    reference: Reference,
    opened: Opened,
    simulated: Opened | None,
    grids: Mapping[str, Quantization],
    hub: Mapping[str, Array],
    picture: int,
    tallies: Mapping[str, Tally],
) -> None:
    real = reference.run(hub, picture)
    assert opened.exposed is not None
    pictures = border(opened.exposed, job, hub, picture)
    inherited = opened.exposed.infer(pictures)
    if picture == 0:
        opened.settle(real, inherited)
    own = opened.severed.infer({**pictures, **opened.feeds(real)})
    expected = None
    if simulated is not None:
        plain = {
            spec.name: np.asarray(real[spec.name], spec.dtype)
            for spec in simulated.severed.inputs
            if spec.name in real and spec.name not in simulated.feds.values()
        }
        expected = simulated.severed.infer({**plain, **simulated.feeds(real)})
    for tensor, codec in opened.codecs.items():
        out, grid, wanted = opened.outs[tensor], grids.get(tensor), None
        if simulated is not None and expected is not None and tensor in simulated.codecs:
            wanted = simulated.codecs[tensor].decode(expected[simulated.outs[tensor]])
        limits = None
        if grid is not None:
            low, high = (grid.scale * (end - grid.zero_point) for end in (-128, 127))
            limits = (grid.scale, low, high)
        tallies[tensor].add(
            real[tensor], codec.decode(inherited[out]), codec.decode(own[out]), wanted, limits
        )


def border(runner: Runner, job: Job, hub: Mapping[str, Array], picture: int) -> dict[str, Array]:
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
    try:
        report = measure_layers(job, Path(asked["reference"]), asked["count"], asked["kind"])
    except EdgeconvError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    job.out.with_suffix(".found.json").write_text(json.dumps(report.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
