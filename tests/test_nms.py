"""``export --nms``: a detector's file for apps gives the boxes that its verified twin's outputs hold."""

import contextlib
import io
import json
import os
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from graph_kit import floats, model_of
from mediapipe_accepts import ask, boxes_agreeing, pixels_agreeing
from parity_kit import agree

from edgeconv import export_model, write_report, write_snippet
from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.errors import UsageError
from edgeconv.evaluate.look import Looking, look
from edgeconv.evaluate.run import Asked, open_subject
from edgeconv.parity.api import check_parity
from edgeconv.runtimes.base import open_runner

SIDE, CELLS = 32, 64

BODY = f"(float[1,3,{SIDE},{SIDE}] x) => (%s) {{ m = Conv<strides=[4,4]>(x, w, b) %s }}"
SIDES = "near = Slice(f, zero, four, one) s = Sigmoid(near) boxes = Mul(s, far)"
SCORES = "rest = Slice(f, four, last, one) p = Sigmoid(rest)"
HEADS = {
    "yolov8": (f"float[1,7,{CELLS}] y", f"{SIDES} {SCORES} y = Concat<axis=1>(boxes, p)"),
    "yolov8 in rows": (
        f"float[1,{CELLS},7] y",
        f"{SIDES} {SCORES} j = Concat<axis=1>(boxes, p) y = Transpose<perm=[0,2,1]>(j)",
    ),
    "yolov8 in two": (
        f"float[1,4,{CELLS}] boxes, float[1,3,{CELLS}] rest",
        f"{SIDES} rest = Slice(f, four, last, one)",
    ),
    "yolov5": (
        f"float[1,{CELLS},7] y",
        f"{SIDES} {SCORES} j = Concat<axis=1>(boxes, p) y = Transpose<perm=[0,2,1]>(j)",
    ),
    "ssd": (
        f"float[1,{CELLS},4] corners, float[1,{CELLS},3] shares",
        f"""{SIDES} {SCORES} low = Slice(boxes, zero, two, one) size = Slice(boxes, two, four, one)
        high = Add(low, size) c = Concat<axis=1>(low, high) c1 = Mul(c, unit)
        corners = Transpose<perm=[0,2,1]>(c1) r = Transpose<perm=[0,2,1]>(rest)
        r1 = Add(r, background) shares = Softmax<axis=2>(r1)""",
    ),
}
"""Head -> outputs, and operators behind seven figures of each of 64 places."""


def detector(head: str, path: Path) -> Path:
    """Write a detector with random weights; its boxes lie everywhere, and many overlap."""
    outputs, operators = HEADS[head]
    integers = {"zero": 0, "one": 1, "two": 2, "four": 4, "last": 7}
    constants: dict[str, Any] = {n: np.array([v], np.int64) for n, v in integers.items()}
    model = model_of(
        BODY % (outputs, f"f = Reshape(m, flat) {operators}"),
        w=0.3 * floats(7, 3, 4, 4, seed=3),
        b=np.array([0, 0, 0.5, 0.5, 1, 0, 0], np.float32),
        flat=np.array([1, 7, CELLS], np.int64),
        far=np.full((1, 1, 1), SIDE, np.float32),
        unit=np.full((1, 1, 1), 1 / SIDE, np.float32),
        background=np.array([3, 0, 0], np.float32),
        **constants,
    )
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for number in range(6):
        blocks = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(blocks).resize((SIDE, SIDE)).save(folder / f"{number}.png")
    return folder


def exported(head: str, folder: Path, pictures: Path, **options: Any) -> Any:
    usual = {
        "targets": "tflite", "nms": head.split()[0], "mean": 0.5, "std": 0.5, "crop": 1.0,
        "calib": pictures, "output": folder / "out", "fresh": True,
    }  # fmt: skip
    return export_model(detector(head, folder / "d.onnx"), **{**usual, **options})


def boxes_line(report: Any) -> str:
    (line,) = [line.text for line in report.stages if line.stage == "nms"]
    return str(line)


LONG = ("yolov8 in rows", "yolov8 in two")


@pytest.mark.parametrize(
    "head", [pytest.param(h, marks=pytest.mark.long) if h in LONG else h for h in HEADS]
)
def test_every_head_gives_the_boxes_it_gives_without(
    head: str, tmp_path: Path, pictures: Path
) -> None:
    report = exported(head, tmp_path, pictures)
    assert report, str(report)
    thinned = report.artifacts[1]
    assert thinned.path.name == "d_fp32_nms.tflite"
    found = thinned.verdict.boxes
    assert found.matched.count >= 10
    assert (found.missed, found.invented) == (0, 0), boxes_line(report)
    artifact = load_artifact(thinned.path)
    assert artifact is not None
    assert artifact.nms is not None
    assert artifact.nms["head"] == head.split()[0]


