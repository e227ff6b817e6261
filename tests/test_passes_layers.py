"""The passes over layers: padding, batch normalization, fully connected layers, pools."""

import numpy as np
import pytest
from graph_kit import Floats, feeds_of, floats, graph_of, ints, ops, rewritten, run, scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.passes.explicit_padding import explicit_padding
from edgeconv.export.passes.fold_affine import fold_affine
from edgeconv.export.passes.fold_batchnorm import fold_batchnorm
from edgeconv.export.passes.fuse_clamps import fuse_clamps
from edgeconv.export.passes.global_pool import global_pool
from edgeconv.export.passes.normalize_gemm import normalize_gemm
from edgeconv.export.passes.pool_to_depthwise import pool_to_depthwise
from edgeconv.export.prepare import prepare

few = settings(max_examples=15)


@few
@given(
    st.sampled_from(["Conv", "MaxPool", "AveragePool"]),
    st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
    st.integers(5, 12),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 2),
)
def test_auto_padding_is_spelled_out(
    op: str, mode: str, size: int, kernel: int, stride: int, dilation: int
) -> None:
    if mode != "VALID" or op == "AveragePool":
        dilation = 1  # onnxruntime refuses SAME with dilations, and kernels below their stride
        kernel = max(kernel, stride)
    weights = ", w" if op == "Conv" else ""
    shape = "" if op == "Conv" else f", kernel_shape = [{kernel}, {kernel}]"
    dilations = "" if op == "AveragePool" else f", dilations = [{dilation}, {dilation}]"
    if mode == "VALID" and (kernel - 1) * dilation + 1 > size:
        return
    before = graph_of(
        f"(float[1,2,{size},{size + 1}] x) => (float[N,C,H,W] y) {{ y = {op}"
        f'<auto_pad = "{mode}", strides = [{stride}, {stride}]{dilations}{shape}>(x{weights}) }}',
        w=floats(3, 2, kernel, kernel),
    )
    node = rewritten(before, explicit_padding).nodes[0]
    assert "auto_pad" not in node.attrs
    assert node.ints("kernel_shape", ()) == [kernel, kernel]
    assert len(node.ints("pads", ())) == 4


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_counts_dilations(mode: str) -> None:
    graph = graph_of(
        f'(float[1,2,10,10] x) => (float[N,C,H,W] y) {{ y = Conv<auto_pad = "{mode}",'
        " strides = [2, 2], dilations = [2, 2]>(x, w) }",
        w=floats(3, 2, 4, 4),
    )
    explicit_padding(graph)
    first, last = (2, 3) if mode == "SAME_UPPER" else (3, 2)  # 4 * 2 + 3 * 2 + 1 - 10 = 5
    assert graph.nodes[0].ints("pads", ()) == [first, first, last, last]
    assert run(graph, feeds_of(graph))[0].shape == graph.shape("y") == (1, 3, 5, 5)


def test_absent_attributes_get_their_defaults() -> None:
    before = graph_of(
        "(float[1,2,9,9] x) => (float[N,C,H,W] y) { y = Conv(x, w) }", w=floats(3, 2, 3, 3)
    )
    node = rewritten(before, explicit_padding).nodes[0]
    assert node.attrs == {
        "kernel_shape": [3, 3],
        "strides": [1, 1],
        "dilations": [1, 1],
        "pads": [0, 0, 0, 0],
        "group": 1,
    }


def test_ceil_mode_stays_an_attribute() -> None:
    before = graph_of(
        "(float[1,2,8,8] x) => (float[N,C,H,W] y) {"
        " y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x) }"
    )
    after = rewritten(before, explicit_padding)
    assert after.nodes[0].int("ceil_mode", 0) == 1
    assert after.shape("y") == (1, 2, 4, 4)


@few
@given(
    st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]),
    st.integers(2, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 1),
)
def test_transposed_padding_is_spelled_out(
    mode: str, size: int, kernel: int, stride: int, more: int
) -> None:
    more = min(more, stride - 1)
    if mode.startswith("SAME"):
        more, kernel = 0, max(kernel, stride)
    before = graph_of(
        f"(float[1,2,{size},{size}] x) => (float[N,C,H,W] y) {{ y = ConvTranspose"
        f'<auto_pad = "{mode}", strides = [{stride}, {stride}],'
        f" output_padding = [{more}, {more}]>(x, w) }}",
        w=floats(2, 3, kernel, kernel),
    )
    assert "auto_pad" not in rewritten(before, explicit_padding).nodes[0].attrs


