"""One small model to every float target, in this process, each compared with onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from graph_kit import run

from edgeconv.adapt import adapt_inputs, adapt_outputs
from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.graph import Graph
from edgeconv.export.hub.graphs import opset_of
from edgeconv.export.hub.ingest import ingest
from edgeconv.export.hub.onnx_io import from_onnx, to_onnx
from edgeconv.export.hub.simplify import simplify
from edgeconv.export.hub.simplify_child import converted
from edgeconv.export.hub.trace import HUB_OPSET
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.runtimes.litert import open_model
from edgeconv.runtimes.mil_reference import open as open_package
from edgeconv.tensors import TensorSpec

Arrays = Mapping[str, Any]


def hub_of(model: onnx.ModelProto) -> Graph:
    """Return the prepared graph, as an export makes it, onnxsim left out where it is not needed."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    plain, _ = ingest(plain)
    if opset_of(plain) > 19:  # bodies of functions need its folding
        return prepare(simplify(plain).hub).graph
    if opset_of(plain) != HUB_OPSET:
        plain = converted(plain, HUB_OPSET)
    return prepare(simplify_graph(from_onnx(plain))).graph


def same_everywhere(
    model: onnx.ModelProto,
    feeds: Arrays,
    folder: Path,
    *,
    tolerance: float = 1e-4,
    targets: tuple[str, ...] = ("onnx", "tflite", "coreml"),
) -> Graph:
    """Hold the ONNX, TFLite and Core ML files of ``model`` against onnxruntime on the model itself."""
    graph = hub_of(model)
    wanted = dict(zip(graph.outputs, run(model, feeds), strict=True))
    for target in targets:
        made = {"onnx": _onnx, "tflite": _tflite, "coreml": _coreml}[target](graph, feeds, folder)
        for name, value in wanted.items():
            reach = max(1.0, float(np.abs(np.asarray(value, np.float64)).max(initial=0)))
            np.testing.assert_allclose(
                np.asarray(made[name], np.float64),
                np.asarray(value, np.float64),
                rtol=0,
                atol=tolerance * reach,
                err_msg=f"{target}, {name}",
            )
    return graph


def _onnx(graph: Graph, feeds: Arrays, folder: Path) -> Arrays:
    del folder
    onnx.checker.check_model(to_onnx(graph), full_check=True)
    return dict(zip(graph.outputs, run(to_onnx(graph), feeds), strict=True))


def _tflite(graph: Graph, feeds: Arrays, folder: Path) -> Arrays:
    del folder
    made = emit_tflite(graph)
    return _run(open_model(made.data), graph, feeds, made.inputs, made.outputs)


def _coreml(graph: Graph, feeds: Arrays, folder: Path) -> Arrays:
    made = emit_coreml(graph, path=folder / "m.mlpackage")
    return _run(open_package(folder / "m.mlpackage"), graph, feeds, made.inputs, made.outputs)


def _run(
    opened: Any,
    graph: Graph,
    feeds: Arrays,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> Arrays:
    given = zip(graph.inputs, inputs, strict=True)
    stored = {spec.name: adapt_inputs(feeds[name], "nchw", spec) for name, spec in given}
    with opened as runner:
        made = runner.infer(stored)
    results = zip(graph.outputs, outputs, strict=True)
    return {name: adapt_outputs(made[spec.name], spec) for name, spec in results}
