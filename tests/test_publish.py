"""A set of files appears under its final names whole or not at all, whoever dies at whatever moment."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

from edgeconv import settle
from edgeconv.errors import EdgeconvError
from edgeconv.export.publish import publish, staging
from edgeconv.files import temporary_folder

OLD = {"net.tflite": "old", "net.evidence/hub.onnx": "old hub", "net.mlpackage/Manifest": "old m"}
NEW = {"net.tflite": "new", "net.evidence/hub.onnx": "new hub", "net.evidence/names": "new n",
       "net.mlpackage/Manifest": "new m", "net.tflite.json": "new j"}  # fmt: skip
UNITS = 5


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def seen(folder: Path) -> dict[str, str]:
    """Return the files under final names."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def export(folder: Path, *, force: bool) -> None:
    with staging(folder) as staged:
        put(staged.place, NEW)
        publish(staged, force=force)


@pytest.mark.parametrize("before", [{}, OLD], ids=["fresh", "over an old set"])
def test_a_set_is_moved_whole_and_nothing_else_stays(
    tmp_path: Path, before: dict[str, str]
) -> None:
    put(tmp_path, before)
    export(tmp_path, force=True)
    assert seen(tmp_path) == NEW
    assert hidden(tmp_path) == []


def test_files_of_another_export_are_refused_before_anything_moves(tmp_path: Path) -> None:
    put(tmp_path, OLD)
    with pytest.raises(EdgeconvError, match="belongs to another export; --force"):
        export(tmp_path, force=False)
    assert seen(tmp_path) == OLD
    assert hidden(tmp_path) == []


def no_process(*_: object, **__: object) -> None:
    raise OSError("Resource temporarily unavailable")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from edgeconv import settle
import edgeconv.export.publish as publishing
from test_publish import export, no_process

