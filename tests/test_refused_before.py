"""Forms of operators that every target refused, or onnxruntime itself, are right on all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from any_net_kit import same_everywhere
from graph_kit import floats, ints, model_of, ops, run

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.onnx_io import load_model
from edgeconv.export.hub.refused_forms import write_refused_forms

RANDOM = np.random.default_rng(0)
REGIONS = np.array(
    [[-5, -7, 20, 30], [0, 0, 31, 35], [10, 12, 11, 13], [30, 30, 60, 70]], np.float32
)
INSIDE = np.array(
    [[0, 0, 32, 36], [3, 5, 19, 11], [10, 12, 10, 12], [-4, 20, 9, 40], [30, 1, 33, 35]], np.float32
)
AROUND = RANDOM.uniform(-1.7, 1.7, (2, 4, 5, 2)).astype(np.float32)


def test_statistics_that_nobody_reads_are_no_outputs(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,5] x) => (float[2,5] y) { y, m, v = LayerNormalization(x, s) }", 17, s=floats(5)
    )
    before = run(model, {"x": floats(2, 5)})[0]
    write_refused_forms(model)
    same_everywhere(model, {"x": floats(2, 5)}, tmp_path)
    assert len(model.graph.node[0].output) == 1
    np.testing.assert_array_equal(run(model, {"x": floats(2, 5)})[0], before)


POOLS = {
    "of a picture": ("float[2,3,6,8] x", "[2,3,3,4]", "kernel_shape = [2,2], strides = [2,2]"),
    "that overlaps its border": (
        "float[2,3,7,8] x",
        "[2,3,4,4]",
        "kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]",
    ),
    "that ends late, by columns": (
        "float[1,2,7,5] x",
        "[1,2,4,3]",
        "kernel_shape = [2,2], strides = [2,2], ceil_mode = 1, storage_order = 1",
    ),
    "of a signal": ("float[2,3,9] x", "[2,3,3]", "kernel_shape = [3], strides = [3]"),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_says_where_its_maxima_were(name: str, tmp_path: Path) -> None:
    given, made, attributes = POOLS[name]
    model = model_of(
        f"({given}) => (float{made} y, int64{made} i) {{ y, i = MaxPool<{attributes}>(x) }}"
    )
    x = floats(*(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim))
    same_everywhere(model, {"x": np.round(2 * x)}, tmp_path)  # rounded: the first of equals counts


def test_maxima_return_to_a_larger_picture_and_to_places_that_are_given(tmp_path: Path) -> None:
    model = model_of(
        "(float[1,2,7,7] x, float[1,2,2,2] d, int64[1,2,2,2] j) => (float[1,2,7,7] y, float[1,2,4,4] z) {"
        " p, i = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x)\n q = Abs(p)\n"
        " y = MaxUnpool<kernel_shape = [2,2], strides = [2,2]>(q, i, size)\n"
        " z = MaxUnpool<kernel_shape = [2,2], strides = [2,2]>(d, j) }",
        size=ints(1, 2, 7, 7),
    )
    places = np.array([0, 3, 9, 14, 17, 19, 24, 31]).reshape(1, 2, 2, 2)
    feeds: dict[str, Any] = {"x": floats(1, 2, 7, 7), "d": floats(1, 2, 2, 2), "j": places}
    same_everywhere(model, feeds, tmp_path)


@pytest.mark.parametrize("half", ["half_pixel", "output_half_pixel"])
def test_regions_are_averaged(half: str, tmp_path: Path) -> None:
    size = f'output_height = 4, output_width = 3, spatial_scale = 0.25, coordinate_transformation_mode = "{half}"'
    model = model_of(
        "(float[2,3,9,8] x, float[4,4] b, int64[4] n) => (float[4,3,4,3] y, float[4,3,4,3] z) {"
        f" y = RoiAlign<sampling_ratio = 2, {size}>(x, b, n)\n z = RoiAlign<{size}>(x, known, n) }}",
        known=REGIONS,
    )
    feeds = {"x": floats(2, 3, 9, 8), "b": REGIONS, "n": np.array([1, 0, 1, 0])}
    same_everywhere(model, feeds, tmp_path)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("half", ["half_pixel", "output_half_pixel"])
def test_regions_of_any_size_are_sampled_as_their_size_asks(
    mode: str, half: str, tmp_path: Path
) -> None:
    size = (
        "output_height = 3, output_width = 2, spatial_scale = 0.25,"
        f' mode = "{mode}", coordinate_transformation_mode = "{half}"'
    )
    model = model_of(
        "(float[2,3,9,8] x, float[5,4] b, int64[5] n)"
        " => (float[5,3,3,2] y, float[5,3,3,2] z, float[5,3,3,2] w) {"
        f" y = RoiAlign<{size}>(x, b, n)\n z = RoiAlign<sampling_ratio = 2, {size}>(x, b, n)\n"
        f" w = RoiAlign<{size}>(x, known, n) }}",
        known=INSIDE,
    )
    feeds = {"x": floats(2, 3, 9, 8), "b": INSIDE, "n": np.array([1, 0, 1, 0, 1])}
    same_everywhere(model, feeds, tmp_path)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_pictures_are_sampled_by_cubics_and_mirrored(padding: str, tmp_path: Path) -> None:
    modes = [("bicubic", 0), ("bicubic", 1), ("bilinear", 0), ("nearest", 1)]
    nodes = "\n".join(
        f'y{k} = GridSample<mode = "{mode}", padding_mode = "{padding}", align_corners = {aligned}>(x, g)'
        for k, (mode, aligned) in enumerate(modes)
    )
    outs = ", ".join(f"float[2,3,4,5] y{k}" for k in range(len(modes)))
    model = model_of(f"(float[2,3,6,7] x, float[2,4,5,2] g) => ({outs}) {{ {nodes} }}", 16)
    same_everywhere(model, {"x": floats(2, 3, 6, 7), "g": AROUND}, tmp_path)


def test_volumes_are_sampled(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,2,3,4,5] x, float[2,2,2,3,3] g) => (float[2,2,2,2,3] y)"
        ' { y = GridSample<mode = "linear", padding_mode = "border">(x, g) }',
        20,
    )
    grid = RANDOM.uniform(-1.3, 1.3, (2, 2, 2, 3, 3)).astype(np.float32)
    same_everywhere(model, {"x": floats(2, 2, 3, 4, 5), "g": grid}, tmp_path)


def test_groups_are_normalized_by_a_scale_each(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,6,3,4] x) => (float[2,6,3,4] y) { y = GroupNormalization<num_groups = 3>(x, s, b) }",
        s=np.array([1.0, 2.0, -0.5], np.float32),
        b=np.array([0.5, 0.0, 1.0], np.float32),
    )
    onnx.save(model, tmp_path / "m.onnx")
    x = floats(2, 6, 3, 4)
    loaded = load_model(tmp_path / "m.onnx")
    same_everywhere(loaded, {"x": x}, tmp_path)
    apart = x.reshape(2, 3, 2, 3, 4)
    even = (apart - apart.mean((2, 3, 4), keepdims=True)) / apart.std((2, 3, 4), keepdims=True)
    s, b = (np.array(v).reshape(1, 3, 1, 1, 1) for v in ([1.0, 2.0, -0.5], [0.5, 0.0, 1.0]))
    np.testing.assert_allclose(run(loaded, {"x": x})[0], (even * s + b).reshape(x.shape), atol=1e-4)


CUT = (
    "(float[1,3,7,8] x) => (float[1,3,10,5] y, float[1,2,7,9] z) { y = CenterCropPad<axes = [2,3]>(x, s)\n"
    " z = CenterCropPad<axes = [-3,-1]>(x, t) }"
)
SIX = """(float[1,144] x, float[1,12] z) => (float[1,36] a, float[1,360] b, float[1,144] c, float[1,9] d) {
 w = Reshape(x, six)
 k = Slice(w, ones, ends, odd)
 a = Reshape(k, flat)
 p = Pad<mode = "edge">(w, pads)
 m = Slice(p, ones, twos, odd)
 b0 = Tile(w, twice)
 b1 = Reshape(b0, flat)
 b = Slice(b1, none, many, one)
 v = Reshape(z, thin)
 s = Mul(w, v)
 c0 = ReduceMean<keepdims = 1>(m, odd)
 c1 = Add(s, c0)
 c = Reshape(c1, flat)
 d0 = ReduceMax<keepdims = 0>(s, even)
 d = Reshape(d0, flat) }"""
AXES = {
    "six": ints(2, 3, 2, 2, 2, 3),
    "thin": ints(2, 1, 2, 1, 1, 3),
    "flat": ints(1, -1),
    "ones": ints(1, 1, 1),
    "ends": ints(3, 2, 2),
    "twos": ints(2, 2, 2),
    "odd": ints(1, 3, 5),
    "even": ints(0, 2, 4),
    "pads": ints(0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0),
    "twice": ints(1, 2, 1, 2, 1, 2),
    "none": ints(0),
    "many": ints(360),
    "one": ints(1),
}


def test_crops_and_six_axes_are_taken_axis_by_axis(tmp_path: Path) -> None:
    model = model_of(CUT, s=ints(10, 5), t=ints(2, 9))
    same_everywhere(model, {"x": floats(1, 3, 7, 8)}, tmp_path)
    feeds = {"x": floats(1, 144), "z": floats(1, 12)}
    same_everywhere(model_of(SIX, **AXES), feeds, tmp_path)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_sequences_may_come_batch_first(op: str, tmp_path: Path) -> None:
    gates = {"LSTM": 4, "GRU": 3}[op]
    body = (
        f"(float[2,5,3] x, float[2,2,4] h) => (float[2,5,2,4] y, float[2,2,4] yh) {{ y, yh = {op}"
        '<hidden_size = 4, direction = "bidirectional", layout = %d>(%s, w, r, b, , %s) }'
    )
    constants = {
        "w": floats(2, 4 * gates, 3),
        "r": floats(2, 4 * gates, 4),
        "b": floats(2, 8 * gates),
    }
    model = model_of(body % (1, "x", "h"), **constants)
    write_refused_forms(model)
    feeds = {"x": floats(2, 5, 3), "h": floats(2, 2, 4, seed=1)}
    same_everywhere(model, feeds, tmp_path)
    first = body.replace("[2,5,3] x", "[5,2,3] x").replace("[2,5,2,4] y", "[5,2,2,4] y")
    wanted = run(
        model_of(first % (0, "x", "h"), **constants),
        {"x": feeds["x"].transpose(1, 0, 2), "h": feeds["h"].transpose(1, 0, 2)},
    )
    made = run(model, feeds)
    np.testing.assert_allclose(made[0], wanted[0].transpose(2, 0, 1, 3), atol=1e-6)
    np.testing.assert_allclose(made[1], wanted[1].transpose(1, 0, 2), atol=1e-6)


WEIGHTS = np.ones((6, 2, 3, 3), np.float32)
DAMAGED = {
    'y = Conv<auto_pad = "SAME">(x, w)': "has auto_pad 'SAME'; ONNX knows NOTSET, SAME_UPPER",
    'y = Pad<mode = "replicate">(x, p)': "has mode 'replicate'; ONNX knows constant, reflect",
    "y = Conv<group = 4>(x, w)": "splits 6 channels into 4 groups",
    "a = Relu(x)\n y = Conv<group = 3>(a, w)": r"reads 4 channels; its weights .* want 6",
    "y = Conv<group = 2, kernel_shape = [5,5]>(x, w)": r"has kernel_shape \[5, 5\]",
    "y = ConvTranspose<group = 3>(x, w)": "reads 4 channels",
}


@pytest.mark.parametrize("body", DAMAGED)
def test_what_contradicts_itself_is_said_in_a_sentence(body: str, tmp_path: Path) -> None:
    text = f"(float[1,4,8,8] x) => (float[1,6,6,6] y) {{ {body} }}"
    model = model_of(text, w=WEIGHTS, p=ints(0, 0, 1, 1, 0, 0, 1, 1))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EdgeconvError, match=DAMAGED[body]):
        load_model(tmp_path / "m.onnx")


PYTORCH = """(float[1,3,7,8] x) => (float[1,3,7,8] y) {
 p, i = MaxPool<kernel_shape = [2,2], strides = [2,2]>(x)
 q, j = MaxPool<kernel_shape = [1,1], strides = [1,1]>(x)
 first = Slice(j, none, one, axes)
 within = Sub(i, first)
 across = Add(starts, within)
 rows = Reshape(across, column)
 t = Tanh(p)
 values = Reshape(t, row)
 whole = ScatterND(zeros, rows, values)
 y = Reshape(whole, size) }"""


def test_max_unpool_as_pytorch_writes_it_is_recognised(tmp_path: Path) -> None:
    model = model_of(
        PYTORCH,
        none=ints(0, 0),
        one=ints(1, 1),
        axes=ints(2, 3),
        starts=ints(0, 56, 112).reshape(1, 3, 1, 1),
        column=ints(36, 1),
        row=ints(36),
        zeros=np.zeros(168, np.float32),
        size=ints(1, 3, 7, 8),
    )
    made = same_everywhere(model, {"x": floats(1, 3, 7, 8)}, tmp_path)
    assert not {"ScatterND", "ScatterElements", "MaxUnpool"} & {*ops(made)}


def test_a_turn_may_count_its_axes_from_the_end(tmp_path: Path) -> None:
    body = "(float[2,3,4] x) => (float[4,2,3] y) { y = Transpose<perm = [%s]>(x) }"
    model, feeds = model_of(body % "-1,0,1"), {"x": floats(2, 3, 4)}
    write_refused_forms(model)
    assert model == model_of(body % "2,0,1")
    same_everywhere(model, feeds, tmp_path)
