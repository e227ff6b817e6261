"""A small net with its evidence, made by hand: what the parity tests compare.

The hub graph has a strided convolution, a depthwise one, an addition, an average pool that does not
count padding, a global average pool and a fully connected layer, on 3x16x16 pictures of 10 classes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parity_faults import Edit

from edgeconv.artifact import MANIFEST_VERSION, Artifact, save_manifest, spec_to_json
from edgeconv.export.graph import Graph, Node
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.prepare import prepare
from edgeconv.files import digest, sha256, write_bytes
from edgeconv.judge.verdict import Verdict
from edgeconv.recipe import (
    Activation,
    Form,
    Recipe,
    Weights,
    bias_integers,
    choose_scale,
)
from edgeconv.tensors import TensorSpec

Array = NDArray[Any]
SHAPE = (1, 3, 16, 16)
CLASSES = 10
INPUTS = (TensorSpec("input", SHAPE, "float32", "nchw"),)
OUTPUTS = (TensorSpec("logits", (1, CLASSES)),)


def small_net(seed: int = 0) -> Graph:
    """Return the hub graph; weights are random, scaled so that activations stay near 1."""
    rng = np.random.default_rng(seed)
    graph = Graph("small", 18, ["input"], ["logits"])
    graph.declare("input", SHAPE, np.float32)

    def conv(name: str, source: str, out: int, into: int, kernel: int, **attrs: Any) -> str:
        fan = into * kernel * kernel
        weight = rng.normal(scale=(2 / fan) ** 0.5, size=(out, into, kernel, kernel))
        graph.constants[f"{name}.weight"] = weight.astype(np.float32)
        graph.constants[f"{name}.bias"] = rng.normal(scale=0.1, size=out).astype(np.float32)
        stride = attrs.get("strides", [1, 1])[0]
        batch, _, height, width = graph.shape(source)
        size = (batch, out, -(-height // stride), -(-width // stride))
        graph.declare(f"{name}.pre", size, np.float32)
        pads = [kernel // 2] * 4
        given: dict[str, Any] = {
            "kernel_shape": [kernel] * 2,
            "pads": pads,
            "strides": [1, 1],
            "group": 1,
        }
        given["dilations"] = [1, 1]
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        graph.nodes.append(Node("Conv", name, inputs, [f"{name}.pre"], {**given, **attrs}))
        return f"{name}.pre"

    def relu(name: str, source: str) -> str:
        graph.declare(f"{name}.out", graph.shape(source), np.float32)
        graph.nodes.append(Node("Relu", f"{name}_relu", [source], [f"{name}.out"]))
        return f"{name}.out"

    stem = relu("stem", conv("stem", "input", 8, 3, 3, strides=[2, 2]))
    depthwise = relu("depthwise", conv("depthwise", stem, 8, 1, 3, group=8))
    project = conv("project", depthwise, 8, 8, 1)
    graph.declare("sum", graph.shape(stem), np.float32)
    graph.nodes.append(Node("Add", "residual", [stem, project], ["sum"]))
    graph.declare("pooled", (1, 8, 4, 4), np.float32)
    pool: dict[str, Any] = {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "pads": [1, 1, 1, 1],
        "count_include_pad": 0,
        "ceil_mode": 0,
    }
    graph.nodes.append(Node("AveragePool", "pool", ["sum"], ["pooled"], pool))
    head = relu("head", conv("head", "pooled", 24, 8, 1))
    graph.declare("mean", (1, 24, 1, 1), np.float32)
    graph.nodes.append(Node("GlobalAveragePool", "gap", [head], ["mean"]))
    graph.constants["flat_shape"] = np.array([1, 24], np.int64)
    graph.declare("flat", (1, 24), np.float32)
    graph.nodes.append(Node("Reshape", "flatten", ["mean", "flat_shape"], ["flat"]))
    graph.constants["fc.weight"] = rng.normal(size=(CLASSES, 24)).astype(np.float32)
    graph.constants["fc.bias"] = rng.normal(scale=0.1, size=CLASSES).astype(np.float32)
    graph.declare("logits", (1, CLASSES), np.float32)
    gemm: dict[str, Any] = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    graph.nodes.append(Node("Gemm", "fc", ["flat", "fc.weight", "fc.bias"], ["logits"], gemm))
    return graph


def pictures(count: int = 24, seed: int = 1) -> Array:
    """Return smooth random pictures (count, 3, 16, 16), about -2..2."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    return (coarse + 0.3 * rng.normal(size=(count, 3, 16, 16))).astype(np.float32)


