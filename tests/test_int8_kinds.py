"""INT8 of every kind of small graph: it ends, and what onnxruntime and LiteRT give is close to float."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_kit import floats, graph_of, ints, run, scalar
from numpy.typing import NDArray
from tflite_kit import Worker, run_nchw

from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.integer.counts import count_operators
from edgeconv.export.passes.complete_resize import complete_resize
from edgeconv.export.passes.drop_empty import drop_empty
from edgeconv.export.passes.finite_masks import finite_masks
from edgeconv.export.prepare import prepare, simplify_graph
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant import sessions
from edgeconv.export.quant.batching import batched, set_batch
from edgeconv.export.quant.check import problems
from edgeconv.export.quant.engine import quantize
from edgeconv.export.quant.judge import run_recipe
from edgeconv.export.targets import TARGETS
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.formats.census import onnx_census
from edgeconv.formats.onnx_file import read_onnx
from edgeconv.recipe import Form, Recipe
from edgeconv.runtimes.mil_reference import open as open_package

Arrays = dict[str, NDArray[Any]]


def weights(*shape: int, seed: int = 0, size: float | None = None) -> NDArray[np.float32]:
    """Return noise with unit gain from the axes behind the first."""
    gain = size if size is not None else max(1, int(np.prod(shape[1:]))) ** -0.5
    return floats(*shape, seed=seed) * np.float32(gain)


def samples(graph: Graph, count: int, seed: int) -> list[Arrays]:
    """Return noise of each input's type: small integers, mostly true masks."""
    random = np.random.default_rng(seed)

    def value(name: str) -> NDArray[Any]:
        shape, kind = graph.shape(name), graph.dtype(name)
        if kind == np.bool_:
            return np.asarray(random.random(shape) > 0.3)
        if kind.kind in "iu":
            return random.integers(0, 4, shape).astype(kind)
        return np.asarray(random.normal(size=shape)).astype(kind)

    return [{name: value(name) for name in graph.inputs} for _ in range(count)]


@dataclass(frozen=True)
class Kind:
    """A graph, its constants, the least SQNR in dB an output may have, and the operators in float."""

    body: str
    constants: dict[str, NDArray[Any]]
    least: float = 28.0
    floats: tuple[str, ...] = ()
    tflite: bool = True


IN = "(float[1,3,8,8] x) => (float[1,4,8,8] y) "
CONV = "a = Conv<pads=[1,1,1,1]>(x, w)\n b = Relu(a)\n "
W3, W4 = weights(4, 3, 3, 3), weights(4, 4, 3, 3, seed=1)
POSITIVE = (1.5 + np.abs(weights(1, 4, 8, 8, seed=3, size=0.3))).astype(np.float32)
OPERANDS = {"scalar": scalar(1.3), "channel": POSITIVE[:, :, :1, :1], "map": POSITIVE}


def binary(op: str, operands: str, constant: str) -> Kind:
    body = IN + "{" + CONV + f"c = Add(b, one)\n d = {op}({operands})\n y = Conv(d, v) }}"
    found = {"w": W3, "v": weights(4, 4, 1, 1), "one": scalar(1.0), "k": OPERANDS[constant]}
    return Kind(body, found, floats=("Div", "Add") if (op, operands) == ("Div", "k, c") else ())


BINARY = {
    f"{op}({operands}) of a {constant}": binary(op, operands, constant)
    for op in ("Add", "Sub", "Mul", "Div")
    for operands in ("c, k", "k, c")
    for constant in OPERANDS
}

ATTENTION = """(float[1,7,12] x) => (float[1,7,5] y) { q = MatMul(x, wq)
 k = MatMul(x, wk)
 v = MatMul(x, wv)
 t = Transpose<perm=[0,2,1]>(k)
 s = MatMul(q, t)
 p = Softmax<axis=-1>(s)
 o = MatMul(p, v)
 y = MatMul(o, wo) }"""
CAUSAL = np.tril(np.ones((5, 5), bool))
MASKED = "(float[1,2,5,5] x) => (float[1,2,5,5] y) { %s\n y = Softmax<axis=-1>(a) }"

