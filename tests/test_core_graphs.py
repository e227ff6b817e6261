"""What the core makes of small graphs, worked out by hand: integers, scales, notes, cells of parity."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quant_nets import RELU, NetBuilder, pictures

from edgeconv.bench.pairs import pair_layers
from edgeconv.bench.statistics import Interval, Ratio, student_t
from edgeconv.errors import BudgetMissedError, UsageError
from edgeconv.export.graph import Node
from edgeconv.export.integer.counts import KEPT, THERE, count_operators
from edgeconv.export.integer.free_form import held_on, reads_free, stored_free
from edgeconv.export.integer.pair import Pair, dense, is_depthwise, pick_columns, pick_rows
from edgeconv.export.integer.weights_alone import round_weights
from edgeconv.export.quant import budget, finer, noise
from edgeconv.export.quant.bias import is_vector, likely, likely_together, tap_means
from edgeconv.export.quant.calibration import _range_warnings, neighbour_correlation
from edgeconv.export.quant.candidates import RECIPES
from edgeconv.export.quant.check import check_fits, problems
from edgeconv.export.quant.equalize import _column_share, _rescale
from edgeconv.export.quant.explain_noise import noise_cells, noise_rows
from edgeconv.export.quant.float_outputs import logits, probabilities, real_ends
from edgeconv.export.quant.gather import Gatherer
from edgeconv.export.quant.judge import _noise_shares, _typical
from edgeconv.export.quant.report import layer_notes
from edgeconv.export.quant.weights import dequantized, gptq, round_nearest, weight_scales
from edgeconv.export.tflite.clamps import clamp_steps, implied
from edgeconv.export.tflite.padding import needed_padding, window_padding
from edgeconv.mil.kernels import interpolation
from edgeconv.parity.layers.surgery_mil import Grid
from edgeconv.recipe import Activation, Recipe, Weights
from edgeconv.tensors import Quantization

pytest.importorskip("onnx")
HELD = Activation(0.5, -128, 0.0, 127.5)


def weights_of(channels: int, inside: int = 1, kernel: tuple[int, ...] = (1, 1)) -> Weights:
    """Return weights that count up, with a scale, a bias and a real bias of each channel's own."""
    values = np.arange(channels * inside * int(np.prod(kernel))).reshape(channels, inside, *kernel)
    own = np.arange(1, channels + 1)
    return Weights(
        values.astype(np.int8),
        own.astype(np.float32),
        own.astype(np.int32) * 10,
        own.astype(np.float32) * 100,
    )


def net_of(op: str, values: Any, bias: Any = None, **attrs: Any) -> NetBuilder:
    """Return a net of one weighted operator."""
    net = NetBuilder((1, 4, 2, 2))
    inputs = ["input", net.constant("weight", np.asarray(values))]
    if bias is not None:
        inputs.append(net.constant("bias", np.asarray(bias, np.float32)))
    net.finish(net.add(op, inputs, (1, 2, 2, 2), **attrs))
    return net


@pytest.mark.parametrize(
    ("op", "axis", "scales"),
    [
        ("Conv", 0, [0.01, 2.58 / 127]),
        ("ConvTranspose", 1, [2.58 / 127, 1.9 / 127]),
        ("Gemm", 0, [0.01, 2.58 / 127]),
    ],
)
def test_weights_alone_are_rounded_by_their_channels_largest(
    op: str, axis: int, scales: list[float]
) -> None:
    real = np.array([[1.27, -0.63], [2.58, 1.9]], np.float32)
    shape = (2, 2) if op == "Gemm" else (2, 2, 1, 1)
    attrs: dict[str, Any] = {"transB": 1} if op == "Gemm" else {}
    recipe = round_weights(net_of(op, real.reshape(shape), [7.0, 8.0], **attrs).graph)
    (made,) = recipe.weights.values()
    step = np.array(scales)[:, None] if axis == 0 else np.array(scales)
    assert made.axis == axis
    assert made.scales == pytest.approx(scales)
    assert made.values.reshape(2, 2).tolist() == np.rint(real / step).tolist()
    assert (made.bias.tolist(), made.float_bias.tolist()) == ([0, 0], [7.0, 8.0])
    assert (recipe.form, recipe.activations) == ("zero-point-free", {})


def test_what_cannot_be_rounded_alone_is_left() -> None:
    real = np.ones((4, 2, 1, 1), np.float32)
    assert round_weights(net_of("ConvTranspose", real, group=2).graph).weights == {}
    assert round_weights(net_of("Conv", real.astype(np.float16)).graph).weights == {}
    (grouped,) = round_weights(net_of("Conv", real, group=2).graph).weights.values()
    assert grouped.float_bias.tolist() == [0.0] * 4
    assert grouped.values.ravel().tolist() == [127] * 8


def free_net() -> tuple[NetBuilder, Recipe]:
    """Return a convolution, two additions, a pool and a softmax, every tensor with a range."""
    net = NetBuilder((1, 4, 8, 8))
    conv = net.conv("input", 4, kernel=1)
    fixed = net.add(
        "Add", [conv, net.constant("c", np.ones((1, 4, 1, 1), np.float32))], (1, 4, 8, 8)
    )
    both = net.add("Add", [fixed, conv], (1, 4, 8, 8))
    pool = net.add("MaxPool", [both], (1, 4, 4, 4), kernel_shape=[2, 2], strides=[2, 2])
    ends = net.add("Softmax", [pool], (1, 4, 4, 4), axis=1)
    net.finish(ends)
    held = {name: HELD for name in ("input", conv, fixed, both, pool, ends)}
    names = {node.op: node.name for node in net.graph.nodes}
    return net, Recipe("r", "asymmetric", held, {names["Conv"]: weights_of(4, 4)})