@pytest.mark.parametrize("mode", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("out", [7, 8, 9, 10])
def test_a_demanded_output_shape_becomes_padding(mode: str, out: int) -> None:
    before = graph_of(
        f"(float[1,2,4,4] x) => (float[1,3,{out},{out}] y) {{ y = ConvTranspose"
        f'<auto_pad = "{mode}", strides = [2, 2], output_shape = [{out}, {out}]>(x, w) }}',
        w=floats(2, 3, 3, 3),
    )
    node = rewritten(before, explicit_padding).nodes[0]
    assert "output_shape" not in node.attrs
    assert min(node.ints("pads", ())) >= 0  # onnxruntime takes no other


def stats(channels: int) -> dict[str, Floats]:
    return {
        "g": floats(channels, seed=1),
        "b": floats(channels, seed=2),
        "m": floats(channels, seed=3),
        "v": np.abs(floats(channels, seed=4)) + np.float32(0.1),
    }


LAYERS = {
    "Conv": ("(float[1,4,5,5] x)", "Conv<group = 2>(x, w)", (6, 2, 3, 3)),
    "Conv with bias": ("(float[1,4,5,5] x)", "Conv(x, w, bias)", (6, 4, 3, 3)),
    "ConvTranspose": ("(float[1,4,5,5] x)", "ConvTranspose(x, w, bias)", (4, 6, 3, 3)),
    "Gemm": ("(float[2,4] x)", "Gemm<transB = 1>(x, w, bias)", (6, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_batchnorm_folds_into_the_layer_before_it(name: str) -> None:
    border, layer, shape = LAYERS[name]
    out = "float[N,M]" if name == "Gemm" else "float[N,C,H,W]"
    before = graph_of(
        f"{border} => ({out} y) {{ a = {layer}\n"
        " y = BatchNormalization<epsilon = 0.001>(a, g, b, m, v) }",
        w=floats(*shape),
        bias=floats(6, seed=9),
        **stats(6),
    )
    after = rewritten(before, fold_batchnorm)
    assert ops(after) == [name.split()[0]]
    assert after.nodes[0].outputs == ["y"]
    assert after.constant(after.nodes[0], 2) is not None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("a = Relu(x)\n y = BatchNormalization(a, g, b, m, v)", "no layer"),
        ("a = Conv(x, w)\n n = BatchNormalization(a, g, b, m, v)\n y = Add(n, a)", "read twice"),
        ("y = BatchNormalization(x, g, b, m, v)", "an input"),
        ("a = ConvTranspose<group = 2>(x, t)\n y = BatchNormalization(a, g, b, m, v)", "groups"),
        ("k = Relu(w)\n a = Conv(x, k)\n y = BatchNormalization(a, g, b, m, v)", "computed"),
        ("k = Relu(b)\n a = Conv(x, w, k)\n y = BatchNormalization(a, g, b, m, v)", "computed"),
    ],
)
def test_other_batchnorms_become_mul_and_add(body: str, why: str) -> None:
    before = graph_of(
        f"(float[1,4,5,5] x) => (float[N,C,H,W] y) {{ {body} }}",
        w=floats(4, 4, 1, 1),
        t=floats(4, 2, 1, 1),
        **stats(4),
    )
    after = rewritten(before, fold_batchnorm)
    assert "BatchNormalization" not in ops(after)
    mul = next(after.of("Mul"))
    assert after.shape(mul.inputs[1]) == (4, 1, 1)


def test_batchnorm_on_a_layer_that_is_an_output_keeps_the_output() -> None:
    before = graph_of(
        "(float[1,4,5,5] x) => (float[N,C,H,W] a, float[N,C,H,W] y) { a = Conv(x, w)\n"
        " y = BatchNormalization(a, g, b, m, v) }",
        w=floats(4, 4, 1, 1),
        **stats(4),
    )
    assert ops(rewritten(before, fold_batchnorm)) == ["Conv", "Mul", "Add"]


def test_batchnorm_of_features_and_in_training_mode() -> None:
    flat = graph_of(
        "(float[2,4] x) => (float[2,4] y) { y = BatchNormalization(x, g, b, m, v) }", **stats(4)
    )
    assert ops(rewritten(flat, fold_batchnorm)) == ["Mul", "Add"]
    training = graph_of(
        "(float[2,4] x) => (float[2,4] y) {"
        " y, p, q = BatchNormalization<training_mode = 1>(x, g, b, m, v) }",
        **stats(4),
    )
    assert not fold_batchnorm(training)


def test_batchnorm_in_training_mode_normalizes_one_picture() -> None:
    before = graph_of(
        "(float[1,4,5,5] x) => (float[1,4,5,5] y) {"
        " y, p, q = BatchNormalization<training_mode = 1>(x, g, b, m, v) }",
        **stats(4),
    )
    assert ops(rewritten(before, fold_batchnorm)) == ["InstanceNormalization"]


def test_layers_that_share_weights_keep_their_own() -> None:
    before = graph_of(
        "(float[1,4,5,5] x) => (float[N,C,H,W] y) { a = Conv(x, w)\n"
        " n = BatchNormalization(a, g, b, m, v)\n o = Conv(x, w)\n y = Add(n, o) }",
        w=floats(4, 4, 1, 1),
        **stats(4),
    )
    assert ops(rewritten(before, fold_batchnorm)) == ["Conv", "Conv", "Add"]


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(x, w)",
        "a = MatMul(x, w)\n y = Add(a, b)",
        "a = MatMul(x, w)\n y = Add(b, a)",
        "a = MatMul(x, w)\n y = Add(a, one)",
        "a = MatMul(x, w)\n y = Add(a, row)",
        "y = Gemm(x, w)",
        "y = Gemm(x, w, b)",
        "y = Gemm<alpha = 0.5, beta = 2.0>(x, w, row)",
        "y = Gemm<transB = 1>(x, t, one)",
    ],
)
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_fully_connected_layer_is_one_gemm(body: str, rows: int) -> None:
    before = graph_of(
        f"(float[{rows},5] x) => (float[{rows},4] y) {{ {body} }}",
        w=floats(5, 4),
        t=floats(4, 5),
        b=floats(4, seed=1),
        row=floats(1, 4, seed=2),
        one=scalar(0.7),
    )
    after = rewritten(before, normalize_gemm)
    (node,) = after.nodes
    assert node.attrs == {"alpha": 1.0, "beta": 1.0, "transB": 1}
    assert (after.shape(node.inputs[1]), after.shape(node.inputs[2])) == ((4, 5), (4,))


