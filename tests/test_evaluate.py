"""Files at their own task: classes and boxes, ours and anyone's, on labelled pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.evaluate.boxes import box_parity, mean_average_precision
from edgeconv.evaluate.heads import Boxes, decode, find_head
from edgeconv.evaluate.report import evaluate

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
image = pytest.importorskip("PIL.Image")

CELL, SIDE = 16, 4


def brightness_classifier(path: Path) -> Path:
    """Write a classifier of 3 classes: which of red, green and blue is brightest."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    return _write(
        path, nodes, [1, 3], {"shape": np.array([1, 3])}, TensorProto, helper, numpy_helper
    )


def cell_detector(path: Path) -> Path:
    """Write a detector with YOLOv8's head: a box a cell, its red and green are the two scores."""
    from onnx import TensorProto, helper, numpy_helper

    middle = (np.arange(SIDE) + 0.5) * CELL
    y, x = (axis.reshape(-1) for axis in np.meshgrid(middle, middle, indexing="ij"))
    boxes = np.stack([x, y, np.full(16, CELL), np.full(16, CELL)])[None].astype(np.float32)
    pick = np.eye(2, 3, dtype=np.float32).reshape(2, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "pick"], ["rg"]),
        helper.make_node("AveragePool", ["rg"], ["m"], kernel_shape=[CELL] * 2, strides=[CELL] * 2),
        helper.make_node("Reshape", ["m", "shape"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["y"], axis=1),
    ]
    constants = {"pick": pick, "shape": np.array([1, 2, 16]), "boxes": boxes}
    return _write(path, nodes, [1, 6, 16], constants, TensorProto, helper, numpy_helper)


def _write(
    path: Path, nodes: Any, shape: list[int], constants: Any, types: Any, helper: Any, arrays: Any
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", types.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", types.FLOAT, shape)],
        [arrays.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def coloured(folder: Path, wrong: int = 0) -> Path:
    """Paint 12 pictures a class, each in its class's folder; ``wrong`` red ones lie among blue."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("red", "green", "zblue")):
        (folder / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 90, (64, 64, 3), np.uint8)
            pixels[:, :, 0 if name == "zblue" and index < wrong else number] += 120
            image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def scenes(folder: Path, count: int = 20) -> tuple[Path, Path]:
    """Paint pictures of red and green cells, and write their boxes as a COCO file."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    images, annotations = [], []
    for number in range(count):
        pixels = rng.integers(0, 20, (64, 64, 3), np.uint8)
        for cell in rng.choice(16, 3, replace=False):
            kind = int(rng.integers(2))
            y, x = divmod(int(cell), SIDE)
            pixels[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL, kind] = 230
            box = [2 * x * CELL, 2 * y * CELL, 2 * CELL, 2 * CELL]
            annotations.append({"image_id": number, "category_id": 7 + kind, "bbox": box})
        name = f"{number:02}.png"
        image.fromarray(pixels).resize((128, 128), image.Resampling.NEAREST).save(folder / name)
        images.append({"id": number, "file_name": name, "width": 128, "height": 128})
    coco = folder.parent / "boxes.json"
    categories = [{"id": 7, "name": "red"}, {"id": 8, "name": "green"}]
    coco.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder, coco


def test_anyones_classifier_is_measured_on_class_folders_alone(tmp_path: Path) -> None:
    path = brightness_classifier(tmp_path / "net.onnx")
    data = coloured(tmp_path / "photos", wrong=3)
    names = tmp_path / "truth.csv"
    truth = {"red": 0, "green": 1, "zblue": 2}
    rows = [f"{p.relative_to(data).as_posix()},{truth[p.parent.name]}" for p in data.rglob("*.png")]
    names.write_text("\n".join(rows) + "\n")
    options = ["--data", str(data), "--preprocessing", "unit", "--crop", "1", "--json"]
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(names)])
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    assert found["top1"]["share"] == pytest.approx(33 / 36)
    assert found["confusion"] == [[12, 0, 0], [0, 12, 0], [3, 0, 9]]
    assert found["classes"]["class 2"]["of"] == 12
    # class folders say themselves what they are, by sorted names: green, red, zblue
    ran = CliRunner().invoke(main, ["eval", str(path), *options[:-1]])
    assert ran.exit_code == 0, ran.output
    assert "folders (the pictures lie in folders of their classes)" in ran.output
    assert "12 times green was taken for red" in ran.output
    assert "unit: mean 0, std 1 · crop 1 · RGB · NCHW · given" in ran.output


def test_a_classifier_without_truth_says_what_to_give(tmp_path: Path) -> None:
    path = brightness_classifier(tmp_path / "net.onnx")
    data = coloured(tmp_path / "photos") / "red"
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(data)])
    assert ran.exit_code == 2
    assert "--truth" in ran.output


def test_an_assumed_preprocessing_is_marked(tmp_path: Path) -> None:
    path = brightness_classifier(tmp_path / "net.onnx")
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(coloured(tmp_path / "p"))])
    assert "ASSUMED" in ran.output


