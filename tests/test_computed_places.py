"""Reading at computed places, sorting, computed weights and rare functions come out right everywhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, graph_of, ints, model_of, ops, rewritten, scalar

from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.passes.computed_indices import computed_indices
from edgeconv.export.passes.computed_weights import computed_weights
from edgeconv.export.passes.fuse_softmax import fuse_softmax

RANDOM = np.random.default_rng(0)
GRID = RANDOM.uniform(-1.3, 1.3, (2, 4, 5, 2)).astype(np.float32)
SAMPLED = [
    ("bilinear", "zeros", 0),
    ("bilinear", "border", 1),
    ("nearest", "zeros", 1),
    ("nearest", "border", 0),
]


def test_pictures_are_sampled_at_computed_places(tmp_path: Path) -> None:
    nodes = "\n".join(
        f'y{k} = GridSample<mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}>(x, g)'
        for k, (mode, padding, corners) in enumerate(SAMPLED)
    )
    outs = ", ".join(f"float[2,3,4,5] y{k}" for k in range(len(SAMPLED)))
    model = model_of(f"(float[2,3,6,7] x, float[2,4,5,2] g) => ({outs}) {{ {nodes} }}", 16)
    feeds = {"x": floats(2, 3, 6, 7), "g": GRID}
    same_everywhere(model, feeds, tmp_path, targets=("onnx", "tflite"))


def test_core_ml_samples_them_too(tmp_path: Path) -> None:
    model = model_of(
        '(float[2,3,6,7] x, float[2,4,5,2] g) => (float[2,3,4,5] y) { y = GridSample<mode = "nearest">(x, g) }',
        16,
    )
    same_everywhere(model, {"x": floats(2, 3, 6, 7), "g": GRID}, tmp_path, targets=("coreml",))


def test_values_are_picked_and_sorted_by_computed_indices(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,3,6] x, int64[2,4,6] i, int64[2,4,1] j) => (float[2,4,6] a, float[2,4,6] b,"
        " float[2,3,2] v, int64[2,3,2] vi, float[2,1,6] w, int64[2,1,6] wi) {"
        " a = GatherElements<axis = 1>(x, i)\n b = GatherND<batch_dims = 1>(x, j)\n"
        " v, vi = TopK(x, two)\n w, wi = TopK<axis = 1, largest = 0>(x, one) }",
        two=ints(2),
        one=ints(1),
    )
    feeds: dict[str, Any] = {
        "x": floats(2, 3, 6),
        "i": RANDOM.integers(-3, 3, (2, 4, 6)),
        "j": RANDOM.integers(-3, 3, (2, 4, 1)),
    }
    same_everywhere(model, feeds, tmp_path)


def test_a_convolution_with_computed_weights_is_a_product(tmp_path: Path) -> None:
    body = (
        "(float[2,4,6,7] x, float[6,2,3,3] w, float[6] b) => (float[2,6,3,7] y)"
        " { y = Conv<group = 2, pads = [1,1,1,1], strides = [2,1]>(x, w, b) }"
    )
    rewritten(graph_of(body), computed_weights)
    feeds = {"x": floats(2, 4, 6, 7), "w": floats(6, 2, 3, 3, seed=1), "b": floats(6, seed=2)}
    same_everywhere(model_of(body), feeds, tmp_path)


TRANSPOSED = [
    "(float[1,4,5,6] x, float[4,3,3,3] w) => (float[1,3,11,13] y)"
    " { y = ConvTranspose<strides = [2,2]>(x, w) }",
    "(float[2,4,5,6] x, float[4,3,3,2] w, float[6] b) => (float[2,6,11,12] y)"
    " { y = ConvTranspose<group = 2, strides = [2,2], pads = [1,0,0,1], output_padding = [1,1]>(x, w, b) }",
    "(float[2,4,7] x, float[4,3,3] w) => (float[2,3,11] y)"
    " { y = ConvTranspose<dilations = [2]>(x, w) }",
]


@pytest.mark.parametrize("body", TRANSPOSED)
def test_a_transposed_convolution_with_computed_weights_is_a_product(
    body: str, tmp_path: Path
) -> None:
    graph = graph_of(body)
    feeds = {name: floats(*graph.shape(name), seed=k) for k, name in enumerate(graph.inputs)}
    made = rewritten(graph, computed_weights)
    assert all(node.inputs[1] in made.constants for node in made.of("ConvTranspose"))
    same_everywhere(model_of(body), feeds, tmp_path)


def test_convolutions_of_constants_take_computed_weights_and_biases(tmp_path: Path) -> None:
    body = (
        "(float[6,4,3,3] w, float[2,4,6,6] x, float[3] b) => (float[1,6,6,6] y, float[2,3,6,6] z,"
        " float[2,3,12,12] t) { y = Conv<pads = [1,1,1,1]>(start, w)\n"
        " z = Conv(x, kernel, b)\n t = ConvTranspose<strides = [2,2]>(x, kernel2, b) }"
    )
    model = model_of(
        body,
        start=floats(1, 4, 6, 6, seed=3),
        kernel=floats(3, 4, 1, 1, seed=4),
        kernel2=floats(4, 3, 2, 2, seed=5),
    )
    feeds = {"w": floats(6, 4, 3, 3), "x": floats(2, 4, 6, 6, seed=1), "b": floats(3, seed=2)}
    same_everywhere(model, feeds, tmp_path)


def test_functions_that_no_target_has_are_written_as_others(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,9,12] x, float[12] z, float[1,18,12] c) => (float[2,9,12] a, float[2,9,12] b,"
        " float[2,9,12] d, float[2,9,12] e, float[2,9,12] f, float[2,9,12] h, float[2,9,12] m,"
        " float[1,2,5,7] i) {"
        " a = Asin(x)\n b = Acos(x)\n d = Asinh(x)\n f = Atanh(x)\n h = Atan(x)\n"
        " z2 = Abs(x)\n z1 = Add(z2, one)\n e = Acosh(z1)\n m = Mod<fmod = 1>(x, z)\n"
        " i = Col2Im<strides = [2,2], pads = [1,1,1,1]>(c, image, block) }",
        one=scalar(1.0),
        image=ints(5, 7),
        block=ints(3, 3),
    )
    small = floats(2, 9, 12) / 5
    feeds = {"x": small, "z": np.abs(floats(12, seed=1)) + 0.1, "c": floats(1, 18, 12)}
    same_everywhere(model, feeds, tmp_path)


def test_a_softmax_that_is_spelled_out_is_one_operator() -> None:
    body = (
        "(float[2,3,6] x) => (float[2,3,6] y) { m = ReduceMax<keepdims = 1>(x, axes)\n"
        " d = Sub(x, m)\n e = Exp(d)\n s = ReduceSum<keepdims = 1>(e, axes)\n y = Div(e, s) }"
    )
    graph = graph_of(body, axes=ints(1))
    assert ops(rewritten(graph, fuse_softmax)) == ["Softmax"]
    other = graph_of(body.replace("(e, axes)", "(e, other)"), axes=ints(1), other=ints(2))
    assert ops(rewritten(other, fuse_softmax)) == ["ReduceMax", "Sub", "Softmax"]


@pytest.mark.parametrize("opset", [13, 18])
def test_the_windows_of_unfold_stay_within_five_axes(opset: int) -> None:
    model = model_of(
        "(float[1,3,6,6] x) => (float[1,12,9] y) { a = Gather<axis = 2>(x, i)\n"
        " b = Gather<axis = 4>(a, i)\n c = Transpose<perm = [0,1,2,4,3,5]>(b)\n y = Reshape(c, s) }",
        opset,
        i=np.array([[0, 2, 4], [1, 3, 5]]),
        s=ints(1, 12, 9),
    )
    made = rewritten(from_onnx(model), computed_indices)
    assert [len(made.shape(node.output)) for node in made.of("Gather")] == [5, 5]


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_values_are_written_at_computed_places(reduction: str, tmp_path: Path) -> None:
    how = f'reduction = "{reduction}"'
    model = model_of(
        "(float[3,4,2] x, int64[5,2] at, float[5,2] u, int64[3,2,2] along, float[3,2,2] v)"
        f" => (float[3,4,2] a, float[3,4,2] b, float[3,4,2] c) {{ a = ScatterND<{how}>(x, at, u)\n"
        f" b = ScatterElements<axis = 1, {how}>(x, along, v)\n"
        f" part = Slice(along, one, two, one)\n w = Slice(v, one, two, one)\n"
        f" c = ScatterElements<axis = 1, {how}>(x, part, w) }}",
        18,
        one=ints(1),
        two=ints(2),
    )
    draw = np.random.default_rng(3)
    along = draw.integers(-4, 4, (3, 2, 2))
    feeds = {
        "x": floats(3, 4, 2),
        "at": np.array([[0, 1], [2, -1], [1, 0], [-1, 0], [0, 0]]),
        "u": floats(5, 2, seed=1),
        "along": along,
        "v": floats(3, 2, 2, seed=2),
    }
    feeds["at"][4] = feeds["at"][0]  # the last of several is left
    same_everywhere(model, feeds, tmp_path)


def test_whole_numbers_are_counted_at_computed_places(tmp_path: Path) -> None:
    model = model_of(
        "(int64[7] x) => (int64[4] y, int64 m, uint8[7] b) {"
        ' at = Reshape(x, column)\n y = ScatterND<reduction = "add">(zero, at, one)\n'
        " m = ArgMax<keepdims = 0>(x)\n d = Mul(x, k)\n b = Cast<to = 2>(d) }",
        18,
        zero=np.zeros(4, np.int64),
        one=np.ones(7, np.int64),
        column=ints(7, 1),
        k=np.array(100),
    )
    same_everywhere(model, {"x": np.array([0, 3, 1, 3, 3, 0, -1])}, tmp_path)