@pytest.mark.parametrize(
    ("body", "border", "expected"),
    [
        ("a = MatMul(x, w)\n y = Add(a, column)", "float[4,4]", ["Gemm", "Add"]),
        ("a = MatMul(x, w)\n y = Add(a, deep)", "float[1,4,4]", ["Gemm", "Add"]),
        ("a = MatMul(x, w)\n r = Relu(a)\n y = Add(a, r)", "float[4,4]", ["Gemm", "Relu", "Add"]),
        ("a = MatMul(x, w)\n y = Add(a, a)", "float[4,4]", ["Gemm", "Add"]),
        ("y = Gemm(x, w, column)", "float[4,4]", ["Gemm", "Add"]),
        ("y = Gemm(x, w, square)", "float[4,4]", ["Gemm", "Add"]),
        ("k = Relu(x)\n y = MatMul(x, k)", "float[4,4]", ["Relu", "MatMul"]),
        ("y = Gemm<transA = 1>(x, w)", "float[4,4]", ["Transpose", "Gemm"]),
    ],
)
def test_what_is_no_bias_stays_apart(body: str, border: str, expected: list[str]) -> None:
    before = graph_of(
        f"(float[4,4] x) => ({border} y) {{ {body} }}",
        w=floats(4, 4),
        column=floats(4, 1),
        deep=floats(1, 1, 4),
        square=floats(4, 4),
    )
    assert ops(rewritten(before, normalize_gemm)) == expected


