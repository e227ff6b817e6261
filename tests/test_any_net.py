"""Kinds of graphs that strangers bring: each is right on every float target."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from any_net_kit import hub_of, same_everywhere
from graph_kit import floats, model_of, ops, run
from onnx import helper, parser

from edgeconv import export_model
from edgeconv.errors import EdgeconvError
from edgeconv.export.checks import check_finite
from edgeconv.export.hub.ingest import ingest
from edgeconv.runtimes.base import open_runner

SLOPES = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)

KINDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "two inputs whose names differ by a sign": (
        "(float[1,3,5,5] a_b, float[1,3,5,5] ab) => (float[1,3,5,5] o) { s = Sub(a_b, ab)\n o = Exp(s) }",
        18,
        {},
    ),
    "a quotient of integers is cut towards zero": (
        "(int32[2,5] x, int32[2,5] z) => (int32[2,5] y) { a = Mul(z, z)\n k = Add(a, one)\n y = Div(x, k) }",
        18,
        {"one": np.array(1, np.int32)},
    ),
    "PRelu by channel of a signal": (
        "(float[1,4,9] x) => (float[1,4,9] y) { y = PRelu(x, s) }",
        18,
        {"s": SLOPES},
    ),
    "matrix times vector": (
        "(float[3,6] x) => (float[3] y) { y = MatMul(x, k) }",
        18,
        {"k": floats(6)},
    ),
    "vector times matrix": (
        "(float[6] x) => (float[3] y) { y = MatMul(x, k) }",
        18,
        {"k": floats(6, 3)},
    ),
    "ceil_mode with uneven padding, largest": (
        "(float[1,3,8,8] x) => (float[1,3,4,4] y) { y = MaxPool<kernel_shape = [3, 3], strides = [2, 2],"
        " pads = [0, 0, 1, 1], ceil_mode = 1>(x) }",
        18,
        {},
    ),
    "ceil_mode with uneven padding, mean": (
        "(float[1,3,8,8] x) => (float[1,3,4,4] y) { y = AveragePool<kernel_shape = [3, 3],"
        " strides = [2, 2], pads = [0, 0, 1, 1], ceil_mode = 1>(x) }",
        18,
        {},
    ),
    "a dilated mean": (
        "(float[1,3,9,9] x) => (float[1,3,5,5] y) { y = AveragePool<kernel_shape = [3, 3], dilations = [2, 2]>(x) }",
        19,
        {},
    ),
    "a dilated mean of fewer values at the borders": (
        "(float[1,2,9,7] x) => (float[1,2,8,3] y) { y = AveragePool<kernel_shape = [3, 2], dilations = [2, 3],"
        " pads = [1, 1, 2, 1], strides = [1, 2]>(x) }",
        19,
        {},
    ),
    "bilinear Resize of opset 10": (
        '(float[1,2,4,4] x) => (float[1,2,8,8] y) { y = Resize<mode = "linear">(x, s) }',
        10,
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "bilinear Upsample of opset 9": (
        '(float[1,2,4,4] x) => (float[1,2,8,8] y) { y = Upsample<mode = "linear">(x, s) }',
        9,
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "nearest Upsample of opset 7": (
        "(float[1,2,4,3] x) => (float[1,2,8,9] y)"
        ' { y = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]>(x) }',
        7,
        {},
    ),
    "a bias that differs by row": (
        "(float[3,6] x) => (float[3,4] y) { y = Gemm<beta = 2.0>(x, k, b) }",
        18,
        {"k": floats(6, 4), "b": floats(3, 1)},
    ),
    "a transposed left side": (
        "(float[6,2] x) => (float[2,4] y) { y = Gemm<transA = 1, alpha = 0.5>(x, k) }",
        18,
        {"k": floats(6, 4)},
    ),
    "a constant and an input as outputs": (
        "(float[1,3,4,4] x) => (float[1,3,4,4] a, float[2,3] b, float[1,3,4,4] x)"
        " { a = Relu(x)\n b = Identity(k) }",
        18,
        {"k": floats(2, 3)},
    ),
    "a constant taken from a convolution with bias": (
        "(float[1,3,5,5] x) => (float[1,4,5,5] y) { a = Conv(x, w, b)\n y = Sub(a, k) }",
        18,
        {"w": floats(4, 3, 1, 1), "b": floats(4), "k": floats(1, 4, 1, 1)},
    ),
    "a slope that is computed": (
        "(float[1,2,3,4] x, float[2,1,1] s) => (float[1,2,3,4] y) { y = PRelu(x, s) }",
        18,
        {},
    ),
    "the one place of a vector's largest value": (
        "(float[8] x) => (float y) { p = ArgMax<axis = -1>(x)\n f = Cast<to = 1>(p)\n y = Gather(f, i) }",
        18,
        {"i": np.array(0)},
    ),
    "five axes of which one broadcasts": (
        "(float[1,4,2,3,5] x) => (float[1,4,2,3,5] y) { y = Add(x, m) }",
        18,
        {"m": floats(1, 4, 1, 3, 5)},
    ),
    "a root mean square norm of opset 23": (
        "(float[1,3,8] x) => (float[1,3,8] y) { a = RMSNormalization<axis = -1>(x, g)\n y = Add(a, x) }",
        23,
        {"g": floats(8)},
    ),
    "six axes between, along one of which it works": (
        "(float[1,96] x) => (float[1,32] y) { a = Reshape(x, six)\n b = Softmax<axis = 3>(a)\n"
        " c = Gather<axis = 2>(b, places)\n d = Concat<axis = -3>(c, b)\n e = Slice(d, one, nine, last)\n"
        " f = Gather<axis = 4>(e, two)\n h = Reshape(f, row)\n y = Mul(h, h) }",
        18,
        {
            "six": np.array([1, 2, 2, 2, 4, 3], np.int64),
            "places": np.array([1, 1], np.int64),
            "one": np.array([1], np.int64),
            "nine": np.array([9], np.int64),
            "last": np.array([-1], np.int64),
            "two": np.array(2, np.int64),
            "row": np.array([1, -1], np.int64),
        },
    ),
    "six axes of which two broadcast apart": (
        "(float[2,3,2,20] x) => (float[12,40] y) { a = Reshape(x, s)\n b = Mul(a, m)\n y = Reshape(b, t) }",
        18,
        {"s": np.array([2, 1, 3, 2, 4, 5]), "m": floats(2, 2, 1, 2, 1, 5), "t": np.array([12, 40])},
    ),
    "products of matrices over four axes": (
        "(float[1,2,3,4,5] x) => (float[1,2,3,4,2] y) { y = MatMul(x, m) }",
        18,
        {"m": floats(1, 2, 1, 5, 2)},
    ),
    "windows of attention": (
        "(float[2,4,6,5] x) => (float[12,4,5] y) { a = Reshape(x, s)\n"
        " b = Transpose<perm = [0, 1, 3, 2, 4, 5]>(a)\n y = Reshape(b, t) }",
        18,
        {"s": np.array([2, 2, 2, 3, 2, 5]), "t": np.array([12, 4, 5])},
    ),
    "a pixel shuffle written out": (
        "(float[1,8,3,2] x) => (float[1,2,6,4] y) { a = Reshape(x, s)\n"
        " b = Transpose<perm = [0, 1, 4, 2, 5, 3]>(a)\n y = Reshape(b, t) }",
        18,
        {"s": np.array([1, 2, 2, 2, 3, 2]), "t": np.array([1, 2, 6, 4])},
    ),
    "slices that go backwards": (
        "(float[1,3,6,7] x) => (float[1,2,3,7] y) { y = Slice(x, b, e, a, s) }",
        18,
        {
            "b": np.array([-1, 5, 7]),
            "e": np.array([-4, -100, -100]),
            "a": np.array([1, 2, 3]),
            "s": np.array([-2, -2, -1]),
        },
    ),
    "a part of a tensor that is written": (
        "(float[2,3,6,4] x, float[2,3,2,4] z) => (float[2,3,6,4] y) { y = ScatterND(x, i, z) }",
        18,
        {"i": np.stack(np.meshgrid([0, 1], [0, 1, 2], [-4, 3], indexing="ij"), -1)},
    ),
    "elements that are written": (
        "(float[3,4] x, float[2,4] z) => (float[3,4] y) { y = ScatterElements<axis = 0>(x, i, z) }",
        18,
        {"i": np.array([[0, 1, 2, -1], [1, 0, 1, 0]])},
    ),
    "rows by tuples": (
        "(float[2,3,4,5] x) => (float[2,2,5] y) { y = GatherND<batch_dims = 1>(x, i) }",
        18,
        {"i": np.array([[[0, 1], [2, -1]], [[1, 1], [-3, 0]]])},
    ),
    "elements by index": (
        "(float[3,4] x) => (float[3,2] y) { y = GatherElements<axis = 1>(x, i) }",
        18,
        {"i": np.array([[0, 3], [1, -1], [2, 2]])},
    ),
    "cubic Resize": (
        '(float[1,2,5,6] x) => (float[1,2,8,9] y) { y = Resize<mode = "cubic">(x, , , s) }',
        18,
        {"s": np.array([1, 2, 8, 9])},
    ),
    "cubic Resize without what lies outside": (
        '(float[1,2,5,6] x) => (float[1,2,10,3] y) { y = Resize<mode = "cubic", exclude_outside = 1,'
        ' cubic_coeff_a = -0.5, coordinate_transformation_mode = "align_corners">(x, , s) }',
        18,
        {"s": np.array([1, 1, 2, 0.5], np.float32)},
    ),
    "antialiased linear Resize": (
        '(float[1,2,9,12] x) => (float[1,2,4,20] y) { y = Resize<mode = "linear", antialias = 1>(x, , , s) }',
        18,
        {"s": np.array([1, 2, 4, 20])},
    ),
    "antialiased cubic Resize": (
        '(float[1,2,9,12] x) => (float[1,2,4,5] y) { y = Resize<mode = "cubic", antialias = 1>(x, , , s) }',
        18,
        {"s": np.array([1, 2, 4, 5])},
    ),
    "one number put before others": (
        "(float[1,3,1,1] x) => (float[1,4,1,1] y) { y = Concat<axis = 1>(c, x) }",
        18,
        {"c": floats(1, 1, 1, 1)},
    ),
    "minus infinity in a mask": (
        "(float[1,2,5,5] x) => (float[1,2,5,5] y) { a = Add(x, m)\n y = Softmax<axis = -1>(a) }",
        18,
        {"m": np.triu(np.full((5, 5), -np.inf, np.float32), 1)},
    ),
    "indices that are an input": (
        "(int64[1,7] i) => (float[1,4,7] y) { h = Gather(e, i)\n t = Transpose<perm = [0, 2, 1]>(h)\n"
        " y = Conv<pads = [1, 1]>(t, w) }",
        18,
        {"e": floats(10, 5), "w": floats(4, 5, 3)},
    ),
    "bytes": (
        "(uint8[1,3,6,6] x) => (float[1,4,6,6] y) { f = Cast<to = 1>(x)\n n = Div(f, k)\n y = Conv(n, w) }",
        18,
        {"k": np.float32(255), "w": floats(4, 3, 1, 1)},
    ),
    "truth values in and out": (
        "(bool[2,5] x, float[2,5] z) => (bool[2,5] y, float[2,5] s) { y = Not(x)\n n = Neg(z)\n s = Where(x, z, n) }",
        18,
        {},
    ),
    "channels last as TensorFlow has them": (
        "(float[1,8,6,3] x) => (float[1,4,3,5] y) { t = Transpose<perm = [0, 3, 1, 2]>(x)\n"
        ' a = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(t, w)\n r = Relu(a)\n'
        " y = Transpose<perm = [0, 2, 3, 1]>(r) }",
        18,
        {"w": floats(5, 3, 3, 3)},
    ),
    "GroupNormalization of opset 21": (
        "(float[1,4,3,3] x) => (float[1,4,3,3] y) { y = GroupNormalization<num_groups = 2>(x, s, b) }",
        21,
        {"s": floats(4), "b": floats(4, seed=1)},
    ),
    "AffineGrid of opset 20": (
        "(float[2,2,3] t) => (float[2,4,5,2] y) { y = AffineGrid<align_corners = 1>(t, s) }",
        20,
        {"s": np.array([2, 3, 4, 5], np.int64)},
    ),
    "six axes that all move": (
        """(float[2,3,4,60] x) => (float[60,2,3,4] y) {
 a = Reshape(x, s)
 t = Transpose<perm = [5,3,1,4,2,0]>(a)
 y = Reshape(t, r) }""",
        18,
        {"s": np.array([2, 3, 2, 2, 12, 5], np.int64), "r": np.array([60, 2, 3, 4], np.int64)},
    ),
    "maxima put back where they were": (
        """(float[1,3,4,6] x) => (float[1,3,4,6] y) {
 p, i = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x)
 d = Neg(p)
 y = MaxUnpool<kernel_shape = [2,2], strides = [2,2]>(d, i) }""",
        18,
        {},
    ),
    "Gelu of opset 20": ("(float[2,7] x) => (float[2,7] y) { y = Gelu(x) }", 20, {}),
    "bounds that cross": (
        "(float[2,7] x) => (float[2,7] y) { y = Clip(x, high, low) }",
        18,
        {"high": np.float32(0.5), "low": np.float32(-0.5)},
    ),
    "Hardmax of opset 11 over all that follows": (
        "(float[2,3,4] x) => (float[2,3,4] y) { y = Hardmax(x) }",
        11,
        {},
    ),
    "Softmax of opset 11 over all that follows": (
        "(float[2,3,4] x) => (float[2,3,4] y) { y = Softmax<axis = 1>(x) }",
        11,
        {},
    ),
}


def feeds_of(model: onnx.ModelProto) -> dict[str, Any]:
    """Return a value of the declared type for every input; indices stay below 10."""
    random = np.random.default_rng(3)
    feeds = {}
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        noise = {"f": 3 * random.standard_normal(shape), "b": random.random(shape) > 0.5}
        low = 0 if kind != np.int32 else -10
        feeds[value.name] = np.asarray(noise.get(kind.kind, random.integers(low, 10, shape)), kind)
    return feeds


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_graph_is_right_on_every_target(kind: str, tmp_path: Path) -> None:
    body, opset, constants = KINDS[kind]
    model = model_of(body, opset, **constants)
    if kind.startswith("two inputs"):
        for node in model.graph.node:
            node.input[:] = ["a/b" if name == "ab" else name for name in node.input]
        model.graph.input[1].name = "a/b"
    same_everywhere(model, feeds_of(model), tmp_path)


def test_a_scalar_is_an_input_like_any_other(tmp_path: Path) -> None:
    model = model_of("(float[1,4] x, float s) => (float[1,4] y) { y = Mul(x, s) }")
    model.graph.input[1].type.tensor_type.shape.SetInParent()
    same_everywhere(model, {"x": floats(1, 4), "s": np.array(-1.5, np.float32)}, tmp_path)


def test_channels_last_input_keeps_its_order_without_a_transpose(tmp_path: Path) -> None:
    from edgeconv.export.tflite.emit import emit_tflite

    body, opset, constants = KINDS["channels last as TensorFlow has them"]
    made = emit_tflite(hub_of(model_of(body, opset, **constants)))
    assert made.inputs[0].shape == (1, 8, 6, 3)
    assert made.outputs[0].shape == (1, 4, 3, 5)
    assert "TRANSPOSE" not in made.ops


def test_half_precision_becomes_single_and_is_told(tmp_path: Path) -> None:
    body = (
        "(float16[1,3,6,6] x) => (float16[1,4,6,6] y)"
        " { a = Conv<pads = [1, 1, 1, 1]>(x, w)\n b = Cast<to = 10>(a)\n y = Relu(b) }"
    )
    model, notes = ingest(model_of(body, 18, w=floats(4, 3, 3, 3).astype(np.float16)))
    assert notes == ["its float16 values became float32, also at the borders (x, y)"]
    same_everywhere(model, {"x": floats(1, 3, 6, 6)}, tmp_path)


def test_model_local_functions_are_inlined(tmp_path: Path) -> None:
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18, "my": 1]>
        net (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = my.Act(x) }
        <domain: "my", opset_import: ["": 18]> Act (X) => (Y) { S = Sigmoid(X)\n Y = Mul(X, S) }"""
    )
    x = floats(1, 3, 4, 4)
    graph = same_everywhere(model, {"x": x}, tmp_path)
    np.testing.assert_allclose(run(graph, {"x": x})[0], x / (1 + np.exp(-x)), rtol=1e-5)


