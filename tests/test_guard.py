"""Whatever goes wrong, a command ends in one sentence and an exit code, and a terminal gets plain text."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT

import edgeconv.commands.doctor
from edgeconv.cli import main
from edgeconv.errors import BudgetMissedError, EdgeconvError, UsageError, reading
from edgeconv.files import write_text
from edgeconv.guard import explain
from edgeconv.signals import StoppedError
from edgeconv.terminal import plain

EDGECONV = [sys.executable, "-P", "-m", "edgeconv"]


def _too_many_digits() -> ValueError:
    try:
        int("9" * 5000)
    except ValueError as error:
        return error
    raise AssertionError


FAILURES: list[tuple[BaseException, int, str]] = [
    (EdgeconvError("conv_1 holds NaN"), 1, "conv_1 holds NaN"),
    (UsageError("--width takes a number"), 2, "--width takes"),
    (BudgetMissedError("below 95 %"), 3, "below 95 %"),
    (OSError(errno.EACCES, "Permission denied", "net.onnx"), 1, "net.onnx: Permission denied"),
    (OSError(errno.ENOSPC, "No space left on device"), 1, "TMPDIR"),
    (BrokenPipeError(), 1, "standard output"),
    (_too_many_digits(), 1, "too many digits"),
    (MemoryError(), 1, "memory"),
    (RecursionError("maximum recursion depth exceeded"), 1, "nested too deeply"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "not valid"),
    (ImportError("libomp.so: cannot open shared object file"), 1, "libomp.so"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (StoppedError(signal.SIGTERM), 143, "SIGTERM"),
    (KeyError("kernel"), 1, "internal error: KeyError: 'kernel'"),
]


def test_ctrl_c_while_an_extension_is_loaded_is_no_failure_of_the_file() -> None:
    """Extension modules turn it into an ImportError, with what it was as the cause."""
    loaded = ImportError("initialization failed")
    loaded.__cause__ = KeyboardInterrupt()
    assert explain(loaded) == ("interrupted", 130)
    with pytest.raises(KeyboardInterrupt), reading("a.tflite cannot be opened"):
        raise loaded


@pytest.mark.parametrize(("asked", "code"), [(KeyboardInterrupt(), 130), (StoppedError(15), 143)])
def test_ctrl_c_while_a_lock_is_let_go_is_no_failure_of_the_file(
    asked: BaseException, code: int
) -> None:
    """It comes after the lock is free and before the block knows: Python calls that an unlocked lock."""

    def read() -> None:
        lock = threading.Lock()
        with lock:
            lock.release()
            raise asked

    with pytest.raises(EdgeconvError) as told, reading("net.onnx cannot be converted"):
        read()
    assert explain(told.value)[1] == code
    with pytest.raises(RuntimeError) as alone:
        threading.Lock().release()
    assert explain(alone.value)[0].startswith("internal error")


@pytest.mark.parametrize("command", ["summary", "export", "quantize"])
def test_a_file_that_is_no_net_is_not_called_an_unknown_one(command: str, tmp_path: Path) -> None:
    file = tmp_path / "net.tflite"
    file.write_bytes(b"TFL3")
    found = CliRunner().invoke(main, [command, str(file)])
    assert found.exit_code == 2
    assert "is no net" in found.output
    assert "unknown net" not in found.output


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``edgeconv doctor`` fail with an exception."""

    def fail_with(error: BaseException) -> None:
        def examine() -> None:
            raise error

        monkeypatch.setattr(edgeconv.commands.doctor, "examine", examine)

    return fail_with


@pytest.mark.parametrize(("error", "code", "said"), FAILURES, ids=lambda item: repr(item)[:40])
def test_every_failure_is_one_sentence_and_a_code(
    error: BaseException, code: int, said: str, failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.strip().startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("error", "code", "said"), FAILURES, ids=lambda item: repr(item)[:40])