step, left = {step!r}, {number}
real = getattr(os, step)
def dying(*arguments, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(os, step, dying)
if {alone}:
    publishing.subprocess.Popen = no_process  # this process moves
export(Path({folder!r}), force=True)
"""


def killed(folder: Path, step: str, number: int, *, alone: bool) -> bool:
    """Export in a child that is killed at its ``number``-th os.``step``; False where it has fewer."""
    script = KILLED.format(
        tests=str(Path(__file__).parent), step=step, number=number, alone=alone, folder=str(folder)
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.parametrize(
    ("step", "before"),
    [("replace", {}), ("replace", OLD), ("link", OLD)],
    ids=["fresh", "old", "link"],
)
def test_a_run_killed_at_any_rename_is_finished_by_the_next(
    tmp_path: Path, step: str, before: dict[str, str]
) -> None:
    """Even where the moving process itself dies: who comes next, reader or export, finishes."""
    number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        put(folder, before)
        folder.mkdir(exist_ok=True)
        if not killed(folder, step, number, alone=True):
            break
        settle.settle_all(folder)
        assert seen(folder) in (before, NEW)
        export(folder, force=seen(folder) == before != {})
        assert seen(folder) == NEW
        assert hidden(folder) == []
    assert number > (UNITS if step == "replace" else 0)


@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_export_leaves_the_old_set_or_the_new_one(tmp_path: Path, number: int) -> None:
    """The moves are another process's: its parent has one rename, after which the set is the new one."""
    put(tmp_path, OLD)
    assert killed(tmp_path, "replace", number, alone=False) is (number == 1)
    assert seen(tmp_path) == (OLD if number == 1 else NEW)


def test_a_set_that_a_killed_run_could_not_report_may_be_made_again(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_publish import NEW, publish, put, staging
        with staging(Path({str(tmp_path)!r})) as staged:
            put(staged.place, NEW)
            publish(staged, force=False)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-P", "-c", script], check=False)
    assert seen(tmp_path) == NEW
    with staging(tmp_path) as staged:
        assert staged.unreported.keys() == {*NEW} - {"net.mlpackage/Manifest"} | {"net.mlpackage"}
    export(tmp_path, force=False)
    assert seen(tmp_path) == NEW
    assert hidden(tmp_path) == [], "its note went with the run that reported the set"


def test_what_dead_runs_left_is_swept_and_live_runs_are_left_alone(tmp_path: Path) -> None:
    dead = tmp_path / f"{settle.PREFIX}dead"
    put(dead, {"half": "x"})
    with staging(tmp_path) as live:
        put(live.place, {"a": "1"})
        with staging(tmp_path) as other:
            assert live.place.is_dir()
            assert other.place.is_dir()
        assert not dead.exists()
        publish(live, force=False)
    assert seen(tmp_path) == {"a": "1"}
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("number", range(1, UNITS + 2))
def test_a_move_that_fails_is_undone(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th rename or link fails, in this process: what was there before is there again."""
    put(tmp_path, OLD)
    left = number
    real = os.replace

    def failing(source: Path, target: Path) -> None:
        nonlocal left
        left -= ".commit" not in str(target)
        if left == 0:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(subprocess, "Popen", no_process)
    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(EdgeconvError, match="No space left on device"):
        export(tmp_path, force=True)
    assert seen(tmp_path) == OLD
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("before", [{}, OLD], ids=["fresh", "over an old set"])
@pytest.mark.parametrize("number", range(1, 2 * UNITS + 3))
def test_a_disk_that_stays_full_leaves_no_half_of_a_set_for_good(
    tmp_path: Path, number: int, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the n-th rename, link or folder on all fail, those too that would undo the moves."""
    folder = tmp_path / "out"
    put(folder, before)
    folder.mkdir(exist_ok=True)
    left, noted = number, False

    def full(call: Any) -> Any:
        def failing(*args: Any, **more: Any) -> Any:
            nonlocal left, noted
            left -= noted
            noted = noted or ".commit" in str(args[-1])
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*args, **more)

        return failing

    monkeypatch.setattr(subprocess, "Popen", no_process)
    with monkeypatch.context() as patched:
        for name in ("replace", "link", "mkdir"):
            patched.setattr(os, name, full(getattr(os, name)))
        said = ""
        try:
            export(folder, force=True)
        except EdgeconvError as error:
            said = str(error)
    half = "the same command finishes the set" in said
    assert half is bool(hidden(folder))
    assert half or seen(folder) == (before if "No space left on device" in said else NEW)
    settle.settle_all(folder)
    assert seen(folder) in (before, NEW), "who comes next, reader or export, finishes"
    export(folder, force=True)
    assert seen(folder) == NEW
    assert hidden(folder) == []


def test_a_symbolic_link_in_the_output_is_not_followed(tmp_path: Path) -> None:
    output, elsewhere = tmp_path / "output", tmp_path / "elsewhere"
    output.mkdir()
    elsewhere.mkdir()
    (output / "net.evidence").symlink_to(elsewhere)
    with pytest.raises(EdgeconvError, match=r"net.evidence is a symbolic link"):
        export(output, force=True)
    assert list(elsewhere.iterdir()) == []
    (output / "net.evidence").unlink()
    (elsewhere / "precious").write_text("mine")
    (output / "net.tflite").symlink_to(elsewhere / "precious")
    export(output, force=True)
    assert (elsewhere / "precious").read_text() == "mine"
    assert not (output / "net.tflite").is_symlink()


def test_a_foreign_note_moves_nothing_outside_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "output" / f"{settle.PREFIX}x"
    put(root, {"a": "evil", ".commit": '{"../a": "x"}'})
    settle.settle_all(tmp_path / "output")
    assert not (tmp_path / "a").exists()
    (tmp_path / "output" / "link").symlink_to(tmp_path)
    put(root, {"link/a": "evil", ".commit": '{"link/a": "x"}'})
    settle.settle_all(tmp_path / "output")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "call", ["os.mkdir", "tempfile.mkdtemp", "edgeconv.settle.lock", "edgeconv.settle.remove", "os.rmdir"]
)  # fmt: skip
def test_an_interrupt_leaves_no_folder_whenever_it_comes(tmp_path: Path, call: str) -> None:
    """Ctrl-C right after each call that makes or removes a folder: those above the output were made too."""
    script = textwrap.dedent(
        f"""
        import os, signal, sys, tempfile, time
        from pathlib import Path
        import edgeconv.files, edgeconv.settle
        from edgeconv.export.publish import staging
        from edgeconv.guard import guarded
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell mutes it in the background
        name = {call!r}
        module, _, called = name.rpartition(".")
        real = getattr(sys.modules[module], called)
        def interrupted(*args, **more):
            found = real(*args, **more)
            os.kill(os.getpid(), signal.SIGINT)
            return found
        for place in (sys.modules[module], edgeconv.files):
            if getattr(place, called, None) is real:
                setattr(place, called, interrupted)
        def work(answer):
            with staging(Path({str(tmp_path)!r}) / "a" / "b") as staged:
                (staged.place / "half").write_text("x")
                if name not in ("edgeconv.settle.remove", "os.rmdir"):
                    time.sleep(10)
            time.sleep(10)
        sys.exit(guarded(work, as_json=False, debug=False))
        """
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "Error: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_temporary_folders_of_killed_runs_are_swept(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom edgeconv.files import temporary_folder\n"
        "with temporary_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'big').write_text('x')\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with temporary_folder(tmp_path) as live, temporary_folder(tmp_path) as other:
        assert sorted(tmp_path.iterdir()) == sorted([live, other])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_run_sweeps_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = tempfile.mkdtemp, list[str]()

    def swept_once(*args: Any, **more: Any) -> str:
        made.append(real(*args, **more))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_once)
    with temporary_folder(tmp_path) as folder:
        assert len(made) == 2
        assert list(tmp_path.iterdir()) == [folder]


def test_a_temporary_folder_is_gone_though_a_call_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.rmdir, list[Any]()

    def fails_once(*args: Any, **more: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(*args, **more)

    with temporary_folder(tmp_path):
        monkeypatch.setattr(os, "rmdir", fails_once)
    assert list(tmp_path.iterdir()) == []
    assert len(calls) == 2