def test_without_zero_points_only_what_integers_read_is_stored() -> None:
    net, recipe = free_net()
    graph = net.graph
    conv, fixed, both, pool, ends = graph.nodes
    assert [reads_free(graph, recipe, node, node.inputs[0]) for node in graph.nodes] == [
        True,
        False,
        True,
        True,
        False,
    ]
    kept = [conv.inputs[0], fixed.output, conv.output, both.output]
    assert set(stored_free(graph, recipe)) == set(kept)
    floats = Recipe("r", "asymmetric", recipe.activations, {}, (both.name,))
    assert set(stored_free(graph, floats)) == {"input", both.output}
    assert not reads_free(graph, recipe, conv, "elsewhere")
    graph.nodes.append(Node("Equal", "peak", [both.output, pool.output], ["p"]))
    assert not reads_free(graph, recipe, pool, both.output)  # peaks are where both are equal
    graph.nodes.pop()
    assert held_on(graph, recipe, "tflite", real=False).activations == recipe.activations
    assert set(held_on(graph, recipe, "coreml", real=False).activations) == set(kept)
    assert ends.output not in stored_free(graph, recipe)


def test_operators_are_counted_where_they_compute() -> None:
    net, recipe = free_net()
    counts = count_operators(net.graph, recipe)
    assert (counts.integer, counts.floats) == (4, {})  # a pool only moves
    conv, fixed, *_ = net.graph.nodes
    more = count_operators(net.graph, Recipe("r", "asymmetric", {}, {}, (conv.name,)), [fixed.name])
    assert (more.integer, more.floats, more.all) == (2, {KEPT: {"Conv": 1}, THERE: {"Add": 1}}, 4)
    assert more.float_text() == f"2 of 4 operators in float: 1 Conv ({KEPT}); 1 Add ({THERE})"
    assert counts.float_text() == ""


def test_rows_and_columns_are_picked_with_all_that_belongs_to_them() -> None:
    weights = weights_of(3, 2)
    rows = pick_rows(weights, np.array([2, -1, 0]))
    assert rows.values.reshape(3, 2).tolist() == [[4, 5], [0, 0], [0, 1]]
    assert rows.scales.tolist() == [3.0, 3.0, 1.0]  # an added row has the widest
    assert (rows.bias.tolist(), rows.float_bias.tolist()) == ([30, 0, 10], [300.0, 0.0, 100.0])
    columns = pick_columns(weights, np.array([1, -1, 0]))
    assert columns.values.reshape(3, 3).tolist() == [[1, 0, 0], [3, 0, 2], [5, 0, 4]]
    blocks = dense(weights_of(4, 2), 2)
    assert blocks.values.reshape(4, 4).tolist() == [
        [0, 1, 0, 0],
        [2, 3, 0, 0],
        [0, 0, 4, 5],
        [0, 0, 6, 7],
    ]
    net = NetBuilder((1, 3, 4, 4))
    deep, wide = net.conv("input", 3, group=3), net.conv("input", 3)
    net.conv("input", 6, group=3)
    net.add("ConvTranspose", [deep, wide], (1, 3, 4, 4), group=3)
    assert [is_depthwise(net.graph, node) for node in net.graph.nodes] == [
        True,
        False,
        False,
        False,
    ]
    pair = Pair.of(net.graph, Recipe("r", "asymmetric", {"input": HELD}, {}))
    pair.lay_out(deep, np.array([2, -1, 0]))
    pair.lay_out(deep, np.array([1, 0, -1, 2]))
    assert pair.channels[deep].tolist() == [-1, 2, -1, 0]
    assert net.graph.shape(deep) == (1, 3, 4, 4)
    assert pair.graph.shape(deep) == (1, 4, 4, 4)
    assert pair.border_pictures() == ["input"]


