"""Boards that answer nonsense, fall silent, fill up or change: each is one sentence, and nothing runs on.

An ``ssh`` in front of the real one runs what it is given here, or does what a broken host would do.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeconv.cli import main
from edgeconv.device import board as boards
from edgeconv.device import provision, ssh
from edgeconv.device.job import Job
from edgeconv.device.payload import zipped
from edgeconv.device.ssh import Connection, ConnectionLostError, Host
from edgeconv.device.wheels import Platform
from edgeconv.errors import EdgeconvError

if sys.platform == "win32":
    pytest.skip("the boards here are shell scripts", allow_module_level=True)

HOST = "board.test"
MARK = f"9{os.getpid():08}"
"""Seconds that no other run of these tests sleeps."""
DEAD = 1 << 30
"""The number of no process."""
CHANGED = "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification failed."


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file ``ssh`` is what edgeconv calls; ``home`` is the board's."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "home").mkdir()
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def behave(board: Path, script: str) -> None:
    """Let the board do what ``script`` says; ``$run`` does as it is told."""
    path = board / "ssh"
    home = f"HOME={board}/home; export HOME; unset XDG_CACHE_HOME"
    last = 'for last; do :; done; run() { eval "$last"; }'
    path.write_text(f"#!/bin/sh\n{home}\n{last}\n{script}\n")
    path.chmod(0o755)


def info(*more: str) -> Result:
    return CliRunner().invoke(main, ["device", "info", f"ssh://pi@{HOST}", *more])


def test_a_board_that_does_as_it_is_told_is_described(board: Path) -> None:
    behave(board, "run")
    said = info()
    assert said.exit_code == 0, said.stderr
    assert "Python" in said.stdout


@pytest.mark.parametrize(
    "banner",
    ["echo 'Welcome to Debian'; run", "run; echo; echo bye", "printf 'a\\033[2Jb\\n\\377\\n'; run"],
)
def test_a_shell_that_greets_is_no_hindrance(board: Path, banner: str) -> None:
    behave(board, banner)
    said = info()
    assert said.exit_code == 0, said.stderr
    assert "\x1b" not in said.output


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("head -c 4000 /dev/zero | tr '\\000' '\\371'; printf 'a\\n\\377\\000'", "no python3 answers there"),
        ("true", "no python3 answers there"),
        ("echo '{}'", "architecture is missing"),
        ("echo '{\"architecture\": 3'", "is no JSON"),
        ("echo '[[[['; exit 0", "no python3 answers there"),
        (f"echo '{CHANGED}' >&2; exit 255", "its host key is unknown or has changed"),
        ("printf '\\033[2Jno such thing\\n' >&2; exit 7", "no such thing"),
        ("echo 'Connection closed by remote host' >&2; exit 255", "closed by remote host"),
        ("echo 'tar: write error: No space left on device' >&2; exit 2", "its disk is full"),
        ("printf 'tar: a: Permission denied\\ntar: Exiting with failure status due to previous errors\\n' >&2; exit 2", "tar: a: Permission denied"),
        ("echo 'pi: Permission denied (publickey).' >&2; exit 255", "it refuses the key"),
        ("kill -9 $$", "exit code -9"),
    ],
)  # fmt: skip
def test_what_a_broken_board_says_is_one_sentence(board: Path, script: str, sentence: str) -> None:
    behave(board, script)
    said = info()
    assert said.exit_code == 1, said.output
    assert sentence in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    assert HOST in said.stderr
    assert "\x1b" not in said.stderr
    assert "Traceback" not in said.stderr
    assert "internal error" not in said.stderr


def test_fields_of_another_kind_are_named(board: Path) -> None:
    good = '{"architecture": "aarch64", "python": "3.11", "bits": 64, "free_mib": 9, "system": "x", "there": []}'
    for wrong in (
        good.replace("[]", "3"),
        good.replace('"3.11"', '"3.x"'),
        good.replace("aarch64", "../../elsewhere"),
        good.replace("64,", '"b",'),
    ):
        behave(board, f"echo '{wrong}'")
        with pytest.raises(EdgeconvError, match=f"what pi@{HOST} answers"):
            boards.ask(Connection(Host(HOST, "pi")))


def alive(mark: str) -> list[str]:
    """Return the processes whose command line holds ``mark``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in path.read_text(errors="replace"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    "script", ["sleep MARK & wait", "sleep MARK & cat; wait", "yes & sleep MARK"]
)
def test_a_host_that_hangs_is_left_with_all_it_started(board: Path, script: str) -> None:
    """A proxy command that hangs is a child of ssh: it goes with it."""
    behave(board, script.replace("MARK", MARK))
    start = time.monotonic()
    with pytest.raises(
        (ConnectionLostError, EdgeconvError), match=r"did not answer within|no answer"
    ):
        Connection(Host(HOST)).run("true", b"x" * 100_000, timeout_s=0.5)
    assert time.monotonic() - start < 30
    while alive(MARK) and time.monotonic() - start < 30:
        time.sleep(0.05)  # a killed process is there until the system has buried it
    assert alive(MARK) == []


