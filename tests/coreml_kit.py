"""Small graphs for the Core ML tests, and the comparison of a saved package with onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.export.graph import Graph

Attributes = dict[str, Any]
Spec = tuple[str, list[str], list[str], Attributes]


def onnx_model(
    nodes: list[Spec],
    inputs: dict[str, tuple[int, ...]],
    outputs: list[str],
    constants: dict[str, Any] | None = None,
    opset: int = 20,
) -> Any:
    """Return a checked float model; output shapes are inferred."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    protos = [
        helper.make_node(op, ins, outs, name=f"{op}_{number}", **attrs)
        for number, (op, ins, outs, attrs) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        protos,
        "small",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def prepared(model: Any, *, int8: bool = False) -> Graph:
    """Return the prepared graph of a model."""
    from edgeconv.export.hub.onnx_io import from_onnx
    from edgeconv.export.prepare import prepare

    return prepare(from_onnx(model), int8=int8).graph


def expected(model: Any, feeds: dict[str, Any]) -> list[Any]:
    """Return what onnxruntime makes of a model, graph rewrites off."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Any] = session.run(None, feeds)
    return found


def feeds_for(graph: Graph, seed: int = 0) -> dict[str, Any]:
    """Return normal random inputs."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(graph.shape(name)).astype(np.float32) for name in graph.inputs
    }


def sqnr_db(reference: Any, other: Any) -> float:
    """Signal to error in dB; infinite where they are equal."""
    reference, other = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    error = float(np.square(reference - other).sum())
    signal = float(np.square(reference).sum())
    return float("inf") if error == 0 else 10 * float(np.log10(signal / error))


def convolution_net(channels: int = 8, groups: int = 1, offset: float = 0.0) -> Any:
    """Two convolutions with ReLU6, a residual addition, a global pool, and 5 figures around ``offset``."""
    rng = np.random.default_rng(3)
    weights = {
        "w0": rng.standard_normal((channels, 3, 3, 3)) * 0.3,
        "b0": rng.standard_normal(channels) * 0.1,
        "w1": rng.standard_normal((channels, channels // groups, 3, 3)) * 0.2,
        "b1": rng.standard_normal(channels) * 0.1,
        "w2": rng.standard_normal((5, channels)),
        "b2": rng.standard_normal(5) + offset,
    }
    constants: dict[str, Any] = {k: v.astype(np.float32) for k, v in weights.items()}
    constants |= {"zero": np.float32(0), "six": np.float32(6), "flat": np.array([1, channels])}
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes: list[Spec] = [
        ("Conv", ["x", "w0", "b0"], ["c0"], {**square, "strides": [2, 2]}),
        ("Clip", ["c0", "zero", "six"], ["r0"], {}),
        ("Conv", ["r0", "w1", "b1"], ["c1"], {**square, "group": groups}),
        ("Add", ["r0", "c1"], ["sum"], {}),
        ("Relu", ["sum"], ["r1"], {}),
        ("GlobalAveragePool", ["r1"], ["pooled"], {}),
        ("Reshape", ["pooled", "flat"], ["features"], {}),
        ("Gemm", ["features", "w2", "b2"], ["logits"], {"transB": 1}),
    ]
    return onnx_model(nodes, {"x": (1, 3, 16, 16)}, ["logits"], constants)


def simple_recipe(graph: Graph, feeds: list[dict[str, Any]]) -> Any:
    """Return a zero-point-free min/max recipe of a prepared graph, made here and nowhere else."""
    import onnx

    from edgeconv.export.hub.onnx_io import to_onnx
    from edgeconv.recipe import (
        Activation,
        Recipe,
        Weights,
        bias_integers,
        choose_scale,
    )

    model = to_onnx(graph)
    tensors = [node.output for node in graph.nodes if node.output not in graph.outputs]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    names = [output.name for output in model.graph.output]
    seen = [dict(zip(names, expected(model, feed), strict=True)) | feed for feed in feeds]
    activations: dict[str, Activation] = {}
    for tensor in [*graph.inputs, *names]:
        low = min(float(one[tensor].min()) for one in seen)
        high = max(float(one[tensor].max()) for one in seen)
        activations[tensor] = choose_scale(low, high, "zero-point-free")
    weights: dict[str, Weights] = {}
    for node in graph.nodes:
        if node.op == "Reshape":
            activations[node.output] = activations[node.inputs[0]]
        if node.op not in ("Conv", "Gemm"):
            continue
        real = np.asarray(graph.constants[node.inputs[1]])
        scales = np.abs(real).reshape(len(real), -1).max(axis=1) / np.float32(127)
        values = np.rint(real / scales.reshape(-1, *[1] * (real.ndim - 1))).astype(np.int8)
        bias = np.asarray(graph.constants[node.inputs[2]], np.float32)
        made = Weights(values, scales, np.zeros(len(scales), np.int32), bias)
        integers = bias_integers(made, activations[node.inputs[0]].scale)
        weights[node.name] = Weights(values, scales, integers, bias)
    return Recipe("min/max", "zero-point-free", activations, weights)


def package_bytes(path: Path) -> dict[str, bytes]:
    """Return the content of every file of a package by relative name."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
