"""What is read of quantized files and written of recipes, node by node, and the rules that both keep."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from graph_kit import graph_of, ints
from onnx import helper, numpy_helper, parser

from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.counts import count_operators
from edgeconv.export.integer.free_form import held_on
from edgeconv.export.integer.groups import (
    Groups,
    check_same_scale,
    implied,
    needed_bounds,
    only_moved,
    rescales,
    same_scale,
    stored_alike,
)
from edgeconv.export.integer.rules import (
    data_inputs,
    float_weights,
    is_pixel_shift,
    moves_integers,
    output_channels,
    why_float,
)
from edgeconv.export.qdq import islands, read
from edgeconv.export.qdq.qoperator import as_qdq, is_qoperator, is_quantized, refuse_dynamic
from edgeconv.export.qdq.strip import StoredConstant, Stripped, strip_qdq
from edgeconv.recipe import Activation, Recipe, Weights

HALF = np.array(0.5, np.float32)
INF = float("inf")


def u8(*values: int) -> Any:
    return np.array(values if len(values) > 1 else values[0], np.uint8)


def stripped(body: str, out: str = "float[1,3] y", **constants: Any) -> Stripped:
    return strip_qdq(
        graph_of(f"(float[1,3] x) => ({out}) {{ {body} }}", s=HALF, z=u8(100), **constants)
    )


def shown(graph: Graph) -> list[str]:
    """Return a line for each node."""
    return [f"{n.op}({', '.join(n.inputs)}) -> {', '.join(n.outputs)}" for n in graph.nodes]


def test_scales_of_activations_are_taken_out_with_their_nodes() -> None:
    found = stripped("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Relu(d)")
    assert (shown(found.graph), found.scales, found.constants) == (
        ["Relu(x) -> y"],
        {"x": (0.5, -28)},
        {},
    )
    signed = stripped(
        "q = QuantizeLinear(x, s, i) d = DequantizeLinear(q, s, i) y = Relu(d)",
        i=np.array(-28, np.int8),
    )
    assert signed.scales == {"x": (0.5, -28)}
    bare = stripped("q = QuantizeLinear(x, s) d = DequantizeLinear(q, s) y = Relu(d)")
    assert bare.scales == {"x": (0.5, -128)}
    ends = stripped("r = Relu(x) q = QuantizeLinear(r, s, z) y = DequantizeLinear(q, s, z)")
    assert (shown(ends.graph), ends.scales) == (["Relu(x) -> y"], {"y": (0.5, -28)})
    through = stripped("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)")
    assert (shown(through.graph), through.graph.nodes[0].attrs) == (
        ["LeakyRelu(x) -> y"],
        {"alpha": 1.0},
    )
    assert through.scales == {"x": (0.5, -28), "y": (0.5, -28)}
    moved = stripped(
        "q = QuantizeLinear(x, s, z) r = Reshape(q, shape) y = DequantizeLinear(r, s, z)",
        shape=ints(1, 3),
    )
    assert (shown(moved.graph), moved.scales) == (
        ["Reshape(x, shape) -> y"],
        {"x": (0.5, -28), "y": (0.5, -28)},
    )
    assert moved.graph.dtype("y") == np.float32


def test_a_second_scale_of_a_tensor_is_kept_behind_an_identity() -> None:
    both = "r = Relu(x) q = QuantizeLinear(r, s, z) d = DequantizeLinear(q, s, z) p = QuantizeLinear(r, t, z) e = DequantizeLinear(p, t, z) y = Add(d, e)"
    found = stripped(both, t=np.array(0.25, np.float32))
    assert shown(found.graph)[0] == "Relu(x) -> r"
    assert shown(found.graph)[1].startswith("LeakyRelu(r) -> ")
    other = found.graph.nodes[1].output
    assert shown(found.graph)[2] == f"Add(r, {other}) -> y"
    assert found.scales == {"r": (0.5, -28), other: (0.25, -28)}
    of_input = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) p = QuantizeLinear(x, t, z) e = DequantizeLinear(p, t, z) y = Add(d, e)"
    first = stripped(of_input, t=np.array(0.25, np.float32))
    assert [node.op for node in first.graph.nodes] == ["LeakyRelu", "Add"]
    assert first.graph.nodes[0].attrs == {"alpha": 1.0}


VEC: dict[str, Any] = {"ss": np.array([0.5, 2.0], np.float32), "zz": np.array([1, 3], np.int8)}


@pytest.mark.parametrize(
    ("node", "stored", "values", "reals", "axis"),
    [
        ("DequantizeLinear<axis=0>(w, ss, zz)", [[1, 2], [3, 5]], [[0, 1], [0, 2]], [[0, 0.5], [0, 4]], 0),
        ("DequantizeLinear(w, ss, zz)", [[1, 2], [3, 5]], [[0, -1], [2, 2]], [[0, -2], [1, 4]], 1),
        ("DequantizeLinear<axis=-2>(w, ss, zz)", [[1, 2], [3, 5]], [[0, 1], [0, 2]], [[0, 0.5], [0, 4]], 0),
        ("DequantizeLinear(w, s)", [[1, -128], [3, 5]], [[1, -128], [3, 5]], [[0.5, -64], [1.5, 2.5]], 1),
    ],
)  # fmt: skip
def test_integers_of_constants_are_kept_beside_their_reals(
    node: str, stored: Any, values: Any, reals: Any, axis: int
) -> None:
    graph = graph_of(
        f"(float[1,2] x) => (float[1,2] y) {{ d = {node} y = MatMul(x, d) }}",
        w=np.array(stored, np.int8),
        s=HALF,
        **VEC,
    )
    found = strip_qdq(graph)
    held = found.constants["d"]
    assert held.values.tolist() == values
    assert held.scales.tolist() == ([0.5] if "s)" in node and "ss" not in node else [0.5, 2.0])
    assert held.axis == axis
    assert found.graph.constants["d"].tolist() == reals
    assert found.graph.constants["d"].dtype == np.float32


def test_float_constants_are_rounded_as_the_file_would() -> None:
    real = np.array([[0.25, 0.75], [1e3, -1e3]], np.float32)
    for node, wanted in (
        ("<axis=0>", [[0.0, 1.0], [252.0, -258.0]]),
        ("", [[0.0, 0.0], [63.0, -258.0]]),
    ):
        graph = graph_of(
            f"(float[1,2] x) => (float[1,2] y) {{ q = QuantizeLinear{node}(w, ss, zz) d = DequantizeLinear{node}(q, ss, zz) y = MatMul(x, d) }}",
            w=real, ss=VEC["ss"], zz=np.array([1, 1], np.int8),
        )  # fmt: skip
        assert strip_qdq(graph).graph.constants["d"].tolist() == wanted


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("r = ReduceMax<keepdims=0>(x) q = QuantizeLinear(x, r, z) y = DequantizeLinear(q, s, z)", "has a computed scale or zero point"),
        ("q = QuantizeLinear<axis=1>(x, s3, z3) y = DequantizeLinear<axis=1>(q, s3, z3)", "quantizes an activation by channel"),
        ("q = QuantizeLinear(x, s, w) y = DequantizeLinear(q, s, w)", "quantizes an activation to int16"),
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, t, z)", "is quantized with one scale and dequantized by"),
        ("d = DequantizeLinear(c, s, w) y = Add(x, d)", "holds int16 constants"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_hold_is_refused(body: str, said: str) -> None:
    constants = {
        "s3": np.ones(3, np.float32), "z3": u8(1, 2, 3), "w": np.array(0, np.int16), "t": np.array(0.25, np.float32), "c": np.ones(3, np.int16),
    }  # fmt: skip
    used = {
        name: value for name, value in constants.items() if f"{name}," in body or f"{name})" in body
    }
    with pytest.raises(UnsupportedOpError, match=said):
        stripped(body, **used)


def test_bounds_and_fills_of_integers_become_real() -> None:
    found = stripped(
        "q = QuantizeLinear(x, s, z) c = Clip(q, low, high) y = DequantizeLinear(c, s, z)",
        low=u8(90),
        high=u8(104),
    )
    (clip,) = found.graph.nodes
    assert [float(found.graph.constants[name]) for name in clip.inputs[1:]] == [-5.0, 2.0]
    padded = stripped(
        "q = QuantizeLinear(x, s, z) p = Pad(q, pads, fill) y = DequantizeLinear(p, s, z)",
        "float[1,5] y",
        pads=ints(0, 1, 0, 1),
        fill=u8(110),
    )
    (pad,) = padded.graph.nodes
    assert float(padded.graph.constants[pad.inputs[2]]) == 5.0
    assert padded.graph.constants[pad.inputs[2]].dtype == np.float32
    with pytest.raises(UnsupportedOpError, match="bounds integers whose scale is not known"):
        strip_qdq(
            graph_of(
                "(uint8[1,3] x) => (uint8[1,3] y) { y = Clip(x, low, high) }",
                low=u8(90),
                high=u8(104),
            )
        )


def operator_form(
    body: str, ins: str = "uint8[1,2,2,2] x", out: str = "uint8[1,2,2,2] y", **constants: Any
) -> Any:
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> net ({ins}) => ({out}) {{ {body} }}'
    )
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


PARTS: dict[str, Any] = {
    "xs": np.array(0.5, np.float32), "xz": u8(3), "ws": np.array([0.25, 2.0], np.float32), "wz": np.zeros(2, np.int8), "ys": np.array(4.0, np.float32),
    "yz": u8(7), "w": np.ones((2, 2, 1, 1), np.int8), "b": np.array([5, 6], np.int32), "m": np.ones((2, 2), np.int8),
}  # fmt: skip


def lines_of(model: Any) -> list[str]:
    def attributes(node: Any) -> str:
        found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return "".join(f" {name}={found[name]}" for name in sorted(found))

    return [
        f"{n.op_type}({', '.join(n.input)}) -> {n.output[0]}{attributes(n)}"
        for n in model.graph.node
    ]


@pytest.mark.parametrize(
    ("body", "wanted", "step"),
    [
        ("y = QLinearConv<strides=[1,1]>(x, xs, xz, w, ws, wz, ys, yz, b)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(w, ws, wz) -> w_real_1 axis=0",
          "DequantizeLinear(b, y_bias_scale, y_bias_zero) -> y_bias_real axis=0", "Conv(x_real_0, w_real_1, y_bias_real) -> y_real strides=[1, 1]",
          "QuantizeLinear(y_real, ys, yz) -> y"], [0.125, 1.0]),
        ("y = QLinearConv(x, xs, xz, w, xs, xz, ys, yz, b)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(w, xs, xz) -> w_real_1", "DequantizeLinear(b, y_bias_scale, y_bias_zero) -> y_bias_real",
          "Conv(x_real_0, w_real_1, y_bias_real) -> y_real", "QuantizeLinear(y_real, ys, yz) -> y"], 0.25),
        ("y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(w, ws, wz) -> w_real_1 axis=0", "Conv(x_real_0, w_real_1) -> y_real",
          "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = com.microsoft.QGemm<alpha=2.0, transB=1>(x, xs, xz, m, ws, wz, b, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, ws, wz) -> m_real_1 axis=0",
          "DequantizeLinear(b, y_bias_scale, y_bias_zero) -> y_bias_real axis=0", "Gemm(x_real_0, m_real_1, y_bias_real) -> y_real alpha=2.0 transB=1",
          "QuantizeLinear(y_real, ys, yz) -> y"], [0.25, 2.0]),
        ("y = com.microsoft.QGemm(x, xs, xz, m, ws, wz, b, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, ws, wz) -> m_real_1 axis=1",
          "DequantizeLinear(b, y_bias_scale, y_bias_zero) -> y_bias_real axis=0", "Gemm(x_real_0, m_real_1, y_bias_real) -> y_real",
          "QuantizeLinear(y_real, ys, yz) -> y"], [0.125, 1.0]),
        ("y = com.microsoft.QGemm<transB=1>(x, xs, xz, m, ws, wz, , ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, ws, wz) -> m_real_1 axis=0", "Gemm(x_real_0, m_real_1) -> y_real transB=1",
          "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = com.microsoft.QLinearConcat<axis=1>(ys, yz, x, xs, xz, m, xs, xz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, xs, xz) -> m_real_1", "Concat(x_real_0, m_real_1) -> y_real axis=1",
          "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = com.microsoft.QLinearAdd(x, xs, xz, m, ys, yz, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, ys, yz) -> m_real_1", "Add(x_real_0, m_real_1) -> y_real",
          "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = QLinearMatMul(x, xs, xz, m, ys, yz, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "DequantizeLinear(m, ys, yz) -> m_real_1", "MatMul(x_real_0, m_real_1) -> y_real",
          "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = com.microsoft.QLinearGlobalAveragePool<channels_last=1>(x, xs, xz, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "GlobalAveragePool(x_real_0) -> y_real", "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = com.microsoft.QLinearSoftmax<axis=1, opset=13>(x, xs, xz, ys, yz)",
         ["DequantizeLinear(x, xs, xz) -> x_real_0", "Softmax(x_real_0) -> y_real axis=1", "QuantizeLinear(y_real, ys, yz) -> y"], None),
        ("y = Relu(x)", ["Relu(x) -> y"], None),
    ],
)  # fmt: skip
def test_operators_on_integers_are_written_out(body: str, wanted: list[str], step: Any) -> None:
    model = operator_form(
        body,
        **{
            name: value
            for name, value in PARTS.items()
            if name in body.replace(",", " ").replace("(", " ").replace(")", " ").split()
        },
    )
    made = as_qdq(model)
    assert lines_of(made) == wanted
    assert is_qoperator(model) is (len(wanted) > 1)
    assert is_quantized(made) is (len(wanted) > 1)
    assert not is_qoperator(made)
    assert not is_quantized(model)
    held = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    if step is not None:
        assert held["y_bias_scale"].tolist() == step
        assert (held["y_bias_zero"].shape, held["y_bias_zero"].dtype.name) == (
            np.shape(step),
            "int32",
        )
        assert not held["y_bias_zero"].any()


def test_operators_without_a_form_here_are_refused() -> None:
    one = operator_form(
        "y = com.microsoft.QLinearWhere(x, xs, xz, ys, yz)",
        **{k: PARTS[k] for k in ("xs", "xz", "ys", "yz")},
    )
    with pytest.raises(UnsupportedOpError, match=r"QLinearWhere .* has no QDQ form here"):
        as_qdq(one)
    computed = operator_form(
        "xs = Abs(v) y = com.microsoft.QLinearSigmoid(x, xs, xz, ys, yz)",
        "uint8[1] x, float v",
        "uint8[1] y",
        xz=u8(1),
        ys=HALF,
        yz=u8(1),
    )
    with pytest.raises(UnsupportedOpError, match="the scale xs is computed, not constant"):
        as_qdq(computed)
    dynamic = operator_form("y = ConvInteger(x, w)", out="int32[1,2,2,2] y", w=PARTS["w"])
    with pytest.raises(UnsupportedOpError, match=r"quantized dynamically \(ConvInteger"):
        refuse_dynamic(dynamic)
    packed = operator_form(
        "y = com.microsoft.MatMulNBits<K=16, N=4, bits=4, block_size=16>(x, w, ys)",
        "float[1,16] x",
        "float[1,4] y",
        w=np.zeros((4, 1, 8), np.uint8),
        ys=np.ones(4, np.float32),
    )
    with pytest.raises(
        UnsupportedOpError,
        match=r"MatMulNBits y reads weights packed .* float model it was made from",
    ):
        refuse_dynamic(packed)
    refuse_dynamic(one)


PAIR, OTHER = (0.5, 0), (0.25, 3)


def test_results_without_a_scale_take_that_of_what_they_read() -> None:
    graph = graph_of(
        "(float[1,2,2,2] x) => (float[1,2,1,1] y, float[1,2,2,2] e) { a = Relu(x) b = Clip(a) m = ReduceMean(b, axes) y = GlobalAveragePool(b) e = Exp(m) }",
        axes=ints(2, 3),
    )
    notes: list[str] = []
    found = read._with_followers(Stripped(graph, {"x": PAIR, "m": OTHER}), notes)
    assert found == {"x": PAIR, "a": PAIR, "b": PAIR, "m": OTHER, "y": PAIR}
    assert notes == ["y has no scale in the file: it has that of b"]
    assert read._with_followers(Stripped(graph, {}), notes) == {}


@pytest.mark.parametrize(
    ("body", "fenced"),
    [
        ("t = Conv(x, w) y = Mul(t, c)", True), ("t = Conv(x, w) y = Add(t, c)", True), ("t = Mul(x, c) y = Conv(t, w)", True),
        ("t = Conv(x, w) y = Relu(t)", False), ("t = Conv(x, w) y = Mul(t, x)", False), ("t = Mul(x, c) y = Add(t, c)", False), ("t = Conv(x, w) y = Conv(t, w)", False),
    ],
)  # fmt: skip
def test_layers_are_not_folded_over_a_scale(body: str, fenced: bool) -> None:
    graph = graph_of(
        f"(float[1,2,2,2] x) => (float[1,2,2,2] y) {{ {body} }}",
        w=np.ones((2, 2, 1, 1), np.float32),
        c=np.ones((1, 2, 1, 1), np.float32),
    )
    scales = {"x": PAIR, "t": OTHER}
    read._fence(graph, scales)
    assert [node.op for node in graph.nodes][1:-1] == (["LeakyRelu"] if fenced else [])
    if fenced:
        kept = graph.nodes[1]
        assert (kept.inputs, kept.attrs, scales[kept.output]) == (["t"], {"alpha": 1.0}, OTHER)
        assert kept.output in graph.nodes[2].inputs
        assert "t" not in graph.nodes[2].inputs
    bare: dict[str, Any] = {}
    whole = graph_of(
        f"(float[1,2,2,2] x) => (float[1,2,2,2] y) {{ {body} }}",
        w=np.ones((2, 2, 1, 1), np.float32),
        c=np.ones((1, 2, 1, 1), np.float32),
    )
    read._fence(whole, bare)
    assert len(whole.nodes) == 2


def test_an_identity_that_changes_the_scale_stays() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y, float[1,2] z) { y = Identity(x) z = Identity(x) }"
    )
    read._fence(graph, {"x": PAIR, "y": OTHER, "z": PAIR})
    assert [(node.op, node.inputs, node.attrs) for node in graph.nodes] == [
        ("LeakyRelu", ["x"], {"alpha": 1.0}),
        ("Identity", ["x"], {}),
    ]
    unknown = graph_of("(float[1,2] x) => (float[1,2] y) { y = Identity(x) }")
    read._fence(unknown, {"x": PAIR})
    assert unknown.nodes[0].op == "Identity"


def test_different_scales_are_not_joined() -> None:
    graph = graph_of(
        "(float[1,2] a, float[1,2] b) => (float[1,4] y, float[1,2] r) { y = Concat<axis=1>(a, b) r = Reshape(a, s) }",
        s=ints(1, 2),
    )
    scales, notes = {"a": PAIR, "b": OTHER, "y": PAIR}, list[str]()
    read._split_shared(graph, scales, notes)
    assert [node.op for node in graph.nodes] == ["LeakyRelu", "Concat", "Reshape"]
    rescale, concat, _ = graph.nodes
    assert (rescale.inputs, rescale.attrs, concat.inputs) == (
        ["b"],
        {"alpha": 1.0},
        ["a", rescale.output],
    )
    assert scales == {"a": PAIR, "b": OTHER, "y": PAIR, rescale.output: PAIR, "r": PAIR}
    assert notes == [f"b is rescaled before Concat {concat.name}"]
    alone = graph_of("(float[1,2] a, float[1,2] b) => (float[1,4] y) { y = Concat<axis=1>(a, b) }")
    known = {"a": PAIR, "b": OTHER}
    read._split_shared(alone, known, notes)
    assert (len(alone.nodes), known) == (1, {"a": PAIR, "b": OTHER})


def test_nodes_whose_tensors_have_no_scale_are_left_in_float() -> None:
    body = "(float[1,2] a, float[1,2] b) => (float[1,2] y) { c = Concat<axis=1>(a, b) e = Exp(c) f = Slice(e, one, two, one) y = Relu(f) }"
    graph = graph_of(body, one=ints(1), two=ints(3))
    scales = {"a": PAIR}
    found = islands.islands_of(graph, scales)
    assert {node.op: found.get(node.name) for node in graph.nodes} == {
        "Concat": None, "Exp": "it has no INT8 form", "Slice": "the file gives no scale to all that it reads and makes", "Relu": "the file gives no scale to all that it reads and makes",
    }  # fmt: skip
    assert scales == {"a": PAIR, "b": PAIR, "c": PAIR}
    assert islands._fill_groups(graph, scales, frozenset()) is False


def test_activations_are_the_files_and_constants_cover_their_values() -> None:
    graph = graph_of(
        "(float[1,2] a) => (float[1,4] y, float[1,2] e) { s = Add(a, k) y = Concat<axis=1>(s, k) e = Exp(s) }",
        k=np.array([[-1.0, 3.0]], np.float32),
    )
    scales: Any = {"a": OTHER, "s": PAIR, "y": PAIR}
    found = read._activations(graph, scales, frozenset({graph.nodes[2].name}))
    assert list(found) == ["a", "k", "s", "y"]
    assert found["a"] == Activation(0.25, 3, -131 * 0.25, 124 * 0.25, fixed=True)
    assert found["k"].scale == pytest.approx(4 / 255)
    assert (found["k"].low, found["k"].high, found["k"].fixed) == (-1.0, 3.0, False)
    joined = graph_of(
        "(float[1,2] a) => (float[1,4] y) { y = Concat<axis=1>(k, a) z = Concat<axis=1>(y, k) }",
        k=np.array([[-1.0, 3.0]], np.float32),
    )
    joined.nodes.reverse()
    assert read._activations(joined, {"y": PAIR, "z": PAIR}, frozenset())[
        "k"
    ].scale == pytest.approx(4 / 255)
    graph.nodes[1].clamp = (-1.0, 9.0)
    read._saturate(graph, {"s": found["s"], "y": found["y"], "e": found["a"]}, {})
    assert [node.clamp for node in graph.nodes] == [(-64.0, 63.5), (-1.0, 9.0), None]
    graph.nodes[0].clamp = None
    read._saturate(graph, found, {graph.nodes[0].name: "float"})
    assert graph.nodes[0].clamp is None


def test_weights_of_a_file_keep_their_integers_and_say_where_they_cannot() -> None:
    real = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y) { y = Gemm<transB=1>(x, w, b) }",
        w=real,
        b=np.array([1.0, -1.0], np.float32),
    )
    node = graph.nodes[0]
    held = {"x": Activation(0.5, 0, -64.0, 63.5)}

    def weights(stored: Any = None, bias: Any = None) -> tuple[Weights, list[str]]:
        notes: list[str] = []
        constants = {"w": stored} if stored is not None else {}
        constants |= {"b": bias} if bias is not None else {}
        return read._weights(
            graph, node, {node.name: node}, Stripped(graph, {}, constants), held, notes
        ), notes

    made, notes = weights()
    assert made.scales.tolist() == pytest.approx([2 / 127, 3 / 127])
    assert made.values.tolist() == [[64, -127], [21, 127]]
    assert notes == [f"the weights of {node.name} are float in the file and were rounded"]
    assert made.bias.tolist() == np.rint(np.array([1.0, -1.0]) / (0.5 * made.scales)).tolist()
    own = StoredConstant(np.array([[2, -4], [1, 6]]), np.array([0.5], np.float32), 0)
    made, notes = weights(own)
    assert (made.values.tolist(), made.scales.tolist(), notes) == (
        [[2, -4], [1, 6]],
        [0.5, 0.5],
        [],
    )
    folded, notes = weights(StoredConstant(np.zeros((2, 2)), np.array([0.7, 0.7], np.float32), 0))
    assert notes == [f"the weights of {node.name} were folded into; they were rounded again"]
    assert folded.values.tolist() == np.rint(real / 0.7).tolist()
    for scale, again in ((3 / 127, False), (3 / 128, True), (-3 / 128, False)):
        step = np.array([abs(scale)] * 2, np.float32)
        graph.constants["w"] = (np.array([[100, 1], [0, round(3 / scale)]]) * step[0]).astype(
            np.float32
        )
        made, notes = weights(StoredConstant(graph.constants["w"], step, 0))
        assert ([f"the weights of {node.name} had zero points: {read.AGAIN}"] == notes) is again
        assert made.values.max() <= 127
    with pytest.raises(
        UnsupportedOpError, match=f"the weights of {node.name} have 3 scales for 2 channels"
    ):
        weights(StoredConstant(real, np.ones(3, np.float32), 0))


@pytest.mark.parametrize(
    ("scale", "integers", "kept"),
    [(0.125, [8, -8], True), (0.125 * 1.00002, [8, -8], False), (0.25, [4, -4], False), (0.125, [9, -8], False), (0.125, [8], False)],
)  # fmt: skip
def test_a_bias_of_the_file_is_kept_at_its_own_step(
    scale: float, integers: list[int], kept: bool
) -> None:
    """Real biases of 1 and -1 at steps of 0.5 * 0.25; 1000 says that the file's were taken."""
    node = Node("Gemm", "g", ["x", "w", "b"], ["y"])
    real = np.array(integers, np.float32) * np.float32(scale)
    bias = real if kept else np.array([1.0, -1.0], np.float32)
    weights = Weights(
        np.ones((2, 1), np.int8), np.full(2, 0.25, np.float32), np.zeros(2, np.int32), bias
    )
    stored = StoredConstant(np.array(integers), np.array([scale], np.float32), 0)
    before = Stripped(graph_of("(float[1] x) => (float[1] y) { y = Relu(x) }"), {}, {"b": stored})
    assert read._bias(node, node, before, weights, 0.5).tolist() == [8, -8]
    wide = Weights(weights.values, np.full(2, 0.25 * (1 + 4e-6), np.float32), weights.bias, bias)
    again = read._bias(node, node, before, wide, 0.5).tolist()
    assert again == [8, -8]
    for source in (None, Node("Gemm", "g", ["x", "w"], ["y"])):
        assert (
            read._bias(node, source, before, weights, 0.5).tolist()
            == np.rint(bias / 0.125).tolist()
        )


