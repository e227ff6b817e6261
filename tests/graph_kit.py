"""Tiny graphs from onnx's text format, run by onnxruntime without optimisation."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx, save_model, to_onnx

Floats = NDArray[np.float32]


def model_of(body: str, opset: int = 18, /, **constants: NDArray[np.generic]) -> onnx.ModelProto:
    """Parse ``(float[1,3] x) => (float[1,3] y) { y = Relu(x) }``, with initializers by name."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> net {body}')
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def graph_of(body: str, /, **constants: NDArray[np.generic]) -> Graph:
    """Return the Graph of ``model_of``."""
    return from_onnx(model_of(body, **constants))


def floats(*shape: int, seed: int = 0) -> Floats:
    """Return seeded normal noise."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ops(graph: Graph) -> list[str]:
    """Return the operators in order."""
    return [node.op for node in graph.nodes]


def run(model: onnx.ModelProto | Graph, feeds: Mapping[str, Any]) -> list[Floats]:
    """Return the outputs; onnxruntime, optimisation off, one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    data = save_model(to_onnx(model) if isinstance(model, Graph) else model)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    results: list[Floats] = session.run(None, dict(feeds))
    return results


def feeds_of(graph: Graph, seed: int = 7) -> dict[str, Floats]:
    """Return noise for every input, wide enough to reach the clamps."""
    return {
        name: 4 * floats(*graph.shape(name), seed=seed + index)
        for index, name in enumerate(graph.inputs)
    }


def rewritten(before: Graph, rewrite: Callable[[Graph], bool], tolerance: float = 1e-5) -> Graph:
    """Apply one pass to a copy, check that it told the truth and kept the function; return it."""
    after = before.clone()
    changed = rewrite(after)
    after.prune()
    after.sort()
    assert changed == (describe(after) != describe(before)), "the pass must say what it did"
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert not rewrite(after.clone()) or not changed, "a second run must find nothing"
    feeds = feeds_of(before)
    for old, new in zip(run(before, feeds), run(after, feeds), strict=True):
        scale = max(1.0, float(np.abs(old).max()))
        np.testing.assert_allclose(new, old, rtol=0, atol=tolerance * scale)
        assert new.dtype == old.dtype
    return after


def describe(graph: Graph) -> list[Any]:
    """Return what can be compared of the nodes."""
    return [(n.op, n.name, n.inputs, n.outputs, str(n.attrs), n.clamp) for n in graph.nodes]


def ints(*values: int) -> NDArray[np.int64]:
    """Return an int64 vector."""
    return np.array(values, np.int64)


def scalar(value: float) -> Floats:
    """Return a float32 of rank 0."""
    return np.array(value, np.float32)