KINDS: dict[str, Kind] = {
    **{
        f"a {op} of what a layer made": Kind(
            IN.replace("1,4,8,8", "1,4,8,1") + "{" + CONV + f"y = {op}(a, last) }}",
            {"w": W3, "last": ints(-1)},
        )
        for op in ("ReduceMin", "ReduceSum")
    },
    "an ELU": Kind(IN + "{" + CONV + "y = Elu(a) }", {"w": W3}),
    "an ELU of another slope": Kind(IN + "{" + CONV + "y = Elu<alpha = 0.3>(a) }", {"w": W3}),
    "a vector divided by its length, which may be nearly 0": Kind(
        "(float[1,6,8] x) => (float[1,6,8] y) { s = Mul(x, size)\n l = ReduceL2<keepdims=1>(s, last)\n"
        " m = Max(l, tiny)\n y = Div(s, m) }",
        {
            "size": (2.0 ** -np.arange(0, 12, 2, dtype=np.float32)).reshape(1, 6, 1),
            "last": ints(-1),
            "tiny": scalar(1e-6),
        },
        least=18.0,
        floats=("Mul", "ReduceL2", "Max", "Div"),
    ),
    "a softmax over many places": Kind(
        "(float[1,3,12,12] x) => (float[1,5] y) {"
        + CONV.replace("x, w", "x, wide")
        + "q = Conv(b, v)\n r = Reshape(q, row)\n p = Softmax<axis=-1>(r)\n f = Reshape(b, rows)\n"
        " t = Transpose<perm=[0,2,1]>(p)\n m = MatMul(f, t)\n g = Flatten(m)\n y = Gemm<transB=1>(g, k) }",
        {
            "wide": weights(32, 3, 3, 3),
            "v": weights(1, 32, 1, 1, size=0.01),
            "k": weights(5, 32),
            "row": ints(1, 1, 144),
            "rows": ints(1, 32, 144),
        },
        floats=("Softmax",),
    ),
    "weights on the left": Kind(
        "(float[1,24,8] x) => (float[1,16,8] y) { m = MatMul(w, x)\n a = Add(m, b)\n y = Mul(a, up) }",
        {
            "w": weights(16, 24) * np.logspace(-2, 0, 16, dtype=np.float32)[:, None],
            "b": weights(16, 1, seed=2, size=0.1),
            "up": np.logspace(2, 0, 16, dtype=np.float32)[:, None],
        },
        least=34.0,
    ),
    "a variance as the difference of two means": Kind(
        "(float[1,6,8] x) => (float[1,6,1] y) { h = Add(x, far)\n m = ReduceMean<keepdims=1>(h, last)\n"
        " q = Mul(h, h)\n e = ReduceMean<keepdims=1>(q, last)\n m2 = Mul(m, m)\n y = Sub(e, m2) }",
        {"far": scalar(20.0), "last": ints(-1)},
        least=15.0,
        floats=("Add", "GlobalAveragePool", "Mul", "GlobalAveragePool", "Mul", "Sub"),
    ),
    "a picture sampled at computed places": Kind(
        IN.replace("1,4,8,8", "1,4,6,6") + "{" + CONV + "y = GridSample(b, g) }",
        {"w": W3, "g": np.tanh(floats(1, 6, 6, 2))},
        floats=("GridSample",),
    ),
    "what lies between operators in float": Kind(
        IN + "{" + CONV + "p = Pow(b, k)\n s = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(p)\n"
        " q = Add(s, one)\n y = Pow(q, h) }",
        {"w": W3, "k": scalar(1.5), "one": scalar(1.0), "h": scalar(0.75)},
        floats=("Pow", "Pow", "AveragePool", "Add"),
    ),
    "rows picked by indices and an offset": Kind(
        "(float[1,6,8] x, int64[1,3] i) => (float[1,3,5] y) { r = Relu(x)\n f = Reshape(r, rows)\n"
        " j = Expand(i, size)\n k = Add(j, one)\n g = Gather(f, k)\n y = MatMul(g, w) }",
        {
            **{"rows": ints(6, 8), "one": ints(1), "w": weights(8, 5, size=0.5)},
            "size": ints(1, 3),
        },
        least=20.0,
        floats=("Add",),
    ),
    "what an operator in float made is only moved": Kind(
        IN.replace("1,4,8,8", "1,64,4") + "{" + CONV + "p = Pow(b, k)\n"
        " t = Transpose<perm=[0,2,3,1]>(p)\n y = Reshape(t, rows) }",
        {"w": W3, "k": scalar(1.5), "rows": ints(1, 64, 4)},
        least=30.0,
        floats=("Pow", "Transpose", "Reshape"),
    ),
    "a small Tanh": Kind(
        IN + "{ c = Conv<pads=[1,1,1,1]>(x, w)\n t = Tanh(c)\n y = Conv(t, v) }",
        {"w": W3 * np.float32(0.03), "v": weights(4, 4, 1, 1)},
        least=30.0,
        floats=("Tanh",),
    ),
    "slopes of a PRelu": Kind(
        IN + "{" + CONV + "c = PRelu(a, s)\n y = Conv(c, v) }",
        {"w": W3, "v": weights(4, 4, 1, 1), "s": np.abs(weights(4, 1, 1, seed=2))},
    ),
    "two activations multiplied": Kind(
        ATTENTION,
        {
            "wq": weights(12, 8, size=0.5),
            "wk": weights(12, 8, seed=1, size=0.5),
            "wv": weights(12, 8, seed=2, size=0.4),
            "wo": weights(8, 5, seed=3),
        },
        least=20.0,
    ),
    "a bound of some channels": Kind(
        IN + "{" + CONV + "c = Max(b, bound)\n y = Conv(c, v) }",
        {
            "w": W3,
            "v": weights(4, 4, 1, 1),
            "bound": np.array([[[[-np.inf]], [[0.2]], [[0.3]], [[-np.inf]]]], np.float32),
        },
        floats=("Max",),
        tflite=False,
    ),
    "a batch": Kind(
        """(float[4,3,8,8] x) => (float[4,6] y) { a = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w, c)
 b = Relu(a)
 g = GlobalAveragePool(b)
 f = Flatten(g)
 y = Gemm<transB=1>(f, u, d) }""",
        {"w": weights(5, 3, 3, 3), "c": weights(5, size=0.1), "u": weights(6, 5), "d": weights(6)},
        least=27.0,
    ),
    "rows without a batch": Kind(
        "(float[8,12] x) => (float[8,5] y) { a = MatMul(x, k)\n b = Relu(a)\n y = MatMul(b, l) }",
        {"k": weights(12, 9), "l": weights(9, 5)},
        least=23.0,
    ),
    "a vector": Kind(
        "(float[12] x) => (float[5] y) { a = MatMul(x, k)\n b = Relu(a)\n y = MatMul(b, l) }",
        {"k": weights(12, 9), "l": weights(9, 5)},
    ),
    "signals": Kind(
        """(float[2,3,32] x) => (float[2,4,16] y) { a = Conv<pads=[1,1],strides=[2]>(x, w)
 b = Relu(a)
 y = Conv<pads=[1,1]>(b, v) }""",
        {"w": weights(6, 3, 3), "v": weights(4, 6, 3)},
    ),
    "volumes": Kind(
        """(float[1,2,4,6,6] x) => (float[1,3,4,6,6] y) { a = Conv<pads=[1,1,1,1,1,1]>(x, w)
 b = Relu(a)
 y = Conv(b, v) }""",
        {"w": weights(4, 2, 3, 3, 3), "v": weights(3, 4, 1, 1, 1)},
        tflite=False,
    ),
    "a computed mask": Kind(
        "(float[1,4,6] x, bool[1,6] m) => (float[1,4,6] y) { f = Where(m, zero, low)\n"
        " r = Reshape(f, row)\n k = MatMul(x, w)\n a = Add(k, r)\n y = Softmax<axis=-1>(a) }",
        {"zero": scalar(0.0), "low": scalar(-1e9), "row": ints(1, 1, 6), "w": weights(6, 6)},
        least=15.0,
        floats=("Where",),
    ),
    "volumes that grow": Kind(
        """(float[1,2,2,4,4] x) => (float[1,3,4,8,8] y) { a = ConvTranspose<strides=[2,2,2]>(x, w)
 b = Relu(a)
 y = Conv(b, v) }""",
        {"w": weights(2, 4, 2, 2, 2, size=0.7), "v": weights(3, 4, 1, 1, 1)},
        tflite=False,
    ),
    "a mean that hardly moves": Kind(
        "(float[1,3,8,8] x) => (float[1,1,1,1] y) {"
        + CONV
        + "c = Add(b, far)\n y = ReduceMean<keepdims=1>(c, all) }",
        {"w": W3, "far": scalar(3.0), "all": ints(1, 2, 3)},
        least=50.0,
        floats=("Add", "ReduceMean"),
    ),
    "classes as indices": Kind(
        IN.replace("float[1,4,8,8] y", "float[1,4,8,8] a, int64[1,8,8] y")
        + "{ a = Conv<pads=[1,1,1,1]>(x, w)\n y = ArgMax<axis=1,keepdims=0>(a) }",
        {"w": W3},
        least=15.0,
        floats=("ArgMax",),
    ),
    "a bias of each row": Kind(
        "(float[3,6] x) => (float[3,4] y) { y = Gemm(x, k, b) }",
        {"k": weights(6, 4), "b": weights(3, 1)},
    ),
    "computed weights": Kind(
        "(float[1,3,8,8] x, float[5,3,3,3] w) => (float[1,5,6,6] y) { y = Conv(x, w) }",
        {},
        tflite=False,
    ),
    "tied weights": Kind(
        """(float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, v)
 b = Relu(a)
 y = Conv<pads=[1,1,1,1]>(b, v) }""",
        {"v": W4},
    ),
    "indices in": Kind(
        "(int64[1,6] i) => (float[1,6,4] y) { e = Gather(t, i)\n y = MatMul(e, k) }",
        {"t": weights(10, 8, size=1), "k": weights(8, 4)},
    ),
    "a logarithm less its mean": Kind(
        "(float[1,4,12] x) => (float[1,4,12] y) { a = Mul(x, x)\n b = Add(a, k)\n l = Log(b)\n "
        "m = ReduceMean(l, axes)\n y = Sub(l, m) }",
        {"k": scalar(20.0), "axes": ints(1, 2)},
        floats=("ReduceMean", "Sub", "Log", "Add", "Mul"),
        least=44.0,
    ),
    "a depth from a sigmoid": Kind(
        """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
 a = Conv<pads=[1,1,1,1]>(x, w)
 s = Sigmoid(a)
 m = Mul(s, k)
 d = Add(m, n)
 y = Reciprocal(d) }""",
        {"w": W3, "k": scalar(0.9), "n": scalar(0.1)},
        floats=("Reciprocal", "Add", "Mul", "Sigmoid"),
        least=38.0,
    ),
    "the peaks of a heatmap": Kind(
        """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
 a = Conv<pads=[1,1,1,1]>(x, w)
 s = Sigmoid(a)
 m = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1],strides=[1,1]>(s)
 e = Equal(m, s)
 c = Cast<to=1>(e)
 y = Mul(s, c) }""",
        {"w": W3},
        floats=("Sigmoid", "MaxPool", "Mul", "Equal", "Cast"),
        least=10.0,
    ),
    "the peaks of scores that are put in their places, and the scores": Kind(
        """(float[1,3,8,8] x) => (float[1,1,16,16] y, float[1,1,16,16] p) {
 a = Conv<pads=[1,1,1,1]>(x, w)
 s = Softmax<axis=1>(a)
 c = Slice(s, zero, four, one)
 d = Reshape(c, apart)
 t = Transpose<perm=[0,3,1,4,2]>(d)
 p = Reshape(t, plane)
 m = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1],strides=[1,1]>(p)
 e = Equal(m, p)
 y = Where(e, p, none) }""",
        {
            **{
                "w": weights(5, 3, 3, 3, size=0.6),
                "zero": ints(0),
                "four": ints(4),
                "one": ints(1),
            },
            **{"apart": ints(1, 2, 2, 8, 8), "plane": ints(1, 1, 16, 16), "none": scalar(0.0)},
        },
        floats=("Softmax", "Slice", "Reshape", "Transpose", "Reshape", "MaxPool", "Equal", "Where"),
        least=18.0,
    ),
    "shares of a whole": Kind(
        "(float[1,6] x) => (float[1,8] y) { g = Gemm<transB=1>(x, w)\n r = Relu(g)\n a = Add(r, k)\n"
        " s = ReduceSum(a, one)\n d = Div(a, s)\n y = CumSum(d, last) }",
        {"w": weights(8, 6), "k": scalar(0.1), "one": ints(1), "last": np.array(1, np.int64)},
        floats=("Add", "ReduceSum", "Div", "CumSum"),
        least=34.0,
    ),
    "a border on named axes behind a turn": Kind(
        "(float[1,36,4] x) => (float[1,5,8,8] y) { t = Transpose<perm=[0,2,1]>(x)\n"
        " r = Reshape(t, plane)\n a = Relu(r)\n p = Pad(a, ones, , axes)\n y = Conv(p, w) }",
        {
            **{"plane": ints(1, 4, 6, 6), "ones": ints(1, 1, 1, 1), "axes": ints(2, 3)},
            "w": weights(5, 4, 1, 1),
        },
    ),
    "the maximum of what a mask leaves": Kind(
        "(float[1,6,8] x, bool[1,1,8] m) => (float[1,5] y, float[1,4] z) { a = Conv<pads=[1,1]>(x, w)\n"
        " b = Where(m, a, k)\n p = ReduceMax<keepdims=0>(b, two)\n y = Gemm<transB=1>(p, v)\n"
        " c = Cast<to=1>(m)\n d = Sub(one, c)\n e = Mul(d, k)\n f = Add(a, e)\n"
        " g = ReduceMax<keepdims=0>(f, two)\n z = Gemm<transB=1>(g, u) }",
        {
            **{"w": weights(4, 6, 3), "k": scalar(-1e4), "two": ints(2), "one": scalar(1.0)},
            **{"v": weights(5, 4), "u": weights(4, 4)},
        },
        floats=("Mul", "Where", "Cast", "Sub"),
        least=22.0,
    ),
    "maxima of a window with gaps over a border": Kind(
        IN + "{" + CONV + "p = MaxPool<kernel_shape=[3,3],dilations=[2,2],pads=[2,2,2,2]>(a)\n"
        " q = Add(p, b)\n y = Conv(q, v) }",
        {"w": W3, "v": weights(4, 4, 1, 1)},
    ),
    "norms of windows": Kind(
        IN + "{" + CONV + "l = LpPool<kernel_shape=[3,3],pads=[1,1,1,1],p=2>(a)\n y = Conv(l, v) }",
        {"w": W3, "v": weights(4, 4, 1, 1)},
        least=32.0,
        floats=("Mul", "Conv", "Sqrt"),
    ),
    "a choice among a few": Kind(
        "(float[1,3,8,8] x) => (float[1,4] y) {"
        + CONV
        + "p = GlobalAveragePool(b)\n f = Flatten(p)\n g = Gemm<transB=1>(f, k)\n"
        " s = Softmax<axis=-1>(g)\n t, i = TopK<axis=-1>(s, two)\n"
        " z = ScatterElements<axis=1>(none, i, t)\n h = Gemm<transB=1>(f, m)\n y = Mul(h, z) }",
        {
            **{"w": W3, "k": weights(4, 4, size=0.05), "m": weights(4, 4, seed=3)},
            **{"two": ints(2), "none": np.zeros((1, 4), np.float32)},
        },
        floats=("Gemm", "Softmax", "TopK", "ScatterElements"),
        least=20.0,
    ),
    "a mask in": Kind(
        "(float[1,4,6] x, bool[1,4,6] m) => (float[1,4,6] y) "
        "{ a = Where(m, x, n)\n y = Softmax<axis=-1>(a) }",
        {"n": scalar(-1e9)},
        floats=("Where",),
    ),
    "a mask made by a product": Kind(
        "(float[1,2,6,6] x, bool[1,1,6,6] m, float[1,2,6,4] v) => (float[1,2,6,4] y) { n = Not(m)\n"
        " c = Cast<to=1>(n)\n d = Mul(c, low)\n a = Add(x, d)\n p = Softmax<axis=-1>(a)\n"
        " y = MatMul(p, v) }",
        {"low": scalar(-1e9)},
        floats=("Mul", "Not", "Cast"),
    ),
    "a mask chosen": Kind(
        MASKED % "a = Where(m, x, n)", {"n": scalar(-1e9), "m": CAUSAL}, floats=("Where",)
    ),
    "a mask added": Kind(
        MASKED % "a = Add(x, n)", {"n": np.where(CAUSAL, 0, -1e9).astype(np.float32)}, least=32.0
    ),
    "a mask of -inf": Kind(
        MASKED % "a = Add(x, n)", {"n": np.where(CAUSAL, 0, -np.inf).astype(np.float32)}, least=32.0
    ),
    "a mask of -100": Kind(
        MASKED % "a = Add(x, n)", {"n": np.where(CAUSAL, 0, -100).astype(np.float32)}, least=32.0
    ),
    "a pool that counts beyond its padding": Kind(
        "(float[1,3,9,9] x) => (float[1,3,4,4] y) { y = AveragePool<kernel_shape=[3,3],"
        "strides=[3,3],pads=[1,1,1,1],ceil_mode=1,count_include_pad=1>(x) }",
        {},
    ),
    "constants joined to tokens": Kind(
        "(float[1,6,8] x) => (float[1,7,4] y) { b = Concat<axis=1>(k, x)\n c = Add(b, p)\n "
        "y = MatMul(c, w) }",
        {"k": weights(1, 1, 8, size=1), "p": weights(1, 7, 8, size=0.3), "w": weights(8, 4)},
    ),
    "an empty part": Kind(
        "(float[1,3,8,8] x) => (float[1,5,8,8] y) { e = Slice(x, z, z, one)\n "
        "b = Concat<axis=1>(x, e)\n y = Conv(b, w) }",
        {"z": ints(0), "one": ints(1), "w": weights(5, 3, 1, 1)},
    ),
    "a scalar in": Kind(
        "(float[1,3,8,8] x, float t) => (float[1,5,8,8] y) { a = Mul(x, t)\n y = Conv(a, w) }",
        {"w": weights(5, 3, 1, 1)},
        least=18.0,
    ),
    "integers only": Kind(
        "(int64[1,4] x) => (int64[1,4] y) { y = Mul(x, k) }", {"k": ints(3)}, floats=("Mul",)
    ),
    "axes of one": Kind(
        "(float[1,1,1,8] x) => (float[1,1,1,8] y) { y = Conv<pads=[0,1,0,1]>(x, w) }",
        {"w": weights(1, 1, 1, 3)},
        least=15.0,
    ),
    "batches joined and split": Kind(
        """(float[2,3,8,8] x, float[2,3,8,8] z) => (float[2,5] e, float[2,5] f) {
 a = Concat<axis=0>(x, z)
 b = Conv(a, w)
 c = GlobalAveragePool(b)
 d = Flatten(c)
 e, f = Split<axis=0>(d, s) }""",
        {"w": weights(5, 3, 1, 1), "s": ints(2, 2)},
    ),
}


