"""The onnx package's own backend node tests, converted to each target and run."""

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, NotImplemented
from tflite_kit import Arrays, KernelError, Worker, minmax_recipe, run_nchw, simulate

from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.graphs import opset_of
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.hub.simplify_child import converted
from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.table import OPS, check_supported
from edgeconv.recipe import Recipe

KNOWN_OPSET = 21  # newer ones are drafts to onnxruntime, and say the same of these operators
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


def forms(case: NodeCase) -> Iterator[onnx.ModelProto]:
    """Yield the model as it is, with all but its first input constant, and so with its first output alone."""
    count = len(case.expected)
    for keep, outputs in dict.fromkeys([(len(case.feeds), count), (1, count), (1, 1)]):
        yield frozen(case, keep, outputs)


@dataclass(frozen=True)
class Tried:
    """What a file gives, what it should give, and how far apart the two may be, output by output."""

    got: Arrays
    wanted: Arrays
    atol: Mapping[str, float]


Column = Callable[[NodeCase, onnx.ModelProto], Tried]
"""Converts a case's model and runs it; raises EdgeconvError where that is refused."""


def in_tflite(worker: Worker) -> Column:
    """FP32 in TFLite."""

    def run(case: NodeCase, model: onnx.ModelProto) -> Tried:
        made = emit_tflite(prepare(from_onnx(model)).graph)
        feeds = {spec.name: np.asarray(case.feeds[spec.name]) for spec in made.inputs}
        got, _ = run_nchw(worker, made, feeds)
        return Tried(got, case.expected, {})

    return run


def quantized(case: NodeCase, model: onnx.ModelProto) -> tuple[Graph, Recipe, Arrays]:
    """Return what an INT8 emitter is given, and what feeds it."""
    newer = converted(model, 18) if opset_of(model) < 18 else model
    graph = prepare(from_onnx(newer), int8=True).graph
    check_supported(graph)
    graph.opset = min(graph.opset, KNOWN_OPSET)
    feeds = {
        name: np.asarray(case.feeds[name], graph.dtype(name)).reshape(graph.shape(name))
        for name in graph.inputs
    }
    if any(value.size == 0 for value in feeds.values()):
        raise UnsupportedOpError("its input is empty: it has no range")
    try:
        return graph, minmax_recipe(graph, feeds), feeds
    except (Fail, InvalidArgument, NotImplemented, onnx.checker.ValidationError) as error:
        raise UnsupportedOpError("onnxruntime does not run it: no range is known") from error


def in_steps(graph: Graph, recipe: Recipe, feeds: Arrays, got: Arrays) -> Tried:
    """Hold a file's outputs beside real arithmetic on the same integers: two steps apart at most."""
    with np.errstate(over="ignore"):  # some cases hold the largest float
        wanted = {**graph.constants, **simulate(graph, recipe, feeds)}
    held = recipe.activations
    return Tried(got, wanted, {n: 2 * held[n].scale for n in got if n in held})


def in_int8(worker: Worker) -> Column:
    """INT8 in TFLite."""

    def run(case: NodeCase, model: onnx.ModelProto) -> Tried:
        graph, recipe, feeds = quantized(case, model)
        got, _ = run_nchw(worker, emit_tflite(graph, recipe, precision="int8"), feeds)
        return in_steps(graph, recipe, feeds, got)

    return run


def in_coreml(folder: Path) -> Column:
    """A Core ML program in float32, evaluated by mil-reference."""

    def run(case: NodeCase, model: onnx.ModelProto) -> Tried:
        from edgeconv.export.coreml.emit import emit_coreml
        from edgeconv.mil import open_program

        graph, path = prepare(from_onnx(model)).graph, folder / "case.mlpackage"
        shutil.rmtree(path, ignore_errors=True)
        made = emit_coreml(graph, path=path, precision="fp32", compute="fp32")
        feeds = {
            spec.name: np.asarray(case.feeds[name]).reshape(spec.shape)
            for name, spec in zip(graph.inputs, made.inputs, strict=True)
        }
        found = open_program(path).run(feeds)
        got = {}
        for name, spec in zip(graph.outputs, made.outputs, strict=True):
            value = found[spec.name]  # a number is handed out with an axis
            got[name] = value if np.ndim(case.expected[name]) else value.reshape(())
        return Tried(got, case.expected, {})

    return run


def try_case(case: NodeCase, column: Column) -> str | None:
    """Convert, run and compare; return None where all is well, else why not.

    Weights, shapes and the like, which the tests feed at run time, become constants where the target
    needs them to be; statistics besides the first output are dropped where it has none.
    """
    if any(not isinstance(v, np.ndarray) and not np.isscalar(v) for v in case.feeds.values()):
        return "feeds that are no tensors"
    last = ""
    for model in forms(case):
        try:
            tried = column(case, model)
        except KernelError as error:
            return f"kernel: {error}"
        except EdgeconvError as error:
            last = str(error)
            continue
        return compared(case, tried)
    return f"refused: {last}"


def compared(case: NodeCase, tried: Tried) -> str | None:
    for name, got in tried.got.items():
        wanted = np.asarray(tried.wanted[name])
        if got.shape != wanted.shape:
            return f"shape of {name}: {got.shape} instead of {wanted.shape}"
        atol = max(case.atol, 1e-5, tried.atol.get(name, 0.0))
        if not np.allclose(got, wanted, rtol=max(case.rtol, 1e-4), atol=atol, equal_nan=True):
            return f"values of {name}: {np.abs(got.astype(float) - wanted).max():.3g} apart"
    return None
