"""A .tflite says to apps what it takes and gives; MediaPipe, where it is installed, is the judge."""

import functools
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mediapipe_accepts import Taken, agreeing, judged, of_input_size

from edgeconv import run_model
from edgeconv.artifact import Preprocessing, load_artifact
from edgeconv.export.tflite import metadata as m
from edgeconv.formats.flatbuffer import Table, read_number
from edgeconv.pictures import read_picture
from edgeconv.tensors import Quantization, TensorSpec

pytest.importorskip("flatbuffers")

ROOT = Path(__file__).parents[1]
HALF = Preprocessing((0.5,), (0.5,), 1.0, (32, 32))
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, (32, 32))
FLOAT_IN = TensorSpec("input", (1, 32, 32, 3), "float32", "nhwc")
SCORES = TensorSpec("logits", (1, 3))
PIXELS = replace(FLOAT_IN, dtype="uint8", quantization=Quantization(1 / 127.5, 128, 0.5 / 127.5))


def root(data: bytes) -> Table:
    assert data[4:8] == b"M001"
    return Table(data, read_number("<I", data, 0))


def text(table: Table, slot: int) -> str:
    start, length = table.vector(slot)
    return bytes(table.data[start : start + length]).decode()


def floats(table: Table, slot: int) -> list[float]:
    start, length = table.vector(slot)
    return [float(v) for v in np.frombuffer(bytes(table.data), "<f4", length, start)]


def follow(table: Table, slot: int) -> Table:
    """Return the one table below a field, through the vector that holds it where there is one."""
    return next(iter(table.tables(slot)))


def below(table: Table, slot: int) -> Table:
    """Return the table that a field holds."""
    place = table.field(slot)
    assert place is not None
    return Table(table.data, place + read_number("<I", table.data, place))


def graph_of(app: m.App, spec: TensorSpec) -> Table:
    return follow(root(m.app_metadata(app, [spec], [SCORES])), m.MODEL_SUBGRAPHS)


@pytest.mark.parametrize(
    ("how", "mean", "std"),
    [
        (HALF, [127.5], [127.5]),
        (replace(HALF, embedded=True), [0.0], [1.0]),
        (IMAGENET, [255 * v for v in IMAGENET.mean], [255 * v for v in IMAGENET.std]),
    ],
)
def test_a_float_border_says_its_normalization_of_pixels(
    how: Preprocessing, mean: list[float], std: list[float]
) -> None:
    graph = graph_of(m.App("net", "about", how), FLOAT_IN)
    unit = follow(follow(graph, m.SUBGRAPH_INPUTS), m.TENSOR_UNITS)
    assert unit.scalar(m.UNIT_KIND, "<B") == m.NORMALIZATION
    options = below(unit, m.UNIT)
    assert np.allclose(floats(options, m.NORMALIZATION_MEAN), mean)
    assert np.allclose(floats(options, m.NORMALIZATION_STD), std)


@pytest.mark.parametrize(
    ("channels", "order", "colour"),
    [(3, "rgb", 1), (3, "bgr", 0), (1, "rgb", 2), (1, "bgr", 2), (4, "rgb", None)],
)
def test_a_picture_says_its_colours(channels: int, order: Any, colour: int | None) -> None:
    """0 is unknown, 1 RGB, 2 grayscale, in TensorMetadata's schema; four channels are no picture."""
    spec = replace(FLOAT_IN, shape=(1, 32, 32, channels))
    graph = graph_of(m.App("net", "about", replace(HALF, order=order)), spec)
    tensor = follow(graph, m.SUBGRAPH_INPUTS)
    assert (tensor.field(m.TENSOR_DESCRIPTION) is not None) is (colour is not None)
    content = below(tensor, m.TENSOR_CONTENT)
    assert content.scalar(m.CONTENT_KIND, "<B") == (m.FEATURE if colour is None else m.IMAGE)
    if colour is not None:
        assert text(tensor, m.TENSOR_DESCRIPTION) == "a picture of 32x32 pixels"
        assert below(content, m.CONTENT).scalar(m.IMAGE_COLOUR, "<B") == colour


def test_texts_and_the_labels_file_are_where_readers_look() -> None:
    app = m.App("net", "a sentence", HALF, ["cat", "dog\n2", "dog"], version="7")
    model = root(m.app_metadata(app, [PIXELS], [SCORES]))
    assert text(model, m.MODEL_NAME) == "net"
    assert text(model, m.MODEL_VERSION) == "7"
    graph = follow(model, m.MODEL_SUBGRAPHS)
    file = follow(follow(graph, m.SUBGRAPH_OUTPUTS), m.TENSOR_FILES)
    assert text(file, m.FILE_NAME) == "labels.txt"
    assert file.scalar(m.FILE_KIND, "<B") == m.AXIS_LABELS
    assert not list(follow(graph, m.SUBGRAPH_INPUTS).tables(m.TENSOR_UNITS))  # uint8 is pixels


def test_labels_follow_the_model_uncompressed_and_the_same_every_day(tmp_path: Path) -> None:
    model = b"model bytes" * 99
    packed = m.pack_labels(model, ["cat", "dog\n2"])
    assert packed.startswith(model)
    assert packed == m.pack_labels(model, ["cat", "dog\n2"])
    path = tmp_path / "x.tflite"
    path.write_bytes(packed)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("labels.txt")
        assert archive.read(member) == b"cat\ndog 2\n"
        assert member.compress_type == zipfile.ZIP_STORED
        assert packed[member.header_offset :].startswith(b"PK\x03\x04")  # from the file's start


