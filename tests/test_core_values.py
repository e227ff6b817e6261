"""Values of the core worked out by hand: which tensors, which bytes, which rows."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quant_nets import NetBuilder, pictures, residual_net, shuffle_net

from edgeconv.errors import EdgeconvError
from edgeconv.export.quant.observe import picture_means
from edgeconv.judge.context import Context
from edgeconv.judge.measure import measure
from edgeconv.judge.run import all_placed
from edgeconv.mil.call import Rule
from edgeconv.mil.ops_move import OPS as MOVES
from edgeconv.mil.ops_store import OPS as STORES
from edgeconv.parity.baseline import compare_baseline
from edgeconv.tensors import TensorSpec


def called(rule: Rule, values: dict[str, Any]) -> Any:
    """Call a kernel with ``values`` as arguments."""

    def ints(name: str, default: Sequence[int] = ()) -> list[int]:
        return list(values.get(name, default))

    call: Any = SimpleNamespace(
        array=lambda name="x": values[name], real=values.__getitem__, ints=ints,
        has=values.__contains__, dtype=np.float32, operation=SimpleNamespace(what="a slice"),
    )  # fmt: skip
    return rule.kernel(call)


def test_a_slice_takes_each_mask_for_what_it_is() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    bounds = {"x": x, "begin": [1, 1, 1], "end": [2, 2, 3], "stride": [1, 1, 1]}
    slice_of = MOVES["slice_by_index"]
    assert called(slice_of, bounds).tolist() == [[[17, 18]]]
    assert called(slice_of, {**bounds, "begin_mask": [0, 1, 0]}).tolist() == [[[13, 14], [17, 18]]]
    assert called(slice_of, {**bounds, "end_mask": [0, 0, 1]}).tolist() == [[[17, 18, 19]]]
    assert called(slice_of, {**bounds, "squeeze_mask": [1, 0, 0]}).tolist() == [[17, 18]]
    assert called(slice_of, {**bounds, "stride": [1, 1, 2]}).tolist() == [[[17]]]


def test_scales_of_blocks_are_those_of_their_rows_and_columns() -> None:
    data = np.full((2, 4), 3, np.int8)
    scale = np.array([[1.0, 10.0], [100.0, 1000.0]], np.float32)
    offset = np.array([[1, 2], [3, 0]], np.int8)
    got = called(
        STORES["constexpr_blockwise_shift_scale"], {"data": data, "scale": scale, "offset": offset}
    )
    assert got.tolist() == [[2, 2, 10, 10], [0, 0, 3000, 3000]]


def test_equalisation_reaches_every_tensor_but_the_borders() -> None:
    """Through shuffles, pools, Concats and Reshapes; an input and an output stay as they are."""
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant.equalize import equalize
    from edgeconv.export.quant.observe import observe

    graph = shuffle_net()
    _, _, factors = equalize(graph, observe(graph, pictures(graph, 4)), frozenset())
    inside = {o for node in graph.nodes for o in node.outputs} - set(graph.outputs)
    assert factors.keys() == inside
    shuffled = next(node for node in graph.nodes if node.op == "ChannelShuffle")
    before, after = factors[shuffled.inputs[0]], factors[shuffled.output]
    groups = shuffled.int("groups", 1)
    assert after.tolist() == before.reshape(groups, -1).T.reshape(-1).tolist()


def test_a_layer_kept_in_float_keeps_what_it_reads_and_writes() -> None:
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant.equalize import equalize
    from edgeconv.export.quant.observe import observe

    graph = shuffle_net()
    kept = graph.nodes[1]
    _, _, factors = equalize(graph, observe(graph, pictures(graph, 4)), frozenset({kept.name}))
    assert kept.inputs[0] not in factors
    assert kept.output not in factors


OLD = {"rows": {"onnx": {"outputs": {"y": {"sqnr_db": 30.0, "top1": 0.9}}, "file": {"bytes": 9}}}}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"outputs": {"y": {"sqnr_db": 30.0}}, "file": {"bytes": 9}}, "top1 was 0.9000 and is no longer"),
        ({"outputs": {}, "file": {"bytes": 9}}, "sqnr_db was 30.0 and is no longer measured"),
        ({"outputs": {"y": {"sqnr_db": 30.0, "top1": 0.9}}, "file": {}}, "bytes was 9 and is no longer"),
        ({"error": "it crashed"}, "ran before and now fails: it crashed"),
        (None, "is in the baseline and was not run"),
    ],
)  # fmt: skip
def test_what_vanishes_from_a_report_is_worse(now: dict[str, Any] | None, said: str) -> None:
    sentences = list(compare_baseline(OLD, {"rows": {} if now is None else {"onnx": now}}))
    assert any(said in sentence for sentence in sentences)


def test_a_row_that_failed_before_asks_nothing() -> None:
    failed = {"rows": {"onnx": {"error": "no runtime"}}}
    assert list(compare_baseline(failed, OLD)) == []
    assert list(compare_baseline(OLD, OLD)) == []


def test_an_output_that_equals_reference_and_floor_keeps_every_promise() -> None:
    """Beyond half precision's range too, where it has no steps to forgive."""
    values = np.array([[1e6, -2e6], [3e6, 1e6]], np.float32)
    figures, _ = measure("y", values, values, Context(floor=values, scores=False))
    assert figures["beyond_promise_db"] == figures["below_floor_db"] == 0.0


