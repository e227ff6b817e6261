"""What hinders file-system calls does so at the call it names, before or after it, in children too."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux") or shutil.which("cc") is None:
    pytest.skip("needs Linux and a C compiler", allow_module_level=True)
pytest.importorskip("onnx")
pytest.importorskip("torch")

from fuzz.exports import Export, hashes
from fuzz.faults import ERRORS, MODES, Calls, cases, preloaded
from fuzz.sessions import BENCH, Session

WRITES = """
import os, subprocess, sys
with open("work/part", "wb", buffering=0) as file:
    file.write(b"a")
subprocess.run([sys.executable, "-c", "import os; os.replace('work/part', 'work/whole')"], check=True)
"""
"""Three calls in the folder: an open and a write here, and in a child a rename."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("faults")
    return folder, preloaded(folder)


def hindered(
    place: tuple[Path, dict[str, str]], mode: str, at: int, error: int = 0
) -> tuple[int, str]:
    """Run WRITES so and return (exit code, last line on standard error)."""
    folder, environment = place
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work").mkdir()
    Calls(folder / "state").set(MODES.get(mode, 0), at, error)
    done = subprocess.run(
        [sys.executable, "-c", WRITES], cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def test_calls_are_counted_in_children_too(place: tuple[Path, dict[str, str]]) -> None:
    assert hindered(place, "none", 0) == (0, "")
    assert Calls(place[0] / "state").seen() == (3, False)


def test_a_process_ends_before_or_after_its_call(place: tuple[Path, dict[str, str]]) -> None:
    part, whole = place[0] / "work" / "part", place[0] / "work" / "whole"
    assert hindered(place, "kill before", 2)[0] == -9
    assert part.read_bytes() == b""
    assert hindered(place, "kill after", 2)[0] == -9
    assert part.read_bytes() == b"a"
    assert hindered(place, "kill before", 3)[0] == 1  # the child ends, its parent says so
    assert part.exists()
    assert hindered(place, "kill after", 3)[0] == 1
    assert whole.exists()


def test_a_call_fails_and_a_disk_stays_full(place: tuple[Path, dict[str, str]]) -> None:
    for error in ERRORS:
        assert hindered(place, "error", 1, error)[1].startswith(f"OSError: [Errno {error}]") or (
            hindered(place, "error", 1, error)[1].startswith("PermissionError: [Errno 13]")
        )
    assert "No space left on device" in hindered(place, "full", 2)[1]
    assert hindered(place, "full", 4) == (0, "")
    assert {mode for _, mode, _ in cases(20, [])} == MODES.keys()
    assert len({number for number, _, _ in cases(20, [])}) == len(cases(20, []))


def test_half_a_set_and_what_was_left_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = Export(tmp_path, tmp_path / "work", "export")
    export.fresh(None)
    export.output.mkdir()
    (export.output / "a.tflite").write_text("a")
    whole = hashes(export.output)
    monkeypatch.setattr(Export, "run", lambda *_: (0, ""))
    assert export.after(whole, {}) == []
    (export.output / ".edgeconv-x").mkdir()
    (export.work / ".tmp" / "edgeconv-tmp-1").mkdir(parents=True)
    (export.output / "b.tflite").write_text("b")
    assert [fault.partition(":")[0] for fault in export.after(whole, {})] == [
        "partial", "rerun", "left behind", "left in TMPDIR",
    ]  # fmt: skip


def test_a_session_on_a_board_is_made_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path, tmp_path / "work", BENCH)
    session.fresh(None)
    assert {path.name for path in (session.work / "tools").iterdir()} == {"ssh", "python3"}
    said = subprocess.run(
        [session.work / "tools" / "ssh", "-T", "pi@board.test", "--", 'echo "$HOME"'],
        capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == f"{session.work}/board"

    def runs(row: dict[str, object], code: int = 0) -> None:
        (session.work / ".out").write_text(json.dumps({"pi@board.test": {"rows": [row]}}))
        monkeypatch.setattr(Session, "run", lambda *_: (code, "Error: so it is"))

    runs({"label": "tiny"})
    assert session.after({}, {}) == []
    runs({"error": "crashed"})
    (session.board / "files").mkdir(parents=True)
    (session.board / "files" / f"abc.part.{os.getpid()}").touch()
    assert session.after({}, {}) == [
        "rerun: a row without a figure",
        "left behind: abc on the board",
    ]
    runs({}, code=1)
    assert session.after({}, {})[0] == "rerun: the same command ends with 1: Error: so it is"
