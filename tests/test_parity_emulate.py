"""Emulated boards: what is built, what is refused, and (slow) that ARM kernels really run."""

import importlib.metadata
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import parity_kit as kit
import pytest
from click.testing import CliRunner
from PIL import Image

from edgeconv.artifact import load_artifact
from edgeconv.cli import main
from edgeconv.device import emulate, places
from edgeconv.device.places import board_places
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate import emulated
from edgeconv.parity.api import check_parity
from edgeconv.parity.cells import Cell, elsewhere, plan
from edgeconv.parity.places import Here
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
    (cell,) = elsewhere(cells, "pi4", ["onnxruntime"], "pi4 (emulated)", ("qemu", "python"))
    assert cell.label == "small_fp32.onnx · onnxruntime on pi4 (emulated)"
    assert cell.before == "small_fp32.onnx · onnxruntime"
    assert cell.python == ("qemu", "python")
    assert elsewhere(cells, "pi-32bit", emulate.BOARDS["pi-32bit"].runtimes, "there") == []


@pytest.mark.parametrize("asked", [(), ("openvino",)])
def test_a_board_runs_a_file_in_its_runtimes_and_in_others_where_they_are_asked_for(
    asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "check_host", lambda: None)
    monkeypatch.setattr(places, "prepare_board", lambda name, runtime: ["python", name, runtime])
    monkeypatch.setattr(Here, "run", lambda self, cells, *rest: [(c, "") for c in cells])
    nothing: Any = None
    board = places.EmulatedBoard("pi5")
    both = ((".pte", ["executorch"]), (".param", ["ncnn"]))
    for suffix, runtimes in ((".onnx", ["onnxruntime", *asked]), *both):
        path = tmp_path / f"net{suffix}"
        cells = [Cell(f"net · {name}", "fp32", path, name) for name in runtimes]
        found = [cell for cell, _ in board.run(cells, nothing, nothing, tmp_path)]
        assert [cell.runtime for cell in found] == runtimes
        assert [cell.python for cell in found] == [("python", "pi5", name) for name in runtimes]


def test_packages_have_a_folder_of_their_own_and_other_versions_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: dict[str, list[str]] = {}
    monkeypatch.setattr(emulate, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(emulate, "check_host", lambda: None)
    monkeypatch.setattr(emulate, "_qemu", lambda *_: "qemu")
    monkeypatch.setattr(emulate, "_unpack", lambda root, *_: root.mkdir(parents=True))

    def wheels(board: emulate.Board, site: Path, wanted: list[str]) -> None:
        site.mkdir()
        fetched[site.name] = wanted

    monkeypatch.setattr(emulate, "_wheels", wheels)
    used = []
    for runtime in ("onnxruntime", "ai-edge-litert", "executorch", "executorch"):
        words = emulate.prepare_board("pi4", runtime)
        used.append(Path(next(w for w in words if w.startswith("PYTHONPATH=")).split("=")[1]).name)
    assert used == [used[0], used[0], used[2], used[2]]
    assert list(fetched) == [used[0], used[2]]
    assert not [item for item in fetched[used[0]] if "torch" in item]
    assert "--no-deps" in fetched[used[2]]
    assert any(item.startswith("torch==") for item in fetched[used[2]])

    monkeypatch.setattr(emulate, "_same_version", lambda package: f"{package}==99")
    emulate.prepare_board("pi4", "onnxruntime")
    assert "onnxruntime==99" in fetched[list(fetched)[-1]]
    assert len(fetched) == 3


def test_run_says_which_board_and_bench_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kit.fp32_export(tmp_path, count=2)
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    asked: list[tuple[str, str]] = []

    def prepared(board: str, runtime: str) -> list[str]:
        asked.append((board, runtime))
        return [sys.executable]

    monkeypatch.setattr(emulated, "prepare_board", prepared)
    words = [str(path), str(tmp_path / "black.png"), "--emulate"]
    there = CliRunner().invoke(main, ["run", *words, "pi5"])
    assert there.exit_code == 0, there.output
    assert f"(onnxruntime {importlib.metadata.version('onnxruntime')} on pi5 (emulated))" in (
        there.output
    )
    assert asked == [("pi5", "onnxruntime")]
    bench = CliRunner().invoke(main, ["bench", str(path), "--emulate", "pi5"])
    assert bench.exit_code == 2
    assert "says nothing about time" in bench.output


@pytest.mark.long
def test_an_emulated_board_runs_a_pte(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    words = "mobilenet_v1 --weights random --width 0.25 --resolution 32 --classes 4"
    words += f" --target executorch --output {tmp_path}"
    made = CliRunner().invoke(main, ["export", *words.split()])
    assert made.exit_code == 0, made.output
    (path,) = tmp_path.glob("*.pte")
    matrix = check_parity([path], places=board_places(["pi5"]), count=2).matrix
    assert matrix.rows[-1].label.endswith("executorch on pi5 (emulated)")
    assert matrix.rows[-1].error is None
    assert matrix.exit_code == 0


def test_a_board_says_what_its_own_proc_says() -> None:
    files = emulate._board_files(emulate.BOARDS["pi5"])
    assert "asimddp" in files["proc/cpuinfo"]
    assert "asimddp" not in emulate._board_files(emulate.BOARDS["pi4"])["proc/cpuinfo"]


@pytest.mark.long  # test_parity_nets.py has a net on both boards
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
