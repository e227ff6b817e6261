"""inspect says what is inside a file, whoever made it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import PEER, conv_model
from click.testing import CliRunner
from graph_kit import model_of

from edgeconv import inspection
from edgeconv.cli import main
from edgeconv.deps import MissingDependencyError
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.inspection import inspect_file


def test_a_foreign_tflite_file_shows_its_integers() -> None:
    pytest.importorskip("ai_edge_litert")
    if not PEER.exists():
        pytest.skip("../shared/peers is not beside this checkout")
    found = inspect_file(PEER)
    assert found.compute == found.int8_compute == 28
    assert found.histogram["DEPTHWISE_CONV_2D"] == 13
    assert found.description is None
    assert found.inputs[0]["dtype"] == "uint8"
    assert all(note.scale_min > 0 for note in found.quantization)
    result = CliRunner().invoke(main, ["inspect", str(PEER), "--tensors"])
    assert result.exit_code == 0, result.output
    assert "28 of 28" in result.output


def test_a_tflite_file_is_inspected_by_the_runtime_where_no_reader_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ai_edge_litert")
    if not PEER.exists():
        pytest.skip("../shared/peers is not beside this checkout")
    from edgeconv.export.tflite import inspect as reader

    def missing(data: bytes, name: str) -> None:
        raise MissingDependencyError("no flatbuffers")

    monkeypatch.setattr(reader, "read_tflite", missing)
    found = inspect_file(PEER)
    assert found.compute == 28
    assert "edgeconv[export]" in found.read_by


def test_a_float_onnx_file_shows_operators_and_borders(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    path.write_bytes(conv_model())
    found = inspect_file(path)
    assert dict(found.histogram) == {"Conv": 1, "Relu": 1}
    assert (found.compute, found.int8_compute, found.conversions) == (1, 0, 0)
    assert found.inputs[0] == {"name": "x", "shape": [1, 8, 8, 8], "dtype": "float32"}
    assert dict(found.types) == {"float32": 1}
    data = json.loads(CliRunner().invoke(main, ["inspect", str(path), "--json"]).output)
    assert data["form"] == "onnx"


def test_a_qdq_file_shows_scales_of_each_tensor(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weight = np.ones((2, 3, 1, 1), np.int8)
    constants = {
        "s": np.float32(0.5), "z": np.uint8(128), "w": weight,
        "ws": np.array([0.1, 0.2], np.float32), "wz": np.zeros(2, np.int8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, c, 4, 4])
        for n, c in (("x", 3), ("y", 2))
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    opset = helper.make_opsetid("", 18)
    path = tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), str(path))
    notes = {note.name: note for note in inspect_file(path).quantization}
    assert notes["w"].scales == 2
    assert notes["w"].dtype == "int8"
    assert notes["w"].constant
    assert notes["xq"].zero_points == (128,)
    assert notes["xq"].dtype == "uint8"


@pytest.mark.parametrize(
    ("activations", "weights", "integer"),
    [
        *[("UINT8", "INT8", 1), ("INT8", "INT8", 1), ("UINT8", "UINT8", 1)],
        *[("UINT16", "INT8", 0), ("INT16", "INT16", 0), ("UINT8", "INT4", 0)],
        ("FLOAT8E4M3FN", "FLOAT8E4M3FN", 0),
    ],
)
def test_operands_of_8_bits_alone_are_computed_in_integers(
    activations: str, weights: str, integer: int, tmp_path: Path
) -> None:
    """onnxruntime computes in float on others; one scale of a 1x1 convolution is none a channel."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto

    def constant(name: str, kind: int, shape: list[int], value: float) -> Any:
        return helper.make_tensor(name, kind, shape, [value] * int(np.prod(shape)))

    of, by = getattr(kinds, activations), getattr(kinds, weights)
    constants = [
        constant("s", kinds.FLOAT, [], 0.5),
        constant("xz", of, [], 0),
        constant("wz", by, [], 0),
        constant("wq", by, [4, 4, 1, 1], 1),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "wz"], ["w"]),
        helper.make_node("Conv", ["xd", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, kinds.FLOAT, [1, 4, 2, 2]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)
    found = inspect_file(path)
    assert (found.compute, found.int8_compute, found.per_channel) == (1, integer, 0)
    assert not any(kind.startswith("type ") for kind in found.types)
    said = CliRunner().invoke(main, ["inspect", str(path)]).output
    assert "2 tensors, 0 with several scales" in said


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.tflite"):
        path = tmp_path / name
        with pytest.raises(EdgeconvError, match="does not exist"):
            inspect_file(path)
        path.write_bytes(b"garbage!")
        with pytest.raises(EdgeconvError, match=name.replace(".", r"\.")):
            inspect_file(path)
    (tmp_path / "a.txt").write_text("no model")
    with pytest.raises(UsageError, match=r"\.mlpackage"):
        inspect_file(tmp_path / "a.txt")
    assert inspection.Inspection.__doc__


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name in ("big.onnx", "big.tflite"):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(1 << 42)
        for command in ("inspect", "bench"):
            said = CliRunner().invoke(main, [command, str(path)])
            assert said.exit_code == 1
            assert "4194304 MiB and only" in said.output
        path.unlink()


@pytest.mark.parametrize("min_ios", [17, 18])
def test_a_package_shows_its_integers_types_and_scales(min_ios: int, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    import coreml_kit

    from edgeconv.export.coreml.emit import emit_coreml

    graph = coreml_kit.prepared(coreml_kit.convolution_net(), int8=True)
    feeds = [coreml_kit.feeds_for(graph, seed) for seed in range(4)]
    path = tmp_path / "net.mlpackage"
    recipe = coreml_kit.simple_recipe(graph, feeds)
    emit_coreml(graph, recipe, precision="int8", path=path, min_ios=min_ios)
    found = inspect_file(path)
    assert found.compute
    assert found.int8_compute == found.compute
    assert found.per_channel == found.compute
    assert found.types["int8"] + found.types["uint8"] > 0
    assert found.outputs[0]["shape"]
    assert any(note.constant and note.scales > 1 for note in found.quantization)
    assert any(not note.constant for note in found.quantization)


def test_one_census_counts_a_file_of_ours_alike_in_manifest_inspection_and_bench(
    tmp_path: Path,
) -> None:
    import parity_kit as kit

    from edgeconv.artifact import load_artifact
    from edgeconv.formats.census import onnx_census
    from edgeconv.formats.onnx_file import read_onnx

    path = kit.int8_export(tmp_path, count=2)
    artifact = load_artifact(path)
    assert artifact is not None
    counted = onnx_census(read_onnx(path.read_bytes()))
    kept, found = artifact.manifest["graph"], inspect_file(path)
    assert 0 < counted.compute == kept["compute"] == found.compute
    assert 0 < counted.integer == kept["int8_compute"] == found.int8_compute
    assert counted.conversions == found.conversions > 0
    assert counted.per_channel == found.per_channel


def test_what_computes_in_float_is_shown_with_its_reason(tmp_path: Path) -> None:
    from edgeconv.artifact import Artifact, save_manifest, spec_to_json
    from edgeconv.commands.inspect import _lines
    from edgeconv.files import digest
    from edgeconv.tensors import TensorSpec

    path = tmp_path / "m_int8.onnx"
    path.write_bytes(
        model_of("(float[1,2] x) => (float[1,2] y) { y = Erf(x) }").SerializeToString()
    )
    border = spec_to_json(TensorSpec("x", (1, 2), "float32", "other"))
    content = {
        "edgeconv_manifest": 1,
        "target": "onnx",
        "precision": "int8",
        "sha256": digest(path),
        "inputs": [border],
        "outputs": [{**border, "name": "y"}],
        "preprocessing": None,
        "labels": None,
        "evidence": {"folder": "m_int8.evidence", "files": {}},
        "graph": {"float_operators": {"it has no INT8 form": {"Erf": 1}}},
    }
    save_manifest(Artifact(path, content))
    assert ("in float", "1 Erf (it has no INT8 form)") in _lines(inspect_file(path))


def test_weights_alone_are_no_integer_arithmetic() -> None:
    from edgeconv.formats.census import Counted, count

    found = count(
        "mlpackage",
        [Counted("conv", stored=True), Counted("conv", True, True, True), Counted("add")],
    )
    assert (found.compute, found.integer, found.per_channel, found.weight_only) == (2, 1, 1, 1)
