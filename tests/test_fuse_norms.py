"""A normalization that is spelled out becomes one operator, whose variance is never rounded."""

from pathlib import Path
from typing import Any

import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, graph_of, ints, model_of, ops, rewritten, scalar

from edgeconv.export.passes.fuse_norms import fuse_norms

SPELLINGS = {
    "divided": "s = Mul(d, d)\n v = ReduceMean<keepdims = 1>(s, axes)\n e = Add(v, eps)\n"
    " r = Sqrt(e)\n n = Div(d, r)",
    "a power, times the inverse": "s = Pow(d, two)\n v = ReduceMean<keepdims = 1>(s, axes)\n"
    " e = Add(eps, v)\n q = Sqrt(e)\n r = Reciprocal(q)\n n = Mul(r, d)",
    "the mean of the squares less the square of the mean": "s = Mul(x, x)\n"
    " m2 = ReduceMean<keepdims = 1>(s, axes)\n u2 = Mul(u, u)\n v = Sub(m2, u2)\n"
    " e = Add(v, eps)\n r = Pow(e, half)\n n = Mul(d, r)",
}
BEHIND = {
    "scale and shift": "m = Mul(n, g)\n y = Add(b, m)",
    "shift": "y = Add(n, b)",
    "nothing": "y = Relu(n)",
}
SHAPES = {
    "tokens": ((2, 5, 6), (-1,), (6,), "LayerNormalization"),
    "whole pictures": ((1, 3, 4, 5), (1, 2, 3), (3, 4, 5), "LayerNormalization"),
    "each channel": ((2, 3, 4, 5), (2, 3), (3, 1, 1), "InstanceNormalization"),
    "the channels": ((2, 3, 4, 5), (1,), (3, 1, 1), "LayerNormalization"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_one_operator(spelling: str, behind: str, shape: str) -> None:
    sizes, axes, constant, op = SHAPES[shape]
    body = f"u = ReduceMean<keepdims = 1>(x, axes)\n d = Sub(x, u)\n {SPELLINGS[spelling]}\n {BEHIND[behind]}"
    values: dict[str, Any] = {
        "axes": ints(*axes),
        "eps": scalar(1e-3),
        "two": scalar(2.0),
        "half": scalar(-0.5),
        "g": floats(*constant, seed=1),
        "b": floats(*constant, seed=2),
    }
    used = {name: value for name, value in values.items() if name in body.replace("Reci", "")}
    border = ",".join(map(str, sizes))
    graph = graph_of(f"(float[{border}] x) => (float[{border}] y) {{ {body} }}", **used)
    expected = ["LayerNormalization", "Relu"] if behind == "nothing" else [op]
    moved = [node for node in ops(rewritten(graph, fuse_norms)) if node != "Transpose"]
    assert moved == expected


@pytest.mark.parametrize(
    "changed",
    [
        ("v = ReduceMean<keepdims = 1>(s, axes)", "v = ReduceMean<keepdims = 1>(s, other)"),
        ("s = Mul(d, d)", "s = Mul(x, x)"),
        ("e = Add(v, eps)", "e = Add(v, u)"),
    ],
)
def test_what_is_no_variance_stays(changed: tuple[str, str]) -> None:
    body = f"u = ReduceMean<keepdims = 1>(x, axes)\n d = Sub(x, u)\n {SPELLINGS['divided']}\n y = Relu(n)"
    body = body.replace(*changed)
    values: dict[str, Any] = {"axes": ints(-1), "other": ints(0), "eps": scalar(1e-3)}
    used = {name: value for name, value in values.items() if name in body}
    graph = graph_of(f"(float[4,6] x) => (float[4,6] y) {{ {body} }}", **used)
    assert not fuse_norms(graph)


@pytest.mark.parametrize("op", ["LayerNormalization<axis = 3>", "InstanceNormalization"])
def test_a_norm_of_five_axes_goes_everywhere(op: str, tmp_path: Path) -> None:
    constant = (4, 5) if "axis" in op else (2,)
    model = model_of(
        f"(float[1,2,3,4,5] x) => (float[A,B,C,D,E] y) {{ y = {op}(x, g, b) }}",
        g=floats(*constant, seed=1),
        b=floats(*constant, seed=2),
    )
    targets = ("onnx", "tflite", "coreml") if "axis" in op else ("onnx", "tflite")
    same_everywhere(model, {"x": floats(1, 2, 3, 4, 5)}, tmp_path, targets=targets)
