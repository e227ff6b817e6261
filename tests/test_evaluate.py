"""Files at their own task: classes and boxes, ours and anyone's, on labelled pictures."""

import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.artifact import load_artifact
from edgeconv.bench.subjects import about_file
from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.evaluate.classes import Classes
from edgeconv.evaluate.detect import _reference
from edgeconv.evaluate.draw import class_colour
from edgeconv.evaluate.look import Looking, look
from edgeconv.evaluate.report import Wish, evaluate
from edgeconv.evaluate.run import Asked, open_subject, outputs_of
from edgeconv.metrics import best_assignment

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


def test_the_runtime_asked_for_is_the_files_and_not_its_references(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    measured = replace(open_subject(path, Asked()), asked=Asked(runtime="ai-edge-litert"))
    reference = _reference(measured, path)  # LiteRT runs no .onnx
    assert reference is not None
    assert reference.runtime == "onnxruntime"


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
    assert "so nothing is known" not in ran.output
    assert "unit: mean 0, std 1 · crop 1 · RGB · NCHW · given" in ran.output
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--draw", str(tmp_path / "drawn")])
    assert (ran.exit_code, "--draw is for detectors" in ran.output) == (2, True)
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--count", "1"])
    told = "classes red, zblue: none of their pictures was asked, so nothing is known of them"
    assert told in json.loads(ran.stdout)["files"][0]["hints"]


def test_an_export_names_classes_of_which_no_picture_verifies(tmp_path: Path) -> None:
    path = brightness_classifier(tmp_path / "net.onnx")
    data = coloured(tmp_path / "photos")
    words = ["--target", "onnx", "--verify", str(data), "--truth", "folders", "--crop", "1"]
    out = ["--verify-count", "2", "--output", str(tmp_path / "out"), "--json"]
    ran = CliRunner().invoke(main, ["export", str(path), *words, *out])
    told = "class zblue: none of its pictures was asked, so nothing is known of it"
    assert told in json.loads(ran.stdout)["notes"]


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
    pytest.importorskip("pycocotools")
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
    assert found["head"] == "yolov8"
    assert set(found["map_classes"]) == {"red", "green"}


def test_the_same_boxes_as_yolo_text_are_the_same_map(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=6)
    labels = tmp_path / "labels"
    labels.mkdir()
    data = json.loads(coco.read_text())
    for number, row in enumerate(data["images"]):
        lines = [
            f"{b['category_id'] - 7} {(x + w / 2) / 128} {(y + h / 2) / 128} {w / 128} {h / 128}"
            for b in data["annotations"]
            if b["image_id"] == number
            for x, y, w, h in [b["bbox"]]
        ]
        (labels / row["file_name"]).with_suffix(".txt").write_text("\n".join(lines))
    options = ["--data", str(folder), "--preprocessing", "unit", "--json"]
    found = []
    for truth in (coco, labels):
        ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(truth)])
        assert ran.exit_code == 0, ran.output
        found.append(json.loads(ran.stdout)["files"][0])
    # the crop cuts the outer cells: what is left of them less than half is not asked for
    assert found[0]["map"] == pytest.approx(found[1]["map"], abs=1e-6)
    assert found[0]["labelled_boxes"] == found[1]["labelled_boxes"] > 0