def test_names_are_joined_to_groups() -> None:
    groups = Groups()
    for first, second in (("a", "b"), ("c", "d"), ("b", "d")):
        groups.join(first, second)
    assert [groups.root(name) for name in "abcde"] == ["d", "d", "d", "d", "e"]
    assert groups.members("edcba") == {"e": ["e"], "d": ["d", "c", "b", "a"]}


def test_what_moves_integers_shares_a_scale() -> None:
    body = "(float[1,4] x) => (float[1,4] y, float[1,2] b) { a, b = Split<axis=1, num_outputs=2>(x) c = Concat<axis=1>(a, k) d = Sigmoid(c) y = Reshape(d, s) }"
    graph = graph_of(body, k=np.ones((1, 2), np.float32), s=ints(1, 4))
    groups = same_scale(graph, frozenset())
    assert {name: groups.root(name) for name in ("x", "a", "b", "c", "k", "d", "y", "s")} == {
        "x": "c", "a": "c", "b": "c", "c": "c", "k": "c", "d": "y", "y": "y", "s": "s",
    }  # fmt: skip
    assert only_moved(graph, (), groups) == {"d", "y", "s"}
    everything = {"x", "a", "b", "c", "k", "d", "y", "s"}
    assert only_moved(graph, {graph.nodes[2].name}, groups) == everything
    split, concat = graph.nodes[0].name, graph.nodes[1].name
    apart = same_scale(graph, frozenset({split}))
    assert apart.root("x") == "x"
    assert only_moved(graph, {split}, apart) == {"x", "b", "d", "y", "s"}
    rescaled = same_scale(graph, frozenset(), {("a", concat), ("d", "another")})
    assert rescaled.members("xabckdy") == {"a": ["x", "a", "b"], "c": ["c", "k"], "y": ["d", "y"]}
    assert only_moved(graph, (), rescaled) == {"x", "a", "b", "d", "y", "s"}


