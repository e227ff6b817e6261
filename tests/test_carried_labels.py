"""Class names come from the file itself where no manifest lies beside it."""

import io
import json
import zipfile
from pathlib import Path

import graph_kit as kit
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgeconv.cli import main
from edgeconv.evaluate.carried import LONGEST, MAX_BYTES, carried_labels

onnx = pytest.importorskip("onnx")

NAMES = ["sky", "grass", "brick"]
MEANS = "(float[1,3,32,32] x) => (float[1,3] y) { m = GlobalAveragePool(x) y = Flatten<axis=1>(m) }"


def packed(path: Path, files: dict[str, bytes]) -> Path:
    """Write what stands for a model, with ``files`` in a zip behind it."""
    whole = io.BytesIO(b"TFL3" * 100)
    whole.seek(0, io.SEEK_END)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    path.write_bytes(whole.getvalue())
    return path


def described(path: Path, names: list[str]) -> Path:
    """Write a net whose scores are the means of red, green and blue, described as ours is."""
    model = kit.model_of(MEANS, 17)
    entry = model.metadata_props.add()
    entry.key, entry.value = "edgeconv", json.dumps({"labels": names})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"labels.txt": b"sky\ngrass\nbrick\n"}, NAMES),
        ({"labelmap.txt": "\ufeffsky\r\ngrass\r\nbrick".encode()}, NAMES),
        ({"labels.txt": b"sky\ngrass\nbrick\n", "vocab.txt": b"a\n"}, NAMES),
        ({"a.txt": b"sky\n", "b.txt": b"grass\n"}, []),
        ({"model.json": b"{}"}, []),
        ({"labels.txt": b"\xff\xfe\xff"}, []),
        ({"labels.txt": b"sky\n\nbrick\n"}, []),
        ({"labels.txt": b"a" * (LONGEST + 1)}, []),
        ({"labels.txt": b"a\n" * MAX_BYTES}, []),
    ],
)
def test_a_tflite_file_names_its_classes(
    files: dict[str, bytes], names: list[str], tmp_path: Path
) -> None:
    assert list(carried_labels(packed(tmp_path / "a.tflite", files))) == names


def test_a_file_without_names_or_with_a_torn_zip_has_none(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.tflite", {"labels.txt": b"sky\n" * 50})
    whole = path.read_bytes()
    for size in (*range(400, len(whole), 7), 0):
        path.write_bytes(whole[:size])
        assert carried_labels(path) == ()
    assert carried_labels(tmp_path / "a.pte") == ()


def test_run_and_eval_name_classes_as_the_file_does(tmp_path: Path) -> None:
    """Folders sorted by name are another order: eval was wrong, and run said numbers."""
    path = described(tmp_path / "net.onnx", NAMES)
    for channel, name in enumerate(NAMES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, :, channel] = 200
        Image.fromarray(pixels).save(tmp_path / "photos" / name / "0.png")
    given = ["--preprocessing", "unit", "--crop", "1"]
    ran = CliRunner().invoke(main, ["eval", str(path), "--data", str(tmp_path / "photos"), *given])
    assert "top-1 100.0 %" in ran.output, ran.output
    picture = str(tmp_path / "photos/brick/0.png")
    ran = CliRunner().invoke(main, ["run", str(path), picture, "--top", "1", *given])
    assert ran.output.splitlines()[-1].endswith("brick  (class 2)"), ran.output
    other = described(tmp_path / "net.onnx", [*NAMES, "water"])  # not those of its three scores
    ran = CliRunner().invoke(main, ["run", str(other), picture, "--top", "1", *given])
    assert ran.output.splitlines()[-1].endswith("%  class 2"), ran.output
