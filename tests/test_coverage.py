"""A target that refuses does not stop the others, and says so before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from graph_kit import model_of

from edgeconv.api import export_model
from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.coreml.convert import _converter_errors
from edgeconv.export.coverage import Coverage, coverage
from edgeconv.export.hub.onnx_io import from_onnx

BODY = "(float[1,3,6,6] x) => (float[1,3] y) { a = Relu(x)\n b = Cos(a)\n y = Det(b) }"


@pytest.fixture
def net(tmp_path: Path) -> str:
    onnx.save(model_of(BODY, 18), str(tmp_path / "net.onnx"))
    return str(tmp_path / "net.onnx")


def command(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["export", *arguments])


def test_what_can_be_written_is_written_and_the_refusal_has_its_own_line(
    net: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = command(net, "--target", "tflite", "--target", "onnx", "--output", str(out))
    assert made.exit_code == 1
    assert [path.name for path in sorted(out.glob("net_fp32.*nnx"))] == ["net_fp32.onnx"]
    refused = [line for line in made.output.splitlines() if line.startswith("REFUSED")]
    assert len(refused) == 1
    assert "tflite" in refused[0]
    assert "not written: tflite" in made.output
    assert not list(out.glob("*.tflite"))


def test_a_net_that_no_target_takes_is_an_error_before_any_work(net: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOpError, match="Det"):
        export_model(net, targets=("tflite",), output=tmp_path / "out")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_dry_run_says_which_target_takes_which_operator(net: str, tmp_path: Path) -> None:
    more = ("--dry-run", "--output", str(tmp_path / "o"))
    made = command(net, "--target", "onnx", "--target", "tflite", *more)
    assert made.exit_code == 0
    assert command(net, "--target", "onnx, tflite,onnx", *more).output == made.output
    unknown = command(net, "--target", "onnx,mnn", *more)
    assert unknown.exit_code == 2
    assert "'mnn' is not one of 'onnx'" in unknown.output
    rows = {line.split()[0]: line.split()[1:] for line in made.output.splitlines() if line}
    assert rows["Relu"] == ["1", "yes", "yes"]
    assert rows["Det"] == ["1", "yes", "no"]
    assert "tflite     refuses: Det (node" in made.output
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_a_form_that_a_target_has_not_stops_that_target_alone(tmp_path: Path, kind: str) -> None:
    body = "(float[1,3,4,4] x) => (float[1,3,4,4] y) { a = Relu(x)\n y = Neg(a) }"
    source, samples, out = tmp_path / "net.onnx", tmp_path / "samples.npy", tmp_path / "out"
    onnx.save(model_of(body, 18), str(source))
    np.save(samples, np.random.default_rng(0).standard_normal((8, 3, 4, 4)).astype(np.float32))
    lacks = ["coreml", "ncnn"] + ["executorch"] * (kind == "uint8")
    words = [str(source), "--int8", "--io", kind, "--calib", str(samples), "--output", str(out)]
    made = command(*words, "--target", ",".join(("onnx", "tflite", *lacks)))
    assert made.exit_code == 1, made.output
    refused = [line for line in made.output.splitlines() if line.startswith("REFUSED")]
    assert [line.split()[1] for line in refused] == lacks
    assert all(f"--io {kind} is for" in line for line in refused[:1] + refused[2:])
    assert f"not written: {', '.join(lacks)}" in made.output
    for path in ("net_int8.onnx", "net_int8.tflite"):
        artifact = load_artifact(out / path)
        assert artifact is not None
        assert [spec.dtype for spec in artifact.inputs] == [kind]
    again = command(*words, "--target", "coreml", "--force")
    assert again.exit_code == 2
    assert "floats or images; leave --io out" in " ".join(again.output.split())
    planned = command(*words, "--target", "onnx,coreml", "--dry-run", "--force")
    assert planned.exit_code == 0, planned.output
    assert f"coreml     refuses: --io {kind} is for" in planned.output


def test_what_computes_in_float_inside_an_int8_file_is_told_apart() -> None:
    graph = from_onnx(model_of(BODY, 18))
    found = {op: answers for op, _, answers in coverage(graph, ("tflite",), integer=True).rows}
    assert found == {"Relu": ("yes",), "Cos": ("float",), "Det": ("no",)}


def test_an_exception_of_coremltools_is_a_refusal() -> None:
    says = "coremltools cannot convert this graph: sorry"
    with pytest.raises(UnsupportedOpError, match=says), _converter_errors():
        raise ValueError("sorry\nand more")
    with pytest.raises(EdgeconvError, match="ours"), _converter_errors():
        raise EdgeconvError("ours")


def test_every_target_has_a_column_of_its_own() -> None:
    names = ("executorch", "onnx", "ncnn")
    head, row = Coverage(names, (("Conv", 3, ("yes", "no", "float")),), ()).lines()
    assert head.split() == ["operator", "nodes", *names]
    assert [head.index(name) for name in names] == [row.index(a) for a in ("yes", "no", "float")]