NOTHING = (-INF, INF)


@pytest.mark.parametrize(
    ("body", "peaks", "bound"),
    [
        ("y = Relu(t)", {}, (0.0, INF)), ("y = Sigmoid(t)", {}, (-7.0, 7.0)), ("y = Tanh(t)", {}, (-3.5, 3.5)), ("y = HardSwish(t)", {}, (-3.0, INF)),
        ("y = Exp(t)", {}, NOTHING), ("a = Relu(t) b = Exp(t) y = Add(a, b)", {}, NOTHING), ("a = Sigmoid(t) b = Tanh(t) y = Add(a, b)", {}, (-7.0, 7.0)),
        ("a = Relu(t) b = Tanh(t) y = Add(a, b)", {}, (-3.5, INF)), ("r = Reshape(t, s) y = Sigmoid(r)", {}, (-7.0, 7.0)),
        ("r = Reshape(t, s) a = Tanh(r) b = HardSwish(r) y = Add(a, b)", {}, (-3.5, INF)), ("a, b = Split<axis=1, num_outputs=2>(t) c = Tanh(a) d = Sigmoid(b) y = Concat<axis=1>(c, d)", {}, (-7.0, 7.0)),
        ("y = Softmax(t)", {"t": 5.0}, (-7.0, INF)), ("y = Softmax(t)", {}, NOTHING), ("y = ReduceMax(t, one)", {"t": 5.0}, (5.0, INF)),
        ("a = Relu(t) y = Sigmoid(a)", {}, (0.0, 7.0)), ("m = Max(t, k) y = Tanh(m)", {}, (-3.5, 3.5)),
    ],
)  # fmt: skip
def test_no_reader_can_tell_values_beyond_these(
    body: str, peaks: dict[str, float], bound: Any
) -> None:
    constants: dict[str, Any] = {"s": ints(1, 4), "one": ints(1), "k": np.ones(4, np.float32)}
    used = {name: value for name, value in constants.items() if f", {name})" in body}
    graph = graph_of(f"(float[1,4] x) => (float[1,4] y) {{ t = Neg(x) {body} }}", **used)
    found = needed_bounds(graph, peaks)
    assert found["t"] == bound
    assert found["y"] == NOTHING
    graph.outputs.append("t")
    assert needed_bounds(graph, peaks)["t"] == NOTHING