def test_a_lost_box_is_drawn_with_the_references(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, _ = scenes(tmp_path / "photos", count=3)
    worse = onnx.load(path)
    pick = next(t for t in worse.graph.initializer if t.name == "pick")
    halved = onnx.numpy_helper.to_array(pick) * np.array([[1.0], [0.1]]).reshape(2, 1, 1, 1)
    pick.CopyFrom(onnx.numpy_helper.from_array(halved.astype(np.float32), "pick"))
    onnx.save(worse, tmp_path / "worse.onnx")
    options = ["--data", str(folder), "--preprocessing", "unit", "--crop", "1"]
    held = ["--reference", str(path), "--draw", str(tmp_path / "drawn")]
    ran = CliRunner().invoke(main, ["eval", str(tmp_path / "worse.onnx"), *options, *held])
    assert ran.exit_code == 0, ran.output
    assert "0 invented" in ran.output
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert drawn
    colours = np.asarray(image.open(drawn[0])).reshape(-1, 3)
    assert (colours == (0, 200, 255)).all(axis=1).any()


def test_bad_labels_and_heads_are_one_sentence(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=2)
    plain = ["eval", str(path), "--data", str(folder)]
    (tmp_path / "empty").mkdir()
    data = json.loads(coco.read_text())
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps({**data, "images": data["images"][:1]}))
    names = tmp_path / "names.csv"
    names.write_text("00.png,0\n")
    first = data["annotations"][0]
    changed = {
        "shares": {"annotations": [{**first, "bbox": [0.1, 0.1, 0.2, 0.2]}]},
        "corners": {"annotations": [{**first, "bbox": [96, 96, 128, 128]}]},
        "negative": {"annotations": [{**first, "bbox": [9, 9, -4, 4]}]},
        "foreign": {"annotations": [{**first, "category_id": 9}]},
        "twice": {"images": data["images"] + data["images"][:1]},
        "again": {"annotations": data["annotations"] * 2},
        "names": {
            "images": [
                {**image, "file_name": f"{k}/00.png"} for k, image in enumerate(data["images"])
            ]
        },
        "small": {"images": [{**image, "width": 640, "height": 640} for image in data["images"]]},
    }
    for name, change in changed.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**data, **change}))
    refused = {
        "shares": "all lie within 0 and 1",
        "corners": "1 of 1 reach beyond their pictures",
        "negative": "annotations[0].bbox has a negative width",
        "foreign": "annotations[0] is of category 9, which categories lacks",
        "twice": "2 images have the id 0",
        "again": "6 of 12 boxes are there before",
        "names": "names.json knows nothing of 00.png",
        "small": "small.json says 640x640",
    }
    cases = [
        *(([*plain, "--truth", str(tmp_path / f"{n}.json")], said) for n, said in refused.items()),
        (["eval", str(path), "--data", str(tmp_path / "empty")], "holds no picture"),
        ([*plain, "--truth", str(fewer)], "fewer.json knows nothing of 01.png"),
        ([*plain, "--truth", str(coco), "--head", "ssd"], "--head ssd does not fit"),
        ([*plain, "--truth", str(names)], "labels no boxes"),
        (plain, "--truth COCO.json"),
    ]
    for arguments, said in cases:
        ran = CliRunner().invoke(main, arguments)
        assert ran.exit_code == 2, ran.output
        assert said in " ".join(ran.output.split())


def test_map_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pycocotools" else found(name)
    )
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=2)
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(folder), "--truth", str(coco)])
    assert ran.exit_code == 1
    assert "pip install 'edgeconv[coco]'" in ran.output


@pytest.mark.slow
def test_boxes_of_an_int8_file_are_held_against_the_float_graph(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
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
    for found in evaluate(files, str(folder), Wish(truth=str(coco))):
        assert found.precision is not None
        assert found.parity is not None
        assert found.precision.at_half > 0.99
        assert found.parity.matched.value > 0.95
        assert found.parity.invented == 0
    known = about_file(files[0], load_artifact(files[0]))
    assert known["accuracy"]["boxes"] > 0.95  # bench shows it beside latency
    drawn = tmp_path / "drawn"
    pictures = [str(folder / "0*.png"), "--draw", str(drawn), "--json"]
    ran = CliRunner().invoke(main, ["run", str(files[0]), *pictures])
    assert ran.exit_code == 0, ran.output
    seen = json.loads(ran.stdout)["predictions"]
    assert len(seen) == 10
    assert all(len(one["seen"]) == 3 and Path(one["drawn"]).is_file() for one in seen)
    labelled = [b["bbox"] for b in json.loads(coco.read_text())["annotations"] if not b["image_id"]]
    corners = sorted([x, y, x + width, y + height] for x, y, width, height in labelled)
    assert np.allclose(sorted(row["box"] for row in seen[0]["seen"]), corners, atol=4)


def test_a_file_that_is_no_coco_file_is_one_sentence(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=2)
    coco.write_text('{"images": 3}')
    shutil.copy(path, tmp_path / "again.onnx")
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(folder), "--truth", str(coco)])
    assert ran.exit_code == 2
    assert "boxes.json: annotations is missing" in ran.output


