"""What a stranger types wrongly: one sentence that says what is wrong, at once, and the right exit code."""

import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from terminal_kit import terminal

import edgeconv.cli
from edgeconv.errors import UsageError
from edgeconv.guard import guarded
from edgeconv.runtimes.checks import fixed_shape

pytest.importorskip("onnx")

import onnx

from edgeconv.export.checks import check_labels
from edgeconv.export.graph import Graph
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.open import open_source
from edgeconv.export.tflite.target import _without_nms


def run(line: str) -> tuple[int, str]:
    found = CliRunner().invoke(edgeconv.cli.main, line.split())
    return found.exit_code, found.output


def cut(path: Path, data: bytes) -> None:
    path.write_bytes(data[: len(data) // 2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Half files, a folder without pictures, a text, and a net that nobody should come to open."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text").write_text("none")
    Path("none.tflite").touch()
    Path("net.py").write_text("raise AssertionError\n")
    np.savez("whole.npz", x=np.zeros((4, 3, 8, 8), np.float32))
    cut(Path("half.npz"), Path("whole.npz").read_bytes())
    with zipfile.ZipFile("whole.pt", "w") as archive:
        archive.writestr("net/code/x.py", "pass\n" * 1000)
    net = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    cut(Path("half.onnx"), onnx.helper.make_model(net).SerializeToString())
    cut(Path("half.json"), b'{"edgeconv_recipe": 1, "activations": {"x": {"scale": 0.5}}}')
    for name in ("half.pt", "half.pt2"):
        cut(Path(name), Path("whole.pt").read_bytes())
    Path("list.pt").write_bytes(Path("whole.pt").read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    Image.new("RGB", (8, 8)).save("one.png")
    model = Path("half.mlpackage", "Data", "m.mlmodel")
    model.parent.mkdir(parents=True)
    item = '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "m.mlmodel"}}}'
    Path("half.mlpackage", "Manifest.json").write_text(item)
    model.write_bytes(bytes([0xB2, 0x1F, 0x7F, 0]))  # field 502 of 127 bytes, one there
    return tmp_path


@pytest.mark.parametrize("group", ["", "recipe", "device"])
def test_a_group_without_a_command_shows_its_help_and_no_error(
    group: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeconv", *group.split()])
    with pytest.raises(SystemExit) as ended:
        edgeconv.cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("Usage:") == 1
    assert "Error" not in said
    assert "..." not in said.partition("Commands:")[2]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "says", "code"),
    [
        ("export nofile.py:make", "nofile.py does not exist", 2),
        ("export empty.onnx", "empty.onnx does not exist", 2),
        ("export mobilenet_v1 --width 9", "takes width from 0.1 to 4.0", 2),
        ("export mobilenet_v1 --groups 3", "has no option groups", 2),
        ("export net.py:make --int8 --calib empty", "empty holds no picture", 2),
        ("export net.py:make --int8 --calib one.png", "--calib one.png: samples are a folder", 2),
        ("export net.py:make --output text", "text is a file, not a folder", 2),
        ("inspect nofile", "nofile does not exist", 2),
        ("summary half.onnx", "half.onnx is not a readable ONNX model: it is dam", 1),
        ("parity half.onnx", "half.onnx is not a readable ONNX model: ", 1),
        ("parity half.mlpackage", "half.mlpackage: field 502 reaches past", 1),
        ("inspect none.tflite", "none.tflite is empty", 1),
        ("recipe show half.json", "recipe that edgeconv wrote: it ends too early", 1),
        ("inspect half.mlpackage", "half.mlpackage: field 502 reaches past", 1),
        ("bundle --show nofile.json", "nofile.json does not exist", 2),
        ("eval nofile.tflite --data nodir", "nodir does not exist", 2),
        ("train mobilenet_v1 --data nodir", "nodir does not exist", 2),
        ("rescue nofile.tflite --calib empty", "nofile.tflite does not exist", 2),
        ("sweep mobilenet_v1 --target foo", "--target foo is unknown", 2),
        ("sweep mobilenet_v1 --output text", "text is a file, not a folder", 2),
        ("bench half.tflite --html empty", "'empty' is a directory", 2),
    ],
)
def test_a_wrong_word_is_named_before_any_work(line: str, says: str, code: int) -> None:
    before = set(sys.modules)
    found = run(line)
    assert says in found[1]
    assert found[0] == code
    assert "torch" in before or "torch" not in sys.modules


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "says", "code"),
    [
        ("export half.pt", "half.pt is damaged or cut short", 1),
        ("export half.pt2", "half.pt2 is damaged or cut short", 1),
        ("export list.pt", "list.pt is a damaged archive", 1),
        ("export nopkg.nets:make", "nopkg/nets.py:make", 2),
        ("export mobilenet_v1 --weights half.pt", "half.pt is truncated", 1),
        ("export mobilenet_v1 --int8 --calib half.npz", "half.npz is damaged, cut short", 1),
    ],
)
def test_a_file_that_was_cut_is_called_so(line: str, says: str, code: int) -> None:
    pytest.importorskip("torch")
    found = run(line)
    assert says in found[1]
    assert found[0] == code
    assert "Traceback" not in found[1]