def test_bounds_follow_clamps_and_floats() -> None:
    graph = graph_of(
        "(float[1,4] x) => (float[1,4] y) { t = Neg(x) r = Concat<axis=1>(t) y = Sigmoid(r) }"
    )
    _, concat, last = graph.nodes
    for clamp, bound in (
        ((-1.0, 2.0), (-1.0, 2.0)),
        ((-9.0, 2.0), (-7.0, 2.0)),
        (None, (-7.0, 7.0)),
    ):
        concat.clamp = clamp
        assert needed_bounds(graph)["t"] == bound
    assert needed_bounds(graph, {}, {last.name})["t"] == NOTHING
    relu = graph_of("(float[1,4] x) => (float[1,4] y) { t = Neg(x) y = Relu(t) }")
    assert needed_bounds(relu, {}, {relu.nodes[1].name})["t"] == (0.0, INF)


@pytest.mark.parametrize(
    ("clamp", "scale", "zero", "done"),
    [
        (None, 0.5, 0, True), ((0.0, INF), 0.5, -128, True), ((0.0, INF), 0.5, -127, False), ((-64.0, INF), 0.5, 0, True), ((-63.5, INF), 0.5, 0, False),
        ((-INF, 63.5), 0.5, 0, True), ((-INF, 63.0), 0.5, 0, False), ((-INF, 64.0), 0.5, 0, True), ((-64.0, 63.0), 0.5, 0, False), ((-63.0, 63.5), 0.5, 0, False),
        ((0.0, 6.0), 6 / 255, -128, True), ((0.0, 6.0), 6 / 254, -128, False), ((-1.0, 1.0), 0.5, 126, False), ((-127.0, 0.5), 0.5, 126, True),
    ],
)  # fmt: skip
def test_saturation_does_a_clamp_where_no_integer_lies_beyond(
    clamp: Any, scale: float, zero: int, done: bool
) -> None:
    assert implied(clamp, Activation(scale, zero, 0.0, 0.0)) is done


