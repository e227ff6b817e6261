"""What the TFLite tests share: running files in a child process, recipes by min and max."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from quant_nets import RELU, NetBuilder

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import to_onnx
from edgeconv.export.integer.groups import same_scale
from edgeconv.export.integer.rules import data_inputs
from edgeconv.export.integer.unrounded import in_float, reads_real
from edgeconv.export.op_traits import RULES
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.tflite.emit import EmittedTflite
from edgeconv.recipe import (
    Activation,
    Form,
    Recipe,
    Weights,
    bias_integers,
    choose_scale,
)

Arrays = dict[str, NDArray[Any]]
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


class KernelError(EdgeconvError):
    """The runtime refused a file, or died of it."""


@dataclass
class Worker:
    """A child process that runs .tflite files; a new one is started where the last one died."""

    python: str = sys.executable
    child: "subprocess.Popen[str] | None" = None
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tflite-tests-")))

    def run(
        self, data: bytes, feeds: Mapping[str, NDArray[Any]], resolver: str = "auto"
    ) -> tuple[Arrays, dict[str, int]]:
        """Return outputs by name, and {delegates, ops}."""
        model, fed, out = (self.folder / name for name in ("model.tflite", "in.npz", "out.npz"))
        model.write_bytes(data)
        with fed.open("wb") as file:
            np.savez(file, **dict(feeds))  # type: ignore[arg-type]
        paths = {"model": str(model), "feeds": str(fed), "out": str(out)}
        answer = self._ask({**paths, "resolver": resolver})
        if "error" in answer:
            raise KernelError(str(answer["error"]))
        with np.load(out) as arrays:
            return {name: arrays[name] for name in arrays.files}, answer

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        if self.child is None or self.child.poll() is not None:
            script = Path(__file__).with_name("tflite_worker.py")
            self.child = subprocess.Popen(
                [self.python, str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise KernelError(f"the runtime died with status {self.child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the child and remove its files."""
        if self.child is not None:
            self.child.stdin and self.child.stdin.close()
            self.child.stdout and self.child.stdout.close()
            self.child.wait()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def run_nchw(
    worker: Worker, made: EmittedTflite, feeds: Arrays, resolver: str = "auto"
) -> tuple[Arrays, dict[str, int]]:
    """Run an emitted file on ONNX-ordered real feeds; return ONNX-ordered real outputs."""
    fed = {}
    for spec in made.inputs:
        value = feeds[spec.name]
        value = value.transpose(TO_NHWC) if spec.layout == "nhwc" else value
        if (q := spec.quantization) is not None:
            low, high = (-128, 127) if spec.dtype == "int8" else (0, 255)
            value = np.clip(np.rint(value / np.float32(q.scale)) + q.zero_point, low, high)
        fed[spec.name] = value.astype(spec.dtype)
    outputs, facts = worker.run(made.data, fed, resolver)
    found = {}
    for spec in made.outputs:
        value = outputs[spec.name]
        if (q := spec.quantization) is not None:
            value = (value.astype(np.float32) - q.zero_point) * np.float32(q.scale)
        found[spec.name] = value.transpose(TO_NCHW) if spec.layout == "nhwc" else value
    return found, facts


def float_values(graph: Graph, feeds: Arrays) -> Arrays:
    """Return every float tensor of a prepared graph, computed by onnxruntime without optimisation."""
    import onnxruntime as ort

    plain = graph.clone()
    expand_shuffles(plain)
    model = to_onnx(plain)
    known = {value.name for value in model.graph.output}
    for name in dict.fromkeys(out for node in graph.nodes for out in node.outputs):
        if name and name not in known and graph.dtype(name) == np.float32:
            value = onnx.helper.make_tensor_value_info(name, 1, graph.shape(name))
            model.graph.output.append(value)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [value.name for value in model.graph.output]
    values: Arrays = dict(zip(names, session.run(None, feeds), strict=True))
    return {**feeds, **values}


def minmax_recipe(
    graph: Graph,
    feeds: Arrays,
    form: Form = "zero-point-free",
    float_nodes: tuple[str, ...] = (),
    exact: Mapping[str, tuple[float, int]] | None = None,
    values: Mapping[str, NDArray[Any]] | None = None,
) -> Recipe:
    """Return the simplest recipe: ranges of one run, or of ``values``, weights rounded to nearest."""
    groups = same_scale(graph, frozenset(float_nodes))
    values = float_values(graph, feeds) if values is None else values
    real = {n: v for n, v in values.items() if n in graph.shapes and v.dtype == np.float32}
    ranges: dict[str, tuple[float, float]] = {}
    for name, value in real.items():
        low, high = ranges.get(groups.root(name), (0.0, 0.0))
        ranges[groups.root(name)] = min(low, float(value.min())), max(high, float(value.max()))
    found = {name: choose_scale(*ranges[groups.root(name)], form) for name in real}
    for node in graph.nodes:
        rule = RULES.get(node.op)
        if rule is not None and rule.fixed is not None:
            found[node.output] = Activation(*rule.fixed, 0.0, 1.0, fixed=True)
        if rule is not None and rule.kind != "weighted":
            for name in data_inputs(graph, node):
                if name in graph.constants and graph.dtype(name) == np.float32:
                    c = np.asarray(graph.constants[name], np.float32)
                    found[name] = choose_scale(float(c.min()), float(c.max()), form)
    for name, (scale, zero) in (exact or {}).items():
        found[name] = Activation(float(np.float32(scale)), zero, 0.0, 0.0, fixed=True)
    weights = {
        node.name: _rounded(graph, node.inputs, node.op, found[node.inputs[0]].scale)
        for node in graph.of("Conv", "ConvTranspose", "Gemm")
        if node.inputs[1] in graph.constants
        and not (node.op == "ConvTranspose" and node.int("group", 1) > 1)
    }
    return Recipe("toy", form, found, weights, float_nodes)