def test_a_bias_that_widens_one_row_stays_apart() -> None:
    before = graph_of(
        "(float[1,5] x) => (float[4,4] y) { a = MatMul(x, w)\n y = Add(a, column) }",
        w=floats(5, 4),
        column=floats(4, 1),
    )
    assert ops(rewritten(before, normalize_gemm)) == ["Gemm", "Add"]


def test_a_product_of_three_axes_stays() -> None:
    before = graph_of("(float[2,3,4] x) => (float[2,3,5] y) { y = MatMul(x, w) }", w=floats(4, 5))
    assert ops(rewritten(before, normalize_gemm)) == ["MatMul"]


@pytest.mark.parametrize(
    ("node", "out", "expected"),
    [
        ("ReduceMean<keepdims = 1>(x, spatial)", 4, ["GlobalAveragePool"]),
        ("ReduceMean<keepdims = 0>(x, spatial)", 2, ["GlobalAveragePool", "Reshape"]),
        ("ReduceMean<keepdims = 0>(x, negative)", 2, ["GlobalAveragePool", "Reshape"]),
        ("AveragePool<kernel_shape = [5, 6]>(x)", 4, ["GlobalAveragePool"]),
    ],
)
def test_a_mean_over_the_picture_is_a_global_pool(node: str, out: int, expected: list[str]) -> None:
    dims = ",".join("NCHW"[:out])
    before = graph_of(
        f"(float[2,3,5,6] x) => (float[{dims}] y) {{ y = {node} }}",
        spatial=ints(2, 3),
        negative=ints(-1, -2),
    )
    assert ops(rewritten(before, global_pool)) == expected


@pytest.mark.parametrize(
    "node",
    [
        "ReduceMean<keepdims = 1>(x, channels)",
        "ReduceMean<keepdims = 1>(x, one)",
        "ReduceMean<keepdims = 1>(x)",
        "ReduceMean<keepdims = 1, noop_with_empty_axes = 1>(x)",
        "ReduceMax<keepdims = 1>(x, spatial)",
        "AveragePool<kernel_shape = [5, 5]>(x)",
        "AveragePool<kernel_shape = [5, 6], pads = [1, 1, 1, 1], strides = [9, 9]>(x)",
    ],
)
def test_other_means_stay(node: str) -> None:
    before = graph_of(
        f"(float[2,3,5,6] x) => (float[N,C,H,W] y) {{ y = {node} }}",
        spatial=ints(2, 3),
        channels=ints(1, 2, 3),
        one=ints(2),
    )
    assert ops(rewritten(before, global_pool)) == ops(before)


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.integers(5, 9))
def test_a_pool_that_counts_its_padding_is_a_depthwise_convolution(
    kernel: int, stride: int, pad: int, size: int
) -> None:
    pad = min(pad, kernel - 1)
    before = graph_of(
        f"(float[1,3,{size},{size + 1}] x) => (float[N,C,H,W] y) {{ y = AveragePool<kernel_shape ="
        f" [{kernel}, {kernel}], strides = [{stride}, {stride}],"
        f" pads = [{pad}, 0, 0, {pad}], count_include_pad = 1>(x) }}"
    )
    after = rewritten(before, pool_to_depthwise)
    assert ops(after) == ["Conv"]
    assert after.nodes[0].int("group", 1) == 3


@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape = [3, 3], pads = [1, 1, 1, 1]",
        "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1",
    ],
)
def test_a_pool_with_uneven_counts_stays(attributes: str) -> None:
    before = graph_of(
        f"(float[1,3,8,8] x) => (float[N,C,H,W] y) {{ y = AveragePool<{attributes}>(x) }}"
    )
    assert ops(rewritten(before, pool_to_depthwise)) == ["AveragePool"]


def test_a_pool_of_a_sequence_stays_and_a_clamp_is_kept() -> None:
    sequence = graph_of(
        "(float[1,3,8] x) => (float[N,C,L] y) { y = AveragePool<kernel_shape = [2]>(x) }"
    )
    assert ops(rewritten(sequence, pool_to_depthwise)) == ["AveragePool"]
    clamped = graph_of(
        "(float[1,3,8,8] x) => (float[N,C,H,W] y) {"
        " a = AveragePool<kernel_shape = [2, 2]>(x)\n y = Relu(a) }"
    )
    fuse_clamps(clamped)
    explicit_padding(clamped)
    assert rewritten(clamped, pool_to_depthwise).nodes[0].clamp == (0.0, np.inf)


