"""Files that give labels, and what looks wrong about labels and boxes: said, where a figure alone would mislead."""

from pathlib import Path
from typing import Any

import graph_kit as kit
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from edgeconv import export_model
from edgeconv.cli import main
from edgeconv.evaluate.boxes import Boxes
from edgeconv.evaluate.detect import boxes_held_to
from edgeconv.evaluate.labelled import Labelled, Truth
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.matrix import Samples, Settings, judge

onnx = pytest.importorskip("onnx")

Array = NDArray[Any]
BRIGHTEST = {
    "classes": "(int64[1] y) { m = GlobalAveragePool(x) n = Flatten<axis=1>(m) y = ArgMax<axis=1, keepdims=0>(n) }",
    "masks": "(int64[1,32,32] y) { y = ArgMax<axis=1, keepdims=0>(x) }",
}


def labeller(path: Path, kind: str) -> Path:
    """Write a net that says which of red, green and blue is brightest, of a picture or of each pixel."""
    onnx.save(kit.model_of("(float[1,3,32,32] x) => " + BRIGHTEST[kind], 17), path)
    return path


def test_a_file_that_gives_one_label_a_picture_is_evaluated_and_run(tmp_path: Path) -> None:
    path = labeller(tmp_path / "net.onnx", "classes")
    for number, name in enumerate(("a", "b", "c")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(3):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[:, :, 0 if index == 0 else number] = 200
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    given = ["--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(tmp_path / "photos"), *given])
    assert "top-1 77.8 % [45.3, 93.7]\n" in ran.output, ran.output
    ran = CliRunner().invoke(main, ["run", str(path), str(tmp_path / "photos/c/1.png"), *given])
    assert ran.output.splitlines()[-1] == "  class 2"


def test_a_file_that_gives_the_label_of_each_pixel_is_held_to_masks(tmp_path: Path) -> None:
    path = labeller(tmp_path / "net.onnx", "masks")
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    pixels, mask = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    pixels[:, :16, 0], pixels[:, 16:, 2] = 200, 200
    mask[:, 20:] = 2
    Image.fromarray(pixels).save(tmp_path / "photos/p.png")
    Image.fromarray(mask).save(tmp_path / "masks/p.png")
    given = ["--preprocessing", "unit", "--crop", "1", "--truth", str(tmp_path / "masks")]
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(tmp_path / "photos"), *given])
    assert "class 0: 80.0 %" in ran.output, ran.output
    assert "class 2: 75.0 %" in ran.output


def pictures(form: str) -> tuple[Truth, list[Array]]:
    """Return true boxes of ten pictures, and four figures of each box in ``form``."""
    rng = np.random.default_rng(0)
    truth, figures = [], []
    for _ in range(10):
        low, size = rng.uniform(0, 60, (3, 2)), rng.uniform(10, 35, (3, 2))
        corners = np.concatenate([low, low + size], axis=1)
        none = np.zeros(3, bool)
        truth.append(Labelled(Boxes(corners, np.ones(3), np.arange(3)), none))
        made = {
            "corners": corners,
            "centre and size": np.concatenate([low + size / 2, size], axis=1),
            "left, top, width and height": np.concatenate([low, size], axis=1),
            "y first": corners[:, [1, 0, 3, 2]],
            "another scale": corners / 7.0,
        }
        figures.append(made[form])
    return Truth(tuple(truth), ("a", "b", "c")), figures


def as_read(figures: Array, head: str) -> Array:
    """Return the corners that a head makes of four figures."""
    if head == "ssd":
        return figures
    half = figures[:, 2:] / 2
    return np.concatenate([figures[:, :2] - half, figures[:, :2] + half], axis=1)


@pytest.mark.parametrize(
    ("form", "head", "says"),
    [
        ("centre and size", "ssd", "the file's figures are centre and size"),
        (
            "left, top, width and height",
            "ssd",
            "the file's figures are left, top, width and height",
        ),
        ("y first", "ssd", "x and y are exchanged"),
        ("corners", "yolov8", "the file's figures are corners"),
        ("another scale", "ssd", "another scale, about 7 times smaller"),
        ("corners", "ssd", ""),
        ("centre and size", "yolov8", ""),
    ],
)
def test_boxes_of_another_form_than_they_are_read_in_are_told(
    form: str, head: str, says: str
) -> None:
    pytest.importorskip("pycocotools")
    truth, figures = pictures(form)
    found = [Boxes(as_read(own, head), np.full(3, 0.9), np.arange(3)) for own in figures]
    own = boxes_held_to(truth, found, head)
    assert says in own.form
    assert bool(own.form) == bool(says)
    assert not boxes_held_to(truth, found[1:] + found[:1], head).form  # of other pictures


