"""Integers, scales, biases and factors of single layers, against numpy and by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_kit import graph_of, ints, run
from quant_nets import RELU, NetBuilder

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import Pair
from edgeconv.export.quant import columns
from edgeconv.export.quant.bias import (
    MeanOutput,
    channel_axis,
    channel_means,
    is_vector,
    likely,
    likely_together,
    tap_means,
)
from edgeconv.export.quant.equalize import _reach, equalize, rescale
from edgeconv.export.quant.fit import (
    LayerFit,
    _on_grid,
    _through_channels,
    bounded_share,
    few_pictures,
    has_integers,
    same_integers,
)
from edgeconv.export.quant.gather import TensorStats
from edgeconv.export.quant.observe import Observation
from edgeconv.export.quant.weights import (
    dequantized,
    gptq,
    round_nearest,
    rows,
    unrows,
    weight_scales,
)
from edgeconv.export.quant.workspace import Workspace, mean, real, store
from edgeconv.recipe import Activation, Recipe, Weights, bias_integers

UNIT = Activation(0.5, -28, -50.0, 77.5)
"""Stored as uint8, a value of this is half of what its integer is above 100."""


def bytes_of(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def layer(
    op: str,
    shape: tuple[int, ...],
    weights: Any,
    out: tuple[int, ...],
    bias: Any = None,
    **attrs: Any,
) -> Graph:
    """Return a graph of one layer."""
    net = NetBuilder(shape)
    inputs = ["input", net.constant("w", np.asarray(weights, np.float32))]
    if bias is not None:
        inputs.append(net.constant("b", np.asarray(bias, np.float32)))
    return net.finish(net.add(op, inputs, out, **attrs))


def taps(
    picture: Any, kernel: Any, strides: Any, dilations: Any, pads: Any, fill: float = 0.0
) -> Any:
    """Return (n, channels, taps, places) of pictures (n, C, H, W)."""
    border = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    whole = np.pad(picture, border, constant_values=fill)
    high, wide = (
        (whole.shape[2 + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)
    )
    met = [
        whole[:, :, i * dilations[0] :: strides[0], j * dilations[1] :: strides[1]][
            :, :, :high, :wide
        ].reshape(*whole.shape[:2], -1)
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    return np.stack(met, axis=2)


@pytest.mark.parametrize(
    ("group", "attrs"),
    [
        (1, {}), (2, {"strides": [2, 1], "pads": [1, 0, 2, 1]}), (4, {"dilations": [1, 2], "pads": [0, 1, 0, 2], "strides": [1, 2]}),
        (1, {"dilations": [2, 1], "strides": [2, 2]}),
    ],
)  # fmt: skip
def test_the_hessian_of_a_convolution_is_that_of_its_columns(
    group: int, attrs: dict[str, Any]
) -> None:
    kernel = [2, 3]
    full: dict[str, Any] = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, **attrs}
    stored = bytes_of(3, 4, 7, 9)
    real_values = (stored.astype(np.float64) - 100) * 0.5
    met = taps(real_values, kernel, full["strides"], full["dilations"], full["pads"])
    n, _, _, count = met.shape
    high = (7 + full["pads"][0] + full["pads"][2] - full["dilations"][0] - 1) // full["strides"][
        0
    ] + 1
    graph = layer(
        "Conv",
        (1, 4, 7, 9),
        np.ones((4, 4 // group, *kernel)),
        (1, 4, high, count // high),
        group=group,
        kernel_shape=kernel,
        **attrs,
    )
    found = columns.hessian(graph, graph.nodes[0], stored, UNIT)
    each = np.moveaxis(met, 0, 2).reshape(group, 4 // group * 6, n * count)
    assert found is not None
    np.testing.assert_allclose(found, each @ each.transpose(0, 2, 1), rtol=1e-4, atol=1e-2)


def test_a_layer_of_many_inputs_has_a_hessian_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = layer("Gemm", (1, 6), np.ones((2, 6)), (1, 2), transB=1)
    stored = bytes_of(5, 6)
    x = (stored.astype(np.float64) - 100) * 0.5
    whole = x.T @ x
    found = columns.hessian(graph, graph.nodes[0], stored, UNIT)
    assert found == pytest.approx(whole[None])
    monkeypatch.setattr(columns, "MOST_COLUMNS", 2)
    cut = columns.hessian(graph, graph.nodes[0], stored, UNIT)
    assert cut == pytest.approx(np.stack([whole[i : i + 2, i : i + 2] for i in (0, 2, 4)]))
    conv = layer("Conv", (1, 6, 2, 2), np.ones((2, 6, 1, 1)), (1, 2, 2, 2), kernel_shape=[1, 1])
    pixels = bytes_of(5, 6, 2, 2)
    y = ((pixels.astype(np.float64) - 100) * 0.5).transpose(1, 0, 2, 3).reshape(6, -1)
    parts = columns.hessian(conv, conv.nodes[0], pixels, UNIT)
    assert parts == pytest.approx(np.stack([(y @ y.T)[i : i + 2, i : i + 2] for i in (0, 2, 4)]))
    flat = layer("Conv", (1, 6, 2), np.ones((2, 6, 1)), (1, 2, 2))
    assert columns.hessian(flat, flat.nodes[0], bytes_of(5, 6, 2), UNIT) is None
    turned = layer("ConvTranspose", (1, 6, 2, 2), np.ones((6, 2, 1, 1)), (1, 2, 2, 2))
    assert columns.hessian(turned, turned.nodes[0], pixels, UNIT) is None


@pytest.mark.parametrize(
    ("channels", "each", "blocks"),
    [(1536, 1, 1), (1537, 1, 29), (3072, 1, 2), (1543, 1, 1), (512, 9, 4), (512, 3, 1), (1000, 2, 2)],
)  # fmt: skip
def test_inputs_are_cut_into_equal_blocks(channels: int, each: int, blocks: int) -> None:
    assert columns._blocks(channels, each) == blocks


@pytest.mark.parametrize(
    ("inside", "pictures", "wanted"), [(64, 3, 512), (64, 7, 220), (65, 4, 256), (300, 4, 300), (2000, 4, 1024), (64, 9999, 1)]
)  # fmt: skip
def test_so_many_places_of_a_picture_are_looked_at(
    inside: int, pictures: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1536 columns of small kernels; of others four times the inputs, 1024 at least and 4096 at most."""
    asked: list[int] = []

    def places(graph: Graph, node: Node, count: int) -> Any:
        asked.append(count)
        raise EdgeconvError

    monkeypatch.setattr(columns, "_places", places)
    graph = layer("Conv", (1, inside, 2, 2), np.ones((1, inside, 1, 1)), (1, 1, 2, 2))
    with pytest.raises(EdgeconvError):
        columns.hessian(graph, graph.nodes[0], np.empty((pictures, inside, 2, 2), np.uint8), UNIT)
    assert asked == [wanted]


