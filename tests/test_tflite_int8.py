"""The TFLite emitter with a recipe: integers, borders, islands, exact pixels."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quant_nets import RELU, NetBuilder, pictures
from tflite_kit import Worker, feed, float_values, minmax_recipe, run_nchw, small_net

from edgeconv.export.integer.weights_alone import round_weights
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emission import Io
from edgeconv.export.tflite.emit import EmittedTflite, emit_tflite
from edgeconv.export.tflite.inspect import TfliteSummary, read_tflite, tflite_census, tflite_stats
from edgeconv.export.tflite.rewrites import ALL, NONE, Rewrites, rewrite
from edgeconv.recipe import Activation, Form, Recipe, quantize_values

SHARED = Path(__file__).parents[1].parent / "shared"


@pytest.mark.parametrize("form", ["zero-point-free", "asymmetric"])
@pytest.mark.parametrize("rewrites", [NONE, ALL], ids=["as it is", "rewritten"])
def test_every_integer_of_the_recipe_is_in_the_file_again(form: Form, rewrites: Rewrites) -> None:
    graph = small_net().graph
    recipe = minmax_recipe(graph, feed(graph), form)
    made = emit_tflite(graph, recipe, precision="int8", io="int8", rewrites=rewrites)
    summary = read_tflite(made.data)
    graph, changed, _ = rewrite(graph, recipe, rewrites)
    assert changed is not None
    recipe = changed
    for name, held in recipe.activations.items():
        if name not in made.names:
            continue
        tensor = summary.tensor(made.names[name])
        assert tensor.dtype == "int8"
        assert tensor.scales.tolist() == [np.float32(held.scale)]
        assert tensor.zero_points.tolist() == [held.zero_point]
    for node in graph.of("Conv", "Gemm"):
        op = next(o for o in summary.ops if o.outputs[0] == _index(summary, made, node.output))
        weights, bias = (summary.tensors[i] for i in op.inputs[1:3])
        wanted = recipe.weights[node.name]
        values = wanted.values
        if values.ndim == 4:
            depthwise = op.code == "DEPTHWISE_CONV_2D"
            values = values.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        assert weights.data is not None
        assert bias.data is not None
        assert np.array_equal(weights.data, values)
        assert np.array_equal(weights.scales, wanted.scales)
        assert np.array_equal(bias.data, wanted.bias)
        source = np.float32(recipe.activations[node.inputs[0]].scale)
        assert np.array_equal(bias.scales, source * wanted.scales)


def _index(summary: TfliteSummary, made: EmittedTflite, name: str) -> int:
    return [t.name for t in summary.tensors].index(made.names[name])


@pytest.mark.parametrize("io", ["float", "int8", "uint8"])
def test_every_border_type_gives_the_same_integers(worker: Worker, io: Io) -> None:
    graph = small_net().graph
    feeds = feed(graph)
    recipe = minmax_recipe(graph, feeds)
    scale = recipe.activations[graph.outputs[0]].scale
    base, _ = run_nchw(worker, emit_tflite(graph, recipe, precision="int8"), feeds)
    made = emit_tflite(graph, recipe, precision="int8", io=io)
    outputs, facts = run_nchw(worker, made, feeds)
    wanted = {"float": "float32"}.get(io, io)
    assert {spec.dtype for spec in (*made.inputs, *made.outputs)} == {wanted}
    assert made.inputs[0].layout == "nhwc"
    steps = (outputs[graph.outputs[0]] - base[graph.outputs[0]]) / scale
    assert np.abs(steps).max() < 1e-3
    assert facts["delegates"] == 1


def test_borders_keep_the_graphs_names() -> None:
    graph = small_net().graph
    recipe = minmax_recipe(graph, feed(graph))
    for io in ("float", "int8", "uint8"):
        made = emit_tflite(graph, recipe, precision="int8", io=io)
        summary = read_tflite(made.data)
        assert summary.signature["inputs"].keys() == {"input"}
        assert [summary.tensors[i].name for i in summary.inputs] == ["input"]
        assert [summary.tensors[i].name for i in summary.outputs] == graph.outputs


def pixel_net() -> tuple[NetBuilder, Recipe, NDArray[np.int64]]:
    net = NetBuilder()
    scale = float(np.float32(1 / 127.5))
    step = net.constant("half", np.array(0.5 / 127.5, np.float32))
    centred = net.add("Sub", ["input", step], (1, 3, 16, 16))
    net.graph.outputs = [net.conv(centred, 4)]
    pixels = np.arange(768).reshape(1, 3, 16, 16) % 256
    real = (pixels / 127.5 - 1).astype(np.float32)
    recipe = minmax_recipe(net.graph, {"input": real}, exact={centred: (scale, 0)})
    return net, recipe, pixels


def test_pixels_reach_the_first_convolution_exactly_at_every_border(worker: Worker) -> None:
    net, recipe, pixels = pixel_net()
    nhwc = pixels.transpose(0, 2, 3, 1)
    found = {}
    borders: dict[Io, NDArray[Any]] = {
        "float": (nhwc / 127.5 - 1).astype(np.float32),
        "int8": (nhwc - 128).astype(np.int8),
        "uint8": nhwc.astype(np.uint8),
    }
    for io, fed in borders.items():
        made = emit_tflite(net.graph, recipe, precision="int8", io=io)
        outputs, _ = worker.run(made.data, {"input": fed})
        spec, value = made.outputs[0], outputs[net.graph.outputs[0]].astype(np.float32)
        if spec.quantization is not None:
            value = (value - spec.quantization.zero_point) * np.float32(spec.quantization.scale)
        found[io] = value
        histogram = read_tflite(made.data).histogram
        assert histogram.get("SUB", 0) == (1 if io == "float" else 0)
    np.testing.assert_allclose(found["int8"], found["float"], atol=1e-6)
    np.testing.assert_allclose(found["uint8"], found["float"], atol=1e-6)


def test_a_sub_that_centres_no_pixels_stays_in_the_model() -> None:
    net, recipe, _ = pixel_net()
    activations = {n: dataclasses.replace(a, fixed=False) for n, a in recipe.activations.items()}
    plain = dataclasses.replace(recipe, activations=activations)
    assert read_tflite(emit_tflite(net.graph, plain, precision="int8").data).histogram["SUB"] == 1


def test_a_float_island_is_bordered_and_everything_else_stays_int8(worker: Worker) -> None:
    graph = small_net().graph
    feeds = feed(graph)
    middle = next(node for node in graph.nodes if node.op == "Add")
    recipe = minmax_recipe(graph, feeds, float_nodes=(middle.name,))
    made = emit_tflite(graph, recipe, precision="int8", io="int8")
    assert made.islands == (middle.name,)
    histogram = read_tflite(made.data).histogram
    assert histogram["DEQUANTIZE"] == 2
    assert histogram["QUANTIZE"] == 1
    stats = tflite_stats(made.data)
    assert stats["int8_compute"] == stats["compute"] == 4
    assert stats["per_channel"] == 4
    run_nchw(worker, made, feeds)


def test_a_clamp_implied_by_the_range_costs_no_operator() -> None:
    net = NetBuilder()
    one, two = net.conv("input", 4, clamp=None), net.conv("input", 4, clamp=None)
    net.graph.outputs = [net.add("Concat", [one, two], (1, 8, 16, 16), RELU, axis=1)]
    recipe = minmax_recipe(net.graph, feed(net.graph))
    shared = Activation(0.02, -128, 0.0, 5.1)
    activations = {**recipe.activations, one: shared, two: shared, net.graph.outputs[0]: shared}
    recipe = dataclasses.replace(recipe, activations=activations)
    made = emit_tflite(net.graph, recipe, precision="int8", io="int8")
    assert read_tflite(made.data).histogram == {"CONV_2D": 2, "CONCATENATION": 1}


def test_a_concat_of_other_scales_is_requantized_and_counted(worker: Worker) -> None:
    net = NetBuilder()
    one, two = net.conv("input", 4), net.conv("input", 4, kernel=1)
    net.graph.outputs = [net.add("Concat", [one, two], (1, 8, 16, 16), axis=1)]
    feeds = feed(net.graph)
    recipe = minmax_recipe(net.graph, feeds)
    held = recipe.activations[one]
    half = dataclasses.replace(held, scale=float(np.float32(held.scale / 2)))
    recipe = dataclasses.replace(recipe, activations={**recipe.activations, two: half})
    made = emit_tflite(net.graph, recipe, precision="int8")
    assert made.requantized == 1
    run_nchw(worker, made, feeds)


def test_constant_operands_are_the_recipes_integers() -> None:
    net = NetBuilder()
    gain = net.constant("gain", np.array([0.5, -1.0, 2.0], np.float32).reshape(3, 1, 1))
    net.graph.outputs = [net.add("Mul", ["input", gain], (1, 3, 16, 16))]
    recipe = minmax_recipe(net.graph, feed(net.graph))
    summary = read_tflite(emit_tflite(net.graph, recipe, precision="int8").data)
    operand = summary.tensors[next(o for o in summary.ops if o.code == "MUL").inputs[1]]
    wanted = quantize_values(net.graph.constants[gain], recipe.activations[gain])
    assert operand.shape == (1, 1, 1, 3)
    assert operand.data is not None
    assert np.array_equal(operand.data.ravel(), wanted.ravel())


@pytest.mark.parametrize(
    ("file", "ops", "per_channel"),
    [
        ("mobilenet_v2_1.0_224_quant.tflite", 53, 0),
        ("tf2_mobilenet_v2_1.0_224_ptq.tflite", 53, 53),
    ],
)
def test_foreign_files_are_read_for_what_they_are(file: str, ops: int, per_channel: int) -> None:
    path = SHARED / "peers" / file
    if not path.is_file():
        pytest.skip(f"needs ../shared/peers/{file}")
    stats = tflite_stats(path.read_bytes())
    assert stats["compute"] == stats["int8_compute"] == ops
    assert stats["per_channel"] == per_channel


@pytest.mark.parametrize("made_from", ["float weights", "a recipe"])
def test_int8_weights_alone_compute_as_the_float_net_with_those_weights(
    worker: Worker, made_from: str
) -> None:
    graph = small_net().graph
    recipe = minmax_recipe(graph, feed(graph)) if made_from == "a recipe" else None
    made = emit_tflite(graph, recipe, precision="int8", weights_only=True)
    used, rounded = (recipe or round_weights(graph)).weights, graph.clone()
    for node in rounded.of("Conv", "Gemm"):
        w = used[node.name]
        shape = [-1] + [1] * (w.values.ndim - 1)
        real = w.values.astype(np.float32) * w.scales.reshape(shape)
        node.inputs[1:] = [
            rounded.add_constant("w", real),
            rounded.add_constant("b", w.float_bias),
        ]
    for resolver in ("auto", "builtin"):
        got, _ = run_nchw(worker, made, feed(graph), resolver)
        for name, wanted in float_values(rounded, feed(graph)).items():
            if name in graph.outputs:
                np.testing.assert_allclose(got[name], wanted, rtol=1e-4, atol=1e-5)
    census = tflite_census(read_tflite(made.data))
    assert (census.integer, census.weight_only) == (0, census.compute)
    assert len(made.data) < len(emit_tflite(graph).data)


@pytest.mark.parametrize("seed", range(4))
def test_kernels_that_cut_the_shift_of_a_mean_cut_nothing(worker: Worker, seed: int) -> None:
    """LiteRT's MEAN without XNNPACK drops the fraction of zero point times input step over output step."""
    net = NetBuilder(seed=seed)
    graph = net.head(net.conv("input", 32, stride=2, clamp=(0.0, 6.0)))
    weight = graph.nodes[-1].inputs[1]
    graph.constants[weight] = np.abs(
        graph.constants[weight]
    )  # so that every channel's error adds up
    recipe = quantize(graph, pictures(graph, 20), recipe="fast").recipe
    pooled = next(node for node in graph.nodes if node.op == "GlobalAveragePool")
    given, made = (recipe.activations[name] for name in (pooled.inputs[0], pooled.output))
    shift = np.float32(given.zero_point) * np.float32(given.scale) / np.float32(made.scale)
    assert 0 <= np.abs(shift) - np.floor(np.abs(shift)) < 0.01
    emitted = emit_tflite(graph, recipe, precision="int8")
    step = recipe.activations[graph.outputs[0]].scale
    apart = []
    for feeds in pictures(graph, 12, seed=9):
        plain, xnnpack = (run_nchw(worker, emitted, feeds, how)[0] for how in ("builtin", "auto"))
        apart.append(plain[graph.outputs[0]] - xnnpack[graph.outputs[0]])
    assert abs(np.mean(apart)) < step