def sqnr(real: NDArray[Any], got: NDArray[Any]) -> float:
    noise = ((real.astype(np.float64) - got) ** 2).sum()
    return float(10 * np.log10((real.astype(np.float64) ** 2).sum() / max(noise, 1e-30)))


@pytest.mark.parametrize("name", [*BINARY, *KINDS])
def test_every_kind_is_right_in_int8(name: str, worker: Worker) -> None:
    kind = BINARY[name] if name in BINARY else KINDS[name]
    graph = simplify_graph(graph_of(kind.body, **kind.constants))
    made = quantize(prepare(graph, int8=True).graph, samples(graph, 16, 1), recipe="std")
    ops = {node.name: node.op for node in made.graph.nodes}
    assert tuple(ops[n] for n in made.recipe.float_nodes) == kind.floats
    fresh = samples(graph, 6, 9)
    wanted = [run(graph, feed) for feed in fresh]
    model = emit_qdq(made.graph, made.recipe).model
    assert onnx_census(read_onnx(save_model(model))).compute >= 0
    session = sessions.session(model)
    got = [session.run(graph.outputs, feed) for feed in fresh]
    if kind.tflite:
        file = emit_tflite(made.graph, made.recipe, precision="int8")
        lite = [run_nchw(worker, file, feed)[0] for feed in fresh]
    for i, output in enumerate(graph.outputs):
        real = np.stack([row[i] for row in wanted])
        assert sqnr(real, np.stack([row[i] for row in got])) > kind.least
        if kind.tflite:
            assert sqnr(real, np.stack([row[output] for row in lite])) > kind.least


