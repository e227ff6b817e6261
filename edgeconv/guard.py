"""What stands below every command: any way to fail ends in one sentence and an exit code."""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from edgeconv.errors import EdgeconvError
from edgeconv.files import choose_temporary_folder
from edgeconv.settle import FULL
from edgeconv.signals import ENDED_AT, StoppedError, Stops
from edgeconv.terminal import Answer, echo_lines, print_json


def guarded(command: Callable[[Answer], object], *, as_json: bool, debug: bool) -> int:
    """Run ``command`` and return the exit code; say in one sentence why it failed.

    With ``as_json`` the sentence is also the ``error`` of a JSON object on standard output, unless
    the command printed its own, and nothing else goes there: a net's or a user's function's ``print``
    goes where errors go. ``debug`` adds the traceback on standard error.
    """
    choose_temporary_folder()
    answer = Answer()
    code = 0
    with _streams(), Stops() as stops:
        answer.stream = sys.stdout
        apart = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
        try:
            with apart:
                code = _code(command(answer))
            sys.stdout.flush()
        except SystemExit as error:
            code = _code(error.code)
        except click.exceptions.Exit as error:
            code = error.exit_code
        except BaseException as error:
            stops.end_at_once()
            if debug:
                with contextlib.suppress(OSError):
                    traceback.print_exc()
            code = _say(error, answer, as_json)
    return stops.code(code)


def _code(found: object) -> int:
    if found is None or isinstance(found, int):
        return found or 0
    echo_lines(str(found), err=True)
    return 1


def _say(error: BaseException, answer: Answer, as_json: bool) -> int:
    sentence, code = explain(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        echo_lines(sentence, err=True)  # the help of a group that was called without a command
        return code
    if as_json and not answer.given:
        with contextlib.suppress(OSError):
            print_json({"error": sentence, "exit_code": code})
    if isinstance(error, click.UsageError) and error.ctx is not None:
        echo_lines(error.ctx.get_usage(), err=True)
    if isinstance(error, EdgeconvError):  # its names and what libraries say are foreign
        sentence = " ".join(filter(None, map(str.strip, sentence.splitlines())))
    echo_lines(_folded(f"Error: {sentence}"), err=True)
    return code


def _folded(text: str) -> str:
    """Return ``text`` folded between words where a terminal would cut them."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrapper.fill(line) for line in text.splitlines())


def explain(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code for what stopped a command."""
    error = _asked_for_the_end(error) or error
    match error:
        case EdgeconvError():
            return str(error), error.exit_code
        case click.ClickException():
            return error.format_message(), error.exit_code
        case StoppedError():
            return f"ended by {error}", ENDED_AT + error.number
        case KeyboardInterrupt() | EOFError() | click.Abort():
            cause = error.__cause__
            return explain(cause) if isinstance(cause, StoppedError) else ("interrupted", 130)
        case BrokenPipeError():
            return "whoever reads standard output ended before all was written", 1
        case OSError():
            return _os_error(error), 1
        case MemoryError():
            return f"this machine's memory does not suffice{_detail(error)}", 1
        case RecursionError():
            return "something that was read is nested too deeply", 1
        case UnicodeError():
            return f"text that was read or named is not valid: {error}", 1
        case ImportError() if isinstance(error.__cause__, KeyboardInterrupt):
            return explain(error.__cause__)
        case ModuleNotFoundError() if str(error.name).startswith("edgeconv."):
            return (
                f"{error.name} is not in this copy of edgeconv, as on boards, which only measure",
                1,
            )
        case ImportError():
            return f"a package cannot be loaded: {error}; edgeconv doctor lists them all", 1
    if isinstance(error, ValueError) and "for integer string conversion" in str(error):
        return "a number that was read or given has too many digits", 1
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "this machine lets the process start no more threads (ulimit -u)", 1
    return (
        f"internal error: {type(error).__name__}{_detail(error)} ({_place(error)}); "
        "please report it with the command, --debug shows the traceback",
        1,
    )


def _asked_for_the_end(error: BaseException) -> BaseException | None:
    """Return the Ctrl-C or signal that came while a lock was let go: Python then says that nobody held it."""
    link: BaseException | None = error
    while link is not None:
        asked = link.__context__
        if isinstance(link, RuntimeError) and "unlocked lock" in str(link):
            return asked if isinstance(asked, KeyboardInterrupt | StoppedError) else None
        link = link.__cause__ or asked
    return None


def _detail(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f": {lines[0]}" if lines else ""


def _os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}" if _named(error) else reason
    if _printed(error):
        return f"standard output: {reason}"
    if error.errno in (None, *FULL):  # numpy's short writes have no number
        return f"{reason}; temporary files go to {tempfile.gettempdir()}, or where TMPDIR says"
    return reason


def _printed(error: BaseException) -> bool:
    """Whether it was raised by what prints: click and rich write no files, and ``guarded`` flushes what is left."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return where.partition(".")[0] in ("click", "rich") or where == __name__


def _named(error: OSError) -> bool:
    return isinstance(error.filename, str | bytes)


def _place(error: BaseException) -> str:
    """Return file:line of the innermost frame of ours."""
    ours = Path(__file__).resolve().parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if Path(f.filename).resolve().is_relative_to(ours)] or frames
    if not mine:
        return "nowhere"
    return f"{Path(mine[-1].filename).name}:{mine[-1].lineno}"


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Let standard streams that are closed, full or of another encoding do no harm.

    A closed descriptor would be given to the next file that is opened, and native code writes there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    yield
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            # what is left in the buffer has nowhere to go, and Python would say so at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
