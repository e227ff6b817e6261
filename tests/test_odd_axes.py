"""Small graphs of odd axes and types, held against onnxruntime on every target."""

from pathlib import Path

import numpy as np
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, ints, model_of

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.chance import refuse_chance

POOL = "ceil_mode = 1, kernel_shape = [1, 3], pads = [0, 2, 0, 1], strides = [3, 3]"
KINDS: dict[str, tuple[str, int, dict[str, np.ndarray]]] = {
    "late windows of a maximum": (
        f"(float[1,3,5,4] x) => (float[1,3,u,v] y) {{ p = MaxPool<{POOL}>(x)\n y = Relu(p) }}",
        16,
        {},
    ),
    "late windows of an average": (
        f"(float[1,3,5,4] x) => (float[1,3,u,v] y, float[1,3,5,4] x) {{ p = AveragePool<{POOL}>(x)\n y = Neg(p) }}",
        16,
        {},
    ),
    "late windows, padding counted": (
        "(float[1,2,7,8] x) => (float[1,2,u,v] y) {"
        "y = AveragePool<ceil_mode = 1, kernel_shape = [2, 3], pads = [0, 0, 1, 1], strides = [2, 2],"
        " count_include_pad = 1>(x) }",
        16,
        {},
    ),
    "a float to a whole power": (
        "(float[2,3,4] x) => (float[2,3,4] y) { y = Pow(x, k) }",
        15,
        {"k": np.array([0, 1, 2, 3], np.int32)},
    ),
    "a whole number to a power": (
        "(float[2,3] x) => (float[2,3] y) { i = Cast<to = 7>(x)\n p = Pow(i, k)\n y = Cast<to = 1>(p) }",
        15,
        {"k": np.array(3.0, np.float32)},
    ),
    "places over two axes, reduced": (
        "(float[1,2,7,5] x) => (float[1,2,3,2] y) { a = Gather<axis = 2>(x, rows)\n"
        " b = Gather<axis = 4>(a, columns)\n y = ReduceMean<keepdims = 0>(b, axes) }",
        18,
        {
            "rows": np.arange(6).reshape(3, 2),
            "columns": np.arange(4).reshape(2, 2),
            "axes": ints(3, 5),
        },
    ),
    "six axes of single values and padding": (
        "(float[6,8,5] x) => (float[480] y) { a = Reshape(x, six)\n b = Sigmoid(a)\n"
        " c = Pad(b, pads)\n y = Reshape(c, line) }",
        18,
        {
            "six": ints(2, 3, 2, 4, 5, 1),
            "pads": ints(0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0),
            "line": ints(-1),
        },
    ),
    "a sum that runs along an axis counted from behind": (
        "(float[2,3,4] x) => (float[2,3,4] y) { y = CumSum<reverse = 1>(x, axis) }",
        18,
        {"axis": np.array(-2)},
    ),
    "every row written over": (
        "(float[1,7] x) => (float[1,7] y) { s = ScatterND(x, at, rows)\n y = Add(s, s) }",
        17,
        {"at": np.zeros((1, 1), np.int64), "rows": floats(1, 7)},
    ),
    "a dropout between the borders": (
        "(float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Dropout(x)\n z = Relu(x) }",
        18,
        {},
    ),
    "a border repeated behind a cut, of one axis": (
        '(float[2,3,6] x) => (float[2,3,7] y) { p = Pad<mode = "edge">(x, pads, , axis)\n y = Relu(p) }',
        18,
        {"pads": ints(-1, 2), "axis": ints(2)},
    ),
    "windows of powers up to the last": (
        "(float[1,3,9,8] x) => (float[1,3,u,v] y, float[1,3,u,v] z) {"
        " y = LpPool<kernel_shape = [3, 2], strides = [2, 3], pads = [1, 0, 0, 0], ceil_mode = 1>(x)\n"
        " z = LpPool<kernel_shape = [3, 2], strides = [2, 3], dilations = [2, 1], ceil_mode = 1, p = 1>(x) }",
        18,
        {},
    ),
    "Fourier transforms": (
        "(float[2,6,1] x) => (float[2,4,2] a, float[2,5,2] b, float[2,6,2] c) { a = DFT<onesided = 1>(x)\n"
        " b = DFT<axis = 1>(x, five)\n w = DFT<axis = -2>(x)\n c = DFT<inverse = 1>(w) }",
        17,
        {"five": np.array(5)},
    ),
    "a spectrogram": (
        "(float[2,20,1] x) => (float[2,4,4,2] y, float[2,4,6,2] z) { s = Squeeze(x, axes)\n"
        " y = STFT(s, step, hann, six)\n z = STFT<onesided = 0>(x, step, , six) }",
        17,
        {
            "step": np.array(4),
            "six": np.array(6),
            "hann": np.hanning(6).astype(np.float32),
            "axes": ints(2),
        },
    ),
    "six axes split and summed up": (
        "(float[6,8,4] x) => (float[6,4,4] y, float[6,8,4] z) { a = Reshape(x, six)\n b, c = Split<axis = 2>(a, two)\n"
        " s = CumSum<exclusive = 1>(a, axis)\n d = Sub(b, c)\n y = Reshape(d, half)\n z = Reshape(s, whole) }",
        18,
        {
            "six": ints(2, 3, 4, 2, 2, 2),
            "two": ints(2, 2),
            "axis": np.array(-3),
            "half": ints(6, 4, 4),
            "whole": ints(6, 8, 4),
        },
    ),
    "a part of nothing": (
        "(float[2,6] x) => (float[2,6] y) { a, b = Split<axis = 1>(x, sizes)\n c = Neg(a)\n d = Exp(b)\n"
        " y = Concat<axis = 1>(c, d) }",
        18,
        {"sizes": ints(6, 0)},
    ),
    "a mean of no axis": (
        "(float[2,3,4] x) => (float[2,3,4] y) { m = ReduceMean<noop_with_empty_axes = 1>(x)\n y = Neg(m) }",
        18,
        {},
    ),
    "a dropout that drops nothing": (
        "(float[2,3] x) => (float[2,3] y) { d = Dropout(x, ratio, training)\n y = Neg(d) }",
        17,
        {"ratio": np.array(0, np.float32), "training": np.array(True)},
    ),
    "a product of tensors with what is added scaled": (
        "(float[4,6] x) => (float[4,4] y) { s = Sigmoid(x)\n b = ReduceMax<axes = [1]>(x)\n"
        " y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, s, b) }",
        17,
        {},
    ),
    "a border repeated, with a value beside it": (
        '(float[2,3] x) => (float[2,6] y) { p = Pad<mode = "reflect", pads = [0, 1, 0, 2], value = 0.0>(x)\n'
        " y = Relu(p) }",
        9,
        {},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_odd_axes_and_types_are_right_on_every_target(kind: str, tmp_path: Path) -> None:
    body, opset, constants = KINDS[kind]
    model = model_of(body, opset, **constants)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    same_everywhere(model, {"x": 2 * floats(*shape)}, tmp_path)


def test_the_logarithm_of_nothing_has_no_bound(tmp_path: Path) -> None:
    body = "(float[1,4] x) => (float[1,4] y) { l = Log(x)\n y = Exp(l) }"
    same_everywhere(model_of(body), {"x": np.zeros((1, 4), np.float32)}, tmp_path, tolerance=0.0)
    single = model_of("(float[1,4] x) => (float[1,4] y) { y = Log(x) }")
    same_everywhere(single, {"x": np.zeros((1, 4), np.float32)}, tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("r = RandomNormalLike(x)\n y = Add(x, r)", "make them an input"),
        ("y = Dropout(x, half, yes)", r"call eval\(\)"),
    ],
)
def test_what_chance_decides_is_refused(body: str, said: str) -> None:
    constants = {"half": np.array(0.5, np.float32), "yes": np.array(True)}
    model = model_of(f"(float[2,3] x) => (float[2,3] y) {{ {body} }}", 17, **constants)
    with pytest.raises(EdgeconvError, match=said):
        refuse_chance(model)