@pytest.mark.parametrize("size", [5, 8])
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (0, 1), (2, 0)])
def test_paddings_are_what_the_windows_reach(
    size: int, kernel: int, stride: int, pads: tuple[int, int]
) -> None:
    before, after = pads
    starts = range(-before, size + after - kernel + 1, stride)
    out = len(starts)
    last = max(0, starts[-1] + kernel - size)  # where the last window ends, beyond the picture
    assert needed_padding(size, kernel, stride, 1, before, out) == (before, last)
    made = window_padding(
        (size, 6), (out, 6), (kernel, 1), (stride, 1), (1, 1), (before, 0, after, 0)
    )
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    same = out == -(-size // stride) and (before, last) == (total // 2, total - total // 2)
    if (before, last) == (0, 0):
        assert (made.mode, made.explicit) == ("VALID", None)
    elif same:
        assert (made.mode, made.explicit) == ("SAME", None)
    else:
        assert (made.mode, made.explicit) == ("VALID", (before, 0, last, 0))
    turned = window_padding(
        (6, size), (6, out), (1, kernel), (1, stride), (1, 1), (0, before, 0, after)
    )
    assert turned.explicit == (None if made.explicit is None else (0, before, 0, last))


INF = float("inf")


@pytest.mark.parametrize(
    ("clamp", "scale", "zero", "kept"),
    [
        ((0.0, INF), 0.1, -128, True), ((0.0, INF), 0.1, -127, False), ((0.0, 25.5), 0.1, -128, True),
        ((0.0, 25.4), 0.1, -128, False), ((-12.8, 12.7), 0.1, 0, True), ((-12.8, 12.5), 0.1, 0, False), ((-INF, 6.0), 6 / 255, -128, True),
    ],
)  # fmt: skip
def test_a_clamp_is_implied_by_integers_that_end_there(
    clamp: Any, scale: float, zero: int, kept: bool
) -> None:
    held = Quantization(scale, zero)
    assert implied(clamp, held) is kept
    if kept:
        assert clamp_steps("MEAN", clamp, held) == (None, [])


@pytest.mark.parametrize(
    ("code", "clamp", "steps"),
    [
        ("CONV_2D", (0.0, INF), ("RELU", [])), ("CONV_2D", (-1.0, 1.0), ("RELU_N1_TO_1", [])), ("ADD", (0.0, 2.0), ("RELU", [("MINIMUM", 2.0)])),
        ("CONV_2D", (1.0, 2.0), (None, [("MAXIMUM", 1.0), ("MINIMUM", 2.0)])), ("CONV_2D", (-INF, 2.0), (None, [("MINIMUM", 2.0)])),
        ("CONV_2D", (1.0, INF), (None, [("MAXIMUM", 1.0)])), ("MEAN", (0.0, 6.0), (None, [("RELU6", None)])),
    ],
)  # fmt: skip
def test_a_clamp_is_fused_where_the_kernel_has_it(code: str, clamp: Any, steps: Any) -> None:
    assert clamp_steps(code, clamp, None) == steps


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("made", [1, 3, 8])
@pytest.mark.parametrize(
    "mode",
    ["ALIGN_CORNERS", "STRICT_ALIGN_CORNERS", "DEFAULT", "UNALIGN_CORNERS", "OFFSET_CORNERS"],
)
def test_resampling_takes_its_grid_points(size: int, made: int, mode: str) -> None:
    """Of values that count up, each made value is its own place, clipped to the picture."""
    got = interpolation(size, made, mode) @ np.arange(size)
    for i in range(made):
        corners = (
            i * (size - 1) / (made - 1)
            if made > 1
            else (size - 1) / 2
            if mode == "ALIGN_CORNERS"
            else 0.0
        )
        delta = max(1, size - 1) / made
        point = {"DEFAULT": i * size / made, "UNALIGN_CORNERS": (i + 0.5) * size / made - 0.5,
                 "OFFSET_CORNERS": 0.5 * delta + i * delta}.get(mode, corners)  # fmt: skip
        assert got[i] == pytest.approx(min(max(point, 0.0), size - 1.0))


def test_rows_of_the_noise_map_are_the_worst_first() -> None:
    small = {"share": 0.1, "channels": 3, "worst_channel": 2, "worst_share": 0.05}
    rows = noise_rows({"noise": {"a": small, "b": {**small, "share": 0.4}}})
    assert [row["tensor"] for row in rows] == ["b", "a"]
    assert noise_cells(rows) == [
        ["b", "40.0%", "#" * 20, "3", "channel 2: 5.0%"], ["a", "10.0%", "#" * 5, "3", "channel 2: 5.0%"]
    ]  # fmt: skip
    assert noise_cells([]) == []
    assert noise_rows({}) == []


def test_drops_are_points_of_top_1_or_of_agreement() -> None:
    wanted = np.eye(4, dtype=np.float32)
    got = wanted[[0, 1, 3, 2]]
    assert budget.agreement_drop(wanted, got) == 50.0
    assert budget.agreement_drop(wanted, wanted) == 0.0
    assert budget.agreement_drop(wanted, got, [0, 1, 2, 0]) == 25.0
    assert (
        budget.agreement_drop(wanted, got, [3, 3, 3, 3]) == 0.0
    )  # one right before, another one now


def test_layers_go_to_float_until_the_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    net = NetBuilder((1, 3, 4, 4))
    graph = net.head(net.conv(net.conv("input", 4), 4))
    names = [node.name for node in graph.nodes if node.op in ("Conv", "Gemm")]
    added = dict(zip(names, (0.1, 0.3, 0.2), strict=True))
    notes = {"layers": {name: {"added": share} for name, share in added.items()}}
    recipe = Recipe("r", "asymmetric", {}, {name: weights_of(1) for name in names}, (), notes)
    wanted: Any = {graph.outputs[0]: np.eye(10)[[0, 1, 2, 3]]}
    turned = {0: 4, 1: 2, 2: 1, 3: 1}

    def run(graph: Any, candidate: Recipe, feeds: Any, threads: int) -> Mapping[str, Any]:
        wrong = turned[len(candidate.float_nodes)]
        return {graph.outputs[0]: np.eye(10)[[*[9] * wrong, *range(wrong, 4)]]}

    monkeypatch.setattr(budget, "run_recipe", run)
    told: list[float] = []
    feeds: Any = [{}] * 4
    made = budget.meet_budget(graph, recipe, feeds, wanted, max_drop=25.0, progress=told.append)
    assert set(made.float_nodes) == {names[1], names[2]}
    assert told == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert budget.meet_budget(graph, recipe, feeds, wanted, max_drop=100.0).float_nodes == ()
    with pytest.raises(
        BudgetMissedError, match=r"25\.00 points are lost .* 20 are allowed"
    ) as missed:
        budget.meet_budget(graph, recipe, feeds, wanted, max_drop=20.0)
    assert [name for name in names if name in str(missed.value)] == names
    graph.outputs = [graph.nodes[0].output, graph.outputs[0]]
    with pytest.raises(UsageError, match="one output of class scores"):
        budget.meet_budget(
            graph, recipe, feeds, {n: wanted[graph.outputs[1]] for n in graph.outputs}, max_drop=1.0
        )


def test_noise_is_a_share_of_the_mean_power() -> None:
    wanted = np.array([[3.0, 4.0], [0.0, 5.0]], np.float32)
    assert _noise_shares(wanted, wanted + 1).tolist() == [2 / 25, 2 / 25]
    whole = np.array([[1, 2], [3, 4]])
    assert _noise_shares(whole, np.array([[1, 9], [9, 9]])).tolist() == [0.5, 1.0]
    assert _noise_shares(whole[:, :0], whole[:, :0]).tolist() == [0.0, 0.0]
    assert _typical(np.array([0.01, 0.04])) == pytest.approx(0.02)
    assert _typical(np.array([0.0, 2.0])) == pytest.approx(
        np.sqrt(1e-3 * 2.0)
    )  # nearly exact counts as a thousandth
    assert _typical(np.zeros(3)) == pytest.approx(1e-12)


def test_without_pytorch_a_tensors_noise_is_split_by_its_readers_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = NetBuilder((1, 3, 4, 4))
    first = net.conv("input", 2, kernel=1)
    graph = net.head(net.conv(first, 4, kernel=1))
    held = {name: Activation(1.0, 0, -128.0, 127.0) for name in graph.shapes}
    recipe = Recipe("r", "asymmetric", held, {})
    weight = graph.nodes[1].inputs[1]
    graph.constants[weight] = np.array([[1, 2], [3, 0], [0, 0], [0, 2]], np.float32).reshape(
        4, 2, 1, 1
    )
    stats = SimpleNamespace(
        sample=np.array([[0.25, 0.5], [-0.25, 1.25]], np.float32),
        channel=np.array([0, 1]),
        low=np.zeros((1, 2)),
    )
    seen: Any = SimpleNamespace(tensors={first: stats})
    errors = [(0.25**2 + 0.25**2) / 2, (0.5**2 + 0.25**2) / 2]
    monkeypatch.setattr(noise, "backward_map", lambda *_: None)
    monkeypatch.setattr(noise, "noise_of", lambda *_: 3.0)
    monkeypatch.setattr(
        noise,
        "chains",
        lambda *_: [SimpleNamespace(makers=(graph.nodes[0],), reader=graph.nodes[1])],
    )
    found = noise.noise_shares(graph, recipe, seen, [], {}, 1)
    unscaled = np.array(errors) * [1 + 9, 4 + 4]
    assert found[first] == pytest.approx(3.0 * unscaled / unscaled.sum())
    told = noise.noise_notes({"a": np.array([0.1, 0.3]), "b": np.array([0.6])})
    assert list(told) == ["b", "a"]
    assert told["a"] == {
        "share": pytest.approx(0.4),
        "channels": 2,
        "worst_channel": 1,
        "worst_share": pytest.approx(0.3),
    }


def test_copies_are_kept_where_pictures_say_that_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = SimpleNamespace(graph="g", recipe=Recipe("r", "asymmetric", {}, {}))
    task: Any = SimpleNamespace(
        pictures=list(range(40)),
        learnt=5,
        threads=1,
        seen=SimpleNamespace(outputs={"y": np.arange(40)}),
    )
    ran: list[tuple[Any, list[int], int]] = []

    def score(graph: str, wanted: Mapping[str, Any], got: Any) -> Any:
        ran.append((graph, got, len(wanted["y"])))
        return SimpleNamespace(noise={"g": 1.0, "copied": 10 ** (-gain / 10)}[graph])

    monkeypatch.setattr(finer, "noise_shares", lambda *_: {})
    monkeypatch.setattr(finer, "plan", lambda *_: {"t": (1, 3, 2)})
    monkeypatch.setattr(finer, "copied", lambda graph, recipe, chosen: ("copied", recipe))
    monkeypatch.setattr(finer, "run_recipe", lambda graph, recipe, pictures, threads: pictures)
    monkeypatch.setattr(finer, "score", score)
    gain = 2.0
    seen: Any = None
    found: Any = finer.with_copies(made, seen, task, 0.1)
    assert found.graph == "copied"
    assert found.recipe.notes["copies"]["count"] == 3
    assert found.recipe.notes["copies"]["gain_db"] == pytest.approx(2.0)
    assert ran == [("g", list(range(4, 40)), 36), ("copied", list(range(4, 40)), 36)]
    gain = 0.0
    assert finer.with_copies(made, seen, task, 0.1) is made
    task.learnt = 30
    finer.with_copies(made, seen, task, 0.1)
    assert ran[-1][1] == list(range(8, 40))  # 32 pictures at least


def test_scales_of_weights_and_their_reals() -> None:
    node = Node("Conv", "c", ["x", "w", "b"], ["y"])
    real = np.array([[1.27, -0.5], [0.0, 0.0], [1e-9, 0.0]], np.float32).reshape(3, 2, 1, 1)
    scales = weight_scales(node, real, np.zeros(3, np.float32), 1.0)
    assert scales == pytest.approx([0.01, 0.01, 0.01 * 2.0**-16])
    assert weight_scales(node, real, np.array([0, 0, 2.0**20], np.float32), 0.5)[
        2
    ] == pytest.approx(2.0**-9)
    assert weight_scales(node, real, np.zeros(3, np.float32), 1.0, 63)[0] == pytest.approx(
        1.27 / 63
    )
    assert weight_scales(node, real * 0, np.zeros(3, np.float32), 1.0) == pytest.approx(
        [1 / 127] * 3
    )
    turned = Node("ConvTranspose", "t", ["x", "w"], ["y"], {"group": 2})
    one = weight_scales(
        turned,
        np.array([[1.27], [2.54]], np.float32).reshape(2, 1, 1, 1),
        np.zeros(2, np.float32),
        1.0,
    )
    assert one == pytest.approx([0.02, 0.02])
    flat = np.array([[0.015, -0.025, 9.0]], np.float32)
    assert round_nearest(flat, np.array([0.01], np.float32)).tolist() == [[2, -2, 127]]
    values = np.array([[1, -2], [3, 4]], np.int8).reshape(2, 2, 1, 1)
    graph: Any = None  # it asks the node alone
    assert dequantized(graph, node, values, np.array([2.0, 10.0], np.float32)).ravel().tolist() == [
        2,
        -4,
        30,
        40,
    ]
    assert dequantized(
        graph, turned, values, np.array([2.0, 10.0], np.float32)
    ).ravel().tolist() == [2, -20, 6, 40]


def test_gptq_pushes_an_error_into_the_next_column() -> None:
    """Two equal inputs: what one weight loses by rounding the other gains, so that their sum is kept."""
    flat = np.array([[0.4, 0.4]], np.float32)
    hessian = np.ones((1, 2, 2), np.float32)
    scales = np.ones(1, np.float32)
    assert round_nearest(flat, scales).tolist() == [[0, 0]]
    assert gptq(flat, hessian, scales).sum() == 1
    apart = np.array([[[4.0, 0.0], [0.0, 1.0]]], np.float32)
    assert gptq(np.array([[0.4, 0.6]], np.float32), apart, scales).tolist() == [[0, 1]]
    blocks = np.stack([np.ones((2, 2)), np.eye(2)]).astype(np.float32)
    found = gptq(np.array([[0.4, 0.4, 0.4, 0.4]], np.float32), blocks, scales)
    assert (found[0, :2].sum(), found[0, 2:].tolist()) == (1, [0, 0])


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ((0.0, 255.0), "0..255 fed where -2..2 is expected"), ((0.0, 2.5), "values outside of what"),
        ((-2.5, 0.0), "values outside of what"), ((0.0, 1.0), "0..1 fed where -2..2 is expected"), ((-0.1, 0.2), "the pictures use little"),
        ((-2.1, 2.1), None), ((-1.0, 1.0), None), ((0.0, 1.5), None),
    ],
)  # fmt: skip
def test_ranges_that_no_preprocessing_gives_are_said(
    seen: tuple[float, float], said: str | None
) -> None:
    found = _range_warnings({"x": list(seen)}, {"x": (-2.0, 2.0), "y": (0.0, 1.0)})
    assert len(found) == (said is not None)
    assert said is None or found[0].startswith(said)
    assert _range_warnings({"x": [0.0, 1.0]}, {"x": (0.0, 1.0)}) == []


