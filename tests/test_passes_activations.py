"""The passes over activations: clamps, hard swish, hard sigmoid."""

import numpy as np
import pytest
from graph_kit import Floats, floats, graph_of, ops, rewritten, scalar

from edgeconv.export.graph import Graph
from edgeconv.export.passes.expand_gelu import expand_gelu
from edgeconv.export.passes.fold_hard_sigmoid import fold_hard_sigmoid
from edgeconv.export.passes.fuse_activations import fuse_activations
from edgeconv.export.passes.fuse_clamps import fuse_clamps
from edgeconv.export.prepare import simplify_graph


@pytest.mark.parametrize(
    ("activation", "clamp"),
    [
        ("Relu(a)", (0.0, np.inf)),
        ("Clip(a, zero, six)", (0.0, 6.0)),
        ("Clip(a, , six)", (-np.inf, 6.0)),
        ("Clip(a, zero)", (0.0, np.inf)),
    ],
)
@pytest.mark.parametrize(
    "maker",
    [
        "Conv(x, w)",
        "Add(x, x)",
        "Concat<axis = 1>(x, x)",
        "MaxPool<kernel_shape = [2, 2]>(x)",
        "GlobalAveragePool(x)",
        "ConvTranspose(x, w)",
    ],
)
def test_an_activation_is_fused_into_what_it_bounds(
    maker: str, activation: str, clamp: tuple[float, float]
) -> None:
    before = graph_of(
        f"(float[1,4,5,5] x) => (float[N,C,H,W] y) {{ a = {maker}\n y = {activation} }}",
        w=floats(4, 4, 1, 1),
        zero=scalar(0),
        six=scalar(6),
    )
    after = rewritten(before, fuse_clamps)
    assert len(after.nodes) == 1
    assert after.nodes[0].clamp == clamp
    assert after.nodes[0].outputs == ["y"]


def test_a_chain_of_activations_is_their_intersection() -> None:
    before = graph_of(
        "(float[1,9] x) => (float[1,9] y) { a = Add(x, x)\n b = Relu(a)\n c = Clip(b, low, six)\n"
        " y = Relu(c) }",
        low=scalar(-1),
        six=scalar(6),
    )
    after = rewritten(before, fuse_clamps)
    assert [node.clamp for node in after.nodes] == [(0.0, 6.0)]


def test_of_bounds_that_cross_the_upper_one_is_taken() -> None:
    before = graph_of(
        "(float[1,9] x) => (float[1,9] y) { a = Add(x, x)\n y = Clip(a, six, zero) }",
        zero=scalar(0),
        six=scalar(6),
    )
    assert [node.clamp for node in rewritten(before, fuse_clamps).nodes] == [(0.0, 0.0)]


@pytest.mark.parametrize(
    "body",
    [
        "a = Add(x, x)\n r = Relu(a)\n y = Sub(r, a)",
        "y = Relu(x)",
        "a = Sigmoid(x)\n y = Relu(a)",
        "m = ReduceMax<keepdims = 0>(x)\n a = Add(x, x)\n y = Clip(a, , m)",
        "a = Add(x, x)\n b = Clip(a, , zero)\n y = Clip(b, six, )",
    ],
)
def test_what_cannot_be_one_clamp_stays(body: str) -> None:
    before = graph_of(
        f"(float[1,9] x) => (float[1,9] y) {{ {body} }}", zero=scalar(0), six=scalar(6)
    )
    assert "Relu" in ops(rewritten(before, fuse_clamps)) or "Clip" in ops(before)
    assert ops(rewritten(before, fuse_clamps))[-1] == ops(before)[-1]


def test_an_activation_on_an_output_or_on_integers_stays() -> None:
    output = graph_of("(float[9] x) => (float[9] a, float[9] y) { a = Add(x, x)\n y = Relu(a) }")
    assert not fuse_clamps(output)
    integers = graph_of("(int32[9] x) => (int32[9] y) { a = Add(x, x)\n y = Relu(a) }")
    assert not fuse_clamps(integers)