def run_graph(graph: Graph, inputs: Array, keep: list[str] | None = None) -> dict[str, Array]:
    """Run a graph in onnxruntime without rewrites; ``keep`` adds tensors to the outputs."""
    import onnxruntime as ort

    model = to_onnx(graph)
    for name in keep or []:
        if name not in {value.name for value in model.graph.output}:
            model.graph.output.add().name = name
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(save_model(model), options)
    names = [value.name for value in session.get_outputs()]
    rows = [session.run(None, {"input": row[None]}) for row in inputs]
    return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}


def recipe_for(prepared: Graph, inputs: Array, form: Form = "asymmetric") -> Recipe:
    """Return a min/max recipe of ``prepared``: same-scale nodes share the scale of their output."""
    tensors = [out for node in prepared.nodes for out in node.outputs]
    ranges = run_graph(prepared, inputs, tensors) | {"input": inputs}
    activations = {
        name: choose_scale(values.min(), values.max(), form) for name, values in ranges.items()
    }
    for node in reversed(prepared.nodes):
        if node.op in ("AveragePool", "Reshape"):
            activations[node.inputs[0]] = activations[node.output] = max(
                (activations[node.inputs[0]], activations[node.output]), key=lambda a: a.scale
            )
    weights = {}
    for node in prepared.nodes:
        if node.op in ("Conv", "Gemm"):
            weights[node.name] = quantize_weights(prepared, node, activations[node.inputs[0]])
    return Recipe("std", form, activations, weights)


def quantize_weights(graph: Graph, node: Node, source: Activation) -> Weights:
    """Return per-channel integers of one node by the largest weight of each channel."""
    real = np.asarray(graph.constant(node, 1), np.float32)
    bias = np.asarray(graph.constant(node, 2), np.float32)
    peaks = np.abs(real).reshape(len(real), -1).max(axis=1)
    scales = np.maximum(peaks / 127, 1e-8).astype(np.float32)
    shaped = scales.reshape(-1, *([1] * (real.ndim - 1)))
    values = np.clip(np.rint(real / shaped), -127, 127).astype(np.int8)
    found = Weights(values, scales, np.zeros(len(bias), np.int32), bias)
    return Weights(values, scales, bias_integers(found, source.scale), bias)


def write_export(
    folder: Path,
    name: str,
    data: bytes,
    *,
    target: str,
    precision: str,
    evidence: dict[str, bytes],
    inputs: tuple[TensorSpec, ...] = INPUTS,
    outputs: tuple[TensorSpec, ...] = OUTPUTS,
    **more: Any,
) -> Path:
    """Write a file, its evidence folder and its manifest, and return the file's path."""
    path = folder / name
    if not path.is_dir():  # a package is written by its emitter
        write_bytes(path, data)
    stem = f"{path.stem}.evidence"
    for item, content in evidence.items():
        write_bytes(folder / stem / item, content)
    manifest = {
        "edgeconv_manifest": MANIFEST_VERSION,
        "target": target,
        "precision": precision,
        "net": {"source": "small.onnx"},
        "bytes": len(data),
        "file": name,
        "sha256": digest(path),
        "inputs": [spec_to_json(spec) for spec in inputs],
        "outputs": [spec_to_json(spec) for spec in outputs],
        "preprocessing": None,
        "labels": None,
        "evidence": {
            "folder": stem,
            "files": {item: sha256(folder / stem / item) for item in evidence},
        },
        **more,
    }
    save_manifest(Artifact(path, manifest))
    return path