def test_with_json_the_sentence_is_one_object_on_stdout(
    error: BaseException, code: int, said: str, failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    result = CliRunner().invoke(main, ["doctor", "--json"])
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == result.exit_code == code
    assert said in answer["error"]


def test_debug_prints_the_traceback_wherever_it_stands(
    failing: Callable[[BaseException], None],
) -> None:
    failing(KeyError("kernel"))
    for words in (["--debug", "doctor"], ["doctor", "--debug"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert "Traceback" in result.stderr
        assert "internal error: KeyError: 'kernel' (" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense", "--json"],
        ["--nonsense", "--json"],
        *(
            [name, "--json", "--nonsense"]
            for name in [
                "export",
                "run",
                "parity",
                "models",
                "summary",
                "bench",
                "quantize",
                "inspect",
                "doctor",
            ]
        ),
        ["recipe", "show", "--json", "--nonsense"],
        ["device", "info", "--json", "--nonsense"],
        ["run", "--json"],
    ],
    ids=" ".join,
)
def test_a_usage_error_of_a_json_command_is_json(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    answer = json.loads(result.stdout)
    assert result.exit_code == answer["exit_code"] == 2
    assert answer["error"] in result.stderr
    assert result.stderr.startswith(("Usage: ", "Error: "))


def test_a_report_that_was_printed_gets_no_second_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edgeconv.commands.doctor, "examine", _Found)
    monkeypatch.setattr(click, "echo", _then_fail(click.echo))
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert json.loads(result.stdout) == {"sqnr_db": None, "defaults": None}
    assert result.exit_code == 1


class _Found:
    def to_json(self) -> dict[str, float]:
        return {"sqnr_db": float("inf")}


def _then_fail(echo: Callable[..., None]) -> Callable[..., None]:
    def failing(text: str, **options: bool) -> None:
        echo(text, **options)
        if not options.get("err"):
            raise EdgeconvError("after the report")

    return failing


def test_foreign_text_reaches_no_terminal_as_commands(
    failing: Callable[[BaseException], None],
) -> None:
    failing(EdgeconvError("conv\x1b]0;OWNED\x07 \x9b2J \u202egnp.exe \ud800"))
    result = CliRunner().invoke(main, ["doctor"], color=True)
    assert result.stderr == ("Error: conv\\x1b]0;OWNED\\x07 \\x9b2J \\u202egnp.exe \\ud800\n")
    assert (
        plain("tab\tand\nline stay, \u00e9 \u4e2d too") == "tab\tand\nline stay, \u00e9 \u4e2d too"
    )


def test_a_line_feed_in_an_error_begins_no_line(
    failing: Callable[[BaseException], None],
) -> None:
    failing(EdgeconvError("node n\nverdict    all within budget"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.stderr == "Error: node n verdict    all within budget\n"


def test_foreign_text_reaches_no_written_file_as_commands(tmp_path: Path) -> None:
    """Pages, tables and XML are read in terminals and browsers, which reorder what the marks say."""
    name = "a\x1b[2J\u202egnp\ud800.tflite"
    write_text(tmp_path / "junit.xml", f"<case name='{name}'>\n\t\u00e9</case>\n")
    said = (tmp_path / "junit.xml").read_text(encoding="utf-8")
    assert said == "<case name='a\\x1b[2J\\u202egnp\\ud800.tflite'>\n\t\u00e9</case>\n"
    assert ElementTree.fromstring(said).text == "\n\t\u00e9"


def test_tables_print_foreign_text_plain(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.console import PlainConsole

    console = PlainConsole(force_terminal=True, width=60)
    table = Table("name")
    table.add_row(Text("conv\x1b[2J", style="red"))
    console.print(table)
    said = capsys.readouterr().out
    assert "conv\\x1" in said
    assert "\x1b[2J" not in said
    assert "\x1b[31m" in said, "our own styles stay"


def test_only_these_modules_print_to_a_terminal() -> None:
    """Everything else goes through edgeconv.terminal or PlainConsole, which make text plain."""
    own = {"terminal.py", "console.py", "tables.py"}
    prints = re.compile(r"click\.echo\(|click\.secho\(|(?<![\w.])Console\(")
    found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("edgeconv", "export")
        for path in (ROOT / folder).rglob("*.py")
        if path.name not in own and prints.search(path.read_text())
    ]
    assert found == []


def run(*words: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    """Run edgeconv as a user's shell does."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*EDGECONV, *words],
        text=True,
        timeout=60,
        cwd="/",
        **settings,  # type: ignore[call-overload]
    )
    return done


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--version", "export --help", "models", "models --json"])
def test_a_full_standard_output_is_named(words: str, unbuffered: str) -> None:
    """What click prints, short and long, a table of rich's and a JSON object."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        said = run(*words.split(), stdout=full, stderr=subprocess.PIPE, env=environment)
    assert (said.returncode, said.stderr) == (
        1,
        "Error: standard output: No space left on device\n",
    )


def test_a_full_disk_names_the_temporary_folder() -> None:
    """numpy names no file where its write falls short."""
    said, code = explain(OSError(errno.ENOSPC, "No space left on device"))
    assert "No space left on device; temporary files go to" in said
    assert code == 1


def test_a_reader_that_goes_away_is_one_sentence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    said = run("--version", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert said.returncode == 1
    assert said.stderr == "Error: whoever reads standard output ended before all was written\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_survived(closed: str) -> None:
    words = " ".join(EDGECONV)
    assert (
        subprocess.run(["sh", "-c", f"{words} --version {closed}"], capture_output=True).returncode
        == 0
    )
    failed = subprocess.run(["sh", "-c", f"{words} --nonsense {closed}"], capture_output=True)
    assert failed.returncode == 2


def test_an_ascii_terminal_gets_escapes(tmp_path: Path) -> None:
    model = tmp_path / "n\u00e9t.onnx"
    model.write_bytes((ROOT / "tests" / "golden" / "nncf" / "by_channel.onnx").read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    said = run("inspect", str(model), env=environment, capture_output=True)
    assert said.returncode == 0, said.stderr
    assert "n\\xe9t.onnx" in said.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_in_one_sentence(number: signal.Signals) -> None:
    """What a ``with`` or ``finally`` cleans up is cleaned up."""
    script = """
import signal, sys, time
from edgeconv.guard import guarded
for number in (signal.SIGHUP, signal.SIGTERM):  # tests in the background inherit them ignored
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(answer):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned")
sys.exit(guarded(work, as_json=False, debug=False))
"""
    pipe = subprocess.PIPE
    command = [sys.executable, "-P", "-c", script]
    child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert out == "cleaned\n"
    assert (
        err == f"Error: {'interrupted' if number == signal.SIGINT else 'ended by ' + number.name}\n"
    )
    assert child.returncode == 128 + number


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sweep", "ghostnet", "--data", ""], "what --data names is empty"),
        (["sweep", "ghostnet", "--weights="], "what --weights names is empty"),
        (["inspect", ""], "an argument is empty"),
        (["export", "a.onnx", "--html", "a.html"], "(a.html): --html takes no value"),
        (["bench", "a.onnx", "--csv", f"{__file__}/a"], "test_guard.py is a file, not a folder"),
        (["parity", "a.onnx", "--save-outputs", __file__], "is a file"),
        (["train", "ghostnet", "--data", ".", "--output", f"{__file__}/a"], "is a file"),
    ],
)
def test_words_that_cannot_be_meant_are_refused_before_the_work(
    words: list[str], says: str
) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert says in done.output


def test_one_who_asks_often_ends_the_command_once() -> None:
    """Asked again while folders are removed: nothing comes after the sentence, with a signal for an exit code."""
    script = textwrap.dedent(
        """
        import os, signal, sys, time
        from edgeconv.guard import guarded
        from edgeconv.signals import Undivided
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell mutes it in the background
        def ask():
            with Undivided():
                for _ in range(5):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.03)
        def work(answer):
            try:
                ask()
                time.sleep(10)
            finally:
                ask()
        code = guarded(work, as_json=False, debug=False)
        time.sleep(0.2)
        sys.exit(code)
        """
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "Error: interrupted\n")