def test_boxes_and_masks_are_painted_over_the_pictures(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    folder, _ = scenes(tmp_path / "photos", count=1)
    pick = np.eye(2, 3, dtype=np.float32).reshape(2, 3, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "pick"], ["y"])]
    path, shape = tmp_path / "masks.onnx", [1, 2, 64, 64]
    nets = [
        cell_detector(tmp_path / "boxes.onnx"),
        _write(path, nodes, shape, {"pick": pick}, TensorProto, helper, numpy_helper),
    ]
    looking = Looking(draw=tmp_path / "drawn")
    for net in nets:
        subject = open_subject(net, Asked(preprocessing="unit", crop=1.0))
        (seen,) = look(subject, [folder / "00.png"], looking)
        assert seen.drawn is not None
        painted = np.asarray(image.open(seen.drawn)).reshape(-1, 3)
        if net == path:  # every pixel is half its class's colour
            assert sum(row["share"] for row in seen.rows) == pytest.approx(1.0)
            assert all((painted >= np.array(class_colour(k)) // 2 - 1).all(1).any() for k in (0, 1))
        else:
            kinds = {row["class"] for row in seen.rows}
            assert len(seen.rows) == 3
            assert all((painted == class_colour(kind)).all(1).any() for kind in kinds)


def masked(folder: Path) -> tuple[Path, Path, Path]:
    """Write a net whose classes by pixel are red and green, three pictures, and masks that differ in a corner."""
    from onnx import TensorProto, helper, numpy_helper

    pick = np.eye(2, 3, dtype=np.float32).reshape(2, 3, 1, 1)
    nodes = [helper.make_node("Conv", ["x", "pick"], ["y"])]
    path, photos, masks = folder / "net.onnx", folder / "photos", folder / "masks"
    _write(path, nodes, [1, 2, 64, 64], {"pick": pick}, TensorProto, helper, numpy_helper)
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
    return path, photos, masks


@pytest.mark.parametrize("task", ["classes", "masks", "boxes"])
def test_shards_add_up_to_what_one_process_counts(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.sweep import measure, tasks
    from edgeconv.sweep.engine import Here
    from edgeconv.sweep.inputs import Inputs
    from edgeconv.sweep.store import Store

    wish = Wish()
    if task == "classes":
        path, data = brightness_classifier(tmp_path / "net.onnx"), coloured(tmp_path / "p", wrong=3)
    elif task == "masks":
        path, data, masks = masked(tmp_path)
        wish = Wish(truth=str(masks))
    else:
        pytest.importorskip("pycocotools")
        path = cell_detector(tmp_path / "net.onnx")
        data, coco = scenes(tmp_path / "photos", count=7)
        wish = Wish(truth=str(coco), reference=path)
    asked = Asked(preprocessing="unit", crop=1.0)
    (alone,) = evaluate([path], str(data), wish, asked)
    monkeypatch.setattr(measure, "LEAST", 2)
    monkeypatch.setattr("edgeconv.evaluate.run.AT_ONCE", 3 * 4 * 3 * 64 * 64)
    performed: list[str] = []

    def perform(spec: Any, folder: Path) -> dict[str, Any]:
        performed.append(spec["question"]["task"])
        return part(spec, folder)

    part = tasks.TASKS["measure"]
    monkeypatch.setitem(tasks.TASKS, "measure", perform)
    inputs = Inputs()
    shared = measure.shared_out(Here(Store(tmp_path / "cells"), inputs), inputs, 3)
    (found,) = evaluate([path], str(data), wish, asked, shared)
    assert found.to_json() == alone.to_json()
    assert len(performed) > 1


@pytest.mark.long
def test_workers_count_what_one_process_counts(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs edgeconv[sweep]")
    path, data = brightness_classifier(tmp_path / "net.onnx"), coloured(tmp_path / "p", wrong=3)
    words = ["eval", str(path), "--data", str(data), "--preprocessing", "unit", "--json"]
    alone, shared = (CliRunner().invoke(main, words + more) for more in ([], ["--workers", "2"]))
    assert shared.exit_code == 0, shared.output
    assert json.loads(shared.stdout) == json.loads(alone.stdout)


def test_run_takes_folders_and_patterns(tmp_path: Path) -> None:
    from edgeconv.commands.run import each_picture

    folder = coloured(tmp_path / "photos")
    assert len(each_picture([folder])) == 36
    assert len(each_picture([folder / "red" / "1*.png", folder / "green" / "0.png"])) == 4
    assert len(each_picture([folder / "*" / "1*.png"])) > 3, "of several folders"
    with pytest.raises(UsageError, match="jpg fits no picture"):
        each_picture([folder / "red" / "1*.png", folder / "*.jpg"])


def test_a_segmentation_net_is_measured_against_masks(tmp_path: Path) -> None:
    """Classes by pixel are red and green; the masks say so but for a corner of 8 x 8 in 64 x 64."""
    path, photos, masks = masked(tmp_path)
    options = ["--data", str(photos), "--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks), "--json"])
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    left = 64 * (20 + 30 + 40)
    right = 3 * 64 * 64 - left
    wanted = {"class 0": (left - 192) / left, "class 1": right / (right + 192)}
    assert found["iou"] == pytest.approx(wanted)
    own = image.open(masks / "1.png").copy()
    image.new("L", (64, 32)).save(masks / "1.png")
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks)])
    assert ran.exit_code == 1
    assert "1.png is 64x32" in " ".join(ran.output.split())
    binary = tmp_path / "binary"
    binary.mkdir()
    for mask in masks.iterdir():
        image.fromarray(np.asarray(own) * np.uint8(255)).save(binary / mask.name)
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(binary)])
    assert ran.exit_code == 2
    assert "nothing but 0 and 255" in " ".join(ran.output.split())
    (masks / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n no mask")
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks)])
    assert ran.exit_code == 1
    assert "1.png is not a readable picture" in ran.output
    (masks / "1.png").unlink()
    ran = CliRunner().invoke(main, ["eval", str(path), *options, "--truth", str(masks)])
    assert ran.exit_code == 2
    assert "1.png does not exist" in ran.output