def test_parity_tells_true_classes_that_look_shifted() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 40)
    scores = np.eye(6)[truth + 1] * 5 + rng.normal(0, 0.1, (40, 6))
    names = tuple(map(str, range(40)))
    samples = Samples({"x": np.zeros((40, 1))}, names, truth, "nchw", "photos")
    said = judge([], Outputs({"y": scores}), samples, Settings()).notes
    assert "THE LABELS LOOK SHIFTED: most pictures are given the class behind theirs" in said[0]
    right = Samples({"x": np.zeros((40, 1))}, names, truth + 1, "nchw", "photos")
    assert not judge([], Outputs({"y": scores}), right, Settings()).notes


@pytest.mark.slow
def test_truth_that_is_right_by_chance_alone_is_told(tmp_path: Path) -> None:
    """The net says which of red, green and blue is brightest; a picture's number says which it is."""
    body = (
        "(float[1,3,8,8] x) => (float[1,3] y) { m = GlobalAveragePool(x) y = Flatten<axis=1>(m) }"
    )
    onnx.save(kit.model_of(body, 17), tmp_path / "net.onnx")
    (tmp_path / "photos").mkdir()
    for number in range(30):
        colour = tuple(255 if k == number % 3 else 40 for k in range(3))
        Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / f"{number:02}.png")
    strange = np.random.default_rng(5).permutation(np.arange(30) % 3)
    for name, classes in (("right", np.arange(30) % 3), ("strange", strange)):
        lines = [f"{number:02}.png,{kind}" for number, kind in enumerate(classes)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
        given: Any = {"preprocessing": "unit", "verify": tmp_path / "photos", "targets": ("onnx",)}
        truth = tmp_path / f"{name}.csv"
        made = export_model(
            tmp_path / "net.onnx", truth=truth, output=tmp_path / f"out_{name}", **given
        )
        told = "TOP-1 IS NO BETTER THAN CHANCE, which is 33.3 %" in str(made.notes)
        assert told is (name == "strange"), made.notes
        asked = ["eval", str(made.artifacts[0].path), "--data", str(tmp_path / "photos")]
        ran = CliRunner().invoke(main, [*asked, "--truth", str(truth)])
        assert ("TOP-1 IS NO BETTER THAN CHANCE" in " ".join(ran.output.split())) is told


def test_a_detector_that_lists_what_its_nms_left_is_read_picture_by_picture(tmp_path: Path) -> None:
    """Each of eight fixed places is a box where its pixel is bright; its class is its number."""
    body = """(float[1,3,32,32] x) => (float[k,4] boxes, int64[k] labels, float[k] scores) {
        m = ReduceMax<axes=[1,2], keepdims=0>(x)
        one = Reshape(m, row)
        near = Slice(one, zero, eight)
        bright = Greater(near, half)
        found = NonZero(bright)
        labels = Reshape(found, row)
        boxes = Gather<axis=0>(places, labels)
        scores = Gather<axis=0>(near, labels)
    }"""
    places = np.array([[4 * i, 8, 4 * i + 4, 20] for i in range(8)], np.float32)
    constants: dict[str, NDArray[Any]] = {
        "row": kit.ints(-1),
        "zero": kit.ints(0),
        "eight": kit.ints(8),
        "half": kit.scalar(0.5),
        "places": places,
    }
    path = tmp_path / "net.onnx"
    onnx.save(kit.model_of(body, 13, **constants), path)
    for name, columns in (("a", [1, 6]), ("b", [3])):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, columns] = 255
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    asked = ["run", str(path), str(tmp_path / "*.png"), "--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(main, asked)
    assert [line.split() for line in ran.output.splitlines() if "%" in line] == [
        ["100.0", "%", "class", str(k), str(4 * k), "8", str(4 * k + 4), "20"] for k in (1, 6, 3)
    ], ran.output
