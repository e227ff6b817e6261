"""Emulated boards: what is built, what is refused, and (slow) that ARM kernels really run."""

import platform
import shutil
from pathlib import Path

import parity_kit as kit
import pytest

from edgeconv.artifact import load_artifact
from edgeconv.device import emulate
from edgeconv.device.places import board_places
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.parity.api import check_parity
from edgeconv.parity.cells import elsewhere, plan
from edgeconv.testing import assert_parity

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_an_unknown_board_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pi4, pi5, pi-32bit"):
        board_places(["pi6"])
    path = tmp_path / "any.onnx"
    with pytest.raises(UsageError, match="pi4, pi5, pi-32bit"):
        assert_parity(path, emulate=["pi6"])


def test_other_hosts_are_told_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EdgeconvError, match="--save-outputs"):
        emulate.prepare_board("pi4")


def test_an_emulated_cell_departs_from_the_same_file_here(tmp_path: Path) -> None:
    path = kit.fp32_export(tmp_path, count=2)
    cells, _ = plan([path])
    runtimes = emulate.BOARDS["pi4"].runtimes
    (cell,) = elsewhere(cells, "pi4", runtimes, "pi4 (emulated)", ("qemu", "python"))
    assert cell.label == "small_fp32.onnx · onnxruntime on pi4 (emulated)"
    assert cell.before == "small_fp32.onnx · onnxruntime"
    assert cell.python == ("qemu", "python")
    assert elsewhere(cells, "pi-32bit", emulate.BOARDS["pi-32bit"].runtimes, "there") == []


def test_a_board_says_what_its_own_proc_says() -> None:
    files = emulate._board_files(emulate.BOARDS["pi5"])
    assert "asimddp" in files["proc/cpuinfo"]
    assert "asimddp" not in emulate._board_files(emulate.BOARDS["pi4"])["proc/cpuinfo"]


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("apt-get") is None,
    reason="needs x86-64 Debian or Ubuntu",
)
def test_arm_kernels_run_and_show_no_latency(tmp_path: Path) -> None:
    path = kit.int8_export(tmp_path, count=2)
    assert load_artifact(path) is not None
    try:
        result = check_parity([path], places=board_places(["pi4"]))
    except EdgeconvError as error:
        pytest.skip(f"the tree cannot be built here: {error}")
    row = result.matrix.rows[-1]
    assert row.error is None
    assert row.outputs is not None
    assert row.outputs.about["emulated"] == "pi4"
    assert "infer_s" not in row.outputs.about
    assert row.before == "small_int8.onnx · onnxruntime"