def test_pictures_of_one_name_are_drawn_each_by_itself(tmp_path: Path) -> None:
    folder, _ = scenes(tmp_path / "photos", count=2)
    pictures = [folder / "00.png", tmp_path / "more" / "00.png"]
    pictures[1].parent.mkdir()
    shutil.copy(folder / "01.png", pictures[1])
    subject = open_subject(
        cell_detector(tmp_path / "net.onnx"), Asked(preprocessing="unit", crop=1.0)
    )
    seen = look(subject, pictures, Looking(draw=tmp_path / "drawn"))
    assert [one.drawn and one.drawn.name for one in seen] == ["00.png", "00_2.png"]
    painted = [np.asarray(image.open(one.drawn)) for one in seen if one.drawn]
    assert not np.array_equal(painted[0], painted[1])
    net = tmp_path / "net.onnx"
    with pytest.raises(UsageError, match="two of them have one name"):
        evaluate([net, net], str(folder), Wish(draw=tmp_path / "d"))


def wide_scenes(folder: Path, count: int) -> tuple[Path, Path]:
    """Paint pictures of 256 x 128 with cells of 64 pixels, and write their boxes as YOLO's .txt files."""
    rng = np.random.default_rng(2)
    texts = folder.parent / "labels"
    for place in (folder, texts):
        place.mkdir()
    for number in range(count):
        pixels = rng.integers(0, 20, (128, 256, 3), np.uint8)
        lines = []
        for cell in rng.choice(8, 3, replace=False):
            (y, x), kind = divmod(int(cell), 4), int(rng.integers(2))
            pixels[64 * y : 64 * y + 64, 64 * x : 64 * x + 64, kind] = 230
            lines.append(f"{kind} {(x + 0.5) / 4} {(y + 0.5) / 2} 0.25 0.5")
        image.fromarray(pixels).save(folder / f"{number}.png")
        (texts / f"{number}.txt").write_text("\n".join(lines))
    return folder, texts


