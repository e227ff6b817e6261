"""INT8 of random graphs over every layout of axes: it ends, and both runtimes stay with the float net."""

import numpy as np
import pytest
from graph_kit import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_int8_kinds import samples, sqnr, weights
from tflite_kit import Worker, run_nchw

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import sessions
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emit import emit_tflite

SHAPES = (
    *((1, 4, 6, 6), (2, 4, 5, 5), (1, 6, 8), (3, 6, 4), (5, 8), (1, 8), (8,), (1, 4, 12)),
    *((1, 2, 3, 4, 4), (1, 3, 2, 2, 2, 3), (2, 3, 1, 5), (1, 4, 1, 6), (1, 1, 7), (3, 1)),
)
UNARY = ("Relu", "Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Abs", "Neg")


class Builder:
    """A graph that grows by operators whose shapes fit."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.graph = Graph("random", 18, ["x"], [])
        self.last = self.graph.declare("x", shape, np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.graph.shape(self.last)

    def constant(self, value: np.ndarray) -> str:
        return self.graph.add_constant("k", value)

    def real(self, *shape: int, size: float = 1.0) -> str:
        return self.constant(weights(*shape, seed=len(self.graph.constants), size=size))

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attrs: Attribute) -> None:
        number = len(self.graph.nodes)
        out = self.graph.declare(f"t{number}", shape, np.float32)
        self.graph.nodes.append(Node(op, f"{op}_{number}", inputs, [out], dict(attrs)))
        self.last = out


def grow(net: Builder, draw: st.DrawFn) -> None:
    """Add one operator."""
    shape, last = net.shape, net.last
    rank = len(shape)
    axis = draw(st.integers(0, rank - 1))
    kind = draw(st.sampled_from(KINDS))
    if kind == "unary":
        net.add(draw(st.sampled_from(UNARY)), [last], shape)
    elif kind == "binary":
        spread = tuple(size if draw(st.booleans()) else 1 for size in shape)
        sides = [last, net.real(*spread[draw(st.integers(0, rank)) :])]
        op = draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min"]))
        net.add(op, sides[::-1] if draw(st.booleans()) else sides, shape)
    elif kind == "layer" and rank in (3, 4):
        plane = (3,) * (rank - 2)
        filters = net.real(5, shape[1], *plane, size=(shape[1] * 3 ** (rank - 2)) ** -0.5)
        pads = [1] * 2 * (rank - 2)
        made = (shape[0], 5, *shape[2:])
        net.add("Conv", [last, filters], made, kernel_shape=list(plane), pads=pads)
    elif kind == "product":
        factors = net.real(shape[-1], 6, size=shape[-1] ** -0.5)
        net.add("MatMul", [last, factors], (*shape[:-1], 6))
    elif kind == "transpose":
        perm = list(draw(st.permutations(range(rank))))
        net.add("Transpose", [last], tuple(shape[i] for i in perm), perm=perm)
    elif kind == "softmax":
        net.add("Softmax", [last], shape, axis=axis)
    elif kind == "concat":
        other = last if draw(st.booleans()) else net.real(*shape)
        made = tuple(size * (2 if i == axis else 1) for i, size in enumerate(shape))
        net.add("Concat", [last, other], made, axis=axis)
    elif kind == "slice" and shape[axis] > 2:
        ends = [net.constant(np.array([v], np.int64)) for v in (1, shape[axis], axis)]
        made = tuple(size - (i == axis) for i, size in enumerate(shape))
        net.add("Slice", [last, *ends], made)
    elif kind == "mean" and rank > 1:
        axes = net.constant(np.array([axis], np.int64))
        made = tuple(1 if i == axis else size for i, size in enumerate(shape))
        net.add("ReduceMean", [last, axes], made, keepdims=1)
    elif kind == "flatten":
        made = (shape[0], int(np.prod(shape[1:])))
        net.add("Reshape", [last, net.constant(np.array(made, np.int64))], made)
    elif kind == "view":
        made = draw(st.sampled_from(views(int(np.prod(shape)))))
        net.add("Reshape", [last, net.constant(np.array(made, np.int64))], made)
    elif kind == "axis" and rank < 6:
        made = (*shape[:axis], 1, *shape[axis:])
        net.add("Unsqueeze", [last, net.constant(np.array([axis], np.int64))], made)
    elif kind == "pick":
        places = np.array(draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4)))
        made = (*shape[:axis], len(places), *shape[axis + 1 :])
        net.add("Gather", [last, net.constant(places)], made, axis=axis)
    elif kind == "pad":
        amounts = [int(i % rank == axis) for i in range(2 * rank)]
        made = tuple(size + 2 * (i == axis) for i, size in enumerate(shape))
        mode = draw(st.sampled_from(["constant", "edge"]))
        net.add("Pad", [last, net.constant(np.array(amounts))], made, mode=mode)
    elif kind == "gate":
        net.add(
            "ReduceMax",
            [last, net.constant(np.array([axis]))],
            (*shape[:axis], 1, *shape[axis + 1 :]),
        )
        net.add(draw(st.sampled_from(["Sub", "Mul", "Max"])), [net.last, last], shape)
    elif kind == "attention" and rank >= 3:
        turned = (*shape[:-2], shape[-1], shape[-2])
        perm = [*range(rank - 2), rank - 1, rank - 2]
        net.add("Transpose", [last], turned, perm=perm)
        net.add("MatMul", [last, net.last], (*shape[:-1], shape[-2]))


def views(size: int) -> list[tuple[int, ...]]:
    """Return shapes of up to four axes and ``size`` elements."""
    sides = [n for n in range(1, size + 1) if size % n == 0]
    pairs = [(n, size // n) for n in sides]
    return [*pairs, *((1, n, 1, other) for n, other in pairs)]


KINDS = (
    *("unary", "binary", "layer", "product", "transpose", "softmax", "concat"),
    *("slice", "mean", "flatten", "attention", "view", "axis", "pick", "pad", "gate"),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    net = Builder(draw(st.sampled_from(SHAPES)))
    for _ in range(draw(st.integers(1, 6))):
        grow(net, draw)
    if not net.graph.nodes:
        net.add("Relu", [net.last], net.shape)
    extra = [node.output for node in net.graph.nodes[:-1] if draw(st.integers(0, 5)) == 0]
    net.graph.outputs = [net.last, *extra]
    return net.graph


def check(graph: Graph, worker: Worker) -> None:
    """Quantize and run by both runtimes; what cannot be expressed is said in a sentence."""
    hub = simplify_graph(graph)
    made = quantize(prepare(hub, int8=True).graph, samples(graph, 12, 1), recipe="std")
    fresh = samples(graph, 4, 9)
    wanted = [run(graph, feed) for feed in fresh]
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    got = [session.run(graph.outputs, feed) for feed in fresh]
    try:
        file = emit_tflite(made.graph, made.recipe, precision="int8")
    except UnsupportedOpError:
        file = None
    lite = [] if file is None else [run_nchw(worker, file, feed)[0] for feed in fresh]
    for i, output in enumerate(graph.outputs):
        real = np.stack([row[i] for row in wanted])
        if float(np.abs(real).max()) < 1e-3:
            continue
        assert sqnr(real, np.stack([row[i] for row in got])) > 5
        if lite:
            assert sqnr(real, np.stack([row[output] for row in lite])) > 5


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=graphs())
def test_random_graphs_end_right(worker: Worker, graph: Graph) -> None:
    check(graph, worker)


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs())
def test_many_random_graphs_end_right(worker: Worker, graph: Graph) -> None:
    check(graph, worker)