def test_an_empty_tensor_between_and_out_stops_nothing() -> None:
    body = (
        "(float[2,3,5] x) => (float[2,3,5] y, float[2,0,5] z) { z = Slice(x, one, one, one)\n"
        " e = Relu(z)\n c = Concat<axis=1>(e, x, e)\n y = Mul(c, c) }"
    )
    graph = simplify_graph(graph_of(body, one=ints(1)))
    made = quantize(prepare(graph, int8=True).graph, samples(graph, 16, 1), recipe="std")
    (feed,) = samples(graph, 1, 9)
    got = run_recipe(made.graph, made.recipe, [feed], 1)
    assert got["z"].shape == (1, 2, 0, 5)
    assert sqnr(run(graph, feed)[0], got["y"][0]) > 35


def test_what_is_only_moved_to_an_output_keeps_its_zero_point() -> None:
    body = """(float[1,4,6,6] x) => (float[1,5,6,6] y) {
 b = Conv(x, w)
 s = Sigmoid(b)
 t = Sub(s, small)
 r = Relu(x)
 c = Conv(r, v)
 y = Concat<axis=1>(t, c) }"""
    graph = simplify_graph(
        graph_of(body, w=weights(4, 4, 1, 1), v=abs(weights(1, 4, 1, 1)), small=scalar(0.25))
    )
    made = quantize(prepare(graph, int8=True).graph, samples(graph, 8, 1), form="zero-point-free")
    held = made.recipe.activations
    joined = {name for node in made.graph.of("Concat") for name in [*node.inputs, node.output]}
    assert {name for name, a in held.items() if a.final} == joined
    assert {held[name].zero_point for name in joined}.isdisjoint({-128, 0})
    assert problems(made.recipe) == []