def test_a_shared_scale_has_to_be_shared() -> None:
    graph = graph_of(
        "(float[1,2] a, float[1,2] b, float[1,2] c) => (float[1,2] y) { y = Max(a, b, c) }"
    )
    name = graph.nodes[0].name
    one, two = Activation(0.5, 0, -64.0, 63.5), Activation(0.5, 1, -64.5, 63.0)
    check_same_scale(graph, Recipe("r", "asymmetric", {"a": one, "b": one, "c": one, "y": one}, {}))
    for other in ("b", "c", "y"):
        held = {"a": one, "b": one, "c": one, "y": one, other: two}
        with pytest.raises(
            EdgeconvError,
            match=f"gives a and {other} different scales, but Max {name} only moves integers",
        ):
            check_same_scale(graph, Recipe("r", "asymmetric", held, {}))
        check_same_scale(graph, Recipe("r", "asymmetric", held, {}, (name,)))
    body = "(float[1,2] a, float[1,2] b) => (float[1,6] y) { y = Concat<axis=1>(a, b, k) }"
    join, held = graph_of(body, k=np.ones((1, 2), np.float32)), {"a": one, "b": one, "y": one}
    (concat,) = join.nodes
    assert not rescales(concat, held)
    assert not rescales(concat, {"a": two, "b": one})
    assert not rescales(graph.nodes[0], {**held, "a": two})
    for name in ("a", "b", "k"):
        assert rescales(concat, {**held, name: two})
        check_same_scale(join, Recipe("r", "asymmetric", {**held, name: two}, {}))
    assert stored_alike(one, Activation(0.5, 0, 9.0, 9.0))
    assert not stored_alike(one, two)
    assert not stored_alike(one, Activation(0.25, 0, -64.0, 63.5))


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("y = Conv(x, w)", None), ("y = Conv(x, v)", "its weights are computed, not constant"), ("y = Conv(x, w, u)", "its bias is computed, not constant"),
        ("y = Conv(x, w, b)", None), ("y = Conv(k, w)", "its input is constant"), ("y = Erf(x)", "it has no INT8 form"), ("y = Add(x, k)", None),
        ("y = Add(x, endless)", "it reads an infinite constant, which no scale covers"), ('y = Resize<mode="cubic">(x, , scales)', "cubic Resize has no INT8 form"),
        ('y = Resize<mode="linear">(x, , scales)', None), ("y, i = MaxPool<kernel_shape=[1,1]>(x)", "MaxPool with indices has no INT8 form"), ("y = MaxPool<kernel_shape=[1,1]>(x)", None),
        ("y = Softmax<axis=2>(x)", None), ("y = Softmax<axis=0>(x)", "Softmax over one value is 1, which onnxruntime's INT8 kernel wraps to 0"), ("i = Shape(x)", "it makes no real numbers"),
    ],
)  # fmt: skip
def test_why_a_node_is_no_int8(node: str, reason: str | None) -> None:
    constants = {
        "w": np.ones((2, 2, 1, 1), np.float32), "b": np.ones(2, np.float32), "k": np.ones((1, 2, 2, 2), np.float32),
        "endless": np.array([[[[1.0, np.inf]]]], np.float32), "scales": np.array([1, 1, 1, 1], np.float32),
    }  # fmt: skip
    out = "int64[4] i" if node.startswith("i") else "float[1,2,2,2] y"
    graph = graph_of(
        f"(float[1,2,2,2] x, float[2,2,1,1] v, float[2] u) => ({out}) {{ {node} }}",
        **{k: v for k, v in constants.items() if k in node},
    )
    assert why_float(graph, graph.nodes[0]) == reason