def test_int8_without_pictures_is_refused_before_anything_is_assumed_of_them(folder: Path) -> None:
    shape = [1, 3, 8, 8]
    x, y = (onnx.helper.make_tensor_value_info(n, 1, shape) for n in "xy")
    net = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(net, opset_imports=[opset], ir_version=8), "net.onnx")
    code, said = run("export net.onnx --int8")
    assert code == 2
    assert "INT8 calibrates on your own pictures" in said
    assert "ASSUMED" not in said
    assert run("export net.onnx --input-shape 64")[0] == 2, "not what the file takes: wrong usage"


def test_the_names_of_a_net_that_gives_the_class_itself_are_taken() -> None:
    graph = Graph("net", 18, ["x"], ["label"])
    graph.declare("label", (1,), np.int64)
    check_labels(Path("names.txt"), ["a", "b"], graph)
    request = SimpleNamespace(graph=graph, options=SimpleNamespace(nms=None), nms=None)
    assert _without_nms(request) is None, "a label is no detector"  # type: ignore[arg-type]


def test_a_size_that_nobody_gave_is_said(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    net = tmp_path / "net.py"
    net.write_text("from torch.nn import Conv2d\ndef make(): return Conv2d(3, 4, 3)\n")
    assert open_source(ExportOptions(f"{net}:make")).assumed.startswith(" · 1x3x224x224 ASSUMED")
    assert open_source(ExportOptions(f"{net}:make", resolution=32)).assumed == ""


def test_a_batch_that_alone_is_open_is_one() -> None:
    assert fixed_shape("m", "x", ["n", 3, 8, 8], None) == (1, 3, 8, 8)
    assert fixed_shape("m", "x", ["n", 3, 8, 8], {"x": (2, 3, 8, 8)}) == (2, 3, 8, 8)


def test_an_error_on_a_terminal_is_folded_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "a sentence of words " * 9
    monkeypatch.setenv("COLUMNS", "50")

    def fails(_: object) -> None:
        raise UsageError(sentence.strip())

    with terminal() as (stream, said):
        monkeypatch.setattr(sys, "stderr", stream)
        assert guarded(fails, as_json=False, debug=False) == 2
    assert max(map(len, said)) <= 50
    assert " ".join(" ".join(said).split()) == f"Error: {sentence}".strip()


def test_a_slow_runtime_is_shown_pictures_of_every_class() -> None:
    from edgeconv.export.verify import Expected

    outputs = {"y": np.arange(12, dtype=np.float32)[:, None]}  # two rows a feed, sorted by class
    few = Expected([{}] * 6, outputs, np.array([0, 0, 1, 1, 2, 2])).spread(3)
    assert few.truth is not None
    assert few.truth.tolist() == [0, 1, 2]
    assert few.outputs["y"].ravel().tolist() == [0, 1, 4, 5, 8, 9]
