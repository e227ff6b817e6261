"""Child processes: what goes in and comes out, how they end, and whose files they never run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import write_model
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.files import temporary_folder
from edgeconv.isolate import Call, Worker, call

NEVER_OURS = ("onnx", "numpy", "onnxruntime", "onnxsim", "click", "rich", "torch", "ai_edge_litert",
              "tflite_runtime", "coremltools", "google", "flatbuffers", "PIL", "sitecustomize",
              "usercustomize", "models", "export")  # fmt: skip

LENIENT = ("--allow-poor-calibration", "--recipe", "fast", "--force")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file for every module of Python and of our packages; each says that it ran."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    marks = (
        f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + ' ')\nraise SystemExit('hostile')\n"
    )
    for name in {*sys.stdlib_module_names, *NEVER_OURS}:
        (folder / f"{name}.py").write_text(marks)
    monkeypatch.chdir(folder)
    return folder


def ran(folder: Path) -> str:
    """Which of the hostile files were executed."""
    path = folder.parent / "ran"
    return path.read_text() if path.exists() else ""


def test_no_command_runs_a_file_of_the_current_folder(hostile: Path) -> None:
    source = write_model(hostile, "small.onnx")
    np.save("x.npy", np.random.default_rng(0).standard_normal((4, 8, 8, 8)).astype(np.float32))
    say = CliRunner()
    made = "out/small_fp32.onnx"
    for command in (
        ["export", str(source), "--target", "onnx", "--target", "tflite", "--output", "out"],
        ["parity", made, "--count", "2", "--layers"],
        ["bench", made, "--runs", "2", "--warmup", "1", "-q"],
        ["bundle", made, "--output", "bundle.tar.gz"],
        ["quantize", "small.onnx", "--calib", "x.npy", "--output", "int8", *LENIENT],
        ["recipe", "show", "int8/small_int8.evidence/recipe.json"],
        ["inspect", "small.onnx"],
        ["inspect", "out/small_fp32.tflite"],
        ["models"],
        ["summary", "mobilenet_v2"],
        ["doctor"],
    ):
        result = say.invoke(main, command)
        assert not ran(hostile), command
        assert "hostile" not in result.output, command
        assert result.exit_code == 0, (command, result.output)


def test_python_m_edgeconv_runs_no_file_of_the_current_folder(hostile: Path) -> None:
    code = (
        "import runpy, sys; print(*sys.modules)"  # what Python itself loads before it comes to us
    )
    started = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    for name in {module.partition(".")[0] for module in started.stdout.split()}:
        (hostile / f"{name}.py").unlink(missing_ok=True)
    said = subprocess.run(
        [sys.executable, "-m", "edgeconv", "doctor", "--json"], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)
    assert not ran(hostile)


def test_a_users_own_module_keeps_the_current_folder_on_its_path(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("import edgeconv")
    (package / "__main__.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("print('found')")
    said = subprocess.run([sys.executable, "-m", "mine"], cwd=tmp_path, capture_output=True)
    assert said.stdout == b"found\n", said.stderr


def test_children_have_onnxruntimes_telemetry_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert call("os:getenv", "ORT_DISABLE_TELEMETRY", "it") == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")  # a user's own wish
    assert call("os:getenv", "ORT_DISABLE_TELEMETRY", "it") == "0"


def test_a_runtime_in_a_child_leaves_nothing_in_home_and_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.runtimes.probe import probe

    model = write_model(tmp_path, "m.onnx")
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    probe(model, "onnxruntime")
    assert not [*tmp_path.glob("*/*"), *tmp_path.glob("*/.*")]


def test_what_runtimes_print_is_no_answer() -> None:
    assert call("test_isolate:chatty", {"n": 2}, "it", python=_with_tests()) == {"n": 4}


def test_errors_are_the_childs_own_sentence_and_a_bugs_last_line() -> None:
    with pytest.raises(EdgeconvError, match=r"^no, because\.$"):
        call("test_isolate:refuse", "because", "it", python=_with_tests())
    with pytest.raises(EdgeconvError, match=r"^it failed: ValueError: a bug$"):
        call("test_isolate:bug", "a bug", "it", python=_with_tests())
    with pytest.raises(EdgeconvError, match="it does not fit into this machine's memory"):
        call("test_isolate:greedy", None, "it", python=_with_tests())
    with pytest.raises(EdgeconvError, match="it ended with exit code 7"):
        call("os:_exit", 7, "it")
    with pytest.raises(EdgeconvError, match="it crashed with SIGABRT"):
        call("signal:raise_signal", 6, "it")


def test_a_child_that_crashes_after_its_answer_has_failed() -> None:
    with pytest.raises(EdgeconvError, match="it crashed with SIGSEGV"):
        call("test_isolate:crash_at_exit", None, "it", python=_with_tests())


def test_a_call_that_nobody_waits_for_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with Call("time:sleep", 1000, "it"):
        assert started[0].poll() is None
    assert started[0].returncode != 0


def test_a_worker_answers_until_it_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    worker = Worker("test_isolate:add_up", 3, "it")
    try:
        assert worker.receive(30.0) == 3
        assert worker.ask(4, 30.0) == 7
        with pytest.raises(EdgeconvError, match="enough"):
            worker.ask(100, 30.0)
        with pytest.raises(EdgeconvError):
            worker.ask(1, 30.0)
    finally:
        worker.close()


def test_a_child_that_is_killed_leaves_no_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    worker = Worker("test_isolate:hold_folder", None, "it")
    try:
        assert Path(worker.receive(30.0)).parent == tmp_path
        worker.kill()
    finally:
        worker.close()
    assert not list(tmp_path.iterdir())


def _with_tests() -> list[str]:
    """A Python that can import this file."""
    return ["env", f"PYTHONPATH={Path(__file__).parent}", sys.executable]


def chatty(value: dict[str, int]) -> dict[str, int]:
    """Print on both levels, and answer."""
    print("from Python")
    os.write(1, b"from a runtime\n")
    return {"n": 2 * value["n"]}


def hold_folder(value: None, more: Iterator[None]) -> Iterator[str]:
    """Make a temporary folder and keep it."""
    with temporary_folder() as folder:
        yield str(folder)
        next(more)


def refuse(value: str) -> None:
    """Fail as a user's error does."""
    raise EdgeconvError(f"no, {value}.")


def bug(value: str) -> None:
    """Fail as a bug does."""
    raise ValueError(value)


def greedy(value: None) -> None:
    """Want too much."""
    raise MemoryError


def crash_at_exit(value: None) -> str:
    """Answer, and crash as a runtime's destructor does."""
    import atexit
    import signal

    atexit.register(signal.raise_signal, signal.SIGSEGV)
    return "done"


def add_up(value: int, more: Iterator[int]) -> Iterator[int]:
    """Yield the sum so far."""
    yield value
    for number in more:
        value += number
        if value > 50:
            raise EdgeconvError("enough")
        yield value
