"""The four nets as TFLite: right, one XNNPACK partition, nothing transposed outside a shuffle."""

from functools import cache

import numpy as np
import pytest
from tflite_kit import Arrays, Worker, float_values, run_nchw

from edgeconv.adapt import adapt_outputs
from edgeconv.export.graph import Graph
from edgeconv.export.hub.onnx_io import from_onnx
from edgeconv.export.prepare import PixelInput, Prepared, prepare
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.device_rules import device_rules
from edgeconv.export.tflite.emission import Precision
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite, tflite_stats
from edgeconv.recipe import Recipe

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
SHUFFLES = {"shufflenet_v1": 15}  # one a unit, the first folded

pytestmark = pytest.mark.slow


@cache
def hub(net: str) -> Graph:
    torch = pytest.importorskip("torch")
    from edgeconv.export.hub.trace import trace_module
    from edgeconv.models import build

    torch.manual_seed(0)
    module = build(net, classes=10)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape) * 0.5 + 0.5)
        elif name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape) * 0.1)
    return from_onnx(trace_module(module, {"input": (1, 3, 64, 64)}))


def pictures(count: int) -> list[Arrays]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 3, 64, 64))
    return [{"input": (one / 127.5 - 1).astype(np.float32)} for one in pixels]


@cache
def integers(net: str) -> tuple[Prepared, Graph, Recipe]:
    ready = prepare(hub(net), int8=True, pixels=PixelInput((0.5,), (0.5,)))
    made = quantize(ready.graph, pictures(8), recipe="fast", input_scale=ready.exact_inputs)
    return ready, made.graph, made.recipe


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_files_agree_with_onnxruntime(worker: Worker, net: str, precision: Precision) -> None:
    graph, feeds = prepare(hub(net)).graph, pictures(1)[0]
    made = emit_tflite(graph, precision=precision)
    wanted = float_values(graph, feeds)[graph.outputs[0]]
    stats = tflite_stats(made.data)
    assert stats["transposes"] == 3 * SHUFFLES.get(net, 0)
    for resolver in ("auto", "builtin"):
        outputs, facts = run_nchw(worker, made, feeds, resolver)
        error = np.abs(outputs[graph.outputs[0]] - wanted).max() / np.ptp(wanted)
        assert error < (2e-3 if precision == "fp16" else 1e-5)
        assert facts["delegates"] == (resolver == "auto")


@pytest.mark.parametrize("net", NETS)
def test_int8_files_are_int8_throughout(worker: Worker, net: str) -> None:
    _, graph, recipe = integers(net)
    feeds = pictures(9)[8]
    wanted = float_values(graph, feeds)[graph.outputs[0]]
    made = emit_tflite(graph, recipe, precision="int8")
    stats = tflite_stats(made.data)
    # logits of random weights move little around their mean: their product may stay in float
    assert set(made.islands) <= {graph.producers()[graph.outputs[0]].name}
    assert stats["int8_compute"] == stats["per_channel"]
    assert stats["int8_compute"] == stats["compute"] - len(made.islands)
    assert stats["transposes"] == 3 * SHUFFLES.get(net, 0)
    assert stats["quantize"] == stats["dequantize"] == 1
    assert made.requantized == 0
    for resolver in ("auto", "builtin", "ref"):
        outputs, facts = run_nchw(worker, made, feeds, resolver)
        noise = outputs[graph.outputs[0]] - wanted
        assert 10 * np.log10((wanted**2).sum() / (noise**2).sum()) > 10  # random weights
        assert facts["delegates"] == (resolver == "auto")


@pytest.mark.parametrize("net", NETS)
def test_raw_pixels_give_what_the_float_border_gives(worker: Worker, net: str) -> None:
    _, graph, recipe = integers(net)
    feeds = pictures(1)[0]
    real, _ = run_nchw(worker, emit_tflite(graph, recipe, precision="int8"), feeds)
    raw = emit_tflite(graph, recipe, precision="int8", io="uint8")
    pixels = np.rint((feeds["input"] + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    outputs, facts = worker.run(raw.data, {"input": pixels})
    spec = raw.outputs[0]
    step = 1.0 if spec.quantization is None else spec.quantization.scale
    made = adapt_outputs(outputs[spec.name], spec)
    assert np.abs(made - real[spec.name]).max() < 1e-3 * step
    assert facts["delegates"] == 1


@pytest.mark.parametrize("net", NETS)
def test_the_manifest_says_which_rules_of_smaller_runtimes_a_net_keeps(net: str) -> None:
    _, graph, recipe = integers(net)
    found = device_rules(read_tflite(emit_tflite(graph, recipe, precision="int8", io="int8").data))
    assert found["tflite_micro"] == {"fits": True, "outside": {}}
    outside = found["edge_tpu"]["outside"]
    if net == "shufflenet_v1":
        assert any("groups" in reason for reason in outside)
    else:
        assert outside == {}


def test_operators_outside_of_the_rules_are_named_and_counted() -> None:
    graph = prepare(hub("mobilenet_v1")).graph
    found = device_rules(read_tflite(emit_tflite(graph).data))
    assert not found["edge_tpu"]["fits"]
    assert found["edge_tpu"]["outside"]["DEPTHWISE_CONV_2D computes in float"] == 13
