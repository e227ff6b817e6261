"""The drawn detection sets and the detector trained on them, small: what docs/tutorials/detector.md says is made so."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.cli import main

pytest.importorskip("PIL")
import detection_sets


@pytest.mark.parametrize("name", detection_sets.SETS)
def test_a_box_holds_its_object_and_no_more(name: str) -> None:
    made = detection_sets.SETS[name](12, 0)
    assert sum(map(len, made.boxes)) > 12
    for picture, boxes in zip(made.pictures, made.boxes, strict=True):
        assert picture.shape == (64, 64, 3)
        for kind, x1, y1, x2, y2 in boxes:
            assert 0 <= kind < len(made.names)
            assert 0 <= x1 < x2 <= 64
            assert 0 <= y1 < y2 <= 64
            inside = picture[int(y1) : int(y2), int(x1) : int(x2)].astype(float)
            assert (
                np.ptp(inside.mean(axis=2)) > 30 or name == "shapes"
            )  # a digit's ink and its ground
    again = detection_sets.SETS[name](12, 0)
    np.testing.assert_array_equal(made.pictures, again.pictures)


def test_a_digit_fills_its_box_as_the_font_says() -> None:
    zero = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1], [1, 0, 1], [1, 1, 1]], bool)
    np.testing.assert_array_equal(detection_sets.glyph(0), zero)
    assert len({detection_sets.glyph(kind).tobytes() for kind in range(10)}) == 10


def test_the_script_writes_a_detector_that_eval_measures(tmp_path: Path) -> None:
    for package in ("torch", "onnxruntime", "pycocotools"):
        pytest.importorskip(package)
    train_detector = __import__("train_detector")
    small = ["--steps", "2", "--width", "2", "--count", "32", "--held", "3"]
    ran = CliRunner().invoke(train_detector.command, ["digits", "--out", str(tmp_path), *small])
    assert ran.exit_code == 0, ran.output
    options = ["--preprocessing", "unit", "--crop", "1", "--truth", str(tmp_path / "test.json")]
    file, data = str(tmp_path / "detector.onnx"), str(tmp_path / "test")
    ran = CliRunner().invoke(main, ["eval", file, "--data", data, *options, "--json"])
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    assert found["head"] == "yolov8"
    assert 0.0 <= found["map"] < 0.2  # two steps teach nothing
    assert set(found["map_classes"]) <= set("0123456789")


@pytest.mark.long
def test_the_scripts_table_has_each_runtime_and_all_measure_float_files_alike(
    tmp_path: Path,
) -> None:
    """Float files of one detector in LiteRT and Core ML find onnxruntime's boxes, and have its mAP."""
    for package in ("torch", "onnxruntime", "pycocotools", "ai_edge_litert", "coremltools"):
        pytest.importorskip(package)
    train_detector, box_figures = __import__("train_detector"), __import__("box_figures")
    small = ["--steps", "60", "--width", "3", "--count", "96", "--held", "4"]
    ran = CliRunner().invoke(train_detector.command, ["shapes", "--out", str(tmp_path), *small])
    assert ran.exit_code == 0, ran.output
    asked = [str(tmp_path), "--recipe", "fast", "--min-score", "0.05"]
    asked += ["--target", "onnx", "--target", "tflite", "--target", "coreml"]
    ran = CliRunner().invoke(box_figures.main, asked, catch_exceptions=False)
    rows = [line.strip("| ").split(" | ") for line in ran.output.splitlines()[4:]]
    real, integer = ([row for row in rows if row[1].startswith(kind)] for kind in ("fp32", "int8"))
    assert {"onnxruntime", "ai-edge-litert", "mil-reference"} <= {row[2] for row in real}
    assert [row[2] for row in real] == [row[2] for row in integer]
    assert {row[3] for row in real} == {real[0][3]}
    assert float(real[0][3].split()[0]) > 0.0
    assert {(row[5][:5], row[6]) for row in real} == {("100.0", "0, 0")}