def test_what_is_read_in_float_alone_keeps_its_zero_point() -> None:
    body = "(float[1,4,6,6] x) => (float[1,4,6,2] y) { b = Conv(x, w)\n y, i = TopK(b, k) }"
    graph = simplify_graph(graph_of(body, w=abs(weights(4, 4, 1, 1)), k=ints(2)))
    feeds = [{"x": abs(feed["x"]) - np.float32(0.2)} for feed in samples(graph, 8, 1)]
    made = quantize(prepare(graph, int8=True).graph, feeds, form="zero-point-free")
    read = made.recipe.activations[next(made.graph.of("TopK")).inputs[0]]
    assert read.final
    assert read.zero_point not in (-128, 0)


def test_outputs_that_nothing_computes_stay_in_the_onnx_file() -> None:
    graph = simplify_graph(
        graph_of(
            "(float[1,3,8,8] x) => (float[1,4,8,8] a, float[2,3] b, float[1,3,8,8] x) "
            "{ a = Conv<pads=[1,1,1,1]>(x, w)\n b = Identity(k) }",
            w=W3,
            k=weights(2, 3),
        )
    )
    feeds = samples(graph, 8, 1)
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast")
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    conv, constant, same = session.run(None, feeds[0])
    assert sqnr(run(graph, feeds[0])[0], conv) > 28
    np.testing.assert_array_equal(constant, weights(2, 3))
    np.testing.assert_array_equal(same, feeds[0]["x"])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("axes", "plane", "wide"),
    [("", (14, 21), True), ("axes=[2,3],", (14, 21), True), ("", (11, 9), False)],
)
def test_a_resize_to_a_size_survives_every_optimisation(
    mode: str, axes: str, plane: tuple[int, int], wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "integer_kernels_are_exact", lambda: True)
    for module in ("judge", "stream"):
        monkeypatch.setattr(
            f"edgeconv.export.quant.{module}.integer_kernels_are_exact", lambda: True
        )
    size = ints(*plane) if axes else ints(1, 4, *plane)
    graph = simplify_graph(
        graph_of(
            f"(float[1,3,7,7] x) => (float[1,4,{plane[0]},{plane[1]}] y) {{"
            + CONV
            + f'd = Resize<{axes} mode="{mode}">(b,,,s)\n y = Conv(d, v) }}',
            w=W3,
            v=weights(4, 4, 1, 1),
            s=size,
        )
    )
    prepared = prepare(graph, int8=True).graph
    assert (batched(prepared) is not None) == wide
    made = quantize(prepared, samples(graph, 10, 1), recipe="std")
    feed = samples(graph, 1, 5)[0]
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    assert sqnr(run(graph, feed)[0], session.run(None, feed)[0]) > 28


