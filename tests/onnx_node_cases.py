"""The onnx package's own backend node tests, converted to TFLite and run."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tflite_kit import Arrays, KernelError, Worker, run_nchw

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.table import OPS

ABSORBED = {
    "BatchNormalization",
    "Constant",
    "ConstantOfShape",
    "Dropout",
    "Flatten",
    "Identity",
    "Shape",
    "Size",
    "Squeeze",
    "Unsqueeze",
}
"""Operators that preparation turns into others or removes."""


@dataclass(frozen=True)
class NodeCase:
    """One test: a model, and feeds with the outputs that ONNX expects of them."""

    name: str
    model: onnx.ModelProto
    feeds: Arrays
    expected: Arrays
    rtol: float
    atol: float


def load_cases() -> list[NodeCase]:
    """Return the cases whose operators are all ones that we claim."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own generators overflow on purpose
        from onnx.backend.test.loader import load_model_tests

        tests = load_model_tests(kind="node")
    claimed = OPS.keys() | ABSORBED
    cases = []
    for test in tests:
        if test.model is None or not test.data_sets:
            continue
        graph = test.model.graph
        if not {node.op_type for node in graph.node} <= claimed:
            continue
        if any(node.domain not in ("", "ai.onnx") for node in graph.node):
            continue
        inputs, outputs = test.data_sets[0]
        feeds = dict(zip([v.name for v in graph.input], inputs, strict=False))
        expected = dict(zip([v.name for v in graph.output], outputs, strict=False))
        cases.append(NodeCase(test.name, test.model, feeds, expected, test.rtol, test.atol))
    return cases


def frozen(case: NodeCase, keep: int, outputs: int) -> onnx.ModelProto:
    """Return the model with all inputs but the first ``keep`` made constants, as nets have them.

    Only the first ``outputs`` outputs stay; a node's later ones may be left out.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for value in list(model.graph.input)[keep:]:
        model.graph.initializer.append(
            numpy_helper.from_array(np.asarray(case.feeds[value.name]), value.name)
        )
        model.graph.input.remove(value)
    for value in list(model.graph.output)[outputs:]:
        model.graph.output.remove(value)
        for node in model.graph.node:
            node.output[:] = ["" if name == value.name else name for name in node.output]
    return model


def try_case(case: NodeCase, worker: Worker) -> str | None:
    """Convert, run and compare; return None where all is well, else why not.

    Weights, shapes and the like, which the tests feed at run time, become constants where TFLite
    needs them to be; statistics besides the first output are dropped where it has none.
    """
    if any(not isinstance(v, np.ndarray) and not np.isscalar(v) for v in case.feeds.values()):
        return "feeds that are no tensors"
    last, count = "", len(case.expected)
    for keep, outputs in dict.fromkeys([(len(case.feeds), count), (1, count), (1, 1)]):
        try:
            graph = prepare(from_onnx(frozen(case, keep, outputs))).graph
            made = emit_tflite(graph)
        except EdgeconvError as error:
            last = str(error)
            continue
        return _run(case, made, worker)
    return f"refused: {last}"


def _run(case: NodeCase, made: Any, worker: Worker) -> str | None:
    feeds = {spec.name: np.asarray(case.feeds[spec.name]) for spec in made.inputs}
    try:
        outputs, _ = run_nchw(worker, made, feeds)
    except KernelError as error:
        return f"kernel: {error}"
    for name, got in outputs.items():
        wanted = case.expected[name]
        if got.shape != np.shape(wanted):
            return f"shape of {name}: {got.shape} instead of {np.shape(wanted)}"
        if not np.allclose(
            got, wanted, rtol=max(case.rtol, 1e-4), atol=max(case.atol, 1e-5), equal_nan=True
        ):
            return f"values of {name}: {np.abs(got.astype(float) - wanted).max():.3g} apart"
    return None
