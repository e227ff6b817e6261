"""scripts/recipe_figures.py: a case is exported and measured in every file's own runtime."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from quant_nets import residual_net

from edgeconv.export.hub.onnx_io import save_model, to_onnx

pytest.importorskip("ai_edge_litert")


@pytest.mark.slow
def test_a_case_is_measured_in_both_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("recipe_figures")
    net = tmp_path / "net.onnx"
    net.write_bytes(save_model(to_onnx(residual_net())))
    walk = np.random.default_rng(0).normal(0, 0.2, (16, 3, 16, 16)).cumsum(axis=3)
    for name, part in (("calib", walk[:8]), ("rest", walk[8:])):
        np.savez(tmp_path / f"{name}.npz", input=part.astype(np.float32))
    given = {"verify": str(tmp_path / "rest.npz")}
    case = script.Case("tiny", str(net), given, 8, str(tmp_path / "calib.npz"))
    line = {"case": case.title, **script.measured(case, tmp_path / "out", recipe="fast")}
    assert line["files"].keys() == {"onnx", "tflite"}
    assert all(figures["sqnr_db"] > 15 for figures in line["files"].values())
    head, _, *found = script.rows([line])
    assert head.count("|") == found[0].count("|")
    assert [row.split(" | ")[2] for row in found] == ["onnx", "tflite"]
    assert found[0].startswith("| tiny | fast (")


def test_torchvisions_case_turns_the_pictures_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("recipe_figures")
    monkeypatch.setattr(script, "UPRIGHT", (1, 2))
    stored = tmp_path / "shared" / "images"
    stored.mkdir(parents=True)
    for number in (0, 10, 12, 14, 16):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[0, 0] = 200 + number
        Image.fromarray(pixels).save(stored / f"{number:04}_n.jpg", format="PNG")
    case = script.torchvision_case(tmp_path / "weights.pth", tmp_path / "shared", tmp_path)
    assert case.calibration is not None
    assert [path.stem for path in Path(case.calibration).iterdir()] == ["0000_n"]
    rest = sorted(Path(case.options["verify"]).iterdir())
    assert [path.stem for path in rest] == ["0012_n", "0014_n"]
    assert np.asarray(Image.open(rest[0]))[7, 7].tolist() == [212] * 3
    assert (tmp_path / "upright.csv").read_text() == "0012_n.png,12\n0014_n.png,14\n"