def npz(**arrays: Any) -> bytes:
    """Return the bytes of an .npz."""
    import io

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def verification(graph: Graph, inputs: Array, truth: bool = True) -> bytes:
    """Return verify.npz of a graph: inputs, float outputs, names, and its own classes as truth."""
    logits = run_graph(graph, inputs)["logits"]
    arrays = {
        "input:input": inputs,
        "output:logits": logits,
        "names": np.array([f"picture{i}.png" for i in range(len(inputs))]),
    }
    if truth:
        arrays["truth"] = logits.argmax(axis=1).astype(np.int64)
    return npz(**arrays)


def fp32_export(folder: Path, seed: int = 0, count: int = 24) -> Path:
    """Export the small net as FP32 ONNX with all its stages."""
    graph = small_net(seed)
    prepared = prepare(graph).graph
    hub, lowered = save_model(to_onnx(graph)), save_model(to_onnx(prepared))
    evidence = {
        "raw.onnx": hub,
        "hub.onnx": hub,
        "prepared.onnx": lowered,
        "verify.npz": verification(graph, pictures(count)),
    }
    return write_export(
        folder, "small_fp32.onnx", lowered, target="onnx", precision="fp32", evidence=evidence
    )


def int8_export(
    folder: Path,
    target: str = "onnx",
    seed: int = 0,
    count: int = 24,
    edit: Edit | None = None,
    form: Form | None = None,
) -> Path:
    """Export the small net as INT8; ``edit(graph, recipe) -> (graph, recipe)`` plants a fault.

    The evidence is always that of the sound net: a fault is in the emitted file alone.
    """
    graph = small_net(seed)
    prepared = prepare(graph, int8=True).graph
    form = form or ("zero-point-free" if target == "coreml" else "asymmetric")
    recipe = recipe_for(prepared, pictures(64, seed=9), form)
    emitted_graph, emitted_recipe = (prepared, recipe) if edit is None else edit(prepared, recipe)
    suffix = {"onnx": "onnx", "tflite": "tflite", "coreml": "mlpackage"}[target]
    path = folder / f"small_int8.{suffix}"
    data, names, inputs, outputs = emit(emitted_graph, emitted_recipe, target, path)
    evidence = {
        "raw.onnx": save_model(to_onnx(graph)),
        "hub.onnx": save_model(to_onnx(graph)),
        "prepared.onnx": save_model(to_onnx(prepared)),
        "recipe.json": (json.dumps(recipe.to_json(), indent=1) + "\n").encode(),
        f"tensors_{target}.json": json.dumps({t: {"name": n} for t, n in names.items()}).encode(),
        "verify.npz": verification(graph, pictures(count)),
    }
    return write_export(
        folder,
        path.name,
        data,
        target=target,
        precision="int8",
        evidence=evidence,
        inputs=inputs,
        outputs=outputs,
        graph={"compute": 5, "int8_compute": 5, "transposes": 0},
    )


def emit(
    graph: Graph, recipe: Recipe | None, target: str, path: Path
) -> tuple[bytes, dict[str, str], tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Emit to ONNX QDQ, TFLite or Core ML (at ``path``): bytes, tensor names, inputs, outputs."""
    if target == "coreml":
        from edgeconv.export.coreml.emit import emit_coreml

        package = emit_coreml(graph, recipe, path=path, precision="int8", compute="fp32")
        return b"", dict(package.names), package.inputs, package.outputs
    if target == "onnx":
        from edgeconv.export.qdq.emit import emit_qdq

        assert recipe is not None
        onnx = emit_qdq(graph, recipe, io="float")
        return save_model(onnx.model), dict(onnx.names), onnx.inputs, onnx.outputs
    from edgeconv.export.tflite.emit import emit_tflite

    tflite = emit_tflite(graph, recipe, precision="int8", io="float", metadata={})
    return tflite.data, dict(tflite.names), tflite.inputs, tflite.outputs


def agree(ours: Verdict, theirs: Verdict | None, what: str) -> None:
    """Assert that two verdicts on a file are one, to what arithmetic on one machine leaves."""
    assert theirs is not None
    assert list(map(str, theirs.missed)) == list(map(str, ours.missed)), what
    assert theirs.doubts == ours.doubts, what
    assert list(theirs.places) == list(ours.places), what
    for place, figures in theirs.places.items():
        wanted = ours.places[place]
        assert figures == pytest.approx(wanted, rel=1e-4, abs=5e-3), (what, place)
