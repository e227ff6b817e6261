"""The four nets, traced and prepared: the vocabulary that emitters rely on, the same function."""

import functools
from collections import Counter

import numpy as np
import onnx
import pytest
from graph_kit import floats, graph_of, ops, run

from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx, save_model, to_onnx
from edgeconv.export.passes.explicit_padding import OPS as PADDED
from edgeconv.export.prepare import Prepared, prepare, simplify_graph

torch = pytest.importorskip("torch", reason="needs the extra torch")

from edgeconv.export.hub.trace import trace_module  # noqa: E402 (after the skip)
from edgeconv.models import build  # noqa: E402

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
WIDTH = {"mobilenet_v1": 0.25, "mobilenet_v2": 0.35, "shufflenet_v1": 0.25, "ghostnet": 0.25}
GONE = {
    "Identity",
    "Dropout",
    "Constant",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "BatchNormalization",
    "MatMul",
    "ReduceMean",
    "Relu",
    "Clip",
    "Shape",
}
LATER = {"HardSigmoid", "AveragePool"}
"""What only the INT8 form must not hold in these nets."""


class Case:
    """A traced net, the same function in torch, and a picture."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.module = build(name, classes=10, width=WIDTH[name]).eval()
        for part in self.module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(part.running_mean, 0, 0.1)
                torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
                torch.nn.init.uniform_(part.weight, 0.8, 1.2)
                torch.nn.init.normal_(part.bias, 0, 0.1)
        self.raw: onnx.ModelProto = trace_module(self.module, {"input": (1, 3, 64, 64)})
        self.hub = simplify_graph(from_onnx(self.raw))
        self.picture = floats(1, 3, 64, 64)
        with torch.no_grad():
            self.expected = self.module(torch.from_numpy(self.picture)).numpy()

    def prepared(self, int8: bool) -> Prepared:
        return prepare(self.hub, int8=int8)


case_of = functools.cache(Case)


@pytest.fixture(params=NETS)
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the four nets."""
    return case_of(request.param)


def close(graph: Graph, case: Case) -> None:
    found = run(graph, {"input": case.picture})[0]
    scale = float(np.abs(case.expected).max())
    np.testing.assert_allclose(found, case.expected, rtol=0, atol=1e-4 * scale)


def test_the_hub_computes_what_torch_does(case: Case) -> None:
    close(case.hub, case)


@pytest.mark.parametrize("int8", [False, True])
def test_the_prepared_graph_computes_what_torch_does(case: Case, int8: bool) -> None:
    close(case.prepared(int8).graph, case)


@pytest.mark.parametrize("int8", [False, True])
def test_the_prepared_graph_keeps_its_vocabulary(case: Case, int8: bool) -> None:
    graph = case.prepared(int8).graph
    assert not set(ops(graph)) & (GONE | (LATER if int8 else set()))
    assert (graph.inputs, graph.outputs) == (["input"], ["output"])
    assert graph.opset == 18
    made = {*graph.inputs, *graph.constants, ""}
    for node in graph.nodes:
        assert all(name in made for name in node.inputs), f"{node.name} is out of order"
        made.update(node.outputs)
        if node.op in PADDED:
            assert {"kernel_shape", "strides", "pads"} <= node.attrs.keys()
            assert "auto_pad" not in node.attrs
        if node.op == "Gemm":
            assert node.attrs == {"alpha": 1.0, "beta": 1.0, "transB": 1}
        if node.op == "Reshape":
            shape = graph.constant(node, 1)
            assert shape is not None
            assert tuple(shape) == graph.shape(node.output)
            assert shape.min() > 0
        if node.op in ("Conv", "Gemm"):
            assert graph.constant(node, 1) is not None
    assert all(min(graph.shape(name)) > 0 for name in made - {""} if graph.shape(name))
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert case.prepared(int8).exact_inputs == {}


def test_every_activation_of_the_four_nets_is_fused(case: Case) -> None:
    graph, clamps = case.prepared(False).graph, Counter[str]()
    for node in graph.nodes:
        if node.clamp is not None:
            clamps[node.op] += 1
            assert node.clamp in ((0.0, float("inf")), (0.0, 6.0))
    activations = sum(op in ("Relu", "Clip") for op in ops(case.hub))
    assert clamps.total() == activations > 0


def test_preparing_twice_or_again_gives_the_same_graph(case: Case) -> None:
    for int8 in (False, True):
        first = case.prepared(int8).graph
        assert save_model(to_onnx(first)) == save_model(to_onnx(case.prepared(int8).graph))
        again = prepare(first, int8=int8).graph
        assert save_model(to_onnx(again)) == save_model(to_onnx(first))


def test_the_hub_is_plain_onnx_that_reads_back(case: Case) -> None:
    assert all(node.clamp is None for node in case.hub.nodes)
    again = from_onnx(to_onnx(case.hub))
    assert ops(again) == ops(case.hub)
    assert save_model(to_onnx(simplify_graph(again))) == save_model(to_onnx(case.hub))


@pytest.mark.parametrize(
    ("name", "shuffles", "adds", "concats"),
    [("mobilenet_v1", 0, 0, 0), ("mobilenet_v2", 0, 10, 0), ("shufflenet_v1", 16, 13, 3)],
)
def test_the_nets_keep_the_structure_of_their_papers(
    name: str, shuffles: int, adds: int, concats: int
) -> None:
    found = Counter(ops(case_of(name).prepared(True).graph))
    assert found["ChannelShuffle"] == shuffles
    assert found["Add"] == adds
    assert found["Concat"] == concats
    assert found["Transpose"] == 0


def test_ghostnets_gates_fold_at_int8() -> None:
    case = case_of("ghostnet")
    float_ops, int8 = Counter(ops(case.prepared(False).graph)), case.prepared(True).graph
    gates = [node for node in int8.nodes if node.clamp == (0.0, 1.0)]
    assert float_ops["HardSigmoid"] == len(gates) > 0


def test_a_graph_of_all_the_vocabulary_survives_both_forms() -> None:
    graph = graph_of(
        "(float[1,4,8,8] x) => (float[1,3] y) {"
        ' a = Conv<auto_pad = "SAME_UPPER">(x, w)\n n = BatchNormalization(a, g, b, m, v)\n'
        " r = Relu(n)\n d = Dropout(r)\n s = Sigmoid(d)\n q = Mul(d, s)\n"
        " p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(q)\n"
        " k = ReduceMean<keepdims = 0>(p, axes)\n f = MatMul(k, t)\n y = Add(f, o) }",
        w=floats(4, 4, 3, 3),
        g=floats(4),
        b=floats(4),
        m=floats(4),
        v=np.abs(floats(4)) + 1,
        axes=np.array([-2, -1]),
        t=floats(4, 3),
        o=floats(3),
    )
    x = floats(1, 4, 8, 8)
    expected = run(graph, {"x": x})[0]
    assert ops(prepare(graph).graph) == [
        "Conv",
        "Sigmoid",
        "Mul",
        "AveragePool",
        "GlobalAveragePool",
        "Reshape",
        "Gemm",
    ]
    for int8 in (False, True):
        np.testing.assert_allclose(
            run(prepare(graph, int8=int8).graph, {"x": x})[0], expected, atol=1e-5
        )