def test_boxes_and_scores_keep_their_own_steps() -> None:
    graph = simplify_graph(
        graph_of(
            """(float[1,3,6,6] x) => (float[1,9,36] y) { h = Conv(x, a)
 r = Relu(h)
 p = Conv(r, b)
 q = Relu(p)
 s = Conv(r, c)
 j = Concat<axis=1>(q, s)
 y = Reshape(j, t) }""",
            a=weights(8, 3, 1, 1, size=1),
            b=np.abs(weights(4, 8, 1, 1, size=60)),
            c=weights(5, 8, 1, 1, size=0.3),
            t=ints(1, 9, 36),
        )
    )
    made = quantize(prepare(graph, int8=True).graph, samples(graph, 12, 1), recipe="fast")
    fresh = samples(graph, 6, 5)
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    real = np.stack([run(graph, feed)[0] for feed in fresh])
    got = np.stack([session.run(None, feed)[0] for feed in fresh])
    assert sqnr(real[:, :, 4:], got[:, :, 4:]) > 28
    assert len(made.recipe.float_nodes) == 2


def test_a_graph_with_mixed_ranks_is_not_run_many_pictures_at_once() -> None:
    graph = graph_of(
        "(float[1,5] x, float[1,3,5] z) => (float[1,3,5] y) { y = Add(x, z) }",
    )
    assert batched(graph) is None