def test_no_thread_loses_a_class(tmp_path: Path, pictures: Path) -> None:
    """LiteRT 2.3's NMS by class forgets class number 2 with two threads."""
    report = exported("yolov8", tmp_path, pictures, threads=1)
    feed = floats(1, SIDE, SIDE, 3, seed=2)
    seen = []
    for threads in (1, 2):
        with open_runner(report.artifacts[1].path, threads=threads) as runner:
            made = runner.infer({runner.inputs[0].name: feed})
        count = int(made["number of detections"][0])
        seen.append(made["category"][0, :count].tolist())
    assert set(seen[0]) == {0.0, 1.0, 2.0}
    assert seen[0] == seen[1]


@pytest.fixture(scope="module")
def int8_report(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Any:
    folder = tmp_path_factory.mktemp("int8")
    names = folder / "names.txt"
    names.write_text("cat\ndog\nemu\n")
    report = exported(
        "yolov8", folder, pictures, precision="int8", recipe="fast", labels=names, nms="auto", crop="letterbox",
        nms_iou=0.5, nms_score=0.6, verify=pictures,
    )  # fmt: skip
    assert report.artifacts[1].verdict, boxes_line(report)
    return report


@pytest.fixture(scope="module")
def int8(int8_report: Any) -> Path:
    path: Path = int8_report.artifacts[1].path
    return path


def test_run_eval_and_the_snippet_read_the_boxes_and_parity_names_the_other_file(
    int8: Path, int8_report: Any, pictures: Path
) -> None:
    subject = open_subject(int8, Asked())
    (seen,) = look(subject, [pictures / "0.png"], Looking())
    assert seen.rows
    assert {row["name"] for row in seen.rows} <= {"cat", "dog", "emu"}
    assert min(row["score"] for row in seen.rows) >= 0.6
    name, text = write_snippet(int8, "python", int8.parent)
    (int8.parent / name).write_text(text)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [name, str(pictures / "0.png")])
        runpy.run_path(str(int8.parent / name), run_name="__main__")
    assert len(said.getvalue().splitlines()) == 1 + len(seen.rows)
    assert seen.rows[0]["name"] in said.getvalue().splitlines()[1]
    assert "fun detect(picture: Bitmap): List<Found>" in write_snippet(int8, "kotlin")[1]
    page = write_report(int8)
    assert "boxes as float" in page
    assert "edgeconv eval d_int8_nms.tflite --data DIR" in page
    assert "<h2>Figures</h2>" not in page
    done = CliRunner().invoke(main, ["parity", str(int8)])
    assert done.exit_code == 2
    assert "d_int8.tflite, the same net without" in done.stderr.replace("\n", " ")
    done = CliRunner().invoke(main, ["eval", str(int8), "--data", str(pictures), "--json"])
    assert done.exit_code == 0, done.stderr
    boxes = json.loads(done.stdout)["files"][0]["boxes"]
    assert boxes["matched"]["of"] > 0
    counted = int8_report.artifacts[1].verdict.boxes.to_json()
    assert counted.items() <= boxes.items()  # export counted them on the same pictures


@pytest.mark.long
def test_parity_has_the_exports_figures_of_the_file_without_nms(int8_report: Any) -> None:
    plain = int8_report.artifacts[0]
    runtime = plain.verdict.runtime.split()[0]
    rows = check_parity([plain.path]).matrix.rows
    row = next(r for r in rows if r.label == f"{plain.path.name} · {runtime}")
    agree(plain.verdict.verdict, row.verdict, row.label)


def test_mediapipe_finds_what_it_looks_for(int8: Path) -> None:
    from edgeconv.export.tflite.detection import DETECTION
    from edgeconv.export.tflite.inspect import read_tflite
    from edgeconv.formats.tflite_file import check_whole

    data = int8.read_bytes()
    check_whole(data, "net")
    assert b"labels.txt" in data
    summary = read_tflite(data)
    assert "CUSTOM:TFLite_Detection_PostProcess" in [op.code for op in summary.ops]
    for word in (*DETECTION, "detection_result"):
        assert word.encode() in data


def test_a_recipes_file_asks_for_pictures_to_verify_on_alone(
    int8: Path, pictures: Path, tmp_path: Path
) -> None:
    recipe = int8.parent / "d_int8.evidence" / "recipe.json"
    options: dict[str, Any] = {"precision": "int8", "recipe": recipe, "calib": None, "nms": None}
    with pytest.raises(UsageError, match="give verify"):
        exported("yolov8", tmp_path, pictures, **options)
    report = exported("yolov8", tmp_path, pictures, **options, verify=pictures)
    assert report, str(report)
    assert report.artifacts[0].verdict.pictures == 6