def test_places_are_spread_over_the_plane() -> None:
    graph = layer("Conv", (1, 1, 10, 10), np.ones((1, 1, 1, 1)), (1, 1, 10, 10))
    node = graph.nodes[0]
    found = columns._places(graph, node, 7)
    assert found.shape == (32, 7)
    ends = np.arange(8) * (100 / 7)
    assert (found >= np.floor(ends[:-1])).all()
    assert (found <= ends[1:]).all()
    assert len(np.unique(found)) > 60
    assert columns._places(graph, node, 100).tolist() == [list(range(100))] * 32
    assert columns._places(graph, node, 99).shape == (32, 99)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm", "Conv1d"])
def test_the_mean_output_is_that_of_the_whole_output(op: str) -> None:
    rng = np.random.default_rng(0)
    bias = rng.normal(size=4).astype(np.float32)
    shapes: dict[str, Any] = {
        "Conv": ((1, 4, 6, 5), (4, 2, 3, 2), (1, 4, 3, 5), {"group": 2, "kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
        "ConvTranspose": ((1, 4, 3, 3), (4, 2, 2, 2), (1, 4, 4, 4), {"group": 2, "kernel_shape": [2, 2]}),
        "Gemm": ((3, 6), (4, 6), (3, 4), {"transB": 1}),
        "Conv1d": ((1, 4, 6), (4, 4, 3), (1, 4, 4), {"kernel_shape": [3]}),
    }  # fmt: skip
    shape, kernel, out, attrs = shapes[op]
    weights = rng.normal(size=kernel).astype(np.float32)
    graph = layer(op.removesuffix("1d"), shape, weights, out, bias, **attrs)
    picture = rng.normal(size=shape).astype(np.float32)
    (made,) = run(graph, {"input": picture})
    axis = channel_axis(graph.nodes[0], made.ndim)
    wanted = np.moveaxis(made, axis, 0).reshape(4, -1).mean(axis=1)
    assert MeanOutput(graph, graph.nodes[0])(picture, weights, bias) == pytest.approx(
        wanted, abs=1e-5
    )
    assert channel_means(graph.nodes[0], made) == pytest.approx(wanted, abs=1e-5)
    assert axis == (1 if op != "Gemm" else made.ndim - 1)


def test_taps_of_a_bare_convolution_are_means_of_shifted_planes() -> None:
    picture = np.random.default_rng(0).normal(size=(1, 2, 4, 5)).astype(np.float32)
    found = tap_means(
        Node("Conv", "c", ["x", "w"], ["y"], {"kernel_shape": [2, 2]}), picture, (3, 4)
    )
    wanted = [
        [[picture[0, c, i : i + 3, j : j + 4].mean() for j in (0, 1)] for i in (0, 1)]
        for c in (0, 1)
    ]
    assert found == pytest.approx(np.array(wanted), abs=1e-6)


@pytest.mark.parametrize(
    ("each", "shift", "kept", "together"),
    [
        ([1, 3], None, 8 / 5, 1.0), ([0, 1, 2, 3, 4], None, 8 / 5, 1.5), ([2], None, 2.0, 2.0), ([1, 3], 4.0, 64 / 17, 1.0),
        ([0.1, 0.1], None, 0.1, 0.1), ([1, -1], None, 0.0, 0.0), ([1.0, 1.0, 4.0], None, 8 / 5, 1.0), ([0, 3], 0.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_what_pictures_do_not_share_is_taken_off_a_shift(
    each: list[float], shift: float | None, kept: float, together: float
) -> None:
    values = np.array(each, np.float32)[:, None]
    given = None if shift is None else np.array([shift], np.float32)
    assert likely(values, given).tolist() == pytest.approx([kept], abs=1e-6)
    assert likely_together(values).tolist() == pytest.approx([together], abs=1e-6)


def test_channels_share_their_doubt() -> None:
    each = np.array([[1, 2], [3, 2]], np.float32)
    assert likely_together(each).tolist() == pytest.approx([1.5, 1.5])  # 1 - 2 * (1 + 0) / (4 + 4)
    assert likely(each).tolist() == pytest.approx([1.6, 2.0])
    assert likely_together(each / np.float32(1000)).tolist() == pytest.approx([0.0015, 0.0015])


@pytest.mark.parametrize(
    ("op", "shape", "kernel", "vector"),
    [
        ("Gemm", (1, 4), (2, 4), True), ("Gemm", (3, 4), (2, 4), False), ("Conv", (1, 4, 1), (2, 4, 1), True), ("Conv", (1, 4, 3, 1), (2, 4, 1, 1), False),
        ("Conv", (1, 4, 1, 1), (2, 4, 3, 3), False), ("ConvTranspose", (1, 4, 1, 1), (2, 4, 1, 1), False), ("Gemm", (1, 1, 4), (2, 4), False),
    ],
)  # fmt: skip
def test_a_vector_is_met_by_a_matrix(op: str, shape: Any, kernel: Any, vector: bool) -> None:
    graph = layer(op, shape, np.ones(kernel), (1, 2))
    assert is_vector(graph, graph.nodes[0]) is vector


@pytest.mark.parametrize(("group", "each"), [(1, 3), (2, 2), (3, 1)])
def test_rows_of_a_transposed_convolution_are_its_output_channels(group: int, each: int) -> None:
    node = Node("ConvTranspose", "t", ["x", "w"], ["y"], {"group": group})
    weights = np.random.default_rng(0).normal(size=(group * 4, each, 2, 3)).astype(np.float32)
    flat: Any = rows(node, weights)
    assert flat.shape == (group * each, 24)
    for channel in range(group * each):
        g, c = divmod(channel, each)
        assert flat[channel].tolist() == weights[g * 4 : g * 4 + 4, c].reshape(-1).tolist()
    assert (unrows(node, flat, weights.shape) == weights).all()
    plain = replace_op(node, "Conv")
    assert rows(plain, weights).shape == (group * 4, each * 6)
    own: Any = rows(plain, weights)
    assert (unrows(plain, own, weights.shape) == weights).all()


def replace_op(node: Node, op: str) -> Node:
    return Node(op, node.name, node.inputs, node.outputs, node.attrs)


def rounded_by_the_book(flat: Any, hessian: Any, scales: Any, limit: int) -> Any:
    """GPTQ as its paper has it: what one weight loses goes to those left by the inverse of their Hessian."""
    size = flat.shape[1]
    damped = hessian.astype(np.float64) + (0.01 * np.diag(hessian).mean() + 1e-8) * np.eye(size)
    work, made = flat.astype(np.float64).copy(), np.zeros(flat.shape, int)
    left = list(np.argsort(np.diag(hessian), kind="stable"))
    while left:
        column = left[-1]
        inverse = np.linalg.inv(damped[np.ix_(left, left)])
        made[:, column] = np.clip(np.rint(work[:, column] / scales), -limit, limit)
        lost = (work[:, column] - made[:, column] * scales) / inverse[-1, -1]
        work[:, left] -= np.outer(lost, inverse[-1])
        left.pop()
    return made


@pytest.mark.parametrize(
    ("size", "groups", "limit"), [(5, 1, 127), (9, 3, 127), (130, 1, 127), (6, 2, 7)]
)
def test_gptq_rounds_as_its_paper_says(size: int, groups: int, limit: int) -> None:
    rng = np.random.default_rng(size)
    x = rng.normal(size=(groups, size, 3 * size)) + rng.normal(size=(groups, 1, 3 * size))
    hessian = (x @ x.transpose(0, 2, 1)).astype(np.float32)
    flat = rng.normal(size=(2 * groups, size)).astype(np.float32)
    scales = (np.abs(flat).max(axis=1) / 9).astype(np.float32)
    wanted = [
        rounded_by_the_book(flat[2 * g : 2 * g + 2], hessian[g], scales[2 * g : 2 * g + 2], limit)
        for g in range(groups)
    ]
    assert gptq(flat, hessian, scales, limit).tolist() == np.concatenate(wanted).tolist()
    assert np.abs(gptq(flat, hessian, scales / 100, limit)).max() == limit


def test_what_is_rounded_keeps_within_its_limit_and_comes_back() -> None:
    assert round_nearest(
        np.array([[9.0, -9.0, 0.5, 1.5]], np.float32), np.ones(1, np.float32), 7
    ).tolist() == [[7, -7, 0, 2]]
    assert round_nearest(
        np.array([[999.0, -999.0]], np.float32), np.ones(1, np.float32)
    ).tolist() == [[127, -127]]
    node = Node("ConvTranspose", "t", ["x", "w"], ["y"], {"group": 2})
    graph: Any = None
    one = dequantized(
        graph,
        node,
        np.array([[1], [2]], np.int8).reshape(2, 1, 1, 1),
        np.array([3.0, 3.0], np.float32),
    )
    assert one.ravel().tolist() == [3.0, 6.0]
    scales = weight_scales(
        node,
        np.array([1.27, 2.54], np.float32).reshape(2, 1, 1, 1),
        np.array([2.0**31, 0], np.float32),
        1.0,
    )
    assert scales.tolist() == [2.0, 2.0]  # the widest that a bias asks for, in both


def test_scales_of_a_transposed_convolution_are_one_where_it_has_groups_alone() -> None:
    real = np.array([1.27, 2.54], np.float32).reshape(1, 2, 1, 1)
    bare = Node("ConvTranspose", "t", ["x", "w"], ["y"])
    assert weight_scales(bare, real, np.zeros(2, np.float32), 1.0) == pytest.approx([0.01, 0.02])
    grouped = Node("ConvTranspose", "t", ["x", "w"], ["y"], {"group": 2})
    apart = np.array([0.0, 1.27], np.float32).reshape(2, 1, 1, 1)
    assert weight_scales(grouped, apart, np.zeros(2, np.float32), 1.0) == pytest.approx(
        [0.01, 0.01]
    )
    dead = weight_scales(grouped, apart * 0, np.zeros(2, np.float32), 1.0)
    assert dead == pytest.approx([1 / 127, 1 / 127])


def test_planes_are_looked_at_in_few_pictures() -> None:
    shapes = (
        (1, 3, 28, 28),
        (1, 3, 14, 14),
        (1, 3),
        (1, 3, 20, 20),
        (1, 3, 112, 112),
        (1, 3, 0, 4),
    )
    assert [few_pictures(shape) for shape in shapes] == [16, 32, 32, 31, 16, 32]


def test_the_share_at_the_ends_is_that_of_least_and_largest() -> None:
    made = np.full((2, 1, 2, 1, 4), 7, np.uint8)
    made[0, 0, 0, 0], made[1, 0, 1, 0, 0] = [0, 0, 9, 7], 9
    assert bounded_share(made, 1).tolist() == pytest.approx([3 / 8, 1 / 8])
    for side, share in ((23, 1 / 23), (24, 8 / 64)):
        wide = np.full((1, 1, 1, side, side), 7, np.uint8)
        wide[..., 0] = 9  # the first column; of wide planes every third counts
        wide[0, 0, 0, 1, 1] = 0
        assert bounded_share(wide, 1).tolist() == pytest.approx(
            [share + (1 / 529 if side == 23 else 7 / 8)], abs=1e-6
        )


@pytest.mark.parametrize("group", [1, 2])
def test_means_go_through_grouped_channels(group: int) -> None:
    rng = np.random.default_rng(0)
    values, weights = (
        rng.normal(size=(3, 4)).astype(np.float32),
        rng.normal(size=(6, 4 // group)).astype(np.float32),
    )
    wanted = [
        [
            sum(
                weights[o, i] * row[o // (6 // group) * (4 // group) + i] for i in range(4 // group)
            )
            for o in range(6)
        ]
        for row in values
    ]
    assert _through_channels(values, weights, group) == pytest.approx(np.array(wanted), abs=1e-6)


def weights_at(values: Any, scale: float = 0.5) -> Weights:
    held = np.asarray(values, np.int8)
    count = len(held)
    return Weights(
        held,
        np.full(count, scale, np.float32),
        np.zeros(count, np.int32),
        np.zeros(count, np.float32),
    )


def test_recipes_have_the_same_integers_only_where_all_are() -> None:
    def recipe(**weights: Weights) -> Recipe:
        return Recipe("r", "asymmetric", {"input": UNIT}, weights, ("kept",))

    one = weights_at([[1], [2]])
    assert same_integers(recipe(a=one), recipe(a=weights_at([[1], [2]])))
    assert not same_integers(recipe(a=one), recipe(a=weights_at([[1], [3]])))
    assert not same_integers(recipe(a=one), recipe(a=weights_at([[1], [2]], 0.25)))
    assert not same_integers(recipe(a=one), recipe(a=one, b=one))
    assert not same_integers(recipe(a=one, b=one), recipe(a=one, b=weights_at([[9], [2]])))
    for node, has in (
        (Node("Conv", "c", ["input"], ["y"]), True), (Node("Conv", "kept", ["input"], ["y"]), False),
        (Node("Conv", "c", ["other"], ["y"]), False), (Node("Add", "c", ["input"], ["y"]), False),
    ):  # fmt: skip
        assert has_integers(recipe(), node) is has
    scales = np.array([1.0], np.float32)
    whole = np.array([[3, -4]], np.int8)
    assert _on_grid(np.array([[3.0005, -4.0]], np.float32), whole, scales)
    assert not _on_grid(np.array([[3.002, -4.0]], np.float32), whole, scales)
    assert not _on_grid(np.array([[3.0, -4.002]], np.float32), whole, scales)


def test_weights_on_their_grid_ask_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("edgeconv.export.quant.fit.hessian", lambda *_: asked.append("hessian"))
    for weights, count in (([[127.0, 3.0]], 0), ([[127.0, 3.4]], 1)):
        graph = layer("Gemm", (1, 2), np.array(weights) * 0.25, (1, 1), transB=1)
        fit = LayerFit(graph, Observation(2), {"input": UNIT}, "gptq", "none")
        asked.clear()
        assert fit(graph.nodes[0], bytes_of(2, 2)).values.tolist() == [[127, 3]]
        assert len(asked) == count
        assert replace(fit, rounding="nearest")(graph.nodes[0], bytes_of(2, 2)).axis == 0
        assert len(asked) == count


def seen_with(pictures: int, **parts: Any) -> Observation:
    return replace(Observation(pictures), **parts)


def test_a_bias_takes_what_the_mean_behind_the_activation_lacks() -> None:
    graph = layer(
        "Conv",
        (1, 1, 1, 2),
        np.ones((2, 1, 1, 1)),
        (1, 2, 1, 2),
        [1.0, 2.0],
        clamp=RELU,
        kernel_shape=[1, 1],
    )
    node = graph.nodes[0]
    held = {"input": Activation(0.25, 0, -32.0, 31.75), node.output: UNIT}
    seen = seen_with(3, means={node.output: np.array([[3.0, 4.0]] * 3, np.float32)})
    fit = LayerFit(graph, seen, held, "nearest", "after")
    weights = replace(weights_at([[[[2]]], [[[2]]]]), float_bias=np.array([1.0, 2.0], np.float32))
    made = np.array([[[100, 104], [106, 106]]] * 2, np.uint8).reshape(
        2, 2, 1, 2
    )  # means of 1 and 3
    found = fit.refined(node, weights, made)
    assert found is not None
    lacking = np.array(
        [2.0 * (1 + 1 / 2), 1.0 * (1 + 1)]
    )  # of the first half of the values, of the other all lie at an end
    assert found.float_bias.tolist() == pytest.approx((np.array([1.0, 2.0]) + lacking).tolist())
    assert found.bias.tolist() == [round(b / (0.25 * 0.5)) for b in found.float_bias]
    assert replace(fit, bias="before").refined(node, weights, made) is None
    assert replace(fit, seen=Observation(3)).refined(node, weights, made) is None
    assert replace(fit, activations={"input": UNIT}).refined(node, weights, made) is None
    node.clamp = None
    assert fit.refined(node, weights, made) is None


def test_a_bias_makes_up_for_rounding_of_a_vector_and_of_a_plane() -> None:
    gemm = layer("Gemm", (1, 2), [[0.6, 1.0], [0.2, 0.4]], (1, 2), [1.0, -1.0], transB=1)
    stored = np.array([[104, 110], [104, 110]], np.uint8)  # 2 and 5
    seen = seen_with(2, means={"input": np.array([[2.2, 5.0]] * 2, np.float32)})
    node = gemm.nodes[0]
    fit = LayerFit(
        gemm,
        seen,
        {"input": UNIT},
        "nearest",
        "before",
        held={node.name: weights_at([[1, 2], [0, 1]])},
    )
    made = fit(node, stored)
    exact = np.array([[0.5, 1.0], [0.0, 0.5]])
    lacks = np.array([[0.6, 1.0], [0.2, 0.4]]) @ [2.2, 5.0] - exact @ [2.0, 5.0]
    assert made.float_bias.tolist() == pytest.approx(
        (np.array([1.0, -1.0]) + lacks).tolist(), abs=1e-5
    )
    assert made.bias.tolist() == np.rint(made.float_bias / 0.25).tolist()
    assert (made.values == [[1, 2], [0, 1]]).all()
    plain = replace(fit, bias="none")(node, stored)
    assert plain.float_bias.tolist() == [1.0, -1.0]
    assert plain.bias.tolist() == [4, -4]
    assert fit(node, None).float_bias.tolist() == [1.0, -1.0]

    conv = layer(
        "Conv",
        (1, 2, 2, 2),
        np.array([[0.6, 1.0], [0.2, 0.4]]).reshape(2, 2, 1, 1),
        (1, 2, 2, 2),
        [1.0, -1.0],
        kernel_shape=[1, 1],
    )
    node = conv.nodes[0]
    pixels = np.repeat(stored, 4, axis=1).reshape(2, 2, 2, 2)
    sums = {
        ("input", 2): 2
        * np.array([2.2, 5.0], np.float32).reshape(1, 2, 1, 1)
        * np.ones((1, 2, 2, 2), np.float32)
    }
    four = weights_at(np.array([[1, 2], [0, 1]]).reshape(2, 2, 1, 1))
    for means in ({}, {"input": np.array([[2.2, 5.0]] * 2, np.float32)}):
        shared: Any = {}
        fit = LayerFit(
            conv,
            seen_with(2, sums=sums, means=means),
            {"input": UNIT},
            "nearest",
            "before",
            held={node.name: four},
            wanted=shared,
        )
        assert fit(node, pixels).float_bias.tolist() == pytest.approx(
            (np.array([1.0, -1.0]) + lacks).tolist(), abs=1e-5
        )
        assert list(shared) == [(node.name, 2)]


def test_a_shift_that_pictures_do_not_share_is_less() -> None:
    """Two pictures of which one lacks all: 1 and 3 in place of 2 each."""
    conv = layer(
        "Conv", (1, 1, 2, 2), np.ones((1, 1, 1, 1)), (1, 1, 2, 2), [0.0], kernel_shape=[1, 1]
    )
    node = conv.nodes[0]
    seen = seen_with(
        2,
        sums={("input", 2): np.full((1, 1, 2, 2), 4.0, np.float32)},
        means={"input": np.array([[1.0], [3.0]], np.float32)},
    )
    one = weights_at(np.array([[2]]).reshape(1, 1, 1, 1))
    fit = LayerFit(conv, seen, {"input": UNIT}, "nearest", "before", held={node.name: one})
    assert fit(node, np.full((2, 1, 2, 2), 100, np.uint8)).float_bias.tolist() == pytest.approx(
        [8 / 5]
    )


def test_memory_that_was_given_back_is_taken_again() -> None:
    space = Workspace(
        [{"input": np.full((1, 2, 1, 1), value, np.float32)} for value in (0.0, 1.0, 2.0)]
    )
    big = space.take((2, 3, 4, 5), np.float32)
    small = space.take((2, 3), np.uint8)
    assert (big.shape, big.dtype.name, small.shape) == ((2, 3, 4, 5), "float32", (2, 3))
    space.give(big)
    space.give(small)
    again = space.take((6,), np.uint8)
    assert np.shares_memory(again, small)
    turned = space.take((2, 3, 4, 5), np.uint8, turn=True)
    assert np.shares_memory(turned, big)
    assert np.moveaxis(turned, 1, 3).flags.c_contiguous
    assert turned.shape == (2, 3, 4, 5)
    assert space.take((2, 3), np.uint8, turn=True).flags.c_contiguous
    assert not np.shares_memory(space.take((6,), np.uint8), small)


def test_pictures_are_stored_once_and_centred_ones_by_their_own_name() -> None:
    graph = graph_of(
        "(float[1,2] x) => (float[1,2] y) { c = Sub(x, half) y = Relu(c) }",
        half=np.array(0.5, np.float32),
    )
    recipe = Recipe("r", "asymmetric", {"c": Activation(1.0, 0, -128.0, 127.0)}, {})
    space = Workspace(
        [{"x": np.array([[value, value + 1]], np.float32)} for value in (0.5, 10.5, 20.5)]
    )
    found = space.pictures(graph, recipe, 2)
    assert found["x"].tolist() == [[0.5, 1.5], [10.5, 11.5]]
    assert found["c"].tolist() == [[128, 129], [138, 139]]
    assert space.pictures(graph, recipe, 3)["c"].base is found["c"].base
    assert list(space.pictures(graph, Recipe("r", "asymmetric", {}, {}), 1)) == ["x"]
    rows_of = Workspace([{"x": np.zeros((3, 2), np.float32)}] * 2)
    wide = graph_of("(float[3,2] x) => (float[3,2] y) { y = Relu(x) }")
    assert rows_of.pictures(wide, recipe, 2)["x"].shape == (2, 3, 2)


def test_what_is_stored_comes_back_in_steps() -> None:
    values = np.array([-50.0, 0.0, 0.3, 77.5, 999.0], np.float32)
    assert store(values, UNIT).tolist() == [0, 100, 101, 255, 255]
    assert real(store(values, UNIT), UNIT).tolist() == [-50.0, 0.0, 0.5, 77.5, 77.5]
    assert store(values, None).tolist() == real(values, None).tolist() == values.tolist()
    for shape in ((600, 3), (600, 2, 3, 4)):
        many = bytes_of(*shape)
        assert mean(many) == pytest.approx(many.astype(np.float64).mean(axis=0, keepdims=True))


def stats_of(low: Any, high: Any) -> TensorStats:
    lows, highs = (np.atleast_2d(np.asarray(end, np.float32)) for end in (low, high))
    places = np.arange(lows.shape[1])
    return TensorStats(lows, highs, highs[:1], places, places)


def test_a_channel_is_expected_to_reach_further_over_more_pictures() -> None:
    low = np.array([[-1.0, 0.0], [-2.0, 0.0], [-6.0, 0.0]])
    high = np.array([[0.5, 1.0], [3.0, 1.0], [1.0, 1.0]])
    excess = 2 * np.mean([0.0, 0.0, 3.0])  # peaks of 1, 3 and 6: above their median
    assert _reach(stats_of(low, high), 3).tolist() == pytest.approx(
        [6 + math.log(100) * excess, 1.0]
    )
    assert _reach(stats_of(low, high), 300).tolist() == pytest.approx([6.0, 1.0])
    assert _reach(stats_of(low, high), 600).tolist() == pytest.approx([6.0, 1.0])
    empty = np.full((1, 2), np.inf)
    assert _reach(
        stats_of(np.concatenate([low, empty]), np.concatenate([high, -empty])), 300
    ).tolist() == pytest.approx([6.0, 1.0])
    assert _reach(stats_of(empty, -empty), 300).tolist() == [0.0, 0.0]


def chained(middle: str = "", clamp: Any = RELU) -> tuple[Graph, Observation]:
    """Return Conv -> t -> (what is in the middle) -> Conv, of two channels that reach 8 and 2."""
    net = NetBuilder((1, 2, 4, 4))
    first = net.conv("input", 2, kernel=1, clamp=clamp)
    last = first
    if middle:
        last = net.add(middle, [first], (1, 2, 4, 4))
    if middle == "depthwise":
        net.graph.nodes.pop()
        last = net.conv(first, 2, group=2)
    end = net.conv(last, 2, kernel=1, clamp=None)
    graph = net.finish(end)
    node = graph.nodes[-1]
    graph.constants[node.inputs[1]] = np.array([[4.0, 1.0], [2.0, 2.0]], np.float32).reshape(
        2, 2, 1, 1
    )
    inner = [out for each in graph.nodes[:-1] for out in each.outputs]
    tensors = {
        name: stats_of([[0.0, 0.0]] * 2, [[8.0, 2.0]] * 2) for name in (*inner, "input", end)
    }
    return graph, seen_with(
        300,
        tensors=tensors,
        sums={(first, 2): np.ones((1, 2, 4, 4), np.float32)},
        means={first: np.ones((3, 2), np.float32)},
    )


def test_channels_share_the_burden_of_range_and_weights() -> None:
    """Reaches of 1 and 1/4 of the largest, largest weights of 1 and 1 of a row: the root of their ratio each."""
    graph, seen = chained()
    made, changed, factors = equalize(graph, seen, frozenset())
    first = graph.nodes[0].output
    assert factors.keys() == {first}
    assert factors[first].tolist() == pytest.approx([1.0, 2.0])
    own, other = graph.constants[graph.nodes[0].inputs[1]], made.constants[made.nodes[0].inputs[1]]
    assert other.ravel() == pytest.approx(
        (own * np.array([1, 2], np.float32).reshape(2, 1, 1, 1)).ravel()
    )
    assert made.constants[made.nodes[1].inputs[1]].ravel().tolist() == pytest.approx(
        [4.0, 0.5, 2.0, 1.0]
    )
    assert changed.tensors[first].high.tolist() == [[8.0, 4.0]] * 2
    assert changed.tensors[first].sample.tolist() == [[8.0, 4.0]]
    assert changed.sums[first, 2][0, :, 0, 0].tolist() == [1.0, 2.0]
    assert changed.means[first].tolist() == [[1.0, 2.0]] * 3
    assert changed.tensors["input"] is seen.tensors["input"]
    for held in ((0.0, 6.0), (-1.0, float("inf"))):
        assert equalize(*chained(clamp=held), frozenset())[2] == {}
    assert equalize(*chained("Sigmoid"), frozenset())[2] == {}
    assert equalize(graph, seen, frozenset({graph.nodes[0].name}))[2] == {}
    assert equalize(graph, seen, frozenset({graph.nodes[1].name}))[2] == {}
    between, told = chained("Relu")
    assert [f.tolist() for f in equalize(between, told, frozenset())[2].values()] == [
        pytest.approx([1.0, 2.0])
    ] * 2
    deep, told = chained("depthwise")
    found = equalize(deep, told, frozenset())[2]
    assert found[deep.nodes[0].output].tolist() == pytest.approx([1.0, 4.0])  # ranges alone count
    assert found[deep.nodes[1].output].tolist() == pytest.approx([1.0, 2.0])


def test_no_channel_takes_more_than_sixteen_times() -> None:
    graph, seen = chained()
    first = graph.nodes[0].output
    for high, wanted in (
        ([8.0, 8e-3], [1.0, 16.0]),
        ([8.0, 0.0], [1.0, 1.0]),
        ([8.0, 8 / 225], [1.0, 15.0]),
    ):
        seen.tensors[first] = stats_of([[0.0, 0.0]] * 2, [high] * 2)
        found = equalize(graph, seen, frozenset())[2]
        assert found.get(first, np.ones(2)).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("body", "factors"),
    [
        ("m = Concat<axis=1>(a, b)", {"a": [1, 2], "b": [1, 2], "m": [1, 2, 1, 2]}), ("m = Concat<axis=1>(a, b, fixed)", {}),
        ("s = Add(a, b) m = Concat<axis=1>(s, s)", {"a": [1, 2], "b": [1, 2], "s": [1, 2], "m": [1, 2, 1, 2]}), ("s = Add(a, row) m = Concat<axis=1>(s, s)", {}),
        ("s = Sub(a, b) m = Concat<axis=1>(s, s)", {"a": [1, 2], "b": [1, 2], "s": [1, 2], "m": [1, 2, 1, 2]}), ("s = Mul(a, gate) m = Concat<axis=1>(s, s)", {"a": [1, 2], "s": [1, 2], "m": [1, 2, 1, 2]}),
        ("s = Mul(a, a) m = Concat<axis=1>(s, s)", {}), ("s = PRelu(a, b) m = Concat<axis=1>(s, s)", {"a": [1, 2], "s": [1, 2], "m": [1, 2, 1, 2]}), ("s = Mul(a, b) m = Concat<axis=1>(s, s)", {"a": [1, 2], "s": [1, 2], "m": [1, 2, 1, 2]}),
    ],
)  # fmt: skip
def test_factors_pass_through_what_joins_channels(
    body: str, factors: dict[str, list[float]]
) -> None:
    graph = graph_of(
        f"(float[1,2,3,3] x) => (float[1,1,3,3] y) {{ a = Conv(x, w) b = Conv(x, w) {body} y = Conv(m, last) }}",
        w=np.ones((2, 2, 1, 1), np.float32),
        last=np.ones((1, 5 if "fixed" in body else 4, 1, 1), np.float32),
        fixed=np.ones((1, 1, 3, 3), np.float32),
        row=np.ones((1, 2, 1, 1), np.float32),
        gate=np.ones((1, 2, 1, 1), np.float32),
    )
    graph.prune()
    inner = [out for node in graph.nodes[:-1] for out in node.outputs]
    highs = {
        name: [4.0, 1.0] * (graph.shape(name)[1] // 2)
        for name in inner
        if graph.shape(name)[1] % 2 == 0
    }
    tensors = {name: stats_of([[0.0] * len(high)], [high]) for name, high in highs.items()}
    found = equalize(graph, seen_with(300, tensors=tensors), frozenset())[2]
    assert {name: each.tolist() for name, each in found.items()} == {
        name: pytest.approx(each) for name, each in factors.items()
    }


def test_factors_pass_through_a_flattened_pool_and_a_shuffle_alone() -> None:
    for body, count in (
        ("p = GlobalAveragePool(a) f = Reshape(p, flat) y = Gemm<transB=1>(f, last)", 3), ("f = Reshape(a, turned) y = Gemm<transB=1>(f, last)", 0),
        ("p = GlobalAveragePool(a) f = Reshape(p, single) y = Gemm<transB=1>(f, two)", 0),
    ):  # fmt: skip
        graph = graph_of(
            f"(float[1,2,1,1] x) => (float[?,1] y) {{ a = Conv(x, w) {body} }}".replace("?", "2" if "single" in body else "1"),
            w=np.ones((2, 2, 1, 1), np.float32), flat=ints(1, 2), turned=ints(1, -1), single=ints(2, 1),
            last=np.ones((1, 2), np.float32), two=np.ones((1, 1), np.float32),
        )  # fmt: skip
        if "turned" in body:
            graph = graph_of(
                "(float[1,2,1,2] x) => (float[1,1] y) { a = Conv(x, w) f = Reshape(a, turned) y = Gemm<transB=1>(f, last) }",
                w=np.ones((2, 2, 1, 1), np.float32), turned=ints(1, 4), last=np.ones((1, 4), np.float32),
            )  # fmt: skip
        highs = {
            name: ([4.0, 1.0] * 2)[: graph.shape(name)[1]]
            for node in graph.nodes[:-1]
            for name in node.outputs
        }
        tensors = {name: stats_of([[0.0] * len(high)], [high]) for name, high in highs.items()}
        assert len(equalize(graph, seen_with(300, tensors=tensors), frozenset())[2]) == count


def test_factors_of_another_net_are_refused() -> None:
    graph, _ = chained()
    with pytest.raises(EdgeconvError, match="rescales 3 channels of input, which this net has not"):
        rescale(graph, {"input": np.ones(3, np.float32)})
    with pytest.raises(EdgeconvError, match="rescales 2 channels of nothing"):
        rescale(graph, {"nothing": np.ones(2, np.float32)})
    vector = graph_of("(float[3] x) => (float[3] y) { y = Relu(x) }")
    assert rescale(vector, {"x": np.ones(1, np.float32)}).nodes[0].inputs == ["x"]


def test_layers_of_a_pair_get_their_floats_from_their_integers() -> None:
    graph = layer("Conv", (1, 2, 1, 1), np.ones((2, 2, 1, 1)), (1, 2, 1, 1), [1.0, 2.0])
    node = graph.nodes[0]
    recipe = Recipe(
        "r", "asymmetric", {"input": UNIT}, {node.name: weights_at(np.ones((2, 2, 1, 1)))}
    )
    pair = Pair.of(graph, recipe)
    own = pair.graph.nodes[0]
    assert pair.is_integer(own)
    assert not Pair.of(graph, replace(recipe, float_nodes=(node.name,))).is_integer(own)
    changed = replace(
        weights_at(np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1)),
        scales=np.array([2.0, 10.0], np.float32),
        axis=1,
        float_bias=np.array([5.0, 6.0], np.float32),
    )
    pair.set_layer(own, changed)
    assert pair.graph.constants[own.inputs[1]].ravel().tolist() == [2.0, 20.0, 6.0, 40.0]
    assert pair.graph.constants[own.inputs[2]].tolist() == [5.0, 6.0]
    name = pair.add_tensor("input", "more", (1, 3, 1, 1))
    assert (name, pair.graph.shape(name), pair.activations[name]) == (
        "input_more",
        (1, 3, 1, 1),
        UNIT,
    )
    pair.weights["gone"] = changed
    _, held = pair.result()
    assert (list(held.weights), held.activations["input"]) == ([node.name], UNIT)
    assert graph.constants[graph.nodes[0].inputs[2]].tolist() == [1.0, 2.0]
    assert bias_integers(changed, 0.5).tolist() == [5, 1]


def test_pictures_at_the_border_are_those_that_are_stored_and_read() -> None:
    body = "(float[1,2,2,2] x, float[1,2,2,2] z, float[1,2] v) => (float[1,2,2,2] y, float[1,2] u) { c = Sub(x, half) y = Add(c, z) u = Relu(v) }"
    graph = graph_of(body, half=np.array(0.5, np.float32))
    held = dict.fromkeys(("x", "z", "v", "c", "y"), UNIT)
    assert Pair.of(graph, Recipe("r", "asymmetric", held, {})).border_pictures() == ["x", "z", "c"]
    del held["z"]
    graph.outputs.append("x")
    assert Pair.of(graph, Recipe("r", "asymmetric", held, {})).border_pictures() == ["c"]
