"""Files that this project did not make, on real pictures; skipped where ../shared is absent."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.artifact import Preprocessing
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.parity.api import check_parity
from edgeconv.pictures import find_pictures
from edgeconv.samples import picture_feed

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def peers(imagenet: Path) -> Path:
    """Google's own INT8 files beside the checkout."""
    folder = imagenet.parent / "peers"
    if not folder.is_dir():
        pytest.skip("needs ../shared/peers")
    return folder


@pytest.fixture(scope="module")
def upright(imagenet: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """MobileNetV2 in float for upright pictures, and 24 of those as an .npz.

    The weights are for pictures upside down, so the model turns its input first.
    """
    folder = tmp_path_factory.mktemp("upright")
    weights = imagenet / "weights" / "mobilenet_v2_1.0_224.safetensors"
    arguments = ["export", "mobilenet_v2", "--weights", str(weights), "--output", str(folder)]
    arguments += ["--verify", str(imagenet / "images"), "--verify-count", "4", "--mean", "0.5"]
    ran = CliRunner().invoke(main, [*arguments, "--std", "0.5"])
    assert ran.exit_code == 0, ran.output
    model = onnx.load(next(folder.glob("*.onnx")))
    del model.metadata_props[:]
    turn = onnx.helper.make_node(
        "Slice", ["upright", "starts", "ends", "axes", "steps"], [model.graph.input[0].name]
    )
    model.graph.input[0].name = "upright"
    model.graph.node.insert(0, turn)
    values = {"starts": [-1, -1], "ends": [-(2**31)] * 2, "axes": [2, 3], "steps": [-1, -1]}
    for name, numbers in values.items():
        array = np.array(numbers, np.int64)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    reference = folder / "upright_reference.onnx"
    onnx.save(model, reference)
    how = Preprocessing((0.5,), (0.5,), 0.875, (224, 224))
    chosen = find_pictures(imagenet / "images")[::21]
    feeds = [picture_feed(path, "x", (1, 3, 224, 224), how)["x"] for path in chosen]
    truth = np.array([int(path.name.partition("_")[0]) for path in chosen])
    data = folder / "upright.npz"
    turned = np.concatenate(feeds)[:, :, ::-1, ::-1]
    np.savez(data, x=turned, truth=truth)
    return reference, data


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tf2_mobilenet_v2_1.0_224_ptq.tflite", marks=pytest.mark.long),
        "mobilenet_v2_1.0_224_quant.tflite",
    ],
)
def test_a_foreign_uint8_nhwc_file_is_held_against_an_onnx_reference(
    peers: Path, upright: tuple[Path, Path], name: str
) -> None:
    reference, data = upright
    with pytest.raises(EdgeconvError, match="mean and std"):
        check_parity(
            [peers / name], reference=str(reference), data=str(peers.parent / "imagenet" / "images")
        )
    offered = check_parity([peers / name], reference=str(reference), data=str(data), count=2)
    assert "--class-offset 1" in str(offered.matrix.rows[0].error)
    result = check_parity(
        [peers / name], reference=str(reference), data=str(data), class_offset=1, precision="int8"
    )
    assert {"ai-edge-litert", "ai-edge-litert/no-xnnpack"} <= {
        row.label.rpartition(" · ")[2] for row in result.matrix.rows
    }
    assert [row.error for row in result.matrix.rows if row.error is not None] == []
    for row in result.matrix.rows:
        assert row.verdict is not None
        figures = next(iter(row.verdict.figures.values()))
        assert figures["agreement_top1"] > 0.75
        assert figures["mcnemar_p"] >= 0.05
