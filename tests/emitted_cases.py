"""Tiny graphs, one for each way in which an operator is emitted, and those that are refused.

A case is the nodes of a graph in onnx's text format, from x to y, with its constants by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Any

import numpy as np
from graph_kit import floats, graph_of, ints, scalar
from numpy.typing import NDArray
from tflite_kit import minmax_recipe

from edgeconv.export.graph import Clamp, Graph
from edgeconv.export.prepare import prepare
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Case:
    """``x`` is the input's type; ``more`` further inputs; ``clamp`` is fused into the last node.

    ``whole``: the graph is prepared as a net's would be, as those in integers always are.
    """

    nodes: str
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    x: str = "float[1,4,5,6]"
    more: str = ""
    y: str = "y"
    clamp: Clamp | None = None
    whole: bool = False

    def graph(self, int8: bool = False) -> Graph:
        inputs = ", ".join(filter(None, (f"{self.x} x", self.more)))
        graph = graph_of(f"({inputs}) => ({self.y}) {{ {self.nodes} }}", **self.constants)
        if self.whole or int8:
            graph = prepare(graph, int8=int8).graph
        graph.nodes[-1].clamp = self.clamp or graph.nodes[-1].clamp
        return graph


def case(nodes: str, /, **constants: Any) -> Case:
    return Case(nodes, constants)


def of(x: str, nodes: str, /, **constants: Any) -> Case:
    return Case(nodes, constants, x)


def clamped(low: float, high: float, nodes: str, /, **constants: Any) -> Case:
    return Case(nodes, constants, clamp=(low, high))


def w(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    """Return weights in quarters, exact wherever they are computed with."""
    return np.round(4 * floats(*shape, seed=seed)) / np.float32(4)


INF = float("inf")
RESIZE = 'y = Resize<mode="{}", coordinate_transformation_mode="{}"{}>(x, , {})'


def resized(
    mode: str, how: str, more: str = "", x: str = "float[1,2,4,3]", /, **given: Any
) -> Case:
    ((name, value),) = given.items()
    return of(
        x,
        RESIZE.format(mode, how, more, name if name == "scales" else f", {name}"),
        **{name: value},
    )


def scaled(*factors: float) -> NDArray[np.float32]:
    return np.array(factors, np.float32)


FAMILIES: dict[str, dict[str, Case]] = {
    "convolution": {
        "valid": case("y = Conv(x, w)", w=w(3, 4, 3, 2)),
        "same": case("y = Conv<pads=[1,1,1,1]>(x, w, b)", w=w(3, 4, 3, 3), b=w(3)),
        "same of stride 2": case("y = Conv<pads=[1,0,1,1], strides=[2,2]>(x, w)", w=w(3, 4, 3, 3)),
        "unequal": case("y = Conv<pads=[0,1,2,0], strides=[2,1], dilations=[1,2]>(x, w)", w=w(3, 4, 3, 2)),
        "dilated": case("y = Conv<pads=[2,1,2,1], dilations=[2,1]>(x, w)", w=w(3, 4, 3, 3)),
        "padding that no window reads": case("y = Conv<pads=[0,0,1,1], strides=[3,3]>(x, w)", w=w(2, 4, 2, 3)),
        "groups": case("y = Conv<group=2>(x, w, b)", w=w(6, 2, 1, 1), b=w(6)),
        "depthwise": case("y = Conv<group=4, pads=[1,1,1,1], dilations=[1,1]>(x, w)", w=w(4, 1, 3, 3)),
        "depthwise of two": case("y = Conv<group=4, strides=[1,2], dilations=[2,1]>(x, w, b)", w=w(8, 1, 2, 3), b=w(8)),
        "one channel": of("float[1,1,5,6]", "y = Conv(x, w)", w=w(3, 1, 3, 3)),
        "one axis": of("float[1,4,9]", "y = Conv<pads=[1,2], strides=[2], dilations=[2]>(x, w)", w=w(3, 4, 3)),
        "one axis by channel": of("float[2,4,9]", "y = Conv<group=4, pads=[1,1]>(x, w)", w=w(4, 1, 3)),
        "one bias for all": case("y = Conv(x, w, b)", w=w(3, 4, 1, 1), b=w(1)),
        "relu": clamped(0, INF, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "relu6": clamped(0, 6, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "from -1 to 1": clamped(-1, 1, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "from 0 to 1": clamped(0, 1, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "at least -0.5": clamped(-0.5, INF, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "at most 0.75": clamped(-INF, 0.75, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "from -0.5 to 0.75": clamped(-0.5, 0.75, "y = Conv(x, w)", w=w(2, 4, 1, 1)),
        "three axes": of("float[1,2,3,4,5]", "y = Conv<pads=[1,0,1,0,1,0]>(x, w)", w=w(3, 2, 2, 3, 2)),
        "computed weights": Case("y = Conv(x, v)", more="float[3,4,1,1] v"),
        "computed bias": Case("y = Conv(x, w, v)", {"w": w(3, 4, 1, 1)}, more="float[3] v"),
    },
    "transposed convolution": {
        "transposed, same": case("y = ConvTranspose<strides=[2,2], pads=[0,0,1,1]>(x, w, b)", w=w(4, 3, 3, 3), b=w(3)),
        "transposed, whole": case("y = ConvTranspose<strides=[3,2]>(x, w, b)", w=w(4, 3, 2, 3), b=np.zeros(3, np.float32)),
        "transposed, cut": case("y = ConvTranspose<strides=[2,1], pads=[1,2,1,0], output_padding=[1,0]>(x, w)", w=w(4, 3, 3, 4)),
        "transposed, longer": case("y = ConvTranspose<strides=[3,3], output_padding=[2,1]>(x, w)", w=w(4, 1, 2, 2)),
        "transposed, dilated groups": case("y = ConvTranspose<group=2, dilations=[2,3], strides=[1,2], pads=[1,0,0,1]>(x, w, b)", w=w(4, 1, 2, 2), b=w(2)),
        "transposed, one axis": of("float[1,4,5]", "y = ConvTranspose<strides=[2], pads=[1,0]>(x, w)", w=w(4, 3, 3)),
    },
    "product": {
        "layer": of("float[2,5]", "y = Gemm<transB=1>(x, w, b)", w=w(3, 5), b=w(3)),
        "layer without bias": of("float[2,5]", "y = Gemm<alpha=0.5>(x, w)", w=w(5, 3)),
        "one bias": of("float[2,5]", "y = Gemm<transB=1>(x, w, b)", w=w(3, 5), b=w(1)),
        "bias of a row": of("float[2,5]", "y = Gemm<transB=1>(x, w, b)", w=w(3, 5), b=w(1, 3)),
        "bias of rows": of("float[2,5]", "y = Gemm<transB=1>(x, w, b)", w=w(3, 5), b=w(2, 3)),
        "weighed bias": of("float[2,5]", "y = Gemm<transB=1, alpha=0.25, beta=3.0>(x, w, b)", w=w(3, 5), b=w(3)),
        "turned input": of("float[5,2]", "y = Gemm<transA=1, transB=1>(x, w)", w=w(3, 5)),
        "computed side": Case("y = Gemm<alpha=2.0>(x, v)", x="float[2,5]", more="float[5,3] v"),
        "computed bias": Case("y = Gemm<transB=1>(x, w, v)", {"w": w(3, 5)}, "float[2,5]", "float[3] v"),
        "relu": Case("y = Gemm<transB=1>(x, w)", {"w": w(3, 5)}, "float[2,5]", clamp=(0, INF)),
        "of a picture": Case("f = Reshape(x, s) y = Gemm<transB=1>(f, w)", {"s": ints(1, 24), "w": w(2, 24)}, "float[1,4,2,3]"),
        "of a computed picture": Case("c = Conv(x, k) f = Reshape(c, s) y = Gemm<transB=1>(f, w)", {"k": w(2, 4, 1, 1), "s": ints(1, 12), "w": w(2, 12)}, "float[1,4,2,3]"),
        "matrices": Case("y = MatMul(x, v)", x="float[2,3,4]", more="float[4,5] v"),
        "matrices by pairs": Case("y = MatMul(x, v)", x="float[2,1,3,4]", more="float[3,4,2] v"),
        "constant matrix": of("float[3,4]", "y = MatMul(x, w)", w=w(4, 5)),
        "row": Case("y = MatMul(x, v)", x="float[4]", more="float[4,5] v"),
        "column": Case("y = MatMul(x, v)", x="float[3,4]", more="float[4] v"),
        "turned right side": Case("t = Transpose<perm=[0,2,1]>(v) y = MatMul(x, t)", x="float[2,3,4]", more="float[2,5,4] v"),
        "turned and scaled": Case("t = Transpose<perm=[0,2,1]>(v) m = Mul(t, k) y = MatMul(x, m)", {"k": scalar(0.5)}, "float[2,3,4]", "float[2,5,4] v"),
    },
    "activation": {
        **{
            f"{op}{' ' + more if more else ''}": case(f"y = {op}{more}(x)")
            for op, more in [
                ("Relu", ""), ("LeakyRelu", ""), ("LeakyRelu", "<alpha=0.25>"), ("Elu", ""), ("Elu", "<alpha=0.5>"),
                ("Selu", ""), ("Selu", "<alpha=2.0, gamma=0.5>"), ("Celu", ""), ("Celu", "<alpha=0.5>"), ("Sigmoid", ""),
                ("HardSigmoid", ""), ("HardSigmoid", "<alpha=0.25, beta=0.125>"), ("HardSigmoid", "<alpha=0.16666667>"),
                ("HardSwish", ""), ("Tanh", ""), ("Softmax", ""), ("Softmax", "<axis=1>"), ("Softmax", "<axis=2>"),
                ("LogSoftmax", ""), ("LogSoftmax", "<axis=-2>"), ("Softplus", ""), ("Mish", ""), ("Softsign", ""), ("Erf", ""),
            ]
        },
    },
    "clamps": {
        "PRelu by channel": case("y = PRelu(x, a)", a=w(4, 1, 1)),
        "PRelu of one": case("y = PRelu(x, a)", a=scaled(0.25)),
        "PRelu by value": case("y = PRelu(x, a)", a=w(4, 5, 6)),
        "PRelu by row": of("float[2,6]", "y = PRelu(x, a)", a=w(6)),
        "PRelu computed": Case("y = PRelu(x, v)", more="float[4,1,1] v"),
        "Clip": case("y = Clip(x, l, h)", l=scalar(-0.5), h=scalar(1.25)),
        "Clip to 6": case("y = Clip(x, l, h)", l=scalar(0), h=scalar(6)),
        "Clip to 1": case("y = Clip(x, l, h)", l=scalar(-1), h=scalar(1)),
        "Clip from": case("y = Clip(x, l)", l=scalar(-0.5)),
        "Clip up to": case("y = Clip(x, , h)", h=scalar(0.75)),
        "Clip to nothing": case("y = Clip(x)"),
        "Clip of int32": of("int32[2,3]", "y = Clip(x, l, h)", l=np.int32(-2), h=np.int32(3)),
        "Clip to computed bounds": Case("y = Clip(x, v)", more="float v"),
        "Softmax of a row": of("float[2,6]", "y = Softmax(x)"),
        "Relu of int32": of("int32[2,3]", "y = Relu(x)"),
    },
    "elementwise": {
        **{op: case(f"y = {op}(x)") for op in ("Exp", "Abs", "Neg", "Floor", "Ceil", "Round", "Sin", "Cos", "Sign", "Atan", "Identity")},
        **{op: case(f"a = Abs(x) p = Add(a, k) y = {op}(p)", k=scalar(0.5)) for op in ("Log", "Sqrt", "Reciprocal")},
        **{f"{op} of two": Case(f"y = {op}(x, v)", more="float[1,4,5,6] v") for op in ("Add", "Sub", "Mul", "Max", "Min")},
        **{f"{op} by channel": case(f"y = {op}(x, c)", c=np.abs(w(4, 1, 1)) + 1) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod<fmod=1>")},
        "Pow by channel": case("a = Abs(x) y = Pow(a, c)", c=np.abs(w(4, 1, 1)) + 1),
        "Sub of a constant": case("y = Sub(c, x)", c=scalar(1.5)),
        "Add of a vector": Case("y = Add(x, v)", more="float[6] v"),
        "Mul of means": case("g = GlobalAveragePool(x) y = Mul(x, g)"),
        "Add with relu": Case("y = Add(x, v)", more="float[1,4,5,6] v", clamp=(0, INF)),
        "Mul with relu6": Case("y = Mul(x, v)", more="float[1,4,5,6] v", clamp=(0, 6)),
        "Sum of three": Case("y = Sum(x, v, k)", {"k": w(4, 1, 1)}, more="float[1,4,5,6] v"),
        "Sum of one": case("y = Sum(x)"),
        "Max of three": Case("y = Max(k, x, v)", {"k": scalar(0.25)}, more="float[1,4,5,6] v"),
        "Mean of three": Case("y = Mean(x, v, k)", {"k": w(4, 1, 1)}, more="float[1,4,5,6] v"),
        "Pow 2": case("y = Pow(x, k)", k=scalar(2)),
        "Pow 0.5": case("a = Abs(x) y = Pow(a, k)", k=scalar(0.5)),
        "Pow of many": case("y = Pow(x, k)", k=np.full((2, 1, 1, 1), 2, np.float32)),
        "Pow of int32": Case("y = Pow(x, v)", more="int32[1,4,5,6] v"),
        "Div of int64": Case("y = Div(x, v)", x="int64[2,3]", more="int64[2,3] v"),
        "Div of int32": Case("y = Div(x, v)", x="int32[2,3]", more="int32[2,3] v"),
        "Mod of int32": Case("y = Mod(x, v)", x="int32[2,3]", more="int32[2,3] v"),
        "Mod of C": Case("y = Mod<fmod=1>(x, v)", x="int32[2,3]", more="int32[2,3] v"),
    },
    "logic": {
        "Neg of int32": of("int32[2,3]", "y = Neg(x)"),
        "Exp of int32": of("int64[2,3]", "c = Cast<to=1>(x) y = Exp(c)"),
        "Abs of int64": of("int64[2,3]", "y = Abs(x)"),
        **{
            f"{op} of two": Case(f"t = {op}(x, v) y = Cast<to=1>(t)", more="float[1,4,5,6] v")
            for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
        },
        "And, Or, Not": case("a = Greater(x, k) b = Less(x, l) c = And(a, b) d = Or(c, m) e = Not(d) y = Cast<to=1>(e)", k=scalar(-0.5), l=scalar(0.5), m=np.array([True, False, False, False, True, False])),
        "Equal of truths": case("a = Greater(x, k) b = Less(x, k) c = Equal(a, b) y = Cast<to=6>(c)", k=scalar(0.5)),
        "Where": case("a = Greater(x, k) y = Where(a, x, v)", k=scalar(0), v=w(4, 1, 1)),
        "Where of few": Case("y = Where(t, x, v)", more="bool[1,4,1,1] t, float[1,1,5,1] v"),
        "Where of vectors": Case("y = Where(t, k, v)", {"k": w(4, 1, 1)}, "float[1]", "bool[5,6] t, float[1,1,1,1] v"),
        "Where of int32": Case("y = Where(t, x, v)", x="int32[2,1]", more="bool[2,3] t, int32[1,3] v"),
        "Where not": Case("y = Where(m, x, v)", {"m": np.array([True, False, True, False, True, False])}, more="float[1,4,5,6] v"),
        **{f"Cast to {kind}": case(f"y = Cast<to={number}>(x)") for kind, number in {"int32": 6, "int64": 7, "bool": 9, "uint8": 2, "int8": 3, "float16": 10}.items()},
        "Cast of int32 to uint8": of("int32[2,3]", "y = Cast<to=2>(x)"),
        "Cast of int32 to int8": of("int32[2,3]", "y = Cast<to=3>(x)"),
        "Cast of int32 to bool": of("int32[2,3]", "y = Cast<to=9>(x)"),
        "five axes": Case("y = Add(x, v)", x="float[1,2,2,2,3]", more="float[1,2,2,2,3] v"),
        "five axes that broadcast": Case("y = Add(x, v)", x="float[1,2,2,2,3]", more="float[1,2,1,2,3] v"),
        "six axes": of("float[1,1,2,2,2,3]", "y = Exp(x)"),
        "no axes": of("float[2,3]", "y = ReduceSum<keepdims=0>(x)"),
    },
    "normalization": {
        "batch": case("y = BatchNormalization(x, g, b, m, v)", g=w(4), b=w(4, seed=2), m=w(4, seed=3), v=np.abs(w(4)) + 1),
        "batch, its own epsilon": case("r = Relu(x) y = BatchNormalization<epsilon=0.5>(r, g, b, m, v)", g=w(4), b=w(4, seed=2), m=w(4, seed=3), v=np.abs(w(4)) + 1),
        "instance": case("y = InstanceNormalization(x, g, b)", g=w(4), b=w(4, seed=2)),
        "instance, its own epsilon": case("y = InstanceNormalization<epsilon=0.25>(x, g, b)", g=np.ones(4, np.float32), b=w(4)),
        "instance, no shift": of("float[2,4,6]", "y = InstanceNormalization(x, g, b)", g=w(4), b=np.zeros(4, np.float32)),
        "instance, five axes": of("float[1,2,2,2,3]", "y = InstanceNormalization(x, g, b)", g=w(2), b=w(2)),
        "instance, computed scale": Case("y = InstanceNormalization(x, v, b)", {"b": w(4)}, more="float[4] v"),
        "groups": Case("r = Reshape(x, s) n = InstanceNormalization(r, g, b) y = Reshape(n, t)", {"s": ints(1, 2, 60), "t": ints(1, 4, 5, 6), "g": w(2), "b": w(2, seed=2)}),
        "layer": of("float[2,3,6]", "y = LayerNormalization(x, g, b)", g=w(6), b=w(6, seed=2)),
        "layer of two axes": of("float[2,3,6]", "y = LayerNormalization<axis=1, epsilon=0.125>(x, g)", g=w(3, 6)),
        "layer of a picture": case("y = LayerNormalization<axis=1>(x, g, b)", g=w(4, 5, 6), b=w(4, 5, 6)),
        "layer with statistics": Case("y, m = LayerNormalization(x, g)", {"g": w(6)}, "float[2,3,6]", y="y, m"),
        "layer, computed scale": Case("y = LayerNormalization(x, v)", x="float[2,3,6]", more="float[6] v"),
        "local response": case("y = LRN<size=3>(x)"),
        "local response, all given": case("y = LRN<size=5, alpha=0.5, beta=0.25, bias=2.0>(x)"),
        "local response, even": case("y = LRN<size=2>(x)"),
    },
    "pool": {
        "max": case("y = MaxPool<kernel_shape=[2,3]>(x)"),
        "max, same": case("y = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)"),
        "max, padded": case("y = MaxPool<kernel_shape=[3,2], strides=[2,2], pads=[1,0,1,1]>(x)"),
        "max behind a relu": case("r = Relu(x) y = MaxPool<kernel_shape=[3,2], strides=[2,2], pads=[1,0,1,1]>(r)"),
        "max, upwards": case("y = MaxPool<kernel_shape=[2,3], strides=[2,2], ceil_mode=1>(x)"),
        "max, padded and upwards": case("y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,0,0,1], ceil_mode=1>(x)"),
        "max, one axis": of("float[1,4,9]", "y = MaxPool<kernel_shape=[3], strides=[2], pads=[1,1]>(x)"),
        "max, dilated": case("y = MaxPool<kernel_shape=[2,2], dilations=[2,1]>(x)"),
        "max with places": Case("y, i = MaxPool<kernel_shape=[2,2]>(x)", y="y, int64[1,4,4,5] i"),
        "max of whole numbers": of("int8[1,4,5,6]", "y = MaxPool<kernel_shape=[2,2]>(x)"),
        "max with relu6": clamped(0, 6, "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)"),
    },
    "average": {
        "average": case("y = AveragePool<kernel_shape=[2,3], strides=[1,2]>(x)"),
        "average, same": case("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)"),
        "average, counted": case("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)"),
        "average, padded": case("y = AveragePool<kernel_shape=[3,2], strides=[2,1], pads=[1,0,1,1]>(x)"),
        "average, upwards": case("y = AveragePool<kernel_shape=[2,4], strides=[2,3], ceil_mode=1>(x)"),
        "average, counted and upwards": case("y = AveragePool<kernel_shape=[4,2], strides=[3,2], pads=[1,1,1,0], ceil_mode=1, count_include_pad=1>(x)"),
        "average, one axis": of("float[1,4,9]", "y = AveragePool<kernel_shape=[3], strides=[2], pads=[1,0]>(x)"),
        "average of all": case("y = GlobalAveragePool(x)"),
        "average of all, one axis": of("float[1,4,9]", "y = GlobalAveragePool(x)"),
        "max of all": case("y = GlobalMaxPool(x)"),
        "max of all, one axis": of("float[1,4,9]", "y = GlobalMaxPool(x)"),
        "three axes": of("float[1,2,4,4,4]", "y = AveragePool<kernel_shape=[2,2,2]>(x)"),
    },
    "reduction": {
        **{
            f"{op} of {axes}{'' if keep else ', dropped'}": case(f"y = {op}<keepdims={keep}>(x, a)", a=ints(*axes))
            for op, axes, keep in [
                ("ReduceMean", (2, 3), 1), ("ReduceMean", (2, 3), 0), ("ReduceMean", (1,), 0), ("ReduceMean", (-1,), 1),
                ("ReduceSum", (1,), 1), ("ReduceMax", (1, 3), 1), ("ReduceMax", (3,), 0), ("ReduceMin", (2,), 0), ("ReduceProd", (1,), 0),
                ("ReduceL1", (1,), 1), ("ReduceL2", (1,), 0), ("ReduceL2", (2, 3), 1), ("ReduceSumSquare", (1, 2), 0),
                ("ReduceLogSumExp", (1,), 0), ("ReduceLogSumExp", (3,), 1),
            ]
        },
        "ReduceLogSum": case("p = Exp(x) y = ReduceLogSum(p, a)", a=ints(1)),
        "ReduceSum of all": case("y = ReduceSum(x)"),
        "ReduceSum of no axis": case("y = ReduceSum<noop_with_empty_axes=1>(x)"),
        "ReduceSum of computed axes": Case("y = ReduceSum(x, v)", more="int64[1] v", y="float[1,4,5,1] y"),
        "ReduceSum of int32": of("int32[2,3]", "y = ReduceSum<keepdims=0>(x, a)", a=ints(1)),
    },
    "places": {
        "ArgMax": case("y = ArgMax(x)"),
        "ArgMax of channels": case("y = ArgMax<axis=1, keepdims=0>(x)"),
        "ArgMin of columns": case("y = ArgMin<axis=-1>(x)"),
        "ArgMax of int64": of("int64[2,3]", "y = ArgMax<axis=1, keepdims=0>(x)"),
        "ArgMax of the last": case("y = ArgMax<axis=1, select_last_index=1>(x)"),
        "CumSum": case("y = CumSum(x, a)", a=np.int64(1)),
        "CumSum from the end": case("y = CumSum<exclusive=1, reverse=1>(x, a)", a=np.int64(-1)),
        "CumSum of a computed axis": Case("y = CumSum(x, v)", more="int64 v"),
        "TopK": Case("y, i = TopK(x, k)", {"k": ints(2)}, y="y, i"),
        "TopK of channels, least": Case("y, i = TopK<axis=1, largest=0>(x, k)", {"k": ints(3)}, y="y, i"),
        "TopK of a computed number": Case("y, i = TopK(x, v)", more="int64[1] v", y="float[1,4,5,2] y, int64[1,4,5,2] i"),
    },
    "resize": {
        "nearest, twice": resized("nearest", "asymmetric", ', nearest_mode="floor"', scales=scaled(1, 1, 2, 2)),
        "nearest, half pixels": resized("nearest", "half_pixel", scales=scaled(1, 1, 2, 3)),
        "nearest, one axis": resized("nearest", "asymmetric", ', nearest_mode="floor"', scales=scaled(1, 1, 1, 3)),
        "nearest, less": resized("nearest", "asymmetric", ', nearest_mode="ceil"', scales=scaled(1, 1, 0.5, 1)),
        "nearest, unequal": resized("nearest", "half_pixel", ', nearest_mode="round_prefer_ceil"', scales=scaled(1, 1, 1.75, 1)),
        "nearest, aligned": resized("nearest", "align_corners", sizes=ints(1, 2, 7, 3)),
        "nearest, channels": resized("nearest", "asymmetric", ', nearest_mode="floor"', scales=scaled(1, 3, 1, 2)),
        "nearest, the same": resized("nearest", "asymmetric", sizes=ints(1, 2, 4, 3)),
        "linear": resized("linear", "half_pixel", scales=scaled(1, 1, 2, 3)),
        "linear, less": resized("linear", "pytorch_half_pixel", sizes=ints(1, 2, 2, 2)),
        "linear, to one": resized("linear", "pytorch_half_pixel", sizes=ints(1, 2, 1, 6)),
        "linear, aligned": resized("linear", "align_corners", sizes=ints(1, 2, 7, 5)),
        "linear, asymmetric": resized("linear", "asymmetric", scales=scaled(1, 1, 2, 2)),
        "linear, no whole size": resized("linear", "asymmetric", scales=scaled(1, 1, 1.6, 1.5)),
        "linear, channels": resized("linear", "half_pixel", scales=scaled(1, 2, 2, 2)),
        "linear, antialiased": resized("linear", "half_pixel", ", antialias=1", sizes=ints(1, 2, 2, 3)),
        "linear, one axis": resized("linear", "half_pixel", "", "float[1,2,4]", scales=scaled(1, 1, 2)),
        "cubic": resized("cubic", "half_pixel", scales=scaled(1, 1, 2, 1)),
        "cropped": of("float[1,2,4,3]", 'y = Resize<mode="linear", coordinate_transformation_mode="tf_crop_and_resize">(x, r, , s)', r=scaled(0, 0, 0.25, 0.25, 1, 1, 0.75, 0.75), s=ints(1, 2, 2, 2)),
    },
    "movement": {
        "Reshape": case("y = Reshape(x, s)", s=ints(1, 20, 6)),
        "Reshape of columns": case("y = Reshape(x, s)", s=ints(4, 30)),
        "Reshape of a number": of("float", "y = Reshape(x, s)", s=ints(1, 1)),
        "Reshape to a number": of("float[1,1]", "y = Reshape(x, s)", s=np.zeros(0, np.int64)),
        "Transpose": case("y = Transpose<perm=[0,2,3,1]>(x)"),
        "Transpose of all": of("float[2,3,4]", "y = Transpose(x)"),
        "Transpose of seven axes": of("float[1,2,1,2,1,2,3]", "y = Transpose(x)"),
        "two that undo each other": case("a = Transpose<perm=[0,2,3,1]>(x) b = Relu(a) y = Transpose<perm=[0,3,1,2]>(b)"),
        "Concat": Case("y = Concat<axis=1>(x, v)", more="float[1,2,5,6] v"),
        "Concat of columns": case("r = Relu(x) y = Concat<axis=-1>(r, x, c)", c=w(1, 4, 5, 1)),
        "shuffle": Case("r = Reshape(x, s) t = Transpose<perm=[0,2,1,3,4]>(r) y = Reshape(t, u)", {"s": ints(1, 2, 2, 5, 6), "u": ints(1, 4, 5, 6)}, whole=True),
        "shuffle of two pictures": Case("r = Reshape(x, s) t = Transpose<perm=[0,2,1,3,4]>(r) y = Reshape(t, u)", {"s": ints(2, 2, 3, 2, 2), "u": ints(2, 6, 2, 2)}, "float[2,6,2,2]", whole=True),
        "Expand": of("float[1,4,1,1]", "y = Expand(x, s)", s=ints(1, 4, 2, 3)),
        "Expand of a row": of("float[3]", "y = Expand(x, s)", s=ints(1, 4, 2, 3)),
        "Tile": case("y = Tile(x, r)", r=ints(1, 2, 1, 3)),
        "Tile of a computed number": Case("y = Tile(x, v)", more="int64[4] v", y="float[1,8,5,6] y"),
        "DepthToSpace": of("float[1,8,2,3]", "y = DepthToSpace<blocksize=2>(x)"),
        "DepthToSpace by columns": of("float[1,8,2,3]", 'y = DepthToSpace<blocksize=2, mode="CRD">(x)'),
        "SpaceToDepth": of("float[1,2,4,6]", "y = SpaceToDepth<blocksize=2>(x)"),
    },
    "cuts": {
        "Slice": case("y = Slice(x, b, e, a)", b=ints(1, -4), e=ints(3, 100), a=ints(1, 3)),
        "Slice by steps": case("y = Slice(x, b, e, a, s)", b=ints(1, 4), e=ints(5, 0), a=ints(2, 3), s=ints(2, -1)),
        "Slice to the first": case("y = Slice(x, b, e, a, s)", b=ints(4), e=ints(-100), a=ints(-2), s=ints(-2)),
        "Slice of all axes": of("float[3,4]", "y = Slice(x, b, e)", b=ints(1, 0), e=ints(3, 2)),
        "Slice of six axes": of("float[1,1,2,2,2,3]", "y = Slice(x, b, e)", b=ints(0), e=ints(1)),
        "Slice of computed bounds": Case("y = Slice(x, v, e)", {"e": ints(1)}, more="int64[1] v", y="float[1,4,5,6] y"),
        "Split": Case("y, z = Split<axis=1, num_outputs=2>(x)", y="y, z"),
        "Split of five": Case("a, b, c, d, y = Split<axis=2, num_outputs=5>(x)", y="a, b, c, d, y"),
        "Split unequally": Case("a, y = Split<axis=-1>(x, n)", {"n": ints(4, 2)}, y="a, y"),
        "Gather": case("y = Gather<axis=1>(x, i)", i=ints(3, 0, -3)),
        "Gather of one": case("y = Gather<axis=-2>(x, i)", i=np.array(-1, np.int64)),
        "Gather of a table": of("float[2,3]", "y = Gather(x, i)", i=np.array([[1, 0], [0, -1]], np.int64)),
        "Gather of computed rows": Case("y = Gather<axis=2>(x, v)", more="int64[3] v"),
        "Gather of int32": Case("y = Gather<axis=1>(x, v)", x="int32[2,3]", more="int32[2,2] v"),
        "Pad": case("y = Pad(x, p)", p=ints(0, 0, 1, 2, 0, 1, 3, 0)),
        "Pad with 0.5": case("y = Pad(x, p, v)", p=ints(0, 0, 1, 2, 0, 1, 3, 0), v=scalar(0.5)),
        "Pad of axes": case("y = Pad(x, p, , a)", p=ints(1, 2, 3, 0), a=ints(-1, 1)),
        "Pad by less": case("y = Pad(x, p)", p=ints(0, -1, 1, 0, 0, 1, -2, 0)),
        "Pad of int32": of("int32[2,3]", "y = Pad(x, p, v)", p=ints(0, 1, 1, 0), v=np.int32(7)),
        "Pad, reflected": case('y = Pad<mode="reflect">(x, p)', p=ints(0, 0, 1, 2, 0, 0, 3, 1)),
        "Pad, reflected channels": case('y = Pad<mode="reflect">(x, p)', p=ints(0, 2, 1, 0, 0, 1, 0, 0)),
        "Pad, reflected int32": of("int32[2,3]", 'y = Pad<mode="reflect">(x, p)', p=ints(0, 1, 1, 2)),
        "Pad, repeated": case('y = Pad<mode="edge">(x, p)', p=ints(0, 0, 1, 2, 0, 0, 3, 1)),
        "Pad, around": case('y = Pad<mode="wrap">(x, p)', p=ints(0, 1, 0, 0, 0, 2, 0, 1)),
        "Pad, repeated and less": case('y = Pad<mode="edge">(x, p)', p=ints(0, 0, -1, 0, 0, 0, 1, 0)),
    },
    "recurrence": {
        "LSTM": Case("y, h, c = LSTM<hidden_size=2>(x, w, r, b)", {"w": w(1, 8, 3), "r": w(1, 8, 2, seed=2), "b": w(1, 16, seed=3)}, "float[2,1,3]", y="y, h, c"),
        "LSTM of both ways": Case('y, h = LSTM<hidden_size=2, direction="bidirectional">(x, w, r, , , i, j)', {"w": w(2, 8, 3), "r": w(2, 8, 2, seed=2), "i": w(2, 2, 2), "j": w(2, 2, 2, seed=4)}, "float[2,2,3]", y="y, h"),
        "LSTM backwards": Case('y = LSTM<hidden_size=2, direction="reverse">(x, w, r, , , v)', {"w": w(1, 8, 3), "r": w(1, 8, 2, seed=2)}, "float[2,1,3]", "float[1,1,2] v"),
        "GRU": Case("y, h = GRU<hidden_size=2, linear_before_reset=1>(x, w, r, b)", {"w": w(1, 6, 3), "r": w(1, 6, 2, seed=2), "b": w(1, 12, seed=3)}, "float[2,1,3]", y="y, h"),
        "RNN": Case("y = RNN<hidden_size=2>(x, w, r)", {"w": w(1, 2, 3), "r": w(1, 2, 2, seed=2)}, "float[2,1,3]"),
    },
    "written": {
        "ScatterND": of("float[4,3]", "y = ScatterND(x, i, u)", i=np.array([[2], [0]], np.int64), u=w(2, 3)),
        "GridSample": Case("y = GridSample(x, v)", x="float[1,2,3,4]", more="float[1,2,2,2] v"),
        "RoiAlign": Case("y = RoiAlign<output_height=2, output_width=2, sampling_ratio=1>(x, v, i)", {"i": ints(0, 0)}, "float[1,2,6,6]", "float[2,4] v"),
        "DFT": of("float[1,4,1]", "y = DFT<axis=1>(x)"),
        "an unknown operator": of("float[2,3,3]", "y = Det(x)"),
        "Einsum": of("float[2,3]", 'y = Einsum<equation="ij->ji">(x)'),
    },
}  # fmt: skip

FEW = 12
"""Values of a constant that are all shown."""


def plain_recipe(graph: Graph) -> Recipe:
    """Return a recipe whose ranges depend on nothing but the order of the tensors."""
    spans = {
        name: np.array([-1 - number / 8, 2 + number / 4], np.float32)
        for number, name in enumerate(graph.shapes)
        if graph.dtype(name) == np.float32 and name not in graph.constants
    }
    return minmax_recipe(graph, {}, values=spans)


def shown(value: NDArray[Any] | np.generic | float | str | bool) -> str:
    """Return a constant in words; a long one by its sum and the sum that its order decides."""
    if not isinstance(value, np.ndarray):
        return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
    flat = value.ravel()
    if value.size <= FEW or value.dtype.kind not in "fiu":
        items = " ".join(f"{one:.6g}" if value.dtype.kind == "f" else str(one) for one in flat)
    else:
        total, weighed = (fsum(float(v) * k for k, v in enumerate(flat, 1)) for k in (0, 1))
        total = fsum(float(v) for v in flat)
        items = f"sum {total:.5g}, by place {weighed:.5g}"
    return f"{value.dtype}{list(value.shape)}({items})"


def listing(family: Mapping[str, Case], describe: Callable[[Case, str], list[str]]) -> str:
    """Return the text of a family: each case in float, and with a recipe where it is expressed."""
    parts = []
    for name, case in family.items():
        real, integer = describe(case, "fp32"), describe(case, "int8")
        parts.append("\n  ".join([f"# {name}: {case.nodes}", *real]))
        if integer != real:
            parts.append("\n  ".join(["with a recipe:", *integer]))
    return "\n".join(parts) + "\n"
