"""What a person sees of an export: lines and bar share one console; nothing is cut in a number."""

import os
import pty
import select
import subprocess
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from terminal_kit import terminal

from edgeconv.commands.progress import HEAD, echo_line, lay_out
from edgeconv.console import PlainConsole
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tables import Column, print_facts, print_table
from edgeconv.terminal import echo, echo_folded, hanging, rewrite

SCRIPT = """
import sys, time
from edgeconv.commands.progress import StageDisplay, echo_line
from edgeconv.export.report import StageLine
with StageDisplay(lines="-q" not in sys.argv) as display:
    for stage in ("build", "verify"):
        display.progress(stage, 0.5)
        time.sleep(0.3)
        text = "agreement 98.5 % [97.2, 99.6] · SQNR 21.9 dB · 1000 pictures, ai-edge-litert 2.3.0 · within budget"
        display.on_line(StageLine(stage, text, 1.25))
echo_line("note", "a sentence that is a good deal longer than a terminal of eighty columns can show on a line")
"""


MODELS = "from edgeconv.cli import main; main(['models'])"


def on_terminal(
    arguments: list[str], columns: int, term: str, pipe: bool = False, script: str = SCRIPT
) -> str:
    """Return what a terminal of ``columns`` is sent; ``pipe`` takes stdout away from it."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, columns))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=slave,
        stdout=subprocess.PIPE if pipe else slave,
        stderr=slave,
        env={**environment, "TERM": term},
    ) as child:
        os.close(slave)
        sent = b""
        while True:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    sent += os.read(master, 65536)
                except OSError:  # Linux says that the other end is closed this way
                    break
            elif child.poll() is not None:
                break
        child.communicate()
    os.close(master)
    assert child.returncode == 0
    return sent.decode()


def screen(sent: str) -> list[str]:
    """Return the lines that stay on the screen, by the few sequences that rich uses."""
    rows, row, column = [""], 0, 0
    position = 0
    while position < len(sent):
        if sent.startswith("\x1b[", position):
            end = position + 2
            while not sent[end].isalpha():
                end += 1
            if sent[end] == "A":
                row = max(0, row - int(sent[position + 2 : end] or 1))
            if sent[end] == "K":
                rows[row] = ""
            position = end + 1
            continue
        character = sent[position]
        if character == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif character == "\r":
            column = 0
        else:
            column = 0 if not rows[row] else column
            rows[row] = rows[row][:column].ljust(column) + character + rows[row][column + 1 :]
            column += 1
        position += 1
    return [line.rstrip() for line in rows if line.strip()]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
@pytest.mark.parametrize("columns", [80, 100, 160])
def test_no_line_on_a_terminal_is_shared_with_the_bar_or_wider_than_it(columns: int) -> None:
    sent = on_terminal([], columns, "xterm-256color")
    assert "━" in sent  # the bar was there
    kept = screen(sent)
    assert not any("━" in line for line in kept), kept
    assert max(map(len, kept)) <= columns
    heads = [line[:HEAD].strip() for line in kept if not line.startswith(" ")]
    assert heads == ["build", "verify", "note"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
@pytest.mark.parametrize("columns", [80, 200])
def test_the_list_of_nets_folds_no_name(columns: int) -> None:
    kept = screen(on_terminal([], columns, "xterm-256color", script=MODELS))
    assert max(map(len, kept)) <= columns
    assert any("mobilenetv1_100.ra4_e3600_r224_in1k (imagenet)" in line for line in kept)
    assert any(line.startswith("net  ") for line in kept) == (columns == 200)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_a_dumb_terminal_and_a_pipe_get_no_bar() -> None:
    assert "━" not in on_terminal([], 80, "dumb")
    assert on_terminal([], 80, "xterm-256color", pipe=True) == ""
    assert "━" in on_terminal(["-q"], 80, "xterm-256color", pipe=True)


WORD = st.text(st.sampled_from("abcXYZ0189.,%[]():/_-"), min_size=1, max_size=12)


@given(st.lists(st.lists(WORD, min_size=1), min_size=1), st.integers(40, 200))
def test_a_fold_loses_and_splits_no_word(parts: list[list[str]], width: int) -> None:
    text = " · ".join(" ".join(words) for words in parts)
    lines = lay_out("verify", text, width, "1.2 s").splitlines()
    assert max(map(len, lines)) <= width
    said = [word for line in lines for word in line[HEAD:].split() if word != "·"]
    assert said == [word for words in parts for word in words if word != "·"] + ["1.2", "s"]
    assert all(line[:HEAD].strip() == "" for line in lines[1:])


def test_a_number_stays_with_its_unit_and_what_hangs_is_further_in() -> None:
    text = "  layer: own SQNR 34.4 dB of 16 MUL, agreement 100.0 %"
    for width in range(24, 60):
        lines = hanging(text, width)
        assert max(map(len, lines)) <= width
        assert lines[0].startswith("  layer:")
        assert all(line.startswith("    ") for line in lines[1:])
        assert all(any(p in line for line in lines) for p in ("34.4 dB", "16 MUL,", "100.0 %"))
    assert hanging(text, None) == [text]
    said = "missed: net.tflite · no-xnnpack: the recipe is not good enough"
    assert hanging(said, 40, apart=False)[0] == "missed: net.tflite · no-xnnpack: the"


def test_a_pipe_gets_one_line_a_stage() -> None:
    text = "words " * 40
    assert lay_out("verify", text, None, "1.2 s").count("\n") == 0


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_no_width_breaks_a_name_or_drops_a_fact(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is wider than the terminal stays whole: the terminal folds it, and it can be copied."""
    name = "/model.22/detect/conf/Reshape_output_0_with_a_name_that_is_rather_long_for_a_terminal"
    facts = [("file", f"out/{name} (0.01 MB)"), ("output", f"{name}  1x16x16x8  float32")]
    print_facts(Console(width=width, highlight=False), facts)
    said = capsys.readouterr().out
    assert said.split() == " ".join(f"{head} {text}" for head, text in facts).split()
    assert all(line.startswith(("file", "output", " ")) for line in said.splitlines())


