"""The campaigns of planted faults and flags, on one small net each."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("onnxruntime")


def test_planted_faults_are_named_and_the_healthy_file_is_not(tmp_path: Path) -> None:
    import plant_faults
    import scene_nets
    import scenes

    for part, seed, count in (("calib", 1, 40), ("verify", 2, 40)):
        np.savez(tmp_path / f"{part}.npz", x=scenes.draw(count, seed).pictures)
    net = plant_faults.Net(
        "twins",
        lambda: scene_nets.trained("twins", 3, tmp_path, steps=20),
        {
            "calib": tmp_path / "calib.npz",
            "verify": tmp_path / "verify.npz",
            "input_shape": (1, 3, 32, 32),
            "preprocessing": "symmetric",
            "recipe": "fast",
        },
    )
    lines = list(plant_faults.cases(net, "int8", ("onnx",), 4, set()))
    healthy = next(line for line in lines if "fault" not in line)
    assert healthy["converted"]
    planted = [line for line in lines if line.get("added", 0.0) >= 2 * plant_faults.SLIGHT]
    assert len(planted) >= 3
    assert [line["case"] for line in planted if line["converted"]] == []


@pytest.mark.long
def test_wrong_scalings_are_named_and_right_ones_are_not(tmp_path: Path) -> None:
    import plant_flags

    net = next(plant_flags._scenes(tmp_path, ["plain"]))
    assert net.right == "imagenet"
    lines = dict(plant_flags.cases(net, {f"{net.name}: {n}" for n in ("BGR", "crop", "unit")}))
    assert lines[f"{net.name}: imagenet"]["statistics"] == {}
    raw = lines[f"{net.name}: raw"]
    assert raw["statistics"] == plant_flags.wanted(raw) == {"preprocessing": "imagenet"}