def test_neighbours_in_noise_do_not_correlate() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(size=(1, 2, 5, 7))
    a, b = noisy[..., :-1].ravel(), noisy[..., 1:].ravel()
    assert neighbour_correlation(noisy) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert neighbour_correlation(np.ones((1, 1, 4, 4))) == 1.0


def test_a_recipe_that_no_runtime_computes_says_what_is_wrong() -> None:
    bad = {
        "a": Activation(0.0, 0, 0.0, 1.0), "b": Activation(1.0, 128, 0.0, 1.0), "c": Activation(1.0, -129, 0.0, 1.0),
        "d": Activation(1.0, 5, 0.0, 1.0), "e": Activation(1.0, 5, 0.0, 1.0, final=True), "f": Activation(1.0, -128, 0.0, 1.0),
    }  # fmt: skip
    low = Weights(
        np.array([[-128]], np.int8),
        np.array([-1.0], np.float32),
        np.zeros(2, np.int32),
        np.zeros(1, np.float32),
        2,
    )
    found = problems(Recipe("r", "zero-point-free", bad, {"w": low, "v": weights_of(2)}))
    subjects = [text.split(" has ")[0] for text in found]
    assert subjects == [
        "tensor a",
        "tensor b",
        "tensor b",
        "tensor c",
        "tensor c",
        "tensor d",
        *["layer w"] * 4,
    ]
    assert problems(Recipe("r", "asymmetric", {"d": bad["d"]}, {"v": weights_of(2)})) == []
    graph = net_of("Conv", np.ones((2, 4, 1, 1), np.float32)).graph
    name = graph.nodes[0].name
    assert (
        check_fits(Recipe("r", "asymmetric", {"input": HELD}, {name: weights_of(2, 4)}), graph)
        == []
    )
    wrong = check_fits(
        Recipe("r", "asymmetric", {"z": HELD}, {"q": weights_of(1), name: weights_of(2, 3)}), graph
    )
    assert wrong == [
        "the model has no tensor z",
        "the model has no layer q",
        f"layer {name} is [2, 4, 1, 1] in the model, [2, 3, 1, 1] here",
    ]