def test_labels_of_another_length_are_no_labels_of_an_output() -> None:
    assert m.labelled_output(m.App("n", "d", HALF, ["a"] * 4), [SCORES]) is None
    masks = TensorSpec("masks", (1, 8, 8, 3), "float32", "nhwc")
    other = TensorSpec("boxes", (1, 5, 4))
    assert m.labelled_output(m.App("n", "d", HALF, ["a"] * 3), [other, masks]) is masks


def test_what_apps_would_refuse_or_feed_wrongly_is_said() -> None:
    def said(how: Preprocessing, spec: TensorSpec) -> str:
        return m.refused_by_apps(m.App("n", "d", how), [spec]) or ""

    assert said(HALF, FLOAT_IN) == ""
    assert said(HALF, PIXELS) == ""
    assert "--embed-preprocessing" in said(IMAGENET, FLOAT_IN)
    assert "--embed-preprocessing" in said(IMAGENET, PIXELS)
    assert said(replace(IMAGENET, embedded=True), FLOAT_IN) == ""
    assert "--io" in said(HALF, replace(PIXELS, dtype="int8"))


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=40), st.lists(st.text(max_size=9), max_size=9))
def test_any_text_fits(name: str, labels: list[str]) -> None:
    encodable = name.encode(errors="replace").decode()
    app = m.App(encodable, "", HALF, [n.encode(errors="replace").decode() for n in labels])
    outputs = [replace(SCORES, shape=(1, len(labels)))]
    assert text(root(m.app_metadata(app, [FLOAT_IN], outputs)), m.MODEL_NAME) == encodable
    with zipfile.ZipFile(io.BytesIO(m.pack_labels(b"model", app.labels or []))) as archive:
        assert archive.read("labels.txt").count(b"\n") == len(labels)


IMAGENET_OPTIONS = {"mean": IMAGENET.mean, "std": IMAGENET.std}
KINDS: dict[str, dict[str, Any]] = {
    "float": {},
    "uint8": {"io": "uint8"},
    "embedded": {"embed_preprocessing": True, **IMAGENET_OPTIONS},
    "refused": IMAGENET_OPTIONS,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a small classifier with its labels at one of the KINDS of borders, once."""
    pytest.importorskip("torch")
    from edgeconv import export_model

    folder = tmp_path_factory.mktemp("app")
    names = folder / "names.txt"
    names.write_text("".join(f"class {'abcdefghij'[i]}\n" for i in range(10)))

    @functools.cache
    def make(kind: str) -> Path:
        report = export_model(
            "mobilenet_v1", targets=("tflite",), precision="int8", recipe="fast", weights="random",
            width=0.25, resolution=32, classes=10, calib=str(ROOT / "calib_data" / "test"),
            calib_count=16, verify_count=4, crop=1.0, labels=names, output=folder / kind,
            **{"mean": (0.5,), "std": (0.5,), **KINDS[kind]},
        )  # fmt: skip
        assert ("--embed-preprocessing" in " ".join(report.notes)) == (kind == "refused")
        return report.artifacts[0].path

    return make


@pytest.mark.slow
def test_the_file_holds_no_name_of_a_calibration_picture(exported: Callable[[str], Path]) -> None:
    path = exported("float")
    manifest = json.loads(path.with_name(path.name + ".json").read_text())
    names = [sample["name"] for sample in manifest["calibration"]["samples"]]
    data = path.read_bytes()
    assert len(names) == 16
    assert not any(name.encode() in data for name in names)
    from edgeconv.inspection import inspect_file

    inside = inspect_file(path).description
    assert inside is not None
    assert inside["calibration"]["count"] == 16
    assert set(inside["calibration"]) == {"count", "sha256"}


@pytest.mark.slow
@pytest.mark.skipif(
    "EDGECONV_MEDIAPIPE_PYTHON" not in os.environ,
    reason="EDGECONV_MEDIAPIPE_PYTHON names no Python with mediapipe",
)
@pytest.mark.parametrize("kind", ["float", "uint8", "embedded", "refused"])
def test_mediapipe_sees_the_same_classes(
    exported: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    from PIL import Image

    pictures = []
    for path in sorted((ROOT / "calib_data" / "test").glob("*.png"))[::100]:
        small = tmp_path / path.name  # of the input's size: how others resize is not the question
        Image.open(path).convert("RGB").resize((32, 32)).save(small)
        pictures.append(str(small))
    theirs = judged(os.environ["EDGECONV_MEDIAPIPE_PYTHON"], exported(kind), pictures)
    assert (theirs is not None) == (kind != "refused")
    if theirs is not None:
        assert agreeing(exported(kind), pictures, theirs) == len(pictures)


def test_files_agree_with_a_judge_that_says_what_we_say(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of scripts/mediapipe_accepts.py, all but MediaPipe itself."""
    file = exported("float")
    pictures = [str(min((ROOT / "calib_data" / "test").glob("*.png")))]
    (ours,) = [[r.name for r in found.classes[:5]] for found in run_model(file, pictures, top=10)]
    assert agreeing(file, pictures, [ours]) == 1
    assert agreeing(file, pictures, [ours[::-1]]) == 0
    judge = tmp_path / "python"
    judge.write_text("#!/bin/sh\nexit 1\n")
    judge.chmod(0o755)
    assert judged(str(judge), file, pictures) is None
    artifact = load_artifact(file)
    assert artifact is not None
    (small,) = of_input_size([Path(pictures[0])], artifact, tmp_path / "sized")
    assert read_picture(Path(small)).shape[:2] == (32, 32)
    row = Taken("net", "float", False, True, 0, 1).row()
    assert row == "| net | float | refused | **no** | - |"
