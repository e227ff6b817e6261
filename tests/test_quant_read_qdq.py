"""QDQ files of other tools become graph plus recipe with every scale and integer kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import numpy_helper, parser
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from quant_nets import pictures, residual_net, shuffle_net

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.ingest import ingest
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.integer.groups import check_same_scale
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.qdq.qoperator import is_quantized
from edgeconv.export.qdq.read import read_qdq
from edgeconv.export.quant.engine import quantize
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.export.tflite.inspect import read_tflite, tflite_stats

NNCF = Path(__file__).parent / "golden" / "nncf"
NETS = {"residual": residual_net, "shuffle": shuffle_net}


class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
    def __init__(self, feeds: list[dict[str, Any]]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Any:
        return next(self._feeds, None)


def static(graph: Graph, folder: Path, **options: Any) -> onnx.ModelProto:
    plain = graph.clone()
    expand_shuffles(plain)
    source, target = folder / "float.onnx", folder / "static.onnx"
    source.write_bytes(save_model(to_onnx(plain)))
    quantize_static(source, target, Reader(pictures(graph)), **options)
    return onnx.load(target)


def run(model: onnx.ModelProto, feed: dict[str, Any]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feed)[0]


@pytest.mark.filterwarnings("ignore")  # quantize_static advises pre-processing by warnings
@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_files_of_quantize_static_keep_their_integers(
    net: str, activations: Any, per_channel: bool, tmp_path: Path
) -> None:
    graph = NETS[net]()
    model = static(
        graph,
        tmp_path,
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    found = read_qdq(model)
    assert is_quantized(model)
    check_same_scale(found.graph, found.recipe)
    assert found.recipe.weights.keys() == {n.name for n in graph.of("Conv", "Gemm")}
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    integers = [v for v in stored.values() if v.dtype == np.int8 and v.ndim >= 2]
    for weights in found.recipe.weights.values():
        flat = weights.values.reshape(-1)
        assert any(
            v.size == flat.size
            and (np.array_equal(v.reshape(-1), flat) or np.array_equal(v.T.reshape(-1), flat))
            for v in integers
        )
    scales = {np.float32(v) for k, v in stored.items() if k.endswith("_scale") and v.ndim == 0}
    own = {np.float32(a.scale) for a in found.recipe.activations.values() if a.fixed}
    assert own <= scales
    emitted = emit_qdq(found.graph, found.recipe).model
    for feed in pictures(graph, 3, seed=4):
        wanted, got = run(model, feed), run(emitted, feed)
        assert np.abs(wanted - got).max() <= 0.03 * np.abs(wanted).max()


@pytest.mark.parametrize("net", sorted(NETS))
def test_files_of_nncf_become_int8_tflite_with_their_own_integers(net: str) -> None:
    graph, model = NETS[net](), onnx.load(NNCF / f"{net}.onnx")
    found = read_qdq(model)
    check_same_scale(found.graph, found.recipe)
    # NNCF leaves the scores in float: the classifier that makes them is the one island
    (classifier,) = graph.of("Gemm")
    assert found.islands.keys() == {classifier.name}
    assert found.recipe.weights.keys() == {n.name for n in graph.of("Conv")}
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    integers = [v.reshape(-1) for v in stored.values() if v.dtype == np.int8 and v.ndim == 4]
    for weights in found.recipe.weights.values():
        assert any(np.array_equal(weights.values.reshape(-1), v) for v in integers)
    scales = {np.float32(v) for k, v in stored.items() if "scale" in k and v.size == 1}
    assert {np.float32(a.scale) for a in found.recipe.activations.values() if a.fixed} <= scales
    emitted = emit_qdq(found.graph, found.recipe).model
    for feed in pictures(graph, 3, seed=4):
        wanted, got = run(model, feed), run(emitted, feed)
        assert np.abs(wanted - got).max() <= 0.03 * np.abs(wanted).max()
    stats = tflite_stats(emit_tflite(found.graph, found.recipe, precision="int8").data)
    assert stats["int8_compute"] == stats["compute"] - 1 == len(found.recipe.weights)


def test_activations_that_nncf_quantized_by_channel_are_refused_with_the_cure() -> None:
    with pytest.raises(UnsupportedOpError, match=r"by channel.*per_channel=False"):
        read_qdq(onnx.load(NNCF / "by_channel.onnx"))


@pytest.mark.parametrize("net", sorted(NETS))
def test_our_own_files_come_back_as_the_same_recipe(net: str) -> None:
    graph = NETS[net]()
    done = quantize(graph, pictures(graph), recipe="std")
    done = replace(done, recipe=replace(done.recipe, float_outputs={}))  # they have no scale there
    found = read_qdq(emit_qdq(done.graph, done.recipe).model)
    assert found.islands == {}
    assert found.recipe.form == done.recipe.form
    for name, weights in done.recipe.weights.items():
        np.testing.assert_array_equal(found.recipe.weights[name].values, weights.values)
        np.testing.assert_array_equal(found.recipe.weights[name].bias, weights.bias)
        np.testing.assert_array_equal(found.recipe.weights[name].scales, weights.scales)
    again = emit_qdq(found.graph, found.recipe).model
    for feed in pictures(graph, 3, seed=4):
        np.testing.assert_array_equal(
            run(again, feed), run(emit_qdq(done.graph, done.recipe).model, feed)
        )


def test_layers_that_the_file_leaves_in_float_are_listed() -> None:
    graph = residual_net()
    kept = next(iter(graph.of("Conv"))).name
    done = quantize(graph, pictures(graph), recipe="fast", keep_float=[kept])
    model = emit_qdq(done.graph, done.recipe).model
    found = read_qdq(model)
    assert any("float in the file" in note for note in found.notes) or kept in found.islands


@pytest.mark.filterwarnings("ignore")  # quantize_static advises pre-processing by warnings
def test_what_a_recipe_cannot_express_is_refused_with_the_reason(tmp_path: Path) -> None:
    source, target = tmp_path / "plain.onnx", tmp_path / "dynamic.onnx"
    source.write_bytes(save_model(to_onnx(residual_net())))
    quantize_dynamic(source, target)
    with pytest.raises(UnsupportedOpError, match=r"dynamically.*export the float model"):
        read_qdq(onnx.load(target))
    wide = static(
        residual_net(),
        tmp_path,
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt16,
        weight_type=QuantType.QInt8,
    )
    with pytest.raises(EdgeconvError, match=r"int16|not standard ONNX"):
        read_qdq(wide)


@pytest.mark.filterwarnings("ignore")  # quantize_static advises pre-processing by warnings
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_the_command_keeps_the_integers_of_a_quantized_file(form: Any, tmp_path: Path) -> None:
    graph = residual_net()
    model = static(
        graph,
        tmp_path,
        quant_format=form,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    path, output, samples = tmp_path / "own.onnx", tmp_path / "out", tmp_path / "seen.npz"
    onnx.save(model, path)
    np.savez(samples, input=np.concatenate([feed["input"] for feed in pictures(graph, 6, seed=3)]))
    command = ["export", str(path), "--output", str(output), "--verify", str(samples)]
    size = ["--prefer", "size"]  # no layer is rewritten
    targets = ["--target", "tflite", "--target", "onnx"]
    done = CliRunner().invoke(main, [*command, *size, "--int8", *targets])
    assert done.exit_code == 0, done.output
    assert "the file's own" in done.output
    emitted = onnx.load(output / "own_int8.onnx")
    for feed in pictures(graph, 4, seed=5):
        np.testing.assert_array_equal(run(model, feed), run(emitted, feed))
    stored = tflite_weights((output / "own_int8.tflite").read_bytes())
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.int8 and value.ndim == 4:
            turned = (
                value.transpose(0, 2, 3, 1) if value.shape[1] > 1 else value.transpose(1, 2, 3, 0)
            )
            assert any(np.array_equal(turned.reshape(-1), other.reshape(-1)) for other in stored)
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "quantized already: --int8 keeps its own integers" in refused.output


def tflite_weights(data: bytes) -> list[Any]:
    """Return the int8 constants of a .tflite file."""
    summary = read_tflite(data)
    return [t.data for t in summary.tensors if t.dtype == "int8" and t.data is not None]


def test_quantization_nodes_of_onnxruntimes_own_domain_are_the_standard_ones() -> None:
    own = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]> net (float[2] x) => (float[2] y)'
        " <float s = {0.5}, int8 z = {3}> { q = com.microsoft.QuantizeLinear(x, s, z)\n"
        " y = com.microsoft.DequantizeLinear(q, s, z) }"
    )
    model, _ = ingest(own)
    assert not any(node.domain for node in model.graph.node)
    made = run(model, {"x": np.array([1.2, -0.6], np.float32)})
    np.testing.assert_array_equal(made, [1.0, -0.5])


@pytest.mark.filterwarnings("ignore")  # quantize_static advises pre-processing by warnings
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_weights_with_zero_points_are_rounded_again_and_told(
    form: QuantFormat, tmp_path: Path
) -> None:
    graph = residual_net()
    bytes_ = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8}
    model = static(graph, tmp_path, quant_format=form, **bytes_)
    found = read_qdq(model)
    again = [note for note in found.notes if "rounded again, symmetrically" in note]
    assert 0 < len(again) <= len(found.recipe.weights)
    emitted = emit_qdq(found.graph, found.recipe).model
    for feed in pictures(graph, 3, seed=4):
        wanted, got = run(model, feed), run(emitted, feed)
        assert np.abs(wanted - got).max() <= 0.03 * np.abs(wanted).max()
