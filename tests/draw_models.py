"""Random small ONNX models of every layout of axes; whatever is drawn is valid, for its values are known.

A model grows operator by operator, each of them run at once by onnxruntime on the values so far: what it
refuses, or what grows beyond all measure, is not added.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = (
    *((1, 3, 8, 8), (1, 4, 7, 9), (2, 4, 6, 5), (3, 4, 4, 4), (1, 1, 6, 6), (3, 1, 1, 4)),
    *((1, 8, 12), (2, 5, 6), (3, 6, 4), (1, 16, 8)),
    *((5, 8), (1, 8), (8,), (1,)),
    *((1, 2, 4, 5, 5), (1, 4, 3, 4, 4)),
)
LARGEST, MOST_VALUES = 1e3, 20_000


class UnfitError(Exception):
    """The operator does not fit what is there."""


class Net:
    """A model under construction: nodes, constants, and the value of every tensor for one feed."""

    def __init__(self, seed: int, opset: int) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, Shape] = {}
        self.values: dict[str, Array] = {}
        self.also: list[str] = []
        self._named = 0

    def name(self, stem: str) -> str:
        self._named += 1
        return f"{stem}{self._named}"

    def one(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def shape(self, name: str) -> Shape:
        return tuple(self.values[name].shape)

    def rank(self, name: str) -> int:
        return self.values[name].ndim

    def input(self, shape: Shape) -> str:
        name = self.name("x")
        self.inputs[name] = shape
        self.values[name] = self.sample(shape, self.random)
        return name

    @staticmethod
    def sample(shape: Shape, random: np.random.Generator) -> Array:
        return np.asarray(1.5 * random.standard_normal(shape), np.float32)

    def constant(self, value: Any) -> str:
        """Store an initializer or a Constant node; reals are float32."""
        array = np.asarray(value)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self.name("c")
        if self.chance(0.3):
            tensor = numpy_helper.from_array(array)
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants[name] = array
        self.values[name] = array
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int, size: float | None = None) -> str:
        size = float(np.prod(shape[1:])) ** -0.5 if size is None else size
        return self.constant(np.asarray(size * self.random.standard_normal(shape), np.float32))

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        return self.several(op, 1, *inputs, **attrs)[0]

    def several(self, op: str, count: int, *inputs: str, **attrs: Any) -> list[str]:
        """Add a node of ``count`` outputs; raises UnfitError where it cannot be."""
        outs = [self.name("t") for _ in range(count)]
        node = helper.make_node(op, inputs, outs, name=f"{op}_{self._named}", **attrs)
        results = self._run(node)
        for value in results:
            real = value.dtype.kind == "f"
            if value.size > MOST_VALUES or (real and not np.isfinite(value).all()):
                raise UnfitError(op)
            if real and value.size and np.abs(value).max() > LARGEST:
                raise UnfitError(op)
        self.values.update(zip(outs, results, strict=True))
        self.nodes.append(node)
        return outs

    def _run(self, node: onnx.NodeProto) -> list[Array]:
        feeds = {name: self.values[name] for name in node.input if name}
        borders = [value_info(name, value) for name, value in feeds.items()]
        made = [onnx.ValueInfoProto(name=name) for name in node.output]
        model = packed(helper.make_graph([node], "one", borders, made), self.opset)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        try:
            session = ort.InferenceSession(model.SerializeToString(), options)
            return [np.asarray(value) for value in session.run(None, feeds)]
        except Exception as error:  # onnxruntime's errors share no base class
            raise UnfitError(node.op_type) from error

    def model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """Return what makes ``outputs``, and nothing else."""
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        inputs = [name for name in self.inputs if name in needed] or list(self.inputs)[:1]
        graph = helper.make_graph(
            nodes[::-1],
            "drawn",
            [value_info(name, self.values[name]) for name in inputs],
            [value_info(name, self.values[name]) for name in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in needed],
        )
        model = packed(graph, self.opset)
        onnx.checker.check_model(model)
        return model


def value_info(name: str, value: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


def packed(graph: onnx.GraphProto, opset: int) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    return model


Step = Callable[[Net, str], str]


def draw(seed: int, steps: Sequence[tuple[Step, float]], opsets: Sequence[int]) -> onnx.ModelProto:
    """Return the model of ``seed``: one to seven of ``steps`` (with their weights), and its outputs.

    Every seventh tensor is an output too, now and then the input and a constant.
    """
    start = np.random.default_rng([seed, 1])
    net = Net(seed, int(opsets[int(start.integers(len(opsets)))]))
    tips = [net.input(net.one(SHAPES))]
    if net.chance(0.12):
        net.input(net.shape(tips[0]) if net.chance(0.5) else net.one(SHAPES))
    share = np.array([weight for _, weight in steps])
    wanted = int(net.random.integers(1, 8))
    for _ in range(60):
        if len(tips) > wanted:
            break
        step = steps[int(net.random.choice(len(steps), p=share / share.sum()))][0]
        before = len(net.nodes), dict(net.constants), dict(net.values)
        try:
            made = step(net, tips[-1] if net.chance(0.85) else net.one(tips))
        except UnfitError:
            del net.nodes[before[0] :]
            net.constants, net.values = before[1:]
            continue
        real = net.values[made].dtype == np.float32 and net.values[made].size
        (tips if real else net.also).append(made)
    also = [name for name in net.also if name in net.values and net.values[name].size]
    outputs = [*tips[-1:], *(tip for tip in tips[1:-1] if net.chance(0.15)), *also]
    if net.chance(0.04):
        outputs += [tips[0], net.weight(2, 3)]
    outputs = list(dict.fromkeys(outputs))
    return net.model([net.add("Relu", tips[0])] if outputs == tips[:1] else outputs)