def test_ends_of_a_net_are_real_where_a_runtime_gives_them_so() -> None:
    net = NetBuilder((1, 3, 4, 4))
    graph = net.head(net.conv("input", 4))
    gemm = graph.nodes[-1]
    held = {name: HELD for name in graph.shapes}
    recipe = Recipe("r", "asymmetric", held, {gemm.name: weights_of(10, 4, ())})
    assert logits(graph, recipe) == (gemm.output,)
    assert logits(graph, Recipe("r", "asymmetric", held, {})) == ()
    assert real_ends(graph, recipe) == probabilities(graph, recipe) == ()
    soft = net.add("Softmax", [gemm.output], (1, 10), axis=1)
    graph.outputs = [soft]
    held[soft] = HELD
    assert logits(graph, recipe) == ()
    assert probabilities(graph, recipe) == (soft,)
    assert probabilities(graph, recipe, gemms=True) == (soft, gemm.output)
    graph.outputs = [soft, gemm.output]
    assert logits(graph, recipe) == ()
    assert probabilities(graph, recipe, gemms=True) == (soft,)
    kept = Recipe("r", "asymmetric", held, recipe.weights, (graph.nodes[-1].name,))
    assert probabilities(graph, kept) == ()
    turned = net.add("Tanh", [soft], (1, 10))
    graph.outputs = [turned]
    held[turned] = HELD
    assert real_ends(graph, recipe) == (turned,)
    assert real_ends(graph, Recipe("r", "asymmetric", held, {}, (graph.nodes[-1].name,))) == ()
    gemm.clamp = RELU
    graph.outputs = [gemm.output]
    graph.prune()
    assert logits(graph, recipe) == ()


def test_notes_of_a_layer_are_its_own_errors() -> None:
    graph = net_of("Gemm", np.array([[1.0, 2.0], [-2.0, 0.5]], np.float32), transB=1).graph
    node = graph.nodes[0]
    held = Weights(
        np.array([[2, 4], [-4, 2]], np.int8),
        np.array([0.5, 0.5], np.float32),
        np.zeros(2, np.int32),
        np.zeros(2, np.float32),
    )
    stats = SimpleNamespace(
        low=np.array([[0.0]]),
        high=np.array([[1.0]]),
        sample=np.array([[0.0, 1.0]], np.float32),
        channel=np.array([0, 0]),
    )
    seen: Any = SimpleNamespace(tensors={"input": stats, node.output: stats})
    notes = layer_notes(
        graph,
        Recipe("r", "asymmetric", {}, {node.name: held}),
        seen,
        {"input": 0.1, node.output: 0.4},
    )
    assert notes[node.name] == {
        "clip_rate": 0.0, "weight_error": pytest.approx(0.5 / np.sqrt(9.25)), "noise": 0.4, "added": pytest.approx(0.3)
    }  # fmt: skip
    assert layer_notes(graph, Recipe("r", "asymmetric", {}, {}), seen, {}) == {}


