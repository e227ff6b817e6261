"""A function of ours in a process of its own: what crashes there costs its caller one sentence.

``call`` runs "module:function" on one JSON value and returns its answer; the function of a
``Worker`` is a generator, which is handed further values and yields an answer to each. Arrays go by
file: the values name the files. What runtimes print is no answer: it goes where errors go.
"""

import contextlib
import importlib
import inspect
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeconv.closing import Closing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import choose_temporary_folder, sweep_temporary
from edgeconv.system import Child, Printed, crash, limit_child, start_apart

LOG = logging.getLogger(__name__)
TICK_S = 0.2
"""How often a Worker's parent may look at something else while it waits."""


def call(
    function: str,
    value: Any,
    what: str,
    *,
    timeout_s: float | None = None,
    python: Sequence[str] = (),
) -> Any:
    """Return what ``function`` ("module:function") says to ``value``, both of them JSON.

    ``what`` is how errors call it; ``python`` starts the interpreter (default: this one), ``env
    NAME=VALUE`` before it included. Raises EdgeconvError with the child's own sentence, the name of
    the signal that ended it, or the time it was given.
    """
    with Call(function, value, what, python=python) as child:
        return child.result(timeout_s)


class Call(Closing):
    """A ``call`` that is begun before its answer is asked for; as a context it leaves no child behind."""

    def __init__(self, function: str, value: Any, what: str, *, python: Sequence[str] = ()) -> None:
        self._what = what
        self._child = subprocess.Popen(
            _command(python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        LOG.debug("process %d begins: %s, for %s", self._child.pid, function, what)
        assert self._child.stdin is not None
        # a child that is dead already says why when it is asked
        with contextlib.suppress(OSError), self._child.stdin as pipe:
            pipe.write(_first_line(function, value, what))
        self._child.stdin = None

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the answer; raises as ``call`` does."""
        try:
            answer, said = self._child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EdgeconvError(f"{self._what} did not end within {timeout_s:g} s") from error
        LOG.debug("process %d ended with %d", self._child.pid, self._child.returncode)
        line = answer.strip()
        # an answer is worth nothing where closing the file crashed
        if crash(self._child.returncode) or not line:
            told = said.decode(errors="replace")
            raise EdgeconvError(child_failure(self._what, self._child.returncode, told))
        return _answer(line)

    def close(self) -> None:
        """Kill the child where it still runs."""
        if self._child.poll() is None:
            _kill(self._child)
        self._child.wait()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()


class Worker:
    """A child process whose function is a generator. Every method raises EdgeconvError once it has died.

    ``what`` is how errors call it.
    """

    def __init__(self, function: str, value: Any, what: str) -> None:
        self.what = what
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # Ctrl-C is for the parent, which still wants the answers so far
        self.process = start_apart(
            _command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        LOG.debug("process %d begins: %s, for %s", self.process.pid, function, what)
        assert self.process.stdout is not None
        self._printed = Printed(self.process.stdout)
        self._pending = b""
        self._write(_first_line(function, value, what))

    def _write(self, line: bytes) -> None:
        if self.process.stdin is None:
            raise EdgeconvError(self._ending())
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError as error:
            raise EdgeconvError(self._ending()) from error

    def ask(self, value: Any, timeout_s: float, tick: Callable[[], None] | None = None) -> Any:
        """Hand over a value and return the answer, calling ``tick`` every 0.2 s meanwhile."""
        self.send(value)
        return self.receive(timeout_s, tick)

    def send(self, value: Any) -> None:
        """Hand over a value, whose answer is received later."""
        self._write(_line(value))

    def receive(self, timeout_s: float, tick: Callable[[], None] | None = None) -> Any:
        """Wait for the next answer. Raises EdgeconvError where the child dies, errs or takes too long."""
        end = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            piece = self._printed.piece(TICK_S)
            if piece:
                self._pending += piece
            elif piece is not None:
                raise EdgeconvError(self._ending())
            elif tick is not None:
                tick()
            if time.monotonic() > end:
                self.kill()
                raise EdgeconvError(f"{self.what} did not answer within {timeout_s:g} s")
        line, _, self._pending = self._pending.partition(b"\n")
        return _answer(line)

    def _ending(self) -> str:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"{self.what} stopped answering"
        self._log.seek(0)
        return child_failure(self.what, code, self._log.read().decode(errors="replace"))

    def end(self, timeout_s: float) -> None:
        """Let the child end by itself. Raises EdgeconvError where that crashes or takes too long."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EdgeconvError(f"{self.what} did not end within {timeout_s:g} s") from error
        if crash(code):
            raise EdgeconvError(self._ending())

    def kill(self) -> None:
        """End the child now."""
        if self.process.poll() is None:
            _kill(self.process)
        self.process.wait()

    def close(self, patience_s: float = 2.0) -> None:
        """End the child, which has ``patience_s`` to notice, and free what belongs to it."""
        if self.process.stdin is not None:
            # it may have died with something unread; what it answered is already known
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
        LOG.debug("process %d ended with %d", self.process.pid, self.process.returncode)
        self._printed.close()
        self._log.close()


def _kill(child: Child) -> None:
    """End a child that runs, and remove the temporary folders that it can remove no more."""
    child.kill()
    child.wait()
    sweep_temporary()


def child_failure(what: str, returncode: int, stderr: str) -> str:
    """Say in one sentence how a child process ended: its own sentence, a bug's last line, or the signal's name."""
    if crashed := crash(returncode):
        why = (
            ": its wheel uses instructions that this processor has not"
            if crashed == "SIGILL"
            else ""
        )
        return f"{what} crashed with {crashed}{why}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return f"{what} ended with exit code {returncode}"
    ours = lines[-1].startswith("Error: ")
    return lines[-1].removeprefix("Error: ") if ours else f"{what} failed: {lines[-1]}"


def _command(python: Sequence[str] = ()) -> list[str]:
    """Return what starts a child; -P keeps the current folder's json.py or numpy.py out of it."""
    return [*(python or (sys.executable,)), "-P", str(Path(__file__).with_name("isolated.py"))]


def other_python(path: str) -> tuple[str, ...]:
    """Return the command of another Python, without what is on this one's path."""
    return ("env", "-u", "PYTHONHOME", "-u", "PYTHONPATH", path)


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _first_line(function: str, value: Any, what: str) -> bytes:
    return _line({"function": function, "value": value, "what": what})


def _answer(line: bytes) -> Any:
    said = json.loads(line)
    if "error" in said:
        usage = said.get("exit_code") == UsageError.exit_code
        raise (UsageError if usage else EdgeconvError)(said["error"])
    return said["answer"]


def main() -> int:
    """Serve one parent: the child's side. Returns the exit code."""
    choose_temporary_folder()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limit_child()
    asked = json.loads(sys.stdin.readline())
    try:
        for answer in _answers(asked["function"], asked["value"]):
            answers.write(_line({"answer": answer}))
            answers.flush()
    except EdgeconvError as error:
        answers.write(_line({"error": str(error), "exit_code": error.exit_code}))
        return error.exit_code
    except MemoryError:
        says = f"{asked['what']} does not fit into this machine's memory"
        answers.write(_line({"error": says}))
        return 1
    finally:
        with contextlib.suppress(BrokenPipeError):  # the parent has gone: nobody left to tell
            answers.close()
    return 0


def _answers(function: str, value: Any) -> Iterator[Any]:
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)
    if inspect.isgeneratorfunction(found):
        yield from found(value, map(json.loads, sys.stdin))
    else:
        yield found(value)