def test_a_detector_is_measured_against_labelled_boxes_and_its_reference(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos")
    options = ["--data", str(folder), "--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(
        main,
        ["eval", str(path), *options, "--truth", str(coco), "--reference", str(path), "--json"],
    )
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    assert found["map"] > 0.99
    assert found["boxes"]["matched"]["share"] == 1.0
    assert found["boxes"]["matched"]["of"] == 60


@pytest.mark.slow
def test_boxes_of_an_int8_file_are_held_against_the_float_graph(tmp_path: Path) -> None:
    from edgeconv import export_model

    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos")
    report = export_model(
        str(path),
        precision="int8",
        targets=("tflite", "onnx"),
        recipe="fast",
        calib=str(folder),
        allow_poor_calibration=True,
        preprocessing="unit",
        crop=1.0,
        output=tmp_path / "out",
    )
    files = [artifact.path for artifact in report.artifacts]
    for found in evaluate(files, str(folder), truth=str(coco)):
        assert found.precision is not None
        assert found.parity is not None
        assert found.precision[1] > 0.99
        assert found.parity.matched.value > 0.95
        assert found.parity.invented == 0


def test_every_usual_head_gives_the_same_boxes() -> None:
    corners = np.array([[8.0, 8, 24, 24], [9, 9, 25, 25], [32, 32, 60, 60]])
    scores = np.array([[0.9, 0.1], [0.6, 0.2], [0.2, 0.8]])
    centre, extent = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    boxes = np.concatenate([centre, extent], axis=1)
    padded = np.zeros((40, 6))
    padded[:, :2] = 1.0
    padded[:3] = np.concatenate([boxes, scores], axis=1)
    v5 = np.insert(padded, 4, 1.0, axis=1)
    v5[3:, 4] = 0.0
    best = np.concatenate([corners, scores.max(axis=1)[:, None], scores.argmax(axis=1)[:, None]], 1)
    heads: dict[str, dict[str, Any]] = {
        "yolov8": {"y": padded.T[None]},
        "yolov5": {"y": v5[None]},
        "end-to-end": {"y": best[[0, 2]][None]},
        "ssd": {"boxes": corners[None], "scores": scores[None]},
    }
    for name, arrays in heads.items():
        head = find_head(arrays)
        assert head == name
        (found,) = decode(arrays, head, (64, 64))
        np.testing.assert_allclose(found.corners, corners[[0, 2]], atol=1e-9)
        assert found.classes.tolist() == [0, 1]


def test_a_lost_and_an_invented_box_are_counted() -> None:
    def boxes(*rows: tuple[float, int]) -> Boxes:
        corners = np.array([[x, 0, x + 10, 10] for x, _ in rows], float).reshape(-1, 4)
        kinds = np.array([kind for _, kind in rows], np.int64)
        return Boxes(corners, np.linspace(1, 0.5, len(rows)), kinds)

    wanted = [boxes((0, 0), (20, 1)), boxes((0, 0))]
    got = [boxes((0, 0), (20, 0)), boxes((5, 0))]
    found = box_parity(wanted, got)
    assert (found.matched.right, found.missed, found.invented) == (1, 2, 2)
    assert set(found.worst) == {0, 1}
    whole, half = mean_average_precision(wanted, got)
    assert 0.0 < whole <= half < 1.0
    assert mean_average_precision(wanted, wanted) == (1.0, 1.0)


def test_a_file_that_is_no_coco_file_is_one_sentence(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=2)
    coco.write_text('{"images": 3}')
    shutil.copy(path, tmp_path / "again.onnx")
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(folder), "--truth", str(coco)])
    assert ran.exit_code == 1
    assert "boxes.json: annotations is missing" in ran.output


def test_run_takes_folders_and_patterns(tmp_path: Path) -> None:
    from edgeconv.commands.run import each_picture

    folder = coloured(tmp_path / "photos")
    assert len(each_picture([folder])) == 36
    assert len(each_picture([folder / "red" / "1*.png", folder / "green" / "0.png"])) == 4
    with pytest.raises(UsageError, match="fits no picture"):
        each_picture([folder / "*.jpg"])


def test_a_segmentation_net_is_measured_against_masks(tmp_path: Path) -> None:
    """Classes by pixel are red and green; the masks say so but for a corner of 8 x 8 in 64 x 64."""
    from onnx import TensorProto, helper, numpy_helper

    pick = np.eye(2, 3, dtype=np.float32).reshape(2, 3, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "pick"], ["y"])]
    path = tmp_path / "net.onnx"
    _write(path, nodes, [1, 2, 64, 64], {"pick": pick}, TensorProto, helper, numpy_helper)
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    masks.mkdir()
    for number in range(3):
        classes = np.zeros((64, 64), np.uint8)
        classes[:, 20 + 10 * number :] = 1
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:, :, 0], pixels[:, :, 1] = 200 * (classes == 0), 200 * (classes == 1)
        image.fromarray(pixels).save(photos / f"{number}.png")
        classes[:8, :8] = 1
        image.fromarray(classes).save(masks / f"{number}.png")
    options = ["--data", str(photos), "--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks), "--json"])
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    left = 64 * (20 + 30 + 40)
    right = 3 * 64 * 64 - left
    wanted = {"class 0": (left - 192) / left, "class 1": right / (right + 192)}
    assert found["iou"] == pytest.approx(wanted)
    (masks / "1.png").unlink()
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks)])
    assert ran.exit_code == 2
    assert "1.png does not exist" in ran.output