def test_factors_of_channels_leave_the_net_the_same() -> None:
    net = NetBuilder((1, 4, 6, 6))
    first = net.conv("input", 4, group=2, clamp=None)
    weights = net.random.normal(size=(4, 3, 2, 2)).astype(np.float32)
    turned = net.add(
        "ConvTranspose",
        [first, net.constant("w", weights)],
        (1, 6, 7, 7),
        kernel_shape=[2, 2],
        group=2,
        strides=[1, 1],
        pads=[0] * 4,
        dilations=[1, 1],
    )
    graph = net.head(turned)
    inside = np.array([1.0, 2.0, 4.0, 0.5], np.float32)
    factors = {
        "input": np.ones(4, np.float32),
        first: inside,
        turned: np.array([2, 1, 0.5, 4, 1, 2], np.float32),
    }
    made = _rescale(graph, factors)
    conv, transposed = made.nodes[0], made.nodes[1]
    own = graph.constants[graph.nodes[0].inputs[1]]
    assert made.constants[conv.inputs[1]] == pytest.approx(own * inside.reshape(4, 1, 1, 1))
    assert made.constants[conv.inputs[2]] == pytest.approx(
        graph.constants[graph.nodes[0].inputs[2]] * inside
    )
    outside = factors[turned].reshape(2, 3).repeat(2, axis=0).reshape(4, 3, 1, 1)
    assert made.constants[transposed.inputs[1]] == pytest.approx(
        weights / inside.reshape(4, 1, 1, 1) * outside
    )
    assert made.nodes[-1].inputs == graph.nodes[-1].inputs
    share = _column_share(graph, graph.nodes[1])
    sizes = np.abs(weights).reshape(4, -1).max(axis=1)
    assert share == pytest.approx(sizes / sizes.max())
    size = np.abs(own).reshape(4, 2, -1).max(axis=2)
    relative = (size / size.max(axis=1, keepdims=True)).reshape(2, 2, 2).max(axis=1).ravel()
    assert _column_share(graph, graph.nodes[0]) == pytest.approx(relative)