def test_an_answer_without_end_is_no_answer(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "MAX_ANSWER", 1 << 20)
    behave(board, "yes")
    with pytest.raises(EdgeconvError, match="answers more than 1 MiB: this is no answer"):
        Connection(Host(HOST)).run("true", timeout_s=60.0)


def test_a_board_that_is_slow_to_write_down_how_a_run_ended_is_waited_for(board: Path) -> None:
    """The command is gone, the shell that started it is not; one that died is told from it, buried or not."""
    behave(board, "run")
    job = Job(Connection(Host(HOST)), f"{board}/job")
    folder = board / "job"
    folder.mkdir()
    (folder / "boot").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    (folder / "out").write_text('{"edgeconv_bench": 1}\n')
    (folder / "pid").write_text(f"{DEAD}\n")
    with subprocess.Popen(["sh", "-c", "sleep 1.8; echo 0 > rc"], cwd=folder) as shell:
        (folder / "session").write_text(f"{shell.pid}\n")
        assert job.wait(lambda text: None, 30.0) == {"edgeconv_bench": 1}
    (folder / "rc").unlink()
    with subprocess.Popen(["true"]) as shell:  # nobody asks how it ended before the block does
        (folder / "session").write_text(f"{shell.pid}\n")
        with pytest.raises(EdgeconvError, match="ended without a result"):
            job.wait(lambda text: None, 30.0)


def test_a_reboot_in_the_middle_is_said_and_the_disk_that_fills(board: Path) -> None:
    """The boot's id differs, or the result is half a file: neither is a traceback, nor a result."""
    behave(board, "run")
    job = Job(Connection(Host(HOST)), f"{board}/job")
    folder = board / "job"
    folder.mkdir()
    (folder / "boot").write_text("another boot\n")
    (folder / "log").write_text("measuring net.tflite\n")
    with pytest.raises(EdgeconvError, match=r"ended without a result .*measuring net\.tflite"):
        job.wait(lambda text: None, 30.0)
    (folder / "boot").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    (folder / "rc").write_text("1\n")
    (folder / "out").write_text('{"edgeconv_bench": 1, "rows": [')
    (folder / "log").write_text("Error: cannot write out: No space left on device\n")
    with pytest.raises(EdgeconvError, match="No space left on device"):
        job.wait(lambda text: None, 30.0)
    (folder / "rc").write_text("137\n")
    (folder / "log").write_text("10 %  net.tflite\n")
    with pytest.raises(EdgeconvError, match=r"no result, exit code 137; its last word: 10 %  net"):
        job.wait(lambda text: None, 30.0)
    (folder / "out").write_text('Welcome!\n{"edgeconv_bench": 1}\n')
    assert job.wait(lambda text: None, 30.0) == {"edgeconv_bench": 1}