def test_a_line_that_rewrites_itself_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer one folds, and is no longer one line to rewrite."""
    monkeypatch.setenv("COLUMNS", "60")
    rewrite("x" * 200)
    assert len(capsys.readouterr().err.removeprefix("\r\x1b[K")) == 59


FORGED = "conv\nverdict    all within budget"


def test_a_line_feed_in_a_name_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(highlight=False, width=200)
    print_table(console, (Column("layer"), Column("ms", named=False)), [[FORGED, "1.2"]])
    print_facts(console, [("input", FORGED)])
    console.print(f"note     {FORGED}")
    echo(f"  93.1 %  {FORGED}")
    echo_line("note", FORGED)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert sum("conv\\nverdict" in line for line in said) == 5


def test_a_line_is_whole_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    line = "  truth: shapes/test.json · 4 pictures"
    echo_folded(line)
    assert capsys.readouterr().out == line + "\n"


def test_a_sentence_on_a_terminal_is_folded_on_either_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    for name in ("stdout", "stderr"):
        with terminal() as (stream, said), monkeypatch.context() as patch:
            patch.setattr(sys, name, stream)
            echo_folded(
                "ten classes, a hundred pictures to learn, 25 held out", err=name == "stderr"
            )
        assert len(said) == 3
        assert max(map(len, said)) <= 30


def test_what_a_runtime_says_to_a_display_in_the_place_of_stderr_is_kept_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with quiet_stderr() as found:
        print("[threadpool.cpp:66] said by Python", file=sys.stderr)
        os.write(2, b"said by C\n")
    assert sorted(found.text.splitlines()) == ["[threadpool.cpp:66] said by Python", "said by C"]
    assert capsys.readouterr().err == ""