def test_means_at_the_taps_are_those_of_a_convolution() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(2, 3, 7, 6)).astype(np.float32)
    node = Node(
        "Conv",
        "c",
        ["x", "w"],
        ["y"],
        {"kernel_shape": [3, 2], "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 1]},
    )
    padded = np.pad(picture, ((0, 0), (0, 0), (1, 0), (0, 1)))
    plane = ((8 - 3) // 2 + 1, (7 - 2 - 1) // 1 + 1)
    wanted = [
        [
            [
                padded[:, c, i : i + 2 * plane[0] : 2, j * 2 : j * 2 + plane[1]].mean()
                for j in range(2)
            ]
            for i in range(3)
        ]
        for c in range(3)
    ]
    assert tap_means(node, picture, plane) == pytest.approx(np.array(wanted), abs=1e-6)


def test_a_shift_counts_as_far_as_pictures_share_it() -> None:
    sure = np.tile(np.array([[1.0, -2.0]], np.float32), (50, 1))
    assert likely(sure) == pytest.approx([1.0, -2.0])
    assert likely(sure, np.array([0.5, 0.5], np.float32)) == pytest.approx([0.5, 0.5])
    assert likely_together(sure) == pytest.approx([1.0, -2.0])
    luck = np.zeros((50, 1), np.float32)
    luck[0] = 50.0  # one picture alone
    assert abs(likely(luck)[0]) < 0.1
    assert likely_together(luck)[0] == 0.0


def test_a_vector_is_one_row_of_numbers() -> None:
    net = NetBuilder((1, 4))
    vector = net.add(
        "Gemm", ["input", net.constant("w", np.ones((2, 4), np.float32))], (1, 2), transB=1
    )
    assert is_vector(net.graph, net.graph.nodes[0])
    for shape, kernel, group, wanted in (
        ((1, 4, 1, 1), (1, 1), 1, True),
        ((1, 4, 2, 2), (1, 1), 1, False),
        ((1, 4, 1, 1), (1, 1), 2, False),
    ):
        other = NetBuilder(shape)
        other.add(
            "Conv",
            ["input", other.constant("w", np.ones((2, 4 // group, *kernel), np.float32))],
            (1, 2, *shape[2:]),
            group=group,
        )
        assert is_vector(other.graph, other.graph.nodes[0]) is wanted
    assert vector == "t0"


def test_extremes_are_gathered_by_picture_and_channel() -> None:
    values = np.arange(48, dtype=np.float32).reshape(2, 1, 3, 8)
    got = Gatherer("t", (1, 3, 8), 24, (1, 2), 2)
    got.take(values[:, 0])
    assert got.low.tolist() == [[0, 8, 16], [24, 32, 40]]
    assert got.high.tolist() == [[7, 15, 23], [31, 39, 47]]
    assert got.totals[1].ravel().tolist() == list(range(24))
    assert got.totals[2].ravel().tolist() == [2 * i + 24 for i in range(24)]
    batch = Gatherer("t", (2, 3, 4), 24, (), 1)
    batch.take(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    assert (batch.low.tolist(), batch.high.tolist()) == ([[0, 4, 8]], [[15, 19, 23]])
    one = Gatherer("t", (5,), 24, (), 1)
    one.take(np.arange(5, dtype=np.float32).reshape(1, 5))
    assert (one.low.tolist(), one.high.tolist()) == ([[0]], [[4]])


def test_candidates_differ_as_their_names_say() -> None:
    for candidates in RECIPES.values():
        for each in candidates:
            assert each.equalize == each.name.startswith("equalized")
            assert (each.ranges == "minmax") == ("min/max" in each.name)
            assert (each.rounding == "gptq") == ("GPTQ" in each.name)
            assert (each.bias == "none") == ("bias" not in each.name)
            assert each.needs_pictures == (each.name != "min/max")


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [
        (1, 12.706205),
        (2, 4.302653),
        (3, 3.182446),
        (4, 2.776445),
        (5, 2.570582),
        (9, 2.262157),
        (10, 2.228139),
        (30, 2.042272),
    ],
)
def test_students_t_is_that_of_tables(degrees: int, quantile: float) -> None:
    assert student_t(0.975, degrees) == pytest.approx(quantile, abs=1e-5)


def test_layers_of_two_files_are_paired_in_order() -> None:
    def op(name: str, macs: int, us: float) -> dict[str, Any]:
        return {"name": name, "macs": macs, "us": us, "of_peak": us / 10, "order": us}

    mine = [op("a", 100, 1.0), op("move", 0, 5.0), op("b", 50, 2.0)]
    found = pair_layers(mine, [op("c", 100, 4.0), op("d", 99, 8.0)])
    assert found is not None
    assert [(x.name, x.macs, x.us, x.reference_us) for x in found] == [
        ("a", 100, 1.0, 4.0), ("b", 50, 2.0, 8.0), ("all that only moves data", 0, 5.0, 0)
    ]  # fmt: skip
    assert (found[1].of_peak, found[1].reference_of_peak) == (0.2, 0.8)
    for macs in (25, 100):  # twice is not the same
        assert pair_layers(mine, [op("c", 100, 4.0), op("d", macs, 8.0)]) is None
    assert pair_layers(mine, [op("c", 51, 4.0), op("d", 99, 8.0)]) is not None
    assert pair_layers(mine, [op("c", 100, 4.0)]) is None
    assert pair_layers([op("m", 0, 1.0)], []) is None
    assert [str(Ratio(value, None)) for value in (0.0949, 0.095, 1.005, 0.0)] == [
        "0.095x",
        "0.10x",
        "1.00x",
        "0.00x",
    ]
    assert str(Ratio(2.0, Interval(1.5, 2.25))) == "2.00x [1.50, 2.25]"


def test_a_grid_rounds_about_its_zero_point() -> None:
    grid = Grid(0.5, 3, -128, 127)
    assert grid.nearest(np.array([0.0, 0.3, 1.0, 1000.0, -1000.0])).tolist() == [
        0.0,
        0.5,
        1.0,
        62.0,
        -65.5,
    ]


def test_pictures_of_the_float_run_are_all_there_whatever_a_chunk_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant import float_run

    net = NetBuilder((1, 3, 4, 4))
    graph = net.head(net.conv("input", 4))
    feeds = pictures(graph, 5)
    watched = [graph.nodes[0].output]
    sizes: dict[int, list[int]] = {}
    values: dict[int, Any] = {}
    for limit in (1, 1 << 30):
        monkeypatch.setattr(float_run, "CHUNK_BYTES", limit)
        parts = [
            (count, {n: a.copy() for n, a in made.items()})
            for count, made in float_run.run_float(graph, watched, feeds, 1)
        ]
        sizes[limit] = [count for count, _ in parts]
        values[limit] = np.concatenate([made[watched[0]] for _, made in parts])
    assert sizes == {1: [1] * 5, 1 << 30: [5]}
    assert values[1] == pytest.approx(values[1 << 30], abs=1e-5)
    assert values[1].shape == (5, 4, 4, 4)


def test_a_layer_that_names_no_groups_is_of_one() -> None:
    real = np.array([[1.0, 2.0], [4.0, 1.0]], np.float32).reshape(2, 2, 1, 1)
    net = NetBuilder((1, 2, 2, 2))
    net.add("Conv", ["input", net.constant("w", real)], (1, 2, 2, 2))
    assert _column_share(net.graph, net.graph.nodes[0]).tolist() == [1.0, 1.0]
    net.graph.constants[net.graph.nodes[0].inputs[1]] = real * np.array(
        [1.0, 0.25], np.float32
    ).reshape(1, 2, 1, 1)
    assert _column_share(net.graph, net.graph.nodes[0]).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("spread", "coarse"), [(31.0, True), (32.0, False), (33.0, False), (0.0, False)]
)
def test_an_output_needs_more_than_halves_beyond_a_step_of_its_spread(
    spread: float, coarse: bool
) -> None:
    """Around 400 a half has steps of a quarter: 1/128 of 32."""
    from edgeconv.export.coreml.wide import coarse_outputs

    values = np.array([[400.0 - spread], [400.0 + spread]], np.float32)
    assert coarse_outputs({"y": values, "i": values.astype(np.int32), "one": values[:1]}) == (
        ("y",) if coarse else ()
    )


def test_the_noisiest_island_goes_to_float_where_it_makes_enough_of_the_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgeconv.export.quant import islands

    parts = [
        islands.Island(("a", "b"), ("t", "u"), 0.01),
        islands.Island(("c",), ("v",), 0.01),
        islands.Island(("d",), ("w",), 0.9),
    ]
    share = {("t", "u"): 0.3, ("v",): 0.6, ("w",): 0.99}
    monkeypatch.setattr(islands, "islands", lambda graph, recipe: parts)
    monkeypatch.setattr(islands, "noise_of", lambda graph, recipe, inner, *_: share[inner])
    scored = {"sqnr_db": 1.0, "noise": 1.0}
    monkeypatch.setattr(islands, "picked_score", lambda recipe: scored)
    made: Any = SimpleNamespace(graph=None, recipe=None)
    task: Any = SimpleNamespace(
        pictures=[0] * 3, threads=1, seen=SimpleNamespace(outputs={"y": np.zeros(3)})
    )
    reason = (
        "rounding v and what leads to it alone makes 60% of the noise; 1.0% of the multiply-adds "
        "are in float for it"
    )
    assert islands.noisy_island(made, task, 0.0) == ({"c": reason}, 0.01)
    scored["noise"] = 1000.0
    assert islands.noisy_island(made, task, 0.0) == ({}, 0.0)
    scored |= {"noise": 1.0, "sqnr_db": islands.POOR_DB}
    assert islands.noisy_island(made, task, 0.0) == ({}, 0.0)
    parts.clear()
    scored["sqnr_db"] = 1.0
    assert islands.noisy_island(made, task, 0.0) == ({}, 0.0)


def test_what_coremltools_raises_is_a_refusal_with_its_first_line() -> None:
    pytest.importorskip("coremltools")
    from edgeconv.errors import UnsupportedOpError
    from edgeconv.export.coreml.convert import _converter_errors

    for raised, said in ((ValueError(" one\ntwo"), "one"), (RuntimeError(""), "RuntimeError")):
        with pytest.raises(UnsupportedOpError, match=f"graph: {said}$"), _converter_errors():
            raise raised
    with pytest.raises(OSError, match="full"), _converter_errors():
        raise OSError("full")


def test_channels_are_copied_through_depthwise_layers_to_the_next_dense_one() -> None:
    from edgeconv.export.quant.copies import chain_from

    net = NetBuilder((1, 3, 8, 8))
    first = net.conv("input", 4)
    deep = net.conv(first, 4, group=4)
    last = net.conv(deep, 6, kernel=1)
    graph = net.head(last)
    chain = chain_from(graph, first)
    assert chain is not None
    assert [node.output for node in chain.makers] == [first, deep]
    assert chain.reader.output == last
    assert [chain_from(graph, name) for name in ("input", deep, last)] == [None] * 3
    graph.outputs.append(deep)
    assert chain_from(graph, first) is None
    graph.outputs.pop()
    net.add("Relu", [deep], graph.shape(deep))  # a second reader
    assert chain_from(graph, first) is None


def test_numpys_products_are_of_one_thread_meanwhile() -> None:
    from edgeconv.export.quant import blas

    found = blas._functions()
    if found is None:
        pytest.skip("numpy brings no OpenBLAS")
    setter, getter = found
    before = getter()
    try:
        setter(2)
        with blas.one_blas_thread():
            assert getter() == 1
        assert getter() == 2
    finally:
        setter(before)


@pytest.mark.parametrize("rank", [5, 6])
def test_core_ml_has_five_axes(rank: int) -> None:
    from edgeconv.export.coreml.table import stops

    net = NetBuilder((1,) * rank)
    net.finish(net.add("Relu", ["input"], (1,) * rank))
    said = [refusal.clause for refusal in stops(net.graph)]
    assert [text for text in said if "6 axes" in text] == said
    assert bool(said) is (rank == 6)


def test_integer_weights_of_a_program_are_counted_by_their_scales() -> None:
    from edgeconv.mil.census import _counted
    from edgeconv.mil.program import Reference

    def op(kind: str, **arguments: Any) -> Any:
        return SimpleNamespace(kind=kind, arguments={k: [v] for k, v in arguments.items()})

    makers = {
        "x": op("dequantize"), "r": op("relu"), "one": op("constexpr_affine_dequantize", scale=np.ones(1)),
        "each": op("dequantize", scale=np.ones(4)), "none": op("constexpr_affine_dequantize"),
    }  # fmt: skip

    def counted(x: str, weight: str) -> tuple[bool, bool, bool]:
        found = _counted(op("conv", x=Reference(x), weight=Reference(weight)), makers)
        return found.integer, found.per_channel, found.stored

    assert counted("x", "each") == (True, True, True)
    assert counted("x", "one") == (True, False, True)
    assert counted("x", "none") == (True, False, True)
    assert counted("r", "each") == (False, True, True)
    assert counted("x", "r") == counted("x", "elsewhere") == (False, False, False)


def test_a_pool_overhangs_its_own_padding() -> None:
    """Of a 2x3 window with steps of two over 5x4 values, unequally padded: the sums that fit, over six."""
    from edgeconv.mil.ops_layers import _pool

    x = np.arange(20, dtype=np.float32).reshape(1, 1, 5, 4)
    given = {"kernel_sizes": [2, 3], "strides": [2, 2], "dilations": [1, 1], "pad": [1, 0, 2, 1]}
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)))
    wanted = [
        [padded[0, 0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 3] for j in range(3)] for i in range(3)
    ]
    call: Any = SimpleNamespace(
        real=lambda: x, ints=lambda name, default=(): given.get(name, default), text=lambda name, default: "custom",
        declared=lambda: SimpleNamespace(shape=(1, 1, 3, 3)), flag=lambda name: False, operation=SimpleNamespace(what="a pool"),
    )  # fmt: skip
    sums = np.array([[part.sum() / 6 for part in row] for row in wanted])
    assert np.asarray(_pool(call, largest=False))[0, 0] == pytest.approx(sums)
    given["pad"] = [0, 1, 0, 0]
    assert np.asarray(_pool(call, largest=True))[0, 0, 0].tolist() == [6, 7, -np.inf]


def test_two_unknown_sizes_are_no_shape() -> None:
    from edgeconv.formats.protobuf import CorruptFileError
    from edgeconv.mil.ops_move import _reshape

    x = np.arange(12).reshape(2, 6)
    for shape, made in (
        ([3, -1], (3, 4)),
        ([0, 2, 3], (2, 2, 3)),
        ([12], (12,)),
        ([-1, -1], None),
        ([5], None),
    ):
        call: Any = SimpleNamespace(
            array=lambda: x,
            ints=lambda name, shape=shape: list(shape),
            operation=SimpleNamespace(what="r"),
        )
        if made is None:
            with pytest.raises(CorruptFileError, match="12 elements become"):
                _reshape(call)
        else:
            assert _reshape(call).shape == made


def test_a_module_is_no_reference_of_a_file_that_holds_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    from edgeconv.errors import EdgeconvError
    from edgeconv.export import source
    from edgeconv.parity.matrix import Samples
    from edgeconv.parity.net import net_outputs

    opened: list[Any] = []

    def open_source(options: Any) -> Any:
        opened.append(options)
        return SimpleNamespace(module=None)

    monkeypatch.setattr(source, "open_source", open_source)
    samples = Samples({"x": np.zeros((2, 3, 4, 4), np.float32)})

    def said(manifest: dict[str, Any], embedded: bool | None) -> str:
        how = None if embedded is None else SimpleNamespace(embedded=embedded)
        artifact: Any = SimpleNamespace(manifest=manifest, preprocessing=how)
        with pytest.raises(EdgeconvError) as refused:
            net_outputs("mobilenet_v2", None, artifact, samples, 1)
        return str(refused.value)

    for manifest, embedded in (({"softmax": True}, None), ({}, True), ({"softmax": True}, False)):
        assert "takes normalised pictures and gives logits" in said(manifest, embedded)
    assert opened == []
    for embedded in (None, False):
        assert said({"net": {"width": 0.5}}, embedded) == "mobilenet_v2 is a file, not a net"
    assert [(options.width, options.input_shapes) for options in opened] == [
        (0.5, ((1, 3, 4, 4),))
    ] * 2


def test_a_recipe_is_simulated_where_there_are_a_manifest_and_grids() -> None:
    from edgeconv.parity.layers.run import _simulated

    nothing: Any = None
    grids = {"t": Quantization(1.0, 0)}
    assert _simulated(None, nothing, nothing, grids, 1) is None
    artifact: Any = SimpleNamespace()
    assert _simulated(artifact, nothing, nothing, {}, 1) is None
