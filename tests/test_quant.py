"""The quantization engine keeps accuracy, and every step keeps its promise."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quant_nets import RELU, NetBuilder, pictures, residual_net, shuffle_net

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import check_same_scale, needed_bounds
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.budget import without
from edgeconv.export.quant.candidates import EQUALIZED, RECIPES
from edgeconv.export.quant.clip import clip_search
from edgeconv.export.quant.columns import hessian
from edgeconv.export.quant.engine import float_nodes, quantize
from edgeconv.export.quant.equalize import equalize, rescale
from edgeconv.export.quant.judge import run_recipe, score
from edgeconv.export.quant.observe import observe
from edgeconv.export.quant.weights import gptq, round_nearest, rows, unrows, weight_scales
from edgeconv.recipe import Recipe, choose_scale, load_recipe


def float_outputs(graph: Graph, feeds: list[Any]) -> dict[str, Any]:
    return observe(graph, feeds).outputs


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("make", [residual_net, shuffle_net])
def test_every_recipe_stays_close_to_float(make: Any, recipe: str) -> None:
    graph = make()
    done = quantize(graph, pictures(graph, 20), recipe=recipe)
    fresh = pictures(graph, 12, seed=7)
    found = score(graph, float_outputs(graph, fresh), run_recipe(done.graph, done.recipe, fresh, 1))
    assert found.sqnr_db > 25
    check_same_scale(done.graph, done.recipe)
    assert done.recipe.notes["picked"] in {c.name for c in RECIPES[recipe]}


def test_the_same_arguments_give_the_same_recipe_on_any_number_of_threads() -> None:
    graph = residual_net()
    feeds = pictures(graph, 10)
    first = quantize(graph, feeds, recipe="std", threads=1).recipe.to_json()
    assert first == quantize(graph, feeds, recipe="std", threads=1).recipe.to_json()
    assert first == quantize(graph, feeds, recipe="std", threads=2).recipe.to_json()


def test_zero_point_free_recipes_have_only_the_two_zero_points_core_ml_takes() -> None:
    graph = shuffle_net()
    recipe = quantize(graph, pictures(graph), recipe="fast", form="zero-point-free").recipe
    read = {name: a for name, a in recipe.activations.items() if name not in graph.outputs}
    assert {a.zero_point for a in read.values()} <= {-128, 0}


def test_only_an_output_that_nothing_reads_is_final_and_keeps_its_zero_point() -> None:
    graph = shuffle_net()
    recipe = quantize(graph, pictures(graph), recipe="fast", form="zero-point-free").recipe
    assert {name for name, a in recipe.activations.items() if a.final} == set(graph.outputs)
    inputs = {node.name: node.inputs[0] for node in graph.nodes}
    other = recipe.with_form("asymmetric", inputs).with_form("zero-point-free", inputs)
    assert other.activations == recipe.activations


def test_reduce_range_keeps_weights_within_seven_bits() -> None:
    graph = residual_net()
    recipe = quantize(graph, pictures(graph), recipe="std", reduce_range=True).recipe
    assert max(int(np.abs(w.values).max()) for w in recipe.weights.values()) <= 63


def test_a_relu_behind_a_concat_is_implied_by_the_shared_range() -> None:
    graph = shuffle_net()
    concat = next(iter(graph.of("Concat")))
    assert needed_bounds(graph)[concat.inputs[1]] == (0.0, np.inf)
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    assert recipe.activations[concat.output].zero_point == -128


@pytest.mark.parametrize(
    ("op", "bounds"),
    [("Sigmoid", (-7.0, 7.0)), ("Tanh", (-3.5, 3.5)), ("HardSwish", (-3.0, np.inf))],
)
def test_what_saturates_needs_no_range_beyond(op: str, bounds: tuple[float, float]) -> None:
    net = NetBuilder()
    wide = net.conv("input", 8, clamp=None)
    graph = net.finish(net.add(op, [wide], net.graph.shape(wide)))
    layer = graph.producers()[wide]
    weights = graph.constants[layer.inputs[1]]
    graph.constants[layer.inputs[1]] = (60 * weights).astype(np.float32)
    assert needed_bounds(graph)[wide] == bounds
    assert needed_bounds(graph, floats=[graph.producers()[graph.outputs[0]].name])[wide] == (
        -np.inf,
        np.inf,
    )
    feeds, fresh = pictures(graph), pictures(graph, 4, seed=3)
    done = quantize(graph, feeds, recipe="fast", form="asymmetric")
    assert done.recipe.activations[wide].low > bounds[0] - 0.1
    got = run_recipe(done.graph, done.recipe, fresh, 1)
    assert score(graph, float_outputs(graph, fresh), got).sqnr_db > 28


def test_an_operator_without_int8_form_stays_in_float_with_its_reason() -> None:
    net = NetBuilder()
    first = net.conv("input", 8)
    grown = net.add("Exp", [first], net.graph.shape(first))
    graph = net.head(net.conv(grown, 8))
    assert float_nodes(graph) == {"Exp_1": "it has no INT8 form"}
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    uneven = graph.producers()[graph.outputs[0]].name  # what the head gives, by its values
    assert {*recipe.float_nodes} - {uneven} == {"Exp_1"}
    assert grown in recipe.activations


def test_several_inputs_and_outputs_that_are_no_scores_work() -> None:
    net = NetBuilder((1, 3, 8, 8))
    net.graph.inputs.append(net.graph.declare("second", (1, 3, 8, 8), np.float32))
    left, right = net.conv("input", 8), net.conv("second", 8)
    total = net.add("Add", [left, right], (1, 8, 8, 8), RELU)
    gate = net.add("Sigmoid", [net.conv(total, 8, kernel=1, clamp=None)], (1, 8, 8, 8))
    graph = net.finish(net.add("Mul", [total, gate], (1, 8, 8, 8)), gate)
    feeds = pictures(graph, 10)
    done = quantize(graph, feeds, recipe="std")
    fresh = pictures(graph, 4, seed=3)
    got = run_recipe(done.graph, done.recipe, fresh, 1)
    assert score(graph, float_outputs(graph, fresh), got).sqnr_db > 25
    assert done.recipe.activations[gate].scale == 1 / 256


def test_a_net_that_mixes_pictures_of_a_batch_runs_one_at_a_time() -> None:
    net = NetBuilder((1, 3, 8, 8))
    first = net.conv("input", 8)
    shape = net.constant("shape", np.array([8, 64], np.int64))
    graph = net.finish(net.add("Reshape", [first, shape], (8, 64)))
    done = quantize(graph, pictures(graph), recipe="std")
    assert set(done.recipe.weights) == {"Conv_0"}


@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions_are_quantized(group: int) -> None:
    net = NetBuilder((1, 4, 8, 8))
    weights = net.random.normal(0, 0.3, (4, 6 // group, 2, 2)).astype(np.float32)
    out = net.add(
        "ConvTranspose",
        ["input", net.constant("w", weights), net.constant("b", np.ones(6, np.float32))],
        (1, 6, 16, 16),
        strides=[2, 2],
        pads=[0] * 4,
        kernel_shape=[2, 2],
        dilations=[1, 1],
        group=group,
    )
    graph = net.finish(out)
    done = quantize(graph, pictures(graph), recipe="std")
    fresh = pictures(graph, 4, seed=3)
    got = run_recipe(done.graph, done.recipe, fresh, 1)
    assert score(graph, float_outputs(graph, fresh), got).sqnr_db > 30


def uneven_net() -> tuple[Graph, str, str]:
    """Return a linear stem with uneven channels, its output, and the sum that follows."""
    net = NetBuilder()
    stem = net.conv("input", 8, clamp=None)
    name = net.graph.nodes[0].inputs[1]
    uneven = np.asarray(net.graph.constants[name]) * np.geomspace(0.05, 4, 8)[:, None, None, None]
    net.graph.constants[name] = uneven.astype(np.float32)
    joined = net.add("Add", [stem, net.conv(stem, 8, kernel=1, clamp=None)], net.graph.shape(stem))
    return net.head(net.conv(joined, 8)), stem, joined


def test_a_saved_recipe_rebuilds_the_equalised_graph_for_its_float_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "std", (EQUALIZED,))
    graph, _, joined = uneven_net()
    (reader,) = (n for n in graph.of("Conv") if n.inputs[0] == joined)
    done = quantize(graph, pictures(graph))
    recipe = without(done.recipe, reader.name, "as --max-drop does")
    recipe.save(tmp_path / "recipe.json")
    loaded = load_recipe(tmp_path / "recipe.json")
    assert joined in loaded.equalized
    again = emit_qdq(rescale(graph, loaded.equalized), loaded).model
    assert again.SerializeToString() == emit_qdq(done.graph, recipe).model.SerializeToString()
    with pytest.raises(EdgeconvError, match="which this net has not"):
        rescale(graph, {"nowhere": np.ones(8, np.float32)})


def test_equalisation_keeps_the_function_and_evens_out_channels() -> None:
    graph, stem, joined = uneven_net()
    feeds = pictures(graph, 8)
    seen = observe(graph, feeds)
    equal, seen_too, factors = equalize(graph, seen, frozenset())
    assert {stem, joined} <= factors.keys()
    again = observe(equal, feeds)
    output = graph.outputs[0]
    np.testing.assert_allclose(again.outputs[output], seen.outputs[output], atol=1e-4)
    for tensor in (stem, joined):
        np.testing.assert_allclose(
            seen_too.tensors[tensor].high, again.tensors[tensor].high, rtol=1e-3, atol=1e-4
        )
        spread = seen.tensors[tensor].high.max(axis=0), again.tensors[tensor].high.max(axis=0)
        assert spread[1].max() / spread[1].min() < spread[0].max() / spread[0].min()


def test_equalisation_leaves_room_where_few_pictures_spiked() -> None:
    """Of channels that reached as far, the one that did so once will reach further than the steady ones."""
    graph, _, joined = uneven_net()
    seen = observe(graph, pictures(graph, 8))
    for tensor in equalize(graph, seen, frozenset())[2]:
        stats = seen.tensors[tensor]
        high = np.full_like(stats.high, 2.0)
        high[:-1, 3] = 0.2
        seen.tensors[tensor] = replace(stats, low=np.zeros_like(high), high=high)
    _, _, few = equalize(graph, seen, frozenset())
    _, _, many = equalize(graph, replace(seen, pictures=300), frozenset())
    moved = few[joined] / many[joined]
    assert moved[3] < 0.9 * np.delete(moved, 3).min()
    stats = seen.tensors[joined]
    for empty in (1, len(stats.low)):  # some pictures gave no extremes, then none did
        part = replace(stats, low=stats.low.copy(), high=stats.high.copy())
        part.low[:empty], part.high[:empty] = np.inf, -np.inf
        seen.tensors[joined] = part
        assert np.isfinite(equalize(graph, seen, frozenset())[2][joined]).all()


def test_gptq_makes_the_layers_output_error_smaller_than_rounding() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, 400)) + 2 * random.normal(size=(1, 400))
    weights = random.normal(size=(16, 64)).astype(np.float32)
    scales = (np.abs(weights).max(axis=1) / 15).astype(np.float32)
    hessian = (inputs @ inputs.T).astype(np.float32)[None]

    def error(integers: Any) -> float:
        return float((((integers * scales[:, None] - weights) @ inputs) ** 2).sum())

    closed = gptq(weights, hessian, scales, 15)
    assert error(closed) < 0.6 * error(round_nearest(weights, scales, 15))
    assert np.abs(closed).max() <= 15


def test_a_layer_of_many_inputs_is_rounded_in_blocks_of_channels() -> None:
    net = NetBuilder((1, 3, 4, 4))
    wide = net.conv("input", 192)
    graph = net.finish(net.conv(wide, 4))
    node = graph.producers()[graph.outputs[0]]
    draw = np.random.default_rng(0)
    stored = draw.integers(0, 256, (40, 192, 4, 4)).astype(np.uint8)
    found = hessian(graph, node, stored, choose_scale(0.0, 255.0, "asymmetric"))
    assert found is not None
    assert found.shape == (2, 864, 864)
    weights = draw.normal(size=(4, 1728)).astype(np.float32)
    scales = (np.abs(weights).max(axis=1) / 15).astype(np.float32)
    made = gptq(weights, found, scales, 15)
    for block, part in enumerate((slice(0, 864), slice(864, 1728))):
        np.testing.assert_array_equal(
            made[:, part], gptq(weights[:, part], found[block][None], scales, 15)
        )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_a_dead_channels_bias_fits_int32(seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = random.normal(size=(6, 3, 3, 3)).astype(np.float32)
    weights[2], weights[4] = 0.0, 1e-12
    bias = random.normal(0, 100, 6).astype(np.float32)
    node = Node("Conv", "c", ["x", "w", "b"], ["y"])
    scales = weight_scales(node, weights, bias, 1e-3)
    assert (scales > 0).all()
    assert (np.abs(bias) / (1e-3 * scales.astype(np.float64)) <= 2**30 * 1.001).all()
    assert (np.abs(weights.reshape(6, -1)) <= 127.001 * scales[:, None]).all()


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_rows_of_a_transposed_convolution_come_back(group: int, each: int) -> None:
    node = Node("ConvTranspose", "t", ["x", "w"], ["y"], {"group": group})
    values = np.arange(group * 2 * each * 4, dtype=np.int8).reshape(group * 2, each, 2, 2)
    flat = rows(node, values.astype(np.float32))
    assert flat.shape == (group * each, 2 * 4)
    np.testing.assert_array_equal(unrows(node, flat.astype(np.int8), values.shape), values)


@given(st.floats(0.1, 50), st.floats(0.1, 50))
def test_clip_search_stays_inside_the_extremes(low: float, high: float) -> None:
    values = np.random.default_rng(0).normal(0, 1, 2000).clip(-low, high).astype(np.float32)
    found = clip_search(values, -low, high, "asymmetric")
    assert -low <= found[0] <= 0 <= found[1] <= high


def test_an_outlier_is_clipped_by_the_search_but_a_plain_range_is_kept() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 50_000).astype(np.float32)
    assert clip_search(values, 0.0, 1.0, "asymmetric")[1] > 0.97
    assert clip_search(values, 0.0, 4.0, "asymmetric")[1] < 1.5


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_both_forms_cover_the_range_to_half_a_quantum(first: float, second: float) -> None:
    low, high = sorted((first, second))
    for form in ("zero-point-free", "asymmetric"):
        chosen = choose_scale(low, high, form)
        assert -128 <= chosen.zero_point <= 127
        assert (127 - chosen.zero_point) * chosen.scale >= high - chosen.scale * 0.51
        assert (-128 - chosen.zero_point) * chosen.scale <= low + chosen.scale * 0.51


def test_ctrl_c_ends_the_fits_with_the_layer_they_are_at() -> None:
    graph = residual_net()
    feeds = pictures(graph, 8)
    whole: list[float] = []
    quantize(graph, feeds, recipe="best", threads=2, progress=whole.append)
    heard, said = threading.Event(), list[float]()

    def stop(*_: object) -> None:
        heard.set()
        raise KeyboardInterrupt

    def progress(part: float) -> None:
        if part > 0.3 + 1e-9:  # the fits have begun
            said.append(part)
            if len(said) == 1:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            heard.wait()
            time.sleep(0.3)  # from hearing of it to telling the fits takes a moment

    before = signal.signal(signal.SIGINT, stop)  # a parallel run ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            quantize(graph, feeds, recipe="best", threads=2, progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 1 <= len(said) < len(whole) / 5


def test_what_cannot_be_used_is_refused_by_name() -> None:
    graph = residual_net()
    feeds = pictures(graph, 6)
    with pytest.raises(UsageError, match="there is no recipe quick: fast, std, best"):
        quantize(graph, feeds, recipe="quick")
    with pytest.raises(UsageError, match="no node is called nothing"):
        quantize(graph, feeds, keep_float=["nothing"])
    with pytest.raises(EdgeconvError, match="at least one picture"):
        quantize(graph, [])
    with pytest.raises(EdgeconvError, match=r"sample 0: input is \[1, 3, 16, 16\]"):
        quantize(graph, [{"input": np.zeros((1, 3, 8, 8), np.float32)}])
    with pytest.raises(EdgeconvError, match="NaN or Inf in input"):
        quantize(graph, [{"input": np.full((1, 3, 16, 16), np.nan, np.float32)}])


def test_a_recipe_survives_json(tmp_path: Any) -> None:
    from edgeconv.recipe import load_recipe

    graph = residual_net()
    recipe = quantize(graph, pictures(graph), recipe="std").recipe
    recipe.save(tmp_path / "recipe.json")
    back = load_recipe(tmp_path / "recipe.json")
    assert isinstance(back, Recipe)
    assert back.to_json() == recipe.to_json()


def test_targets_say_which_outputs_they_give_in_float(tmp_path: Path) -> None:
    """TFLite's cost time, so that best alone has them; the file then computes what ONNX's does."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from edgeconv.export.targets import TARGETS
    from edgeconv.export.tflite.emit import emit_tflite

    graph = residual_net()
    (name,) = graph.outputs
    done = quantize(graph, pictures(graph), recipe="fast").recipe
    said = {n: t.float_outputs(graph, done) for n, t in TARGETS.items()}
    assert said.pop("ncnn") == ()  # which takes no integers at all
    assert said == {"onnx": (name,), "tflite": (), "coreml": (name,), "executorch": ()}
    best = replace(done, name="best")
    real = replace(best, float_outputs={"tflite": TARGETS["tflite"].float_outputs(graph, best)})
    assert real.float_outputs == {"tflite": (name,)}
    feeds = pictures(graph, 4, seed=5)
    wanted = run_recipe(graph, done, feeds, 1)[name]
    file = emit_tflite(graph, real, precision="int8")
    assert file.outputs[0].dtype == "float32"
    assert "fully_connected" in str(file.ops).lower()
    assert len(file.data) < len(emit_tflite(graph, done, precision="int8").data) + 1000
    interpreter = litert.Interpreter(model_content=file.data, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for feed, logits in zip(feeds, wanted, strict=True):
        interpreter.set_tensor(given["index"], np.moveaxis(feed["input"], 1, 3))
        interpreter.invoke()
        got = interpreter.get_tensor(made["index"])
        np.testing.assert_allclose(got, logits.reshape(got.shape), atol=0.02 * np.abs(logits).max())
        step = done.activations[name].scale  # a rounded logit is a multiple of it
        assert np.abs(got / step - np.rint(got / step)).max() > 0.05
    for io in ("int8", "uint8"):
        first, second = (emit_tflite(graph, r, precision="int8", io=io).data for r in (done, real))
        assert first == second


def test_logits_stay_float_in_onnx_alone_and_integers_where_the_borders_are(tmp_path: Path) -> None:
    graph = residual_net()
    (logits,) = graph.outputs
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    assert recipe.float_outputs == {"onnx": (logits,)}
    assert logits in recipe.activations
    assert logits not in recipe.on("onnx").activations
    assert recipe.on("tflite").activations == recipe.activations
    recipe.save(tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json").on("onnx").activations.keys() == (
        recipe.activations.keys() - {logits}
    )
    rounded = replace(recipe, float_outputs={})
    feeds = pictures(graph, 4, seed=5)
    real, coarse = (run_recipe(graph, r, feeds, 1)[logits] for r in (recipe, rounded))
    step = recipe.activations[logits].scale
    assert 0 < np.abs(real - coarse).max() <= step * 0.51
    for io in ("int8", "uint8"):
        first, second = (emit_qdq(graph, r, io=io).model for r in (recipe, rounded))
        assert first.SerializeToString() == second.SerializeToString()
