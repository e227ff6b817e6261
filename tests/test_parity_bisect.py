"""The repro of the first layer that departs: a small model with its inputs and both outputs."""

import json
from pathlib import Path

import numpy as np
import parity_kit as kit
import pytest
from parity_faults import swapped_channels

from edgeconv.artifact import load_artifact
from edgeconv.parity.api import check_parity

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
litert = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("ai_edge_litert"),
    reason="ai-edge-litert is not installed",
)
TARGETS = ["onnx", pytest.param("tflite", marks=litert)]


@pytest.mark.parametrize("target", TARGETS)
def test_bisect_writes_the_smallest_piece_that_still_differs(tmp_path: Path, target: str) -> None:
    path = kit.int8_export(tmp_path, target, edit=swapped_channels("project", 0, 3))
    repro = tmp_path / "repro"
    check_parity([path], bisect=repro, count=4)
    folder = next(f for f in repro.iterdir() if "no-xnnpack" not in f.name)
    piece = onnx.load(folder / "piece.onnx")
    computing = [n for n in piece.graph.node if not n.op_type.endswith("Linear")]
    assert [node.op_type for node in computing] == ["Conv"]
    if target == "onnx":
        from edgeconv.runtimes.onnxrt import open as open_file

        fed = dict(np.load(folder / "inputs.npz"))
        file = folder / "piece.onnx"
    else:
        from edgeconv.runtimes.litert import open as open_file  # type: ignore[assignment]

        fed = dict(np.load(folder / "tflite_inputs.npz"))
        file = folder / "piece.tflite"
        assert file.stat().st_size < path.stat().st_size
    with open_file(file) as runner:
        (result,) = runner.infer(fed).values()
    with np.load(folder / "outputs.npz") as outputs:
        expected, observed = outputs["expected"], outputs["observed"]
    assert np.abs(expected - observed).max() > 0.05
    artifact = load_artifact(path)
    assert artifact is not None
    recipe = json.loads(artifact.evidence("recipe.json").read_text())
    grid = recipe["activations"]["project.pre"]
    zero = grid["zero_point"] + (128 if result.dtype == np.uint8 else 0)
    real = grid["scale"] * (result.astype(np.float32) - zero)
    if target == "tflite":
        real = real.transpose(0, 3, 1, 2)
    assert np.allclose(real, observed)
    assert "Conv project" in (folder / "README.md").read_text()


def test_bisect_of_a_sound_file_says_that_there_is_nothing(tmp_path: Path) -> None:
    result = check_parity([kit.int8_export(tmp_path)], bisect=tmp_path / "repro", count=2)
    assert any("no single layer departs" in note for note in result.matrix.notes)
    assert not (tmp_path / "repro").exists()