def test_small_passes_leave_what_they_do_not_know() -> None:
    resize = graph_of(
        "(float[1,2,4,4] x) => (float[1,2,8,4] y) "
        '{ y = Resize<axes=[2], keep_aspect_ratio_policy="not_larger">(x,,,s) }',
        s=ints(8),
    )
    assert not complete_resize(resize)
    read = graph_of(
        "(float[1,2] x) => (float[1,2] y) { y = Add(x, k) }",
        k=np.array([0, -np.inf], np.float32),
    )
    assert not finite_masks(read)
    assert not drop_empty(read)


def test_rows_of_any_number_run_many_pictures_at_once() -> None:
    tokens = KINDS["two activations multiplied"]
    graph = prepare(graph_of(tokens.body, **tokens.constants), int8=True).graph
    assert [node.op for node in graph.of("Gemm")] == ["Gemm"] * 4
    wide = batched(graph)
    assert wide is not None
    feeds = samples(graph, 3, 2)
    many = {"x": np.concatenate([feed["x"] for feed in feeds])}
    model = sessions.session(set_batch(to_onnx(wide)))
    apart = np.concatenate([run(graph, feed)[0] for feed in feeds])
    np.testing.assert_allclose(model.run(None, many)[0], apart, atol=1e-5)


def test_counts_are_of_every_operator_that_computes() -> None:
    graph = prepare(
        graph_of(
            "(float[1,3,8,8] x) => (float[1,4,64] y) {" + CONV + "c = Erf(b)\n d = Mul(c, c)\n "
            "y = Reshape(d, s) }",
            w=W3,
            s=ints(1, 4, 64),
        ),
        int8=True,
    ).graph
    made = quantize(graph, samples(graph, 8, 1), recipe="fast")
    counts = count_operators(made.graph, made.recipe)
    assert (counts.integer, counts.floats) == (2, {"it has no INT8 form": {"Erf": 1}})
    assert counts.float_text() == "1 of 3 operators in float: 1 Erf (it has no INT8 form)"


def test_pictures_that_run_one_by_one_keep_their_channels_apart() -> None:
    graph = simplify_graph(
        graph_of(
            """(float[1,3,6,8] x) => (float[1,4,6,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)
 b = Conv<pads=[1,1,1,1]>(a, v)
 c = Transpose<perm=[2,1,0,3]>(b)
 d = Relu(c)
 e = Transpose<perm=[2,1,0,3]>(d)
 y = Conv(e, u) }""",
            w=W3,
            v=W4,
            u=weights(4, 4, 1, 1, seed=4),
        )
    )
    prepared = prepare(graph, int8=True).graph
    assert batched(prepared) is None
    made = quantize(prepared, samples(graph, 16, 1), recipe="std")
    assert made.recipe.notes["picked"] != "min/max"
    feed = samples(graph, 1, 5)[0]
    session = sessions.session(emit_qdq(made.graph, made.recipe).model)
    assert sqnr(run(graph, feed)[0], session.run(None, feed)[0]) > 28


def test_what_ends_a_net_and_computes_in_float_anyway_is_not_rounded(worker: Worker) -> None:
    body = IN.replace("float[1,4,8,8] y", "float[1,8,8] y, float[1,4,8,8] z")
    body += "{" + CONV + "y = ReduceMean<keepdims=0>(b, axes)\n z = Conv(b, v) }"
    graph = simplify_graph(graph_of(body, w=W3, v=weights(4, 4, 1, 1), axes=ints(1)))
    said = {name: target.float_outputs for name, target in TARGETS.items()}
    feeds = samples(graph, 16, 1)
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast", float_outputs=said)
    ends = made.recipe.float_outputs
    assert (ends["onnx"], ends["tflite"], ends["coreml"]) == (("y",), ("y",), ("y", "z"))
    fresh = samples(graph, 6, 9)
    real = np.stack([run(graph, feed)[0] for feed in fresh])

    def figure(recipe: Recipe) -> float:
        session = sessions.session(emit_qdq(made.graph, recipe).model)
        return sqnr(real, np.stack([session.run(["y"], feed)[0] for feed in fresh]))

    rounded = figure(replace(made.recipe, float_outputs={}))
    assert figure(made.recipe) > rounded + 1
    file = emit_tflite(made.graph, made.recipe, precision="int8")
    lite = np.stack([run_nchw(worker, file, feed)[0]["y"] for feed in fresh])
    assert sqnr(real, lite) > rounded + 1