def test_a_letterbox_sees_all_of_a_wide_picture_and_its_boxes_are_the_pictures(
    tmp_path: Path,
) -> None:
    """64 x 64 holds 256 x 128 in its rows 16 to 48; the bars are no red and green, but half as bright."""
    pytest.importorskip("pycocotools")
    folder, texts = wide_scenes(tmp_path / "photos", 6)
    net = cell_detector(tmp_path / "net.onnx")
    options = ["--preprocessing", "unit", "--crop", "letterbox"]
    said = ["--data", str(folder), "--truth", str(texts), *options, "--json"]
    ran = CliRunner().invoke(main, ["eval", str(net), *said])
    assert ran.exit_code == 0, ran.output
    (found,) = json.loads(ran.stdout)["files"]
    assert "letterbox · RGB" in found["preprocessing"]
    assert found["labelled_boxes"] == 18
    assert found["map"] > 0.99
    assert found["map_interval"][0] > 0.99
    picture = str(folder / "0.png")
    ran = CliRunner().invoke(
        main, ["run", str(net), picture, *options, "--min-score", "0.6", "--json"]
    )
    assert ran.exit_code == 0, ran.output
    (seen,) = json.loads(ran.stdout)["predictions"]
    rows = [line.split() for line in (texts / "0.txt").read_text().splitlines()]
    wanted = {(int(kind), 256 * float(x) - 32, 128 * float(y) - 32) for kind, x, y, *_ in rows}
    assert {(row["class"], *row["box"][:2]) for row in seen["seen"]} == wanted


