"""Checkpoints and models that contradict themselves end in one sentence with the file's name."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv import isolate
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import sha256
from edgeconv.inspection import inspect_file
from edgeconv.isolate import call


def cyclic() -> Any:
    whole: dict[str, Any] = {}
    whole["model"] = {"net": whole}
    return whole


def checkpoints() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {
        "cyclic": cyclic(),
        "sparse": {"a.weight": torch.eye(3).to_sparse()},
        "without storage": {"a.weight": torch.ones(2, 2, device="meta")},
        "expanded": {"a.weight": torch.ones(1).expand(1 << 40)},
        "a list": [torch.ones(2)],
    }


@pytest.mark.parametrize("name", ["cyclic", "sparse", "without storage", "expanded", "a list"])
def test_a_checkpoint_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv.models.checkpoint import read_checkpoint

    path = tmp_path / "weights.pth"
    torch.save(checkpoints()[name], path)
    with pytest.raises(EdgeconvError, match=r"weights\.pth"):
        read_checkpoint(path)


def models() -> dict[str, Any]:
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper

    def model(weights: Any, out: list[int], kind: int = 1) -> Any:
        graph = helper.make_graph(
            [helper.make_node("Gemm", ["x", "w"], ["y"])],
            "net",
            [helper.make_tensor_value_info("x", kind, [1, 4])],
            [helper.make_tensor_value_info("y", 1, out)],
            [weights],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    good = numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    odd, short = onnx.TensorProto(), onnx.TensorProto()
    odd.CopyFrom(good)
    odd.data_type = 99
    short.CopyFrom(good)
    short.raw_data = short.raw_data[:7]
    return {
        "a type that does not exist": model(odd, [1, 2]),
        "weights cut short": model(short, [1, 2]),
        "an output of another rank": model(good, [1, 2, 3]),
        "an output of another size": model(good, [1, 7]),
        "an input of no type": model(good, [1, 2], 99),
    }


NAMES = (
    "a type that does not exist",
    "weights cut short",
    "an output of another rank",
    "an output of another size",
    "an input of no type",
)


def test_an_onnx_file_of_no_bytes_is_called_empty(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from edgeconv.export.hub.onnx_io import load_model

    (tmp_path / "net.onnx").touch()
    with pytest.raises(
        EdgeconvError, match=r"net\.onnx is not a readable ONNX model: it is empty$"
    ):
        load_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", NAMES)
def test_an_onnx_file_that_contradicts_itself_is_one_sentence(tmp_path: Path, name: str) -> None:
    """Each reader of ours raises our own error or reads what there is."""
    pytest.importorskip("onnx")
    from edgeconv.export.hub.inputs import settle_shapes
    from edgeconv.export.hub.onnx_io import from_onnx
    from edgeconv.inspection import inspect_file
    from edgeconv.models.onnx_summary import summarize_onnx

    path = tmp_path / "net.onnx"
    made = models()[name]
    path.write_bytes(made.SerializeToString())
    refused = 0
    for reader in (
        lambda: from_onnx(settle_shapes(made, ((1, 4),))[0]),
        lambda: summarize_onnx(path),
        lambda: inspect_file(path),
    ):
        try:
            reader()
        except EdgeconvError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - reading it is no failure
            refused += 1
    assert refused or name.startswith("an output")


def die(value: int) -> None:
    """Be killed by a signal, as a runtime is on a file that it trusts."""
    signal.raise_signal(value)


def complain(value: str) -> None:
    raise UsageError(value)


def test_names_that_are_no_text_are_told_in_our_words(tmp_path: Path) -> None:
    """Every byte of a model's names in turn: neither Python's nor protobuf's own words come out."""
    pytest.importorskip("onnx")
    from edgeconv.export.hub.onnx_io import load_model

    whole, path = models()["an output of another size"].SerializeToString(), tmp_path / "net.onnx"
    said = []
    for place in (n for n, byte in enumerate(whole) if chr(byte).isalpha()):
        path.write_bytes(whole[:place] + b"\xc0" + whole[place + 1 :])
        try:
            load_model(path)
        except EdgeconvError as error:
            said.append(str(error))
    assert any("what should be a name in it is no text" in text for text in said)
    assert not [text for text in said if "codec" in text or "first arg" in text]
    (tmp_path / "net.mlpackage").mkdir()
    (tmp_path / "net.mlpackage" / "Manifest.json").write_bytes(b'{"a": "\xc0"}')
    with pytest.raises(
        EdgeconvError, match=r"Manifest\.json is not a package manifest: it is not text"
    ):
        inspect_file(tmp_path / "net.mlpackage")


def test_a_crash_names_what_ran_and_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolate, "_command", _with_tests(isolate._command))
    with pytest.raises(EdgeconvError, match=r"onnxruntime on a\.onnx crashed with SIGSEGV"):
        call("test_hostile_files:die", int(signal.SIGSEGV), "onnxruntime on a.onnx")
    with pytest.raises(UsageError, match=r"^name another$"):
        call("test_hostile_files:complain", "name another", "it")