def test_outputs_of_a_runtime_without_names_are_described_by_position() -> None:
    known = [TensorSpec("a", (1, 3, 8, 8), layout="nhwc"), TensorSpec("b", (1, 4))]
    found = all_placed([TensorSpec("0", (1, 3, 8, 8)), TensorSpec("1", (1, 4))], known)
    assert [(spec.name, spec.layout) for spec in found] == [("0", "nhwc"), ("1", "other")]


def test_weights_that_lie_on_their_grid_keep_their_integers() -> None:
    """Those of a net that was INT8 before: GPTQ would move them for the sake of its pictures."""
    pytest.importorskip("onnxruntime")
    from edgeconv.export.quant.fit import LayerFit
    from edgeconv.export.quant.observe import observe
    from edgeconv.recipe import choose_scale

    graph = residual_net()
    node = next(n for n in graph.of("Conv") if n.inputs[0] in graph.inputs)
    draw = np.random.default_rng(0)
    weight = graph.constants[node.inputs[1]]
    integers = draw.integers(-126, 127, weight.shape).astype(np.float32)
    integers.reshape(len(integers), -1)[:, 0] = 127
    graph.constants[node.inputs[1]] = integers * np.float32(0.01)
    feeds = pictures(graph, 4)
    activations: Any = {node.inputs[0]: choose_scale(-1.0, 1.0, "asymmetric")}
    fit = LayerFit(graph, observe(graph, feeds), activations, "gptq", "none")
    stored = draw.integers(0, 256, (8, *graph.shape(node.inputs[0])[1:])).astype(np.uint8)
    assert (fit(node, stored).values == integers).all()


def test_parity_gives_its_calls_when_they_are_asked_for() -> None:
    from edgeconv import parity
    from edgeconv.parity import api

    assert parity.check_parity is api.check_parity
    with pytest.raises(AttributeError, match="'judge_it'"):
        parity.__getattr__("judge_it")


@pytest.mark.parametrize(
    ("zero_point", "sound"), [(-129, False), (-128, True), (127, True), (128, False)]
)
def test_a_recipe_has_zero_points_of_int8_alone(zero_point: int, sound: bool) -> None:
    from edgeconv.export.quant.check import problems
    from edgeconv.recipe import Activation, Recipe

    recipe = Recipe("x", "asymmetric", {"t": Activation(0.1, zero_point, -1.0, 1.0)}, {}, ())
    assert (problems(recipe) == []) is sound


@pytest.mark.parametrize(("data", "integer"), [("dequantize", True), ("relu", False)])
def test_a_core_ml_operator_counts_as_integer_with_both_operands(data: str, integer: bool) -> None:
    from edgeconv.mil.census import mil_census
    from edgeconv.mil.program import Operation, Reference

    def made(kind: str, name: str, **arguments: Any) -> Operation:
        return Operation(kind, {key: [value] for key, value in arguments.items()}, ((name, None),))  # type: ignore[arg-type]

    program: Any = SimpleNamespace(
        operations=(
            made(data, "a"),
            made("constexpr_affine_dequantize", "w", scale=np.ones(2, np.float32)),
            made("conv", "y", x=Reference("a"), weight=Reference("w")),
        )
    )
    found = mil_census(program)
    assert (found.form, found.ops["conv"], found.compute) == ("mlpackage", 1, 1)
    assert (found.integer, found.per_channel) == (int(integer), int(integer))