@pytest.mark.parametrize("image", [True, False])
def test_core_ml_gets_a_pipeline(tmp_path: Path, pictures: Path, image: bool) -> None:
    pytest.importorskip("coremltools")
    from coremltools.proto import Model_pb2

    report = exported(
        "yolov8", tmp_path, pictures, targets="coreml", image_input=image, verify_count=2
    )
    path = report.artifacts[1].path
    assert report.artifacts[1].verdict, boxes_line(report)
    spec = Model_pb2.Model()
    spec.ParseFromString((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    kinds = [model.WhichOneof("Type") for model in spec.pipeline.models]
    assert kinds == ["mlProgram", "nonMaximumSuppression"]
    assert {f.name for f in spec.description.output} == {"coordinates", "confidence"}
    given = {f.name: f.type.WhichOneof("Type") for f in spec.description.input}
    assert sorted(given.values()) == [
        "doubleType",
        "doubleType",
        "imageType" if image else "multiArrayType",
    ]
    assert ("Vision hands over pictures" in str(report)) is not image
    nms = spec.pipeline.models[1].nonMaximumSuppression
    assert list(nms.stringClassLabels.vector) == ["0", "1", "2"]
    assert (nms.pickTop.perClass, nms.iouThreshold, nms.confidenceThreshold) == (True, 0.7, 0.25)


@pytest.mark.parametrize(
    ("net", "options", "said"),
    [
        ("mobilenet_v1", {}, "mobilenet_v1 is a classifier"),
        ("yolov8", {"nms": "ssd"}, 'nms="ssd" does not fit the outputs'),
        ("yolov8", {"targets": "onnx"}, "nms needs targets tflite or coreml"),
        ("yolov8", {"nms": None, "nms_iou": 0.5}, "nms_iou needs nms"),
        ("yolov8", {"nms_score": 1.5}, "nms_score is between 0 and 1, not 1.5"),
        ("final", {}, "as its boxes overlap no more"),
        ("scores", {}, "this net gives no boxes of a picture: y [1, 10]"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    net: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    plain: dict[str, Callable[[], onnx.ModelProto]] = {
        "final": lambda: model_of(
            "(float[1,3,8,8] x) => (float[1,32,6] y) { y = Reshape(x, s) }",
            s=np.array([1, 32, 6], np.int64),
        ),
        "scores": lambda: model_of(
            "(float[1,3,8,8] x) => (float[1,10] y) { f = Flatten(x) y = MatMul(f, w) }",
            w=floats(192, 10),
        ),
    }
    path = tmp_path / "d.onnx"
    if net in plain:
        onnx.save(plain[net](), path)
    elif net in HEADS:
        detector(net, path)
    wish = {"targets": "tflite", "nms": "auto", **options}
    with pytest.raises(UsageError, match=re.escape(said)):
        export_model(net if net.startswith("mobilenet") else path, output=tmp_path / "out", **wish)
    assert not (tmp_path / "out").exists()


def test_labels_of_a_detector_are_counted(tmp_path: Path, pictures: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n" * 9)
    with pytest.raises(UsageError, match="18 names, and no output has as many classes"):
        exported("yolov8", tmp_path, pictures, labels=names)


def test_agreement_with_mediapipe_is_counted() -> None:
    class Seen:
        rows = ({"name": "cat", "score": 0.9, "box": [1.9, 2.0, 8.8, 9.0]},)

    assert boxes_agreeing([[["cat", 0.9, 1, 2, 7, 9]]], [Seen()]) == 1  # type: ignore[list-item]
    assert boxes_agreeing([[["dog", 0.9, 1, 2, 7, 9]]], [Seen()]) == 0  # type: ignore[list-item]
    assert boxes_agreeing([[]], [Seen()]) == 0  # type: ignore[list-item]
    assert pixels_agreeing([[[0, 1]]], [np.array([[0, 0]])]) == 0.5


@pytest.mark.skipif(
    "EDGECONV_MEDIAPIPE_PYTHON" not in os.environ,
    reason="EDGECONV_MEDIAPIPE_PYTHON names no Python with mediapipe",
)
def test_mediapipe_gives_the_boxes_of_run(int8: Path, pictures: Path, tmp_path: Path) -> None:
    said = ask(os.environ["EDGECONV_MEDIAPIPE_PYTHON"], int8, pictures, 3, tmp_path)
    assert said.startswith("| d_int8_nms.tflite | taken | 3 of 3 pictures"), said