def _rounded(graph: Graph, inputs: list[str], op: str, scale: float) -> Weights:
    real, axis = np.asarray(graph.constants[inputs[1]], np.float32), int(op == "ConvTranspose")
    others = tuple(a for a in range(real.ndim) if a != axis)
    steps = np.maximum(np.abs(real).max(others), 1e-8) / 127
    biased = len(inputs) > 2 and inputs[2]
    bias = graph.constants[inputs[2]] if biased else np.zeros(real.shape[axis])
    bias = np.asarray(bias, np.float32).reshape(-1)
    steps = np.maximum(steps, np.abs(bias) / (scale * 2.0**30)).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(real.ndim)]
    values = np.clip(np.rint(real / steps.reshape(shape)), -127, 127).astype(np.int8)
    blank = Weights(values, steps, np.zeros(len(steps), np.int32), bias, axis)
    return Weights(values, steps, bias_integers(blank, scale), bias, axis)


def simulate(graph: Graph, recipe: Recipe, feeds: Arrays) -> Arrays:
    """Return every tensor as integer arithmetic would have it: fake quantization in float64.

    Each node runs in onnxruntime on the quantized values of its inputs; its result is rounded to
    the recipe's scale. This is TFLite's definition up to its kernels' own rounding. Float operators read
    what float operators made, and float inputs, before that is rounded.
    """
    real: Arrays = dict(feeds)
    held: Arrays = {}
    for name, value in feeds.items():
        held[name] = _faked(value, recipe.activations.get(name))
    for node in graph.nodes:
        part = Graph("part", graph.opset, [], [name for name in node.outputs if name], [node])
        for name in filter(None, node.inputs):
            if name in graph.constants:
                part.constants[name] = graph.constants[name]
                if name in recipe.activations and graph.dtype(name) == np.float32:
                    part.constants[name] = _faked(graph.constants[name], recipe.activations[name])
            elif name not in part.inputs:
                part.inputs.append(name)
            part.declare(name, graph.shape(name), graph.dtype(name).type)
        for name in filter(None, node.outputs):
            part.declare(name, graph.shape(name), graph.dtype(name).type)
        if node.name in recipe.weights and node.name not in recipe.float_nodes:
            _real_weights(part, recipe, node.name)
        read = real if reads_real(graph, recipe, node) else held
        results = float_values(part, {name: read[name] for name in part.inputs})
        for name in filter(None, node.outputs):
            held[name] = _faked(results[name], recipe.activations.get(name))
            real[name] = results[name] if in_float(recipe, node) else held[name]
    return held


def _faked(value: NDArray[Any], how: Activation | None) -> NDArray[Any]:
    if how is None or value.dtype != np.float32:
        return value
    steps = np.rint(value / np.float32(how.scale)) + how.zero_point
    real = (np.clip(steps, -128, 127) - how.zero_point) * np.float32(how.scale)
    return np.asarray(real, np.float32)


def _real_weights(part: Graph, recipe: Recipe, name: str) -> None:
    node, w = part.nodes[0], recipe.weights[name]
    shape = [-1 if a == w.axis else 1 for a in range(w.values.ndim)]
    source = np.float32(recipe.activations[node.inputs[0]].scale)
    part.constants["weight_"] = (w.values * w.scales.reshape(shape)).astype(np.float32)
    part.constants["bias_"] = (w.bias * (source * w.scales)).astype(np.float32)
    node = type(node)(
        node.op,
        node.name,
        [node.inputs[0], "weight_", "bias_"],
        node.outputs,
        node.attrs,
        node.clamp,
    )
    part.nodes = [node]


def small_net() -> NetBuilder:
    """conv - depthwise - residual add - concat - pool - classifier, on 1x3x16x16."""
    net = NetBuilder()
    stem = net.conv("input", 8, stride=2)
    left = net.conv(stem, 8, group=8)
    right = net.conv(stem, 8, kernel=1, clamp=None)
    total = net.add("Add", [left, right], net.graph.shape(left), RELU)
    both = net.add("Concat", [total, stem], (1, 16, 8, 8), axis=1)
    pooled = net.add("GlobalAveragePool", [both], (1, 16, 1, 1))
    shape = net.constant("shape", np.array([1, 16]))
    flat = net.add("Reshape", [pooled, shape], (1, 16))
    weight = net.random.normal(0, 0.3, (5, 16)).astype(np.float32)
    # columns of very different size: a runtime that ignored per-channel scales would show
    weight *= np.array([[1], [0.01], [3], [0.1], [1]], np.float32)
    bias = net.constant("fc_bias", net.random.normal(0, 0.1, 5).astype(np.float32))
    net.graph.outputs = [
        net.add("Gemm", [flat, net.constant("fc", weight), bias], (1, 5), transB=1)
    ]
    return net


def feed(graph: Graph, seed: int = 1) -> Arrays:
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(graph.shape(name)).astype(np.float32) for name in graph.inputs
    }
