"""Pixels into the graph: exact at INT8, embedded on request."""

import numpy as np
import pytest
from graph_kit import Floats, floats, graph_of, ops, run
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.passes.embed_preprocessing import embed_preprocessing
from edgeconv.export.passes.exact_pixels import can_take_pixels, exact_pixels, pixel_step
from edgeconv.export.prepare import PixelInput, prepare, with_border

PIXELS = np.arange(256, dtype=np.float32)
HALF = PixelInput((0.5,), (0.5,))
UNIT = PixelInput((0.0,), (1.0,))
IMAGENET = PixelInput((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def net(pad: int = 1, body: str = "y = Conv<pads = @>(x, w, b)") -> Graph:
    return graph_of(
        f"(float[1,3,16,16] x) => (float[N,C,H,W] y) {{ {body} }}".replace("@", str([pad] * 4)),
        w=floats(4, 3, 3, 3),
        b=floats(4, seed=1),
    )


def picture(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 16, 16)).astype(np.float32)


def normalized(pixels: Floats, how: PixelInput) -> Floats:
    mean = np.asarray(how.mean, np.float32).reshape(-1, 1, 1)
    std = np.asarray(how.std, np.float32).reshape(-1, 1, 1)
    return np.asarray((pixels / np.float32(255) - mean) / std, np.float32)


def embedded(how: PixelInput) -> PixelInput:
    return PixelInput(how.mean, how.std, embedded=True)


@given(st.floats(0, 1), st.floats(0.05, 2))
def test_after_the_offset_every_pixel_is_a_multiple_of_the_step(mean: float, std: float) -> None:
    scale, offset = pixel_step(mean, std)
    assert 0 <= offset < scale
    steps = ((PIXELS.astype(np.float64) / 255 - mean) / std - offset) / scale
    assert np.abs(steps - np.rint(steps)).max() < 1e-6


@pytest.mark.parametrize("how", [HALF, UNIT, PixelInput((0.5,) * 3, (0.25,) * 3)])
def test_all_256_pixels_are_stored_exactly(how: PixelInput) -> None:
    graph = net()
    prepared = prepare(graph, int8=True, pixels=how)
    ((tensor, (scale, zero)),) = prepared.exact_inputs.items()
    values = normalized(PIXELS, PixelInput(how.mean[:1], how.std[:1])).reshape(-1)
    if tensor != "x":
        sub = prepared.graph.nodes[0]
        assert (sub.op, sub.outputs) == ("Sub", [tensor])
        values = values - prepared.graph.constants[sub.inputs[1]]
    stored = values / np.float32(scale) + zero
    assert (np.rint(stored) == PIXELS - 128).all()
    assert np.abs(stored - np.rint(stored)).max() < 1e-4  # far from a rounding tie


def test_without_the_pass_every_pixel_would_be_a_tie() -> None:
    steps = normalized(PIXELS, HALF).astype(np.float64).reshape(-1) * 127.5
    assert np.abs(np.abs(steps - np.floor(steps)) - 0.5).max() < 1e-4


def test_a_net_from_zero_to_one_needs_no_new_node() -> None:
    prepared = prepare(net(), int8=True, pixels=UNIT)
    assert ops(prepared.graph) == ["Conv"]
    assert prepared.exact_inputs == {"x": (1 / 255, -128)}


def test_the_function_changes_at_the_padded_border_only() -> None:
    graph, x = net(pad=1), normalized(picture(), HALF)
    prepared = prepare(graph, int8=True, pixels=HALF)
    assert ops(prepared.graph) == ["Sub", "Conv"]
    old, new = run(graph, {"x": x})[0], run(prepared.graph, {"x": x})[0]
    inner = np.s_[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(new[inner], old[inner], atol=1e-5)
    # a padded tap reads the half step instead of 0
    allowed = np.abs(graph.constants["w"]).sum((1, 2, 3)) / 255
    assert (np.abs(new - old).max((0, 2, 3)) <= allowed + 1e-5).all()
    assert np.abs(new - old).max() > 1e-3
    whole = run(with_border(prepared.graph, HALF), {"x": x})[0]
    np.testing.assert_allclose(whole, old, atol=1e-5)


@pytest.mark.parametrize("how", [HALF, UNIT, PixelInput((127 / 255,), (0.5,))])
def test_an_embedded_net_has_its_border_back(how: PixelInput) -> None:
    graph, x = net(pad=1), picture()
    ready = prepare(graph, int8=True, pixels=embedded(how)).graph
    old = run(graph, {"x": normalized(x, how)})[0]
    np.testing.assert_allclose(run(with_border(ready, embedded(how)), {"x": x})[0], old, atol=1e-4)


def test_without_padding_the_function_stays() -> None:
    graph, x = net(pad=0), normalized(picture(), HALF)
    for int8 in (False, True):
        prepared = prepare(graph, int8=int8, pixels=HALF)
        old, new = run(graph, {"x": x})[0], run(prepared.graph, {"x": x})[0]
        np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize("how", [HALF, UNIT, IMAGENET], ids=["half", "unit", "imagenet"])
@pytest.mark.parametrize("int8", [False, True])
def test_an_embedded_net_takes_raw_pixels(how: PixelInput, int8: bool) -> None:
    graph, raw = net(pad=0), picture()
    prepared = prepare(graph, int8=int8, pixels=embedded(how))
    old = run(graph, {"x": normalized(raw, how)})[0]
    new = run(prepared.graph, {"x": raw})[0]
    np.testing.assert_allclose(new, old, atol=2e-5 * np.abs(old).max())
    if not int8:
        assert ops(prepared.graph) == ["Mul", "Add", "Conv"]
        assert prepared.exact_inputs == {}


@pytest.mark.parametrize(
    ("how", "nodes", "zero"),
    [(HALF, ["Sub", "Conv"], 0), (UNIT, ["Conv"], -128), (IMAGENET, ["Conv", "Conv"], -128)],
    ids=["half", "unit", "imagenet"],
)
def test_an_embedded_int8_input_is_the_pixel_itself(
    how: PixelInput, nodes: list[str], zero: int
) -> None:
    prepared = prepare(net(), int8=True, pixels=embedded(how))
    assert ops(prepared.graph) == nodes
    ((tensor, step),) = prepared.exact_inputs.items()
    assert step == (1.0, zero)
    shift = 0.0
    if tensor != "x":
        shift = float(prepared.graph.constants[prepared.graph.nodes[0].inputs[1]])
    assert (PIXELS - shift + zero == PIXELS - 128).all()


def test_the_argument_stays_as_it_is() -> None:
    graph = net()
    prepare(graph, int8=True, pixels=embedded(HALF))
    assert ops(graph) == ["Conv"]
    assert graph.constants.keys() == {"w", "b"}


@pytest.mark.parametrize(
    "how",
    [
        PixelInput((0.4, 0.5, 0.5), (0.5,)),
        PixelInput((0.5,), (0.4, 0.5, 0.5)),
        PixelInput((0.25,), (0.5,)),
    ],
)
def test_what_no_common_zero_point_stores_is_left_to_calibration(how: PixelInput) -> None:
    prepared = prepare(net(), int8=True, pixels=how)
    assert prepared.exact_inputs == {}
    assert ops(prepared.graph) == ["Conv"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv<pads = @>(x, w, b)\n p = MaxPool<kernel_shape = [1, 1]>(x)\n"
        " c = Conv<pads = @>(p, w, b)\n y = Add(a, c)",
        "k = Relu(w)\n y = Conv<pads = @>(x, k, b)",
        "k = ReduceMax<keepdims = 0>(x)\n i = Mul(b, k)\n y = Conv<pads = @>(x, w, i)",
        "a = Relu(x)\n y = Conv<pads = @>(a, w, b)",
    ],
    ids=["a pool reads them", "computed weights", "computed bias", "an activation first"],
)
def test_pixels_stay_where_something_else_reads_them(body: str) -> None:
    graph = net(body=body)
    if "k = Relu(w)" not in body:  # a constant expression that folding has not met yet
        assert prepare(graph, int8=True, pixels=HALF).exact_inputs == {}
    assert not can_take_pixels(graph, "x")


def test_several_first_convolutions_share_the_centred_pixels() -> None:
    graph = net(pad=0, body="a = Conv(x, w, b)\n c = Conv(x, w)\n y = Add(a, c)")
    prepared = prepare(graph, int8=True, pixels=HALF)
    assert ops(prepared.graph) == ["Sub", "Conv", "Conv", "Add"]
    x = normalized(picture(), HALF)
    np.testing.assert_allclose(run(prepared.graph, {"x": x})[0], run(graph, {"x": x})[0], atol=1e-4)


def test_exact_pixels_by_hand_is_the_documented_rewrite() -> None:
    graph = net(pad=0)
    scale, offset = pixel_step(0.5, 0.5)
    assert exact_pixels(graph, "x", offset, offset) == "x_centred"
    new = graph.constant(graph.nodes[1], 2)
    expected = floats(4, seed=1) + offset * floats(4, 3, 3, 3).sum((1, 2, 3))
    assert new is not None
    np.testing.assert_allclose(new, expected, atol=1e-6)
    assert scale == pytest.approx(2 / 255)


@pytest.mark.parametrize(
    "body",
    [
        "(float[1,12] x) => (float[1,12] y) { y = Relu(x) }",
        "(float[1,3,4,4] x, float[1,3,4,4] z) => (float[1,3,4,4] y) { y = Add(x, z) }",
    ],
)
def test_preprocessing_needs_one_picture(body: str) -> None:
    with pytest.raises(EdgeconvError, match="only in a net that takes one picture"):
        embed_preprocessing(graph_of(body), (0.5,), (0.5,))


def test_three_means_do_not_fit_one_channel() -> None:
    graph = graph_of("(float[1,1,4,4] x) => (float[1,1,4,4] y) { y = Relu(x) }")
    with pytest.raises(EdgeconvError, match="take one value, or 1 for this model"):
        embed_preprocessing(graph, (0.4, 0.5, 0.6), (0.5,))