def test_gemms_are_layers_where_they_are_plain() -> None:
    for attrs, reason in (
        ("transB=1", None),
        ("transB=0", "it is not x * transposed weights + bias"),
        ("transB=1, alpha=2.0", "it is not x * transposed weights + bias"),
    ):
        graph = graph_of(
            f"(float[1,2] x) => (float[1,2] y) {{ y = Gemm<{attrs}>(x, w) }}",
            w=np.ones((2, 2), np.float32),
        )
        assert why_float(graph, graph.nodes[0]) == reason
    last = graph_of("(float[4,1] x) => (float[4,1] y) { y = Softmax(x) }")
    assert why_float(last, last.nodes[0]) is not None
    first = graph_of("(float[1,4] x) => (float[1,4] y) { y = Softmax(x) }")
    assert why_float(first, first.nodes[0]) is None


def test_what_is_stored_of_a_node_and_how_many_channels_it_has() -> None:
    graph = graph_of("(float[1,2,2,2] x) => (float[1,2,4,4] y) { c = Clip(x, low) p = PRelu(c, k) e = Exp(p) a = Add(e, k) y = Resize(a, , scales) }",
                     low=np.array(0, np.float32), k=np.ones((2, 1, 1), np.float32), scales=np.array([1, 1, 2, 2], np.float32))  # fmt: skip
    assert [data_inputs(graph, node) for node in graph.nodes] == [
        ["x"],
        ["c", "k"],
        [],
        ["e", "k"],
        ["a"],
    ]
    assert [moves_integers(node) for node in graph.nodes] == [False, False, False, False, True]
    turned = graph_of(
        "(float[1,4,2,2] x) => (float[1,6,2,2] y) { y = ConvTranspose<group=2>(x, w) }",
        w=np.ones((4, 3, 1, 1), np.float32),
    )
    node = turned.nodes[0]
    assert output_channels(node, turned.constants["w"]) == 6
    assert float_weights(turned, node)[1].tolist() == [0.0] * 6
    plain = graph_of(
        "(float[1,4,2,2] x) => (float[1,4,2,2] y) { y = Conv(x, w, b) }",
        w=np.ones((4, 4, 1, 1), np.float32),
        b=np.arange(4, dtype=np.float32),
    )
    assert float_weights(plain, plain.nodes[0])[1].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert output_channels(plain.nodes[0], np.ones((5, 3))) == 5


