"""The QDQ file holds exactly the recipe's integers and computes in integers."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from quant_nets import NetBuilder, pictures, residual_net, shuffle_net

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.engine import quantize
from edgeconv.recipe import Activation, Recipe

NETS = {"residual": residual_net, "shuffle": shuffle_net}


@pytest.fixture(params=sorted(NETS))
def made(request: pytest.FixtureRequest) -> tuple[Graph, Recipe]:
    graph = NETS[request.param]()
    done = quantize(graph, pictures(graph), recipe="std")
    return done.graph, done.recipe


def session(model: onnx.ModelProto) -> Any:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def optimized_ops(model: onnx.ModelProto, path: Any) -> list[str]:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def initializers(model: onnx.ModelProto) -> dict[str, Any]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def test_every_integer_of_the_recipe_is_found_again_in_the_file(made: tuple[Graph, Recipe]) -> None:
    graph, recipe = made
    emitted = emit_qdq(graph, recipe)
    stored = initializers(emitted.model)
    for name, weights in recipe.weights.items():
        np.testing.assert_array_equal(stored[f"{name}_weight_quantized"], weights.values)
        np.testing.assert_array_equal(stored[f"{name}_weight_scale"], weights.scales)
        np.testing.assert_array_equal(stored[f"{name}_bias_quantized"], weights.bias)
    pairs = {
        node.output[0]: (stored[node.input[1]], stored[node.input[2]])
        for node in emitted.model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    for tensor, quantization in recipe.activations.items():
        if emitted.names[tensor] in pairs:
            scale, zero = pairs[emitted.names[tensor]]
            assert scale == np.float32(quantization.scale)
            assert int(zero) - 128 == quantization.zero_point


def test_every_tensor_of_the_recipe_has_a_name_in_the_file(made: tuple[Graph, Recipe]) -> None:
    emitted = emit_qdq(*made)
    present = {out for node in emitted.model.graph.node for out in node.output}
    present |= initializers(emitted.model).keys() | {v.name for v in emitted.model.graph.input}
    assert {emitted.names[tensor] for tensor in made[1].activations} <= present


def test_onnxruntime_leaves_no_float_node_inside(made: tuple[Graph, Recipe], tmp_path: Any) -> None:
    ops = optimized_ops(emit_qdq(*made).model, tmp_path / "optimized.onnx")
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Relu", "Clip", "GlobalAveragePool"} & set(ops)
    assert (ops.count("QuantizeLinear"), ops.count("DequantizeLinear")) == (1, 0)
    assert ops[-1] == "QGemm"  # with float logits


def test_int8_is_close_to_float(made: tuple[Graph, Recipe]) -> None:
    graph, recipe = made
    plain = graph.clone()
    expand_shuffles(plain)
    real, quantized = session(to_onnx(plain)), session(emit_qdq(graph, recipe).model)
    for feed in pictures(graph, 4, seed=9):
        wanted, got = real.run(None, feed)[0], quantized.run(None, feed)[0]
        assert np.abs(wanted - got).max() < 0.06 * np.abs(wanted).max() + 0.05


@pytest.mark.parametrize("shuffle", ["gather", "transpose"])
@pytest.mark.parametrize("signed", [False, True])
def test_forms_of_the_file_give_the_same_integers(shuffle: Any, signed: bool) -> None:
    graph = shuffle_net()
    done = quantize(graph, pictures(graph), recipe="fast")
    base = session(emit_qdq(done.graph, done.recipe, io="int8").model)
    other = session(
        emit_qdq(done.graph, done.recipe, io="int8", shuffle=shuffle, signed=signed).model
    )
    quantization = done.recipe.activations["input"]
    for feed in pictures(graph, 3, seed=5):
        stored = np.clip(
            np.rint(feed["input"] / quantization.scale) + quantization.zero_point, -128, 127
        )
        fed = {"input": stored.astype(np.int8)}
        steps = base.run(None, fed)[0].astype(int) - other.run(None, fed)[0].astype(int)
        assert np.abs(steps).max() <= (1 if signed else 0)


@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_integer_borders_hold_the_recipes_integers(made: tuple[Graph, Recipe], io: Any) -> None:
    graph, recipe = made
    real = emit_qdq(graph, replace(recipe, float_outputs={}))
    stored = emit_qdq(graph, recipe, io=io)
    assert {spec.dtype for spec in [*stored.inputs, *stored.outputs]} == {io}
    (fed,), (out,) = stored.inputs, stored.outputs
    assert fed.quantization is not None
    assert out.quantization is not None
    a, b = session(real.model), session(stored.model)
    limits = np.iinfo(io)
    for feed in pictures(graph, 3, seed=2):
        steps = np.rint(feed["input"] / np.float32(fed.quantization.scale))
        integers = np.clip(steps + fed.quantization.zero_point, limits.min, limits.max).astype(io)
        (got,) = b.run(None, {"input": integers})
        back = (got.astype(np.float32) - out.quantization.zero_point) * np.float32(
            out.quantization.scale
        )
        np.testing.assert_allclose(back, a.run(None, feed)[0], rtol=1e-6)


def test_an_integer_input_holds_the_shifted_pixels() -> None:
    net = NetBuilder()
    shift = net.constant("pixel_offset", np.array(0.5 / 127.5, np.float32))
    centred = net.add("Sub", ["input", shift], (1, 3, 16, 16))
    graph = net.head(net.conv(centred, 8))
    exact = {centred: (1 / 127.5, 0)}
    done = quantize(graph, pictures(graph), recipe="fast", input_scale=exact)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16))
    real = session(emit_qdq(graph, done.recipe).model)
    raw = session(emit_qdq(graph, done.recipe, io="uint8").model)
    (wanted,) = real.run(None, {"input": (pixels / 127.5 - 1).astype(np.float32)})
    (got,) = raw.run(None, {"input": pixels.astype(np.uint8)})
    logits = done.recipe.activations[graph.outputs[0]]
    steps = np.rint(wanted / logits.scale) + logits.zero_point + 128
    np.testing.assert_array_equal(steps.astype(np.uint8), got)


def test_the_same_arguments_give_the_same_bytes(made: tuple[Graph, Recipe]) -> None:
    first, second = emit_qdq(*made).model, emit_qdq(*made).model
    assert save_model(first) == save_model(second)


def test_a_scale_that_should_be_shared_is_refused_by_name() -> None:
    graph = shuffle_net()
    recipe = quantize(graph, pictures(graph), recipe="fast").recipe
    (pool,) = graph.of("MaxPool")
    changed = dict(recipe.activations)
    changed[pool.output] = Activation(0.5, -128, 0.0, 127.5)
    broken = Recipe("broken", recipe.form, changed, recipe.weights)
    with pytest.raises(EdgeconvError, match=f"{pool.name} only moves integers"):
        emit_qdq(graph, broken)


def test_a_node_kept_in_float_is_the_only_float_convolution(tmp_path: Any) -> None:
    graph = residual_net()
    layers = [node.name for node in graph.of("Conv")]
    done = quantize(graph, pictures(graph), recipe="fast", keep_float=[layers[1]])
    assert layers[1] not in done.recipe.weights
    model = emit_qdq(done.graph, done.recipe).model
    ops = optimized_ops(model, tmp_path / "optimized.onnx")
    assert sum(op in {"Conv", "FusedConv"} for op in ops) == 1