def _with_tests(command: Any) -> Any:
    """Let a child find this module."""
    put = f"import sys, runpy; sys.path.insert(0, {str(Path(__file__).parent)!r}); runpy.run_path(sys.argv[1], run_name='__main__')"

    def made(python: Any = ()) -> list[str]:
        *start, script = command(python)
        return [*start, "-c", put, script]

    return made


def test_unused_initializers_are_gone_before_onnxsim_sees_them(tmp_path: Path) -> None:
    """Its time grows with the square of their number: minutes for a file of some 100 KB."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxsim")
    from edgeconv.export.hub.simplify_child import simplify
    from edgeconv.export.hub.trace import HUB_OPSET

    made = models()["an output of another size"]
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    unused = onnx.numpy_helper.from_array(np.ones(1, np.float32), "unused")
    for number in range(5000):
        unused.name = f"unused_{number}"
        made.graph.initializer.append(unused)
    source, target = tmp_path / "raw.onnx", tmp_path / "simple.onnx"
    source.write_bytes(made.SerializeToString())
    assert simplify((str(source), str(target), HUB_OPSET)) is None
    assert [item.name for item in onnx.load(str(target)).graph.initializer] == ["w"]


def test_an_endless_loop_ends_with_the_time_that_a_file_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a valid model, and no library says that it never ends."""
    onnx = pytest.importorskip("onnx")
    from edgeconv.export.hub import simplify

    helper, boolean = onnx.helper, onnx.TensorProto.BOOL
    border = [helper.make_tensor_value_info(name, 1, [1, 4]) for name in ("x", "y", "v", "w")]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
         helper.make_tensor_value_info("go", boolean, []), border[2]],
        [helper.make_tensor_value_info("on", boolean, []), border[3]],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "true", "x"], ["y"], body=body)], "net", border[:1], border[1:2],
        [onnx.numpy_helper.from_array(np.array(True), "true")],
    )  # fmt: skip
    path = tmp_path / "loop.onnx"
    path.write_bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )
    monkeypatch.setattr(simplify, "ADMISSION_S", 2.0)
    with (
        simplify.early_simplifier(path) as simplifier,
        pytest.raises(
            EdgeconvError, match=r"onnx(runtime)? on .*loop\.onnx did not answer within 2 s"
        ),
    ):
        simplifier.admit()


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs a device")
@pytest.mark.parametrize(
    "words", ["inspect net.onnx", "inspect net.tflite", "bench net.onnx --runs 1", "run net.tflite a.png",
              "parity net.onnx --data a.npz --reference net.onnx", "report net.onnx", "export net.onnx",
              "export net.py:make", "export net.pt2", "export mobilenet_v1 --labels net.pt2",
              "export mobilenet_v1 --calib net.py:feeds", "inspect net.tflite --mcu"],
)  # fmt: skip
def test_a_device_or_a_pipe_is_no_file_and_is_not_read(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, which nobody writes to, would hold the command for ever; this device ends at once."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "net.tflite", "net.py", "net.pt2", "weights.pth"):
        (tmp_path / name).symlink_to("/dev/null")
    ran = CliRunner().invoke(main, words.split())
    assert ran.exit_code == 2
    assert "is no file but a pipe or a device" in ran.output
    with pytest.raises(OSError, match="it is no file but a pipe"):
        sha256(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "words", ["export net.onnx", "export net.py:make", "export mobilenet_v1 --labels net.py",
              "inspect net.tflite --mcu",
              "export mobilenet_v1 --int8 --recipe net.json"],
)  # fmt: skip
def test_a_folder_in_the_place_of_a_file_is_called_one(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "net.tflite", "net.py", "net.json"):
        (tmp_path / name).mkdir()
    ran = CliRunner().invoke(main, words.split())
    assert ran.exit_code == 2
    assert "is a folder, not a file" in ran.output


@pytest.mark.parametrize("words", [["bench"], ["parity"], ["inspect"]])
def test_a_folder_is_wrong_usage_where_a_file_belongs(words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "x.pte"
    folder.mkdir()
    told = CliRunner().invoke(main, [*words, str(folder)])
    assert told.exit_code == 2, told.output
    assert "x.pte is a folder, not a file" in " ".join(told.output.split())


@pytest.mark.parametrize("folder", [".", "/", "..", "x/"])
def test_a_folder_without_a_name_is_no_internal_error(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder and the root have no name that another suffix could be given to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    for words in (
        ["parity"], ["bench"], ["run"], ["eval"], ["inspect"], ["report"], ["snippet"], ["summary"],
        ["quantize"], ["export"], ["rescue"], ["sweep"], ["recipe", "show"],
    ):  # fmt: skip
        told = CliRunner().invoke(main, [*words, folder])
        assert told.exit_code in (1, 2), (words, told.output)
        assert "internal error" not in told.output, words
        assert told.exception is None or isinstance(told.exception, SystemExit)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "x"]
