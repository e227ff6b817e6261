"""Operators that no target has are written as those that they have; numbers get an axis."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from any_net_kit import same_everywhere
from graph_kit import Floats, floats, graph_of, ints, model_of, ops, rewritten, run, scalar

from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.passes.expand_einsum import expand_einsum
from edgeconv.export.passes.expand_rare import WRITTEN, expand_rare
from edgeconv.export.passes.fold_constants import fold_constants
from edgeconv.export.passes.lift_scalars import lift_scalars
from edgeconv.export.prepare import prepare
from edgeconv.export.tflite.table import OPS


def pool(attributes: str) -> str:
    return f"(float[1,3,7,8] x) => (float[N,C,H,W] y) {{ y = LpPool<{attributes}>(x) }}"


BODIES = {
    "Shrink": "(float[2,5] x) => (float[2,5] y) { y = Shrink<lambd = 0.7, bias = 0.2>(x) }",
    "Hardmax": "(float[2,5,3] x) => (float[2,5,3] y) { y = Hardmax<axis = 1>(x) }",
    "LpPool": pool("kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]"),
    "LpPool of absolutes": pool("kernel_shape = [2, 2], p = 1, dilations = [2, 2]"),
    "LpPool, same": pool('kernel_shape = [3, 3], auto_pad = "SAME_UPPER"'),
    "GlobalLpPool": "(float[1,3,4,5] x) => (float[1,3,1,1] y) { y = GlobalLpPool<p = 1>(x) }",
    "LpNormalization": "(float[2,3,4] x) => (float[2,3,4] y) { y = LpNormalization<axis = 1>(x) }",
    "Sum": "(float[2,1] x, float[3] z) => (float[2,3] y) { y = Sum(x, z, x) }",
    "Mean": "(float[2,1] x, float[3] z) => (float[2,3] y) { y = Mean(x, z) }",
    "Tan": "(float[6] x) => (float[6] y) { s = Sigmoid(x)\n y = Tan(s) }",
    "Sinh": "(float[6] x) => (float[6] y) { s = Sigmoid(x)\n y = Sinh(s) }",
    "Cosh": "(float[6] x) => (float[6] y) { s = Sigmoid(x)\n y = Cosh(s) }",
    "ThresholdedRelu": "(float[9] x) => (float[9] y) { y = ThresholdedRelu<alpha = 0.5>(x) }",
    "Xor": "(float[9] x) => (bool[9] y) { a = Greater(x, one)\n b = Less(x, two)\n y = Xor(a, b) }",
    "Trilu": "(float[2,4,5] x) => (float[2,4,5] y) { y = Trilu<upper = 0>(x, one64) }",
    "Trilu, upper": "(float[4,4] x) => (float[4,4] y) { y = Trilu(x) }",
    "Det": "(float[2,3,4,4] x) => (float[2,3] y) { y = Det(x) }",
    "Det of three": "(float[3,3] x) => (float y) { y = Det(x) }",
    "Det of one": "(float[5,1,1] x) => (float[5] y) { y = Det(x) }",
    "OneHot": "(float[2,5] x) => (float[2,5] y) { i = ArgMax<axis = 1, keepdims = 0>(x)\n"
    " y = OneHot(i, five, values) }",
}


def before(name: str) -> Graph:
    constants: dict[str, Any] = {
        "one": scalar(0.3),
        "two": scalar(1.0),
        "one64": np.array(1, np.int64),
    }
    constants |= {"five": ints(5), "values": np.array([-1, 2], np.float32)}
    used = {key: value for key, value in constants.items() if key in BODIES[name]}
    return graph_of(BODIES[name], **used)


@pytest.mark.parametrize("name", BODIES)
def test_a_rare_operator_is_written_out(name: str) -> None:
    after = rewritten(before(name), expand_rare)
    assert not WRITTEN.keys() & set(ops(after))
    assert set(ops(prepare(after).graph)) <= OPS.keys()


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 8, 1), (3, 1, 2)])
def test_products_along_an_axis_are_written_out(
    shape: tuple[int, ...], exclusive: int, backwards: int
) -> None:
    sizes = ",".join(map(str, shape))
    model = model_of(
        f"(float[{sizes}] x) => (float[{sizes}] y) "
        f"{{ y = CumProd<exclusive={exclusive}, reverse={backwards}>(x, axis) }}",
        26,
        axis=np.array(-2, np.int64),
    )
    graph, x = from_onnx(model), floats(*shape, seed=4)
    assert expand_rare(graph)
    assert "CumProd" not in ops(graph)
    before = np.flip(x, 1) if backwards else x
    ones = np.ones_like(before[:, :1])
    before = np.concatenate([ones, before[:, :-1]], 1) if exclusive else before
    wanted = np.cumprod(before, 1, dtype=np.float64)
    wanted = np.flip(wanted, 1) if backwards else wanted
    np.testing.assert_allclose(run(graph, {"x": x})[0], wanted, rtol=1e-5)
    assert len(graph.nodes) <= 3 * 3 + 2 * exclusive + 1


@pytest.mark.parametrize(
    "body",
    [
        "(float[5,5] x) => (float y) { y = Det(x) }",
        "(float[2,3] x, int64 a) => (float[2,3] y) { y = CumProd(x, a) }",
    ],
)
def test_products_that_are_too_many_or_along_any_axis_stay(body: str) -> None:
    assert not expand_rare(from_onnx(model_of(body, 26)))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot_counts_from_the_end_too(axis: int) -> None:
    graph = graph_of(
        f"(int64[2,3] i) => (float[A,B,C] y) {{ y = OneHot<axis = {axis}>(i, depth, values) }}",
        depth=np.array(4, np.int64),
        values=np.array([0, 3], np.float32),
    )
    feeds = {"i": np.array([[0, -1, 2], [3, -4, 1]], np.int64)}
    (wanted,) = run(graph, feeds)
    assert expand_rare(graph)
    np.testing.assert_array_equal(run(graph, feeds)[0], wanted)
    assert wanted.sum() == 18


EQUATIONS = {
    "bhid,bhjd->bhij": ((1, 2, 3, 4), (1, 2, 5, 4)),
    "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
    "btc,oc->bto": ((1, 3, 4), (5, 4)),
    "nchw,oc->nohw": ((1, 4, 3, 2), (5, 4)),
    "ij,jk": ((3, 4), (4, 2)),
    "i,j->ij": ((3,), (4,)),
    "ij,ij->i": ((3, 4), (3, 4)),
    "ijk,j->k": ((2, 3, 4), (3,)),
    "...ij,...jk->...ik": ((2, 3, 4), (2, 4, 5)),
    "bij->bji": ((2, 3, 4), None),
    "bij->bi": ((2, 3, 4), None),
    "ii->i": ((3, 3), None),
    "bii->b": ((2, 3, 3), None),
    "iji,jk->ik": ((3, 4, 3), (4, 2)),
    "iii,jj->ij": ((2, 2, 2), (3, 3)),
    "...ii->...i": ((2, 3, 3), None),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_an_einsum_is_a_product_of_matrices(equation: str) -> None:
    first, second = EQUATIONS[equation]
    constants = {} if second is None else {"w": floats(*second, seed=3)}
    inputs = "x" if second is None else "x, w"
    body = f'(float[{",".join(map(str, first))}] x) => (float[] y) {{ y = Einsum<equation = "{equation}">({inputs}) }}'
    model = model_of(body, **constants)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    after = rewritten(from_onnx(model), expand_einsum)
    assert "Einsum" not in ops(after)


def test_three_operands_are_multiplied_one_after_the_other() -> None:
    graph = graph_of(
        '(float[2,3] x) => (float[2,5] y) { y = Einsum<equation = "ij,jk,kl->il">(x, a, b) }',
        a=floats(3, 4),
        b=floats(4, 5, seed=1),
    )
    assert ops(rewritten(graph, expand_einsum)).count("MatMul") == 2


def numbers() -> onnx.ModelProto:
    return model_of(
        "(float[3,4] x) => (float[] y, float[3,4] z, bool[] b) { m = ReduceMax<keepdims = 0>(x)\n"
        " h = Mul(m, half)\n s = Sigmoid(h)\n y = Add(s, h)\n z = Mul(x, s)\n b = Greater(s, half) }",
        half=scalar(0.5),
    )


def test_a_number_is_a_number_in_every_file(tmp_path: Path) -> None:
    feeds = {"x": floats(3, 4)}
    graph = same_everywhere(numbers(), feeds, tmp_path)
    assert (graph.shape("y"), graph.shape("z")) == ((), (3, 4))
    assert not lift_scalars(graph)


def alone(op: str) -> tuple[Graph, Floats]:
    graph = graph_of(
        f"(float[1,4] x) => (float[1,4] y) {{ s = {op}<axis = 0>(x)\n y = Add(x, s) }}"
    )
    return graph, floats(1, 4)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_over_one_value_is_known(op: str) -> None:
    graph, x = alone(op)
    (wanted,) = run(graph, {"x": x})
    assert fold_constants(graph)
    assert ops(graph) == ["Add"]
    np.testing.assert_array_equal(run(graph, {"x": x})[0], wanted)


POOLS = {
    "MaxPool of a picture, dilated": ((1, 2, 7, 8), "dilations = [2, 2], pads = [1, 1, 1, 1]"),
    "MaxPool of a signal, dilated": ((2, 3, 11), "dilations = [3], strides = [2]"),
    "MaxPool of a volume": ((1, 2, 4, 6, 5), "strides = [2, 1, 2], pads = [1, 1, 0, 0, 1, 1]"),
    "MaxPool of a volume, dilated": ((1, 1, 7, 7, 7), "dilations = [1, 2, 2], ceil_mode = 1"),
    "AveragePool of a volume": ((1, 2, 4, 6, 5), "strides = [1, 2, 2], pads = [0, 1, 1, 1, 1, 0]"),
    "AveragePool of a volume with its border": (
        (1, 2, 4, 6, 5),
        "pads = [1, 1, 0, 1, 1, 1], count_include_pad = 1",
    ),
}


def pooled(name: str) -> onnx.ModelProto:
    shape, how = POOLS[name]
    windows = ", ".join(["3" if "dilated" in name else "2"] * (len(shape) - 2))
    axes = ",".join("NCDHW"[: len(shape)])
    return model_of(
        f"(float[{','.join(map(str, shape))}] x) => (float[{axes}] y) {{\n"
        f" y = {name.split()[0]}<kernel_shape = [{windows}], {how}>(x) }}"
    )


@pytest.mark.parametrize("name", POOLS)
def test_pools_with_gaps_and_of_volumes(name: str, tmp_path: Path) -> None:
    feeds = {"x": floats(*POOLS[name][0])}
    same_everywhere(pooled(name), feeds, tmp_path, targets=("onnx", "tflite"))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_a_global_pool_of_a_volume(op: str, tmp_path: Path) -> None:
    model = model_of(f"(float[1,2,3,4,5] x) => (float[N,C,D,H,W] y) {{ y = {op}(x) }}")
    same_everywhere(model, {"x": floats(1, 2, 3, 4, 5)}, tmp_path, targets=("onnx", "tflite"))


VOLUMES = {
    "plain": ((4, 2, 3, 3, 3), "pads = [1, 1, 1, 1, 1, 1]"),
    "of one depth": ((4, 2, 1, 3, 2), "pads = [0, 1, 0, 0, 1, 0]"),
    "in groups, with strides": ((4, 1, 3, 2, 2), "group = 2, strides = [2, 1, 2]"),
    "dilated": ((3, 2, 2, 2, 1), "dilations = [2, 2, 1], pads = [0, 0, 1, 1, 0, 0]"),
    "of one depth, with strides": ((3, 2, 1, 1, 1), "strides = [2, 2, 2]"),
}


TRANSPOSED = {
    "plain": ((2, 4, 3, 3, 3), "pads = [1, 1, 1, 1, 1, 1]"),
    "with strides and a longer end": (
        (2, 3, 3, 3, 2),
        "strides = [2, 2, 2], pads = [1, 1, 0, 1, 1, 0], output_padding = [1, 1, 0]",
    ),
    "in groups, side by side": ((2, 2, 2, 2, 2), "group = 2, strides = [2, 2, 2]"),
    "dilated, with gaps": ((2, 3, 2, 2, 1), "dilations = [2, 1, 1], strides = [3, 1, 1]"),
    "cut at both ends": ((2, 3, 1, 2, 2), "strides = [2, 1, 1], pads = [1, 0, 0, 2, 0, 1]"),
}


@pytest.mark.parametrize(
    ("op", "shape", "how"),
    [
        *(("Conv", *v) for v in VOLUMES.values()),
        *(("ConvTranspose", *v) for v in TRANSPOSED.values()),
    ],
    ids=[*VOLUMES, *(f"transposed, {name}" for name in TRANSPOSED)],
)
def test_a_convolution_of_a_volume(
    op: str, shape: tuple[int, ...], how: str, tmp_path: Path
) -> None:
    outs = shape[0] if op == "Conv" else shape[1] * (2 if "group" in how else 1)
    model = model_of(
        f"(float[2,2,5,6,7] x) => (float[N,C,D,H,W] y) {{ y = {op}<{how}>(x, w, b) }}",
        w=floats(*shape),
        b=floats(outs, seed=2),
    )
    feeds = {"x": floats(2, 2, 5, 6, 7)}
    same_everywhere(model, feeds, tmp_path, targets=("onnx", "tflite"))
