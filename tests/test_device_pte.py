"""A .pte on boards over SSH: to the end on an emulated Raspberry Pi 5, one sentence on a Pi 4. And ncnn's pair.

Minutes, and 0.2 GB of wheels: ExecuTorch and the PyTorch that it imports.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_kit import emulated_pi
from click.testing import CliRunner, Result

from edgeconv.cli import main
from edgeconv.device import job as jobs

pytestmark = pytest.mark.long


@pytest.fixture
def program(tmp_path: Path) -> Path:
    pytest.importorskip("executorch", reason="needs edgeconv[executorch]")
    words = "mobilenet_v1 --weights random --width 0.25 --resolution 32 --classes 4"
    made = edgeconv("export", *words.split(), "--target", "executorch", "--output", tmp_path)
    assert made.exit_code == 0, made.output
    (path,) = tmp_path.glob("*.pte")
    return path


@pytest.fixture(params=["pi4", "pi5"])
def board(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setattr(jobs, "PAUSE_S", 0.5)
    (tmp_path / "keys").mkdir()
    with emulated_pi(tmp_path / "keys", request.param) as pi:
        pi.be_known(tmp_path, monkeypatch)
        yield request.param


def edgeconv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def answer(said: Result) -> Any:
    """The JSON object after what the board was told to do."""
    return json.loads(said.output[said.output.index("\n{") :])


def row_of(said: Result, program: Path) -> str:
    """The line of a bench's table about a file."""
    return next(line for line in said.output.splitlines() if f"raspberrypi  {program.name}" in line)


def test_a_pte_over_ssh(board: str, program: Path) -> None:
    ready = edgeconv("device", "setup", "--pte", "ssh://raspberrypi")
    assert ready.exit_code == 0, ready.output
    assert "is ready: executorch" in ready.output
    said = edgeconv("parity", program, "--device", "ssh://raspberrypi", "--count", 2, "--json")
    row = next(r for r in answer(said)["rows"] if r["label"].endswith("executorch on raspberrypi"))
    if board == "pi4":
        # PyTorch's wheels for ARM are built for later processors than the Pi 4's
        assert "SIGILL: its wheel uses instructions that this processor has not" in row["error"]
        return
    assert row["error"] is None, row
    assert row["ok"], row
    assert row["before"].endswith("executorch")
    bench = edgeconv("bench", program, "--device", "ssh://raspberrypi", "--runs", 5, "--no-reference")  # fmt: skip
    assert bench.exit_code == 0, bench.output
    assert "emulated" in row_of(bench, program)


def test_ncnns_pair_over_ssh(board: str, tmp_path: Path) -> None:
    """Both files go there, are the same as here to a millionth, and are timed there."""
    pytest.importorskip("ncnn", reason="needs edgeconv[ncnn]")
    words = "mobilenet_v1 --weights random --width 0.25 --resolution 32 --classes 4"
    made = edgeconv("export", *words.split(), "--target", "ncnn", "--output", tmp_path)
    assert made.exit_code == 0, made.output
    (pair,) = tmp_path.glob("*.param")
    ready = edgeconv("device", "setup", "--ncnn", "ssh://raspberrypi")
    assert ready.exit_code == 0, ready.output
    said = edgeconv("parity", pair, "--device", "ssh://raspberrypi", "--count", 2, "--json")
    row = next(r for r in answer(said)["rows"] if r["label"].endswith("ncnn on raspberrypi"))
    assert row["error"] is None, row
    assert row["ok"], row
    bench = edgeconv("bench", pair, "--device", "ssh://raspberrypi", "--runs", 5, "--no-reference")
    assert bench.exit_code == 0, bench.output
    assert "emulated" in row_of(bench, pair)