def test_whoever_stops_taking_outputs_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask that is damaged ends an evaluation in the middle."""
    from edgeconv.judge.outputs import Outputs
    from edgeconv.samples import Sample

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    subject = open_subject(brightness_classifier(tmp_path / "net.onnx"), Asked())
    feed = {"picture": np.zeros((1, 3, 64, 64), np.float32)}
    samples = [Sample(str(n), lambda: feed, None, str) for n in range(9)]
    made = Outputs({"y": np.zeros((1, 3))})
    taken = outputs_of(subject, samples, lambda _: made)
    next(taken)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_boxes_of_shifted_classes_are_told_and_of_unknown_ones_refused(tmp_path: Path) -> None:
    path = cell_detector(tmp_path / "net.onnx")
    folder, coco = scenes(tmp_path / "photos", count=4)
    data = json.loads(coco.read_text())
    for name in ("shifted", "unknown"):
        (tmp_path / name).mkdir()
    for picture in data["images"]:
        own = [b for b in data["annotations"] if b["image_id"] == picture["id"]]
        for name, kinds in (("shifted", {7: 1}), ("unknown", {7: 1, 8: 2})):
            rows = [
                f"{kinds[b['category_id']]} {(x + w / 2) / 128} {(y + h / 2) / 128} {w / 128} {h / 128}"
                for b in own
                if b["category_id"] in kinds
                for x, y, w, h in [b["bbox"]]
            ]
            (tmp_path / name / f"{picture['id']:02}.txt").write_text("\n".join(rows))
    asked = ["eval", str(path), "--data", str(folder), "--crop", "1", "--preprocessing", "unit"]
    ran = CliRunner().invoke(main, [*asked, "--truth", str(tmp_path / "shifted")])
    assert "THE LABELS LOOK SHIFTED: most boxes are given the class before" in ran.output, (
        ran.output
    )
    ran = CliRunner().invoke(main, [*asked, "--truth", str(tmp_path / "unknown")])
    assert ran.exit_code == 2, ran.output
    assert "names class 2" in " ".join(ran.output.split())


def test_class_folders_may_be_links(tmp_path: Path) -> None:
    kept = coloured(tmp_path / "kept")
    (tmp_path / "photos").mkdir()
    for number, name in enumerate(("red", "green", "zblue")):
        (tmp_path / "photos" / str(number)).symlink_to(kept / name, target_is_directory=True)
    path = brightness_classifier(tmp_path / "net.onnx")
    ran = CliRunner().invoke(
        main, ["eval", str(path), "--data", str(tmp_path / "photos"), "--json"]
    )
    (found,) = json.loads(ran.stdout)["files"]
    assert (found["pictures"], found["top1"]["share"]) == (36, 1.0)


def answered(order: Sequence[int], right: float, each: int, seed: int = 0) -> Classes:
    """Count a net that gets ``right`` of ``each`` pictures of a class, class k called order[k]; other answers fall anywhere."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(order)), each)
    called = np.where(
        rng.random(len(truth)) < right,
        np.array(order)[truth],
        rng.integers(0, len(order), len(truth)),
    )
    counts = Classes(len(order))
    counts.add(np.eye(len(order))[called], truth)
    return counts


def test_permuted_classes_are_told_of_weak_nets_too_and_not_by_chance() -> None:
    """Each class need not be right mostly: at 30 % of ten classes the order still shows, on enough pictures."""
    turned = [3, 1, 0, 2, 4, 6, 5, 7, 9, 8]
    pairs = [(a, b) for a, b in enumerate(turned) if a != b]
    for right, each in ((0.9, 10), (0.6, 20), (0.3, 100)):
        assert answered(turned, right, each).renumbered == pairs
    for seed in range(20):
        for right, each in ((0.0, 2), (0.0, 10), (0.0, 100), (0.2, 5), (0.6, 3), (0.95, 20)):
            assert answered(range(10), right, each, seed).renumbered == []
    assert answered(turned, 0.9, 1).renumbered == [], "eight pictures tell nothing"
    biased = Classes(4)
    biased.add(np.eye(4)[[2] * 80], np.arange(80) % 4)
    assert biased.renumbered == [], "all is called one class"


def test_a_net_of_more_classes_than_the_folders_is_told_which_they_are() -> None:
    counts = Classes(1000)
    truth = np.repeat(np.arange(3), 10)
    counts.add(np.eye(1000)[np.array([850, 1, 7])[truth]], truth)
    assert counts.renumbered == [(0, 850), (2, 7)]


def test_the_best_assignment_is_that_of_all_permutations() -> None:
    rng = np.random.default_rng(3)
    for rows, columns in ((1, 1), (3, 3), (4, 6), (6, 6), (0, 5)):
        counts = rng.integers(0, 9, (rows, columns))
        found = best_assignment(counts)
        assert len(set(found.tolist())) == rows
        best = max(
            sum(counts[np.arange(rows), list(p)]) for p in permutations(range(columns), rows)
        )
        assert counts[np.arange(rows), found].sum() == best


def test_folders_numbered_in_another_order_than_the_net_are_told(tmp_path: Path) -> None:
    path = brightness_classifier(tmp_path / "net.onnx")
    folder = coloured(tmp_path / "photos")
    (folder / "zblue").rename(folder / "blue")
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(folder)])
    assert "THE CLASSES LOOK NUMBERED OTHERWISE by the file: blue is its class 2" in " ".join(
        ran.output.split()
    )