def test_few_probabilities_that_end_a_net_keep_their_digits(worker: Worker) -> None:
    """Behind moves too; integer borders hold the prescribed steps of 1/256 as before."""
    body = IN.replace("float[1,4,8,8] y", "float[1,12] y, float[1,64,4] z, float[1,4,8,8] u")
    body += "{" + CONV + "f = Flatten(b)\n g = Gemm<transB=1>(f, h)\n y = Softmax(g)\n"
    body += (
        "c = Conv(b, v)\n s = Sigmoid(c)\n t = Transpose<perm=[0,2,3,1]>(s)\n z = Reshape(t, to)\n"
    )
    body += "u = Sigmoid(b) }"
    dense = 4 * weights(12, 256, seed=5)
    graph = simplify_graph(
        graph_of(body, w=W3, v=weights(4, 4, 1, 1) + 0.5, h=dense, to=ints(1, 64, 4))
    )
    said = {name: target.float_outputs for name, target in TARGETS.items()}
    feeds = samples(graph, 16, 1)
    made = quantize(prepare(graph, int8=True).graph, feeds, recipe="fast", float_outputs=said)
    ends = made.recipe.float_outputs
    for target in ("onnx", "tflite"):
        assert {"y", "z", "u"} <= {*ends[target]}
    (gemm,) = made.graph.of("Gemm")
    assert gemm.output in ends["onnx"]
    assert gemm.output not in ends["tflite"]
    fresh = samples(graph, 6, 9)
    rounded = replace(made.recipe, float_outputs={})

    real = [run(graph, feed) for feed in fresh]

    def figures(rows: list[list[NDArray[Any]]]) -> list[float]:
        places = range(len(graph.outputs))
        return [
            sqnr(np.stack([r[i] for r in real]), np.stack([g[i] for g in rows])) for i in places
        ]

    def by_onnx(recipe: Recipe) -> list[float]:
        session = sessions.session(emit_qdq(made.graph, recipe).model)
        return figures([session.run(graph.outputs, feed) for feed in fresh])

    def by_lite(recipe: Recipe) -> list[float]:
        file = emit_tflite(made.graph, recipe, precision="int8")
        got = [run_nchw(worker, file, feed)[0] for feed in fresh]
        return figures([[row[name] for name in graph.outputs] for row in got])

    for measured in (by_onnx, by_lite):
        better, coarse = measured(made.recipe), measured(rounded)
        assert all(a > b for a, b in zip(better, coarse, strict=True)), (better, coarse)
    for io in ("int8", "uint8"):
        first, second = (
            emit_tflite(made.graph, r, precision="int8", io=io).data for r in (made.recipe, rounded)
        )
        assert first == second


@pytest.mark.parametrize("form", ["asymmetric", "zero-point-free"])
@pytest.mark.parametrize("shift", [0.0, 0.03, 0.06, 0.3])
def test_a_mean_of_values_on_both_sides_of_zero_keeps_its_steps(form: Form, shift: float) -> None:
    body = (
        "(float[1,16,12] x) => (float[1,5] y) { n = LayerNormalization<axis = -1>(x, s, b)\n"
        " m = ReduceMean<keepdims = 0>(n, tokens)\n y = Gemm<transB = 1>(m, k) }"
    )
    constants = {"s": np.ones(12), "b": np.full(12, shift), "k": weights(5, 12)}
    real = {name: value.astype(np.float32) for name, value in constants.items()}
    graph = simplify_graph(graph_of(body, **real, tokens=ints(1)))
    pictures = samples(graph, 16, 1)
    made = quantize(prepare(graph, int8=True).graph, pictures, recipe="fast", form=form)
    held = made.recipe.activations[made.graph.nodes[-2].output]
    exposed = graph.clone()
    exposed.outputs = [graph.nodes[1].output]
    exposed.prune()
    means = np.stack([run(exposed, feed)[0] for feed in pictures])
    reach = np.ptp(means) if form == "asymmetric" else 2 * np.abs(means).max()
    assert 255 * held.scale < 1.15 * reach


def test_core_ml_adds_a_constant_behind_a_turned_convolution(tmp_path: Path) -> None:
    body = "(float[1,3,8,8] x) => (float[1,8,8,4] y) {" + CONV
    body += "c = Conv(b, v)\n t = Transpose<perm=[0,2,3,1]>(c)\n y = Add(t, k) }"
    constants = {"v": weights(4, 4, 1, 1), "k": weights(1, 8, 8, 4, seed=3)}
    graph = simplify_graph(graph_of(body, w=W3, **constants))
    made = quantize(prepare(graph, int8=True).graph, samples(graph, 16, 1), recipe="fast")
    path = tmp_path / "m.mlpackage"
    emit_coreml(made.graph, made.recipe, path=path, precision="int8")
    (feed,) = samples(graph, 1, 9)
    with open_package(path) as runner:
        (got,) = runner.infer(feed).values()
    assert sqnr(run(graph, feed)[0], got) > 25