def swish(count: int, form: str) -> Graph:
    body, last = [], "x"
    for i in range(count):
        out = "y" if i == count - 1 else f"o{i}"
        if form == "gate":
            body.append(f"h{i} = HardSigmoid<alpha = 0.16666667, beta = 0.5>({last})")
        else:
            body.append(f"a{i} = Add({last}, three)\n c{i} = Clip(a{i}, zero, six)")
            body.append(f"h{i} = {form}")
            body[-1] = body[-1].replace("@", f"c{i}")
        body.append(f"{out} = Mul({last}, h{i})")
        last = out
    lines = "\n".join(body)
    return graph_of(
        f"(float[1,9] x) => (float[1,9] y) {{ {lines} }}",
        three=scalar(3),
        zero=scalar(0),
        six=scalar(6),
        sixth=scalar(1 / 6),
    )


@pytest.mark.parametrize("form", ["gate", "Div(@, six)", "Mul(@, sixth)"])
@pytest.mark.parametrize("count", [1, 30])
def test_hard_swish_is_recognised_however_many_there_are(form: str, count: int) -> None:
    before = swish(count, form)
    assert ops(rewritten(before, fuse_activations, 1e-3)) == ["HardSwish"] * count
    assert ops(simplify_graph(before)) == ["HardSwish"] * count


@pytest.mark.parametrize(
    "body",
    [
        "h = HardSigmoid<alpha = 0.2, beta = 0.5>(x)\n y = Mul(x, h)",
        "h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x)\n y = Mul(k, h)",
        "h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x)\n m = Mul(x, h)\n y = Add(m, h)",
        "a = Add(x, six)\n c = Clip(a, zero, six)\n m = Div(c, six)\n y = Mul(x, m)",
        "a = Add(x, three)\n c = Clip(a, zero, three)\n m = Div(c, six)\n y = Mul(x, m)",
        "a = Add(x, three)\n c = Clip(a, zero, six)\n m = Div(c, six)\n y = Mul(a, m)",
    ],
)
def test_what_is_no_hard_swish_stays(body: str) -> None:
    before = graph_of(
        f"(float[1,9] x) => (float[1,9] y) {{ {body} }}",
        three=scalar(3),
        zero=scalar(0),
        six=scalar(6),
        k=floats(9),
    )
    after = rewritten(before, fuse_activations)
    assert "HardSwish" not in ops(after)


def test_a_constant_of_higher_rank_is_no_hard_sigmoid() -> None:
    before = graph_of(
        "(float[2,2] x) => (float[1,2,2] y) { a = Add(x, three)\n c = Clip(a, zero, six)\n"
        " y = Div(c, deep) }",
        three=scalar(3),
        zero=scalar(0),
        six=scalar(6),
        deep=np.full((1, 1, 1), 6, np.float32),
    )
    assert not fuse_activations(before)


def gated(layer: str, extra: str = "", **constants: Floats) -> Graph:
    border = (
        "(float[2,4] x) => (float[N,M] y)"
        if "Gemm" in layer
        else "(float[1,4,3,3] x) => (float[N,C,H,W] y)"
    )
    return graph_of(
        f"{border} {{ {extra} a = {layer}\n y = HardSigmoid<alpha = 0.25, beta = 0.4>(a) }}",
        **constants,
    )


def test_a_hard_sigmoid_folds_into_its_layer() -> None:
    w, bias = floats(4, 4, 1, 1), floats(4, seed=5)
    for before in (
        gated("Conv(x, w)", w=w),
        gated("Conv(x, w, b)", w=w, b=bias),
        gated("Gemm<transB = 1>(x, w, b)", w=w[:, :, 0, 0].copy(), b=bias),
    ):
        after = rewritten(before, fold_hard_sigmoid)
        assert len(after.nodes) == 1
        assert after.nodes[0].clamp == (0.0, 1.0)
        assert after.nodes[0].outputs == ["y"]


def test_a_hard_sigmoid_stays_where_the_layer_cannot_take_it() -> None:
    w, bias = floats(4, 4, 1, 1), floats(4, seed=5)
    flat = w[:, :, 0, 0].copy()
    for before in (
        gated("Conv(x, w, k)", "k = Relu(b)\n", w=w, b=bias),
        gated("Gemm(x, w, b)", w=flat, b=bias),
        gated("Gemm<transB = 1, beta = 2.0>(x, w, b)", w=flat, b=bias),
        gated("MatMul(x, w)", w=floats(3, 3)),
        graph_of(
            "(float[1,4,3,3] x) => (float[N,C,H,W] y) { a = Conv(x, w)\n h = HardSigmoid(a)\n"
            " y = Mul(a, h) }",
            w=w,
        ),
    ):
        assert not fold_hard_sigmoid(before)