@pytest.mark.parametrize(
    ("body", "shift"),
    [
        ("c = Sub(x, half) y = Relu(c)", True), ("c = Add(x, half) y = Relu(c)", False), ("c = Sub(x, row) y = Relu(c)", False), ("c = Sub(x, half) y = Add(c, x)", False),
        ("r = Relu(x) c = Sub(r, half) y = Neg(c)", False), ("c = Sub(x, v) y = Relu(c)", False), ("c = Sub(half, x) y = Relu(c)", False),
    ],
)  # fmt: skip
def test_a_pixel_shift_takes_one_number_off_an_input(body: str, shift: bool) -> None:
    graph = graph_of(
        f"(float[1,2] x, float[1,2] v) => (float[1,2] y) {{ {body} }}",
        half=HALF,
        row=np.ones(2, np.float32),
    )
    node = next(n for n in graph.nodes if n.output == "c")
    assert is_pixel_shift(graph, node) is shift
    counts = count_operators(graph, Recipe("r", "asymmetric", {}, {}))
    assert counts.all == len(graph.nodes) - shift
    node.clamp = (0.0, 1.0)
    assert not is_pixel_shift(graph, node)


def test_operators_on_constants_or_whole_numbers_alone_are_not_counted() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y, int64[2] n) { k = Exp(row) y = Add(x, row) n = Shape(x) }",
        row=np.ones(2, np.float32),
    )
    counts = count_operators(graph, Recipe("r", "asymmetric", {}, {}))
    assert (counts.integer, counts.floats) == (1, {})