def test_a_bound_behind_an_operator_carries_its_own_options() -> None:
    """MAXIMUM and MINIMUM have some: a reader that looks at them must find them."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from edgeconv.export.tflite.emit import emit_tflite

    net = NetBuilder((1, 3, 4, 4))
    made = emit_tflite(net.finish(net.conv("input", 4, clamp=(-1.0, 5.0))))
    model = schema.ModelT.InitFromPackedBuf(made.data, 0)
    bounds = [
        op.builtinOptionsType
        for op in model.subgraphs[0].operators
        if model.operatorCodes[op.opcodeIndex].builtinCode
        in (schema.BuiltinOperator.MAXIMUM, schema.BuiltinOperator.MINIMUM)
    ]
    assert bounds == [schema.BuiltinOptions.MaximumMinimumOptions] * 2


def test_core_ml_runs_on_the_oldest_system_that_computes_so() -> None:
    from edgeconv.export.coreml.choices import settle

    assert settle("fp16", None, None, False) == ("fp16", 16)
    assert settle("int8", None, None, True) == ("fp16", 16)
    assert settle("int8", None, None, False) == ("fp16", 17)
    assert settle("fp32", None, 15, False) == ("fp32", 15)


def test_a_constant_that_only_parametrizes_may_have_any_element_type() -> None:
    from graph_kit import graph_of

    from edgeconv.export.tflite.table import check_supported

    resize = '{ y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, roi, scales) }'
    scales = np.array([1, 1, 2, 2], np.float32)
    for kind in (np.float32, np.float64):
        graph = graph_of(
            f"(float[1,2,4,4] x) => (float[1,2,8,8] y) {resize}",
            roi=np.zeros(0, kind),
            scales=scales,
        )
        check_supported(graph)
    wide = graph_of("(double[1,4] x) => (double[1,4] y) { y = Neg(x) }")
    with pytest.raises(EdgeconvError, match="float64"):
        check_supported(wide)


def test_core_ml_reads_as_integers_what_is_computed_and_no_half_is_too_coarse_for() -> None:
    from edgeconv.export.coreml.integers import IntegerPlan
    from edgeconv.recipe import Activation, Recipe

    net = NetBuilder((1, 4, 4, 4))
    graph = net.finish(net.conv("input", 4))
    graph.constants["c"] = np.ones((1, 4, 4, 4), np.float32)
    conv = graph.nodes[0]
    kinds = {name: Activation(0.1, 0, -1.0, 1.0) for name in ("input", "c")}
    kinds["faint"] = Activation(1e-9, 0, -1.0, 1.0)
    plan = IntegerPlan(Recipe("x", "asymmetric", kinds, {}, ()), 17, half=True)

    def reads(tensor: str) -> bool:
        return plan.reads_integers(graph, conv, tensor)

    assert [reads(name) for name in ("input", "c", "faint", "unknown")] == [
        True,
        False,
        False,
        False,
    ]
    whole = IntegerPlan(plan.recipe, 17)
    assert not whole.reads_integers(graph, conv, "faint")
    apart = IntegerPlan(Recipe("x", "asymmetric", kinds, {}, (conv.name,)), 17)
    assert not apart.reads_integers(graph, conv, "input")


@pytest.mark.parametrize(
    ("bias", "sound"), [(2**31 - 1, True), (2**31, False), (-(2**31), True), (-(2**31) - 1, False)]
)
def test_a_recipes_biases_are_int32(tmp_path: Path, bias: int, sound: bool) -> None:
    from edgeconv.recipe import Activation, Recipe, Weights, load_recipe

    one = np.ones(1, np.float32)
    weights = Weights(np.ones((1, 1), np.int8), one, np.zeros(1, np.int32), one)
    data: Any = Recipe(
        "x", "asymmetric", {"t": Activation(0.1, 0, -1.0, 1.0)}, {"c": weights}, ()
    ).to_json()
    data["weights"]["c"]["bias"] = [bias]
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(data))
    if sound:
        assert load_recipe(path).weights["c"].bias.tolist() == [bias]
    else:
        with pytest.raises(EdgeconvError, match=r"weights\.c\.bias"):
            load_recipe(path)


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    from edgeconv.parity.data import Request, load_data

    for name in ("a", "c"):
        image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    request = Request(
        data=str(tmp_path), mean=(0.0,) * 3, std=(1.0,) * 3, crop=1.0, channel_order="rgb"
    )
    found = load_data(request, [TensorSpec("x", (1, 3, 8, 8), layout="nchw")], None)
    assert found.names == ("a.png", "c.png")
    assert [reason.partition(" is not")[0] for reason in found.skipped] == [str(tmp_path / "b.png")]
    assert found.inputs["x"].shape == (2, 3, 8, 8)


def test_a_count_may_be_the_same_in_every_sample_and_a_picture_may_not() -> None:
    from edgeconv.export.quant.calibration import _complaints

    draw = np.random.default_rng(0)
    feeds: list[dict[str, Any]] = [
        {
            "x": draw.standard_normal((1, 3, 4, 4)),
            "ids": np.ones((1, 4), np.int64),
            "t": np.ones(1, np.float32),
        }
        for _ in range(12)
    ]
    assert not any("ids" in said or "for t " in said for said in _complaints(feeds))
    still: list[dict[str, Any]] = [{"x": feeds[0]["x"]} for _ in feeds]
    assert "the calibration pictures for x are all the same" in _complaints(still)


@pytest.mark.parametrize("side", [5, 40])
def test_means_of_bytes_are_exact(side: int) -> None:
    stored = np.random.default_rng(side).integers(200, 256, (3, side, side, 7), dtype=np.uint8)
    lying = np.moveaxis(stored, 3, 1).reshape(3, 1, 7, side, side)
    wanted = stored.astype(np.int64).sum((1, 2)).astype(np.float32) / np.float32(side * side)
    for made in (lying, np.ascontiguousarray(lying)):
        np.testing.assert_array_equal(picture_means(made, 1), wanted)
    ends = picture_means(lying == 255, 1)
    np.testing.assert_allclose(ends, (stored == 255).mean((1, 2)), rtol=1e-6)