SPELLINGS = {
    "Gelu": [
        "d = Div(x, root)\n e = Erf(d)\n f = Add(e, one)\n g = Mul(x, f)\n y = Mul(g, half)",
        "d = Mul(x, inverse)\n e = Erf(d)\n f = Add(one, e)\n g = Mul(half, x)\n y = Mul(f, g)",
        "d = Mul(x, inverse)\n e = Erf(d)\n f = Add(one, e)\n g = Mul(half, f)\n y = Mul(x, g)",
        "p = Pow(x, three)\n q = Mul(p, c)\n r = Add(x, q)\n s = Mul(r, k)\n t = Tanh(s)\n "
        "f = Add(t, one)\n g = Mul(half, x)\n y = Mul(g, f)",
        "p = Mul(x, x)\n q = Mul(p, c)\n r = Add(one, q)\n o = Mul(x, r)\n s = Mul(k, o)\n "
        "t = Tanh(s)\n f = Add(t, one)\n g = Mul(x, f)\n y = Mul(g, half)",
    ],
    "HardSwish": [
        "a = Add(x, three)\n b = Clip(a, zero, six)\n c0 = Mul(x, b)\n y = Div(c0, six)",
        "a = Add(three, x)\n b = Relu(a)\n m = Min(b, six)\n n = Mul(x, sixth)\n y = Mul(m, n)",
        "a = Mul(x, sixth)\n b = Add(a, half)\n m = Clip(b, zero, one)\n y = Mul(m, x)",
    ],
    "Gelu Mul": ["d = Div(x, root)\n e = Erf(d)\n f = Add(e, one)\n y = Mul(x, f)"],
    "HardSwish Mul": ["a = Add(x, three)\n b = Clip(a, zero, six)\n y = Mul(x, b)"],
    "HardSigmoid": ["a = Mul(x, sixth)\n b = Add(a, half)\n y = Clip(b, zero, one)"],
    "LeakyRelu": [
        "m = Mul(x, sixth)\n y = Max(m, x)",
        "a = Abs(x)\n b = Mul(a, c)\n d = Mul(x, rest)\n y = Add(b, d)",
        "a = Relu(x)\n n = Neg(x)\n r = Relu(n)\n m = Mul(r, half)\n y = Sub(a, m)",
    ],
    "Sigmoid Mul": ["n = Neg(x)\n e = Exp(n)\n d = Add(e, one)\n y = Div(x, d)"],
}


@pytest.mark.parametrize(
    ("fused", "body"), [(name, body) for name, bodies in SPELLINGS.items() for body in bodies]
)
def test_an_activation_is_recognised_by_its_values(fused: str, body: str) -> None:
    before = graph_of(
        f"(float[1,9] x) => (float[1,9] y) {{ {body} }}",
        zero=scalar(0),
        half=scalar(0.5),
        one=scalar(1),
        three=scalar(3),
        six=scalar(6),
        sixth=scalar(1 / 6),
        root=scalar(2**0.5),
        inverse=scalar(0.5**0.5),
        c=scalar(0.044715),
        rest=scalar(1 - 0.044715),
        k=scalar((2 / np.pi) ** 0.5),
    )
    after = rewritten(before, fuse_activations, 1e-4)
    assert ops(after) == fused.split()
    plain = rewritten(after, lambda graph: expand_gelu(graph, 18), 1e-5)
    assert (plain.opset, "Gelu" in ops(plain)) == (18, False)


def test_an_activation_with_a_reader_inside_stays() -> None:
    before = graph_of(
        "(float[1,9] x) => (float[1,9] y, float[1,9] e) "
        "{ d = Div(x, root)\n e = Erf(d)\n f = Add(e, one)\n g = Mul(x, f)\n y = Mul(g, half) }",
        half=scalar(0.5),
        one=scalar(1),
        root=scalar(2**0.5),
    )
    assert not fuse_activations(before)