CHANNELS = floats(4, 1, 1, seed=5)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Conv(x, w)\n y = Add(a, k)", ["Conv"]),
        ("a = Conv<pads=[1,1,1,1]>(x, w3, b)\n y = Sub(k, a)", ["Conv"]),
        ("a = Conv(x, w, b)\n c = Mul(a, k)\n y = Div(c, two)", ["Conv"]),
        ("a = ConvTranspose(x, w, b)\n c = Mul(k, a)\n y = Sub(c, k)", ["ConvTranspose"]),
        ("c = Sub(x, k)\n d = Div(c, k)\n y = Conv(d, w, b)", ["Conv"]),
        ("c = Sub(x, k)\n d = Div(c, k)\n y = Conv<pads=[1,1,1,1]>(d, w3)", ["Sub", "Conv"]),
        ("c = Mul(x, k)\n y = Conv<pads=[1,1,1,1],group=2>(c, grouped)", ["Conv"]),
        ("c = Add(x, k)\n y = Conv<group=2>(c, narrow)", ["Conv"]),
        ("c = Mul(x, k)\n d = Add(c, k)\n y = Conv<pads=[1,1,1,1]>(d, w3, b)", ["Add", "Conv"]),
        ("c = Div(x, two)\n d = Sub(k, c)\n y = Conv<pads=[1,1,1,1]>(d, w3)", ["Add", "Conv"]),
        ("c = Mul(x, k)\n d = Relu(c)\n y = Conv(d, w)", ["Mul", "Relu", "Conv"]),
        ("c = Div(k, x)\n y = Conv(c, w)", ["Div", "Conv"]),
        ("c = Mul(x, plane)\n y = Conv(c, w)", ["Mul", "Conv"]),
        ("a = Conv(x, w)\n c = Mul(a, k)\n y = Add(a, c)", ["Conv", "Mul", "Add"]),
        (
            "a = Conv(x, w)\n r = Reshape(a, rows)\n c = Add(r, k1)\n y = Reshape(c, back)",
            ["Conv", "Reshape", "Reshape"],
        ),
        (
            "a = Conv(x, w)\n t = Transpose<perm=[0,2,3,1]>(a)\n c = Sub(last, t)\n"
            " d = Div(c, two)\n y = Transpose<perm=[0,3,1,2]>(d)",
            ["Conv", "Transpose", "Transpose"],
        ),
        (
            "a = Conv(x, w)\n r = Reshape(a, mixed)\n c = Mul(r, wide)\n y = Reshape(c, back)",
            ["Conv", "Reshape", "Mul", "Reshape"],
        ),
    ],
)
def test_a_constant_of_each_channel_is_folded_into_a_layer(body: str, expected: list[str]) -> None:
    before = graph_of(
        f"(float[1,4,5,5] x) => (float[1,4,5,5] y) {{ {body} }}",
        w=floats(4, 4, 1, 1),
        w3=floats(4, 4, 3, 3),
        grouped=floats(4, 2, 3, 3),
        narrow=floats(4, 2, 1, 1),
        b=floats(4, seed=2),
        k=CHANNELS,
        two=scalar(2),
        plane=floats(1, 4, 5, 5, seed=6),
        k1=CHANNELS[:, 0],
        last=CHANNELS[:, 0, 0],
        wide=floats(20, 1, seed=7),
        rows=ints(1, 4, 25),
        mixed=ints(1, 20, 5),
        back=ints(1, 4, 5, 5),
    )
    assert ops(rewritten(before, fold_affine, 1e-4)) == expected


def test_a_layer_over_windows_of_tokens_is_one_of_rows_with_its_bias() -> None:
    body = "(float[1,2,4,5,8] x) => (float[1,2,4,5,6] y) { a = MatMul(x, w) b = Add(c, a) y = Relu(b) }"
    before = graph_of(body, w=floats(8, 6), c=floats(6))
    after = prepare(before, int8=True).graph
    assert [node.op for node in after.nodes] == ["Reshape", "Gemm", "Reshape", "Relu"]
    feeds = feeds_of(before)
    np.testing.assert_allclose(run(after, feeds)[0], run(before, feeds)[0], atol=1e-5)