def test_a_copy_that_breaks_off_is_not_taken_for_the_file(board: Path, tmp_path: Path) -> None:
    """Where a connection breaks, the board sees the end of the file, and an end that is no failure."""
    net = tmp_path / "net.tflite"
    net.write_bytes(bytes(range(256)) * 4000)
    noise = np.random.default_rng(0).bytes(20_000)
    behave(board, "head -c 5000 | { run; }; exit 255")
    connection = Connection(Host(HOST, "pi"))
    there = boards.Board(Platform("x86_64", "3.11"), "", 1000)
    base = board / "home" / ".cache" / "edgeconv-device"
    for copy in (
        lambda: provision.put_files(connection, there, [net], f"{boards.BASE}/job", lambda _: None),
        lambda: provision._unpack(connection, [("src-x", zipped([("a.py", noise)]))]),
    ):
        with pytest.raises(EdgeconvError):
            copy()
    assert [path for path in base.rglob("*") if path.is_file()] == []
    left = base / "files" / f"{'a' * 64}.part.{DEAD}"
    left.write_text("half")
    (base / "src-y.part.1").mkdir()
    behave(board, "run")
    boards.ask(connection)
    assert sorted(path.name for path in base.iterdir()) == ["files", "src-y.part.1"]
    assert list(left.parent.iterdir()) == []
    provision.put_files(connection, there, [net], f"{boards.BASE}/job", lambda _: None)
    assert (base / "job" / "net.tflite").read_bytes() == net.read_bytes()
    provision._unpack(connection, [("src-x", zipped([("a.py", b"ours")]))])
    assert (base / "src-x" / "a.py").read_text() == "ours"
    assert [path.name for path in (base / "src-x").iterdir()] == ["a.py"]


def test_code_and_wheels_that_break_off_are_said_to(board: Path) -> None:
    """Anywhere, and between two of them too, where the tar seems to be whole."""
    zips = [(name, zipped([("a.py", b"ours")])) for name in ("src-x", "wheels/y")]
    first = 512 + -(-len(zips[0][1]) // 512) * 512
    base = board / "home" / ".cache" / "edgeconv-device"
    for size, whole in ((0, 0), (512, 0), (600, 0), (first, 1), (first + 100, 1), (first + 600, 1)):
        behave(board, f"head -c {size} | {{ run; }}")
        with pytest.raises(EdgeconvError, match="the copy broke off in the middle"):
            provision._unpack(Connection(Host(HOST, "pi")), zips)
        assert [path.read_bytes() for path in base.rglob("*.*")] == [b"ours"] * whole


def test_older_code_goes_where_no_job_may_run_it(board: Path) -> None:
    behave(board, "run")
    connection = Connection(Host(HOST, "pi"))
    base = board / "home" / ".cache" / "edgeconv-device"
    for name in ("src-a", "src-b.part.1", "wheels/w", "jobs/j"):
        (base / name).mkdir(parents=True)
    provision._unpack(connection, [("src-c", zipped([("a.py", b"")]))])
    assert sorted(path.name for path in base.glob("src-*")) == ["src-a", "src-b.part.1", "src-c"]
    (base / "jobs" / "j").rmdir()
    provision._unpack(connection, [("wheels/v", zipped([("a.py", b"")]))])
    assert (base / "src-a").is_dir()
    provision._unpack(connection, [("src-d", zipped([("a.py", b"")]))])
    assert sorted(path.name for path in base.glob("src-*")) == ["src-b.part.1", "src-d"]
    assert sorted(path.name for path in (base / "wheels").iterdir()) == ["v", "w"]
    provision._unpack(connection, [("src-d", zipped([("a.py", b"another session's")]))])
    assert (base / "src-d" / "a.py").read_bytes() == b""
    assert not list(base.glob("src-d.part.*"))


def test_jobs_that_nobody_fetched_go_a_day_after_their_end(board: Path) -> None:
    jobs = board / "home" / ".cache" / "edgeconv-device" / "jobs"
    kinds = {"ended": DEAD, "works": os.getpid(), "yesterday": DEAD, "never began": None}
    for name, session in kinds.items():
        (jobs / name).mkdir(parents=True)
        if session is not None:
            (jobs / name / "session").write_text(f"{session}\n")
        if name != "ended":
            for path in [*(jobs / name).iterdir(), jobs / name]:
                os.utime(path, (1e9, 1e9))
    behave(board, "run")
    boards.ask(Connection(Host(HOST, "pi")))
    assert sorted(path.name for path in jobs.iterdir()) == ["ended", "works"]


def test_a_clock_that_is_years_off_changes_nothing(board: Path) -> None:
    late = board / "home" / "sitecustomize.py"
    late.write_text(
        "import time\nreal = time.time\ntime.time = lambda: real() + 30 * 365 * 86400\n"
    )
    behave(board, f"PYTHONPATH={late.parent} run")
    assert info().exit_code == 0