def test_a_negative_dimension_is_a_dynamic_one() -> None:
    model = model_of("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    model, _ = ingest(model)
    assert not model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")


def test_only_weights_must_be_finite() -> None:
    mask = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
    body = "(float[1,2,5,5] x) => (float[1,2,5,5] y) { y = Max(x, k) }"
    check_finite(hub_of(model_of(body, k=mask)))
    with pytest.raises(EdgeconvError, match="the weight k holds NaN"):
        check_finite(hub_of(model_of(body, k=np.full((5, 5), np.nan, np.float32))))
    body = "(float[1,2,5,5] x) => (float[1,2,5,5] y) { y = MatMul(x, k) }"
    with pytest.raises(EdgeconvError, match="the weight k holds NaN or infinity"):
        check_finite(hub_of(model_of(body, k=mask)))


def test_a_net_of_a_newer_opset_keeps_its_operators() -> None:
    model = model_of("(float[1,2,6] x) => (float[1,2,6] y) { y = HardSwish(x) }", 22)
    assert ops(hub_of(model)) == ["HardSwish"]


ATTENTION = (
    "(float[1,2,5,4] q, float[1,2,5,4] k) => (float[1,2,5,5] y) { t = Transpose<perm = [0, 1, 3, 2]>(k)\n"
    " m = Mul(t, c)\n y = MatMul(q, m) }"
)


def test_a_product_reads_its_right_side_untransposed(tmp_path: Path) -> None:
    from edgeconv.export.tflite.emit import emit_tflite

    model = model_of(ATTENTION, c=np.array(0.5, np.float32))
    graph = same_everywhere(model, feeds_of(model), tmp_path, targets=("tflite",))
    made = emit_tflite(graph).ops
    assert made["BATCH_MATMUL"] == 1
    assert made["TRANSPOSE"] == 3  # the pictures at the borders, which are channels last there


def test_a_scale_of_each_row_stays_behind_the_transpose(tmp_path: Path) -> None:
    model = model_of(ATTENTION, c=floats(1, 1, 1, 5))
    same_everywhere(model, feeds_of(model), tmp_path, targets=("tflite",))


def test_a_tensor_larger_than_the_memory_is_refused_before_work(tmp_path: Path) -> None:
    """Random samples of this net took 43 GB, and the system killed the export."""
    text = (
        "(float[1,3,600000,600000] x) => (float[1,3,1000,1000] y)"
        " { y = MaxPool<kernel_shape = [600, 600], strides = [600, 600]>(x) }"
    )
    onnx.save(model_of(text), tmp_path / "wide.onnx")
    with pytest.raises(EdgeconvError, match=r"^x of 1x3x600000x600000 takes 4\.32e\+03 GB"):
        export_model(tmp_path / "wide.onnx", targets=("onnx",), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_input_without_axes_is_fed_and_verified_as_one(tmp_path: Path) -> None:
    text = (
        "(float[1,3,8,8] x, float s) => (float[1,3,8,8] y, float z) { y = Mul(x, s)\n z = Exp(s) }"
    )
    onnx.save(model_of(text), tmp_path / "scaled.onnx")
    made = export_model(
        tmp_path / "scaled.onnx", targets=("onnx", "tflite", "coreml"), output=tmp_path
    )
    assert [bool(each.verdict) for each in made.artifacts] == [True] * 3
    with np.load(next(tmp_path.glob("*.evidence")) / "verify.npz") as kept:
        assert kept["input:s"].ndim == 1
    fed = {"x": floats(1, 3, 8, 8), "s": np.array(0.5, np.float32)}
    with open_runner(made.artifacts[0].path) as runner:
        runner.call(fed)()
        np.testing.assert_allclose(
            np.asarray(runner.infer(fed)["z"], np.float32), np.exp(np.float32(0.5)), rtol=1e-6
        )