def test_what_a_layer_of_integer_weights_reads_is_held_without_zero_points() -> None:
    graph = graph_of(
        "(float[1,2,2,2] x) => (float[1,2,2,2] y) { a = Exp(x) y = ConvTranspose(a, w) }",
        w=np.ones((2, 2, 1, 1), np.float32),
    )
    layer = graph.nodes[1]
    held = {name: Activation(0.5, 5, -66.5, 61.0) for name in ("x", "a", "y")}
    one = np.ones(2, np.float32)
    weights = {
        layer.name: Weights(np.ones((2, 2, 1, 1), np.int8), one, np.ones(2, np.int32), one, 1)
    }
    assert list(
        held_on(graph, Recipe("r", "asymmetric", held, weights), "coreml", real=True).activations
    ) == ["a"]
    assert (
        dict(
            held_on(
                graph, Recipe("r", "asymmetric", held, weights, (layer.name,)), "coreml", real=True
            ).activations
        )
        == {}
    )
    assert list(
        held_on(graph, Recipe("r", "asymmetric", held, weights), "onnx", real=True).activations
    ) == ["x", "a", "y"]
    said = Recipe(
        "r", "asymmetric", held, weights, float_outputs={"onnx": ("y",), "coreml": ("a",)}
    )
    assert list(held_on(graph, said, "onnx", real=True).activations) == ["x", "a"]
    assert list(held_on(graph, said, "onnx", real=False).activations) == ["x", "a", "y"]
