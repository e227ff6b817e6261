"""What asks a command to end, Ctrl-C, SIGTERM and SIGHUP: at once before it begins, an exception while it runs.

The entry point imports this before all else: it imports nothing heavy.
"""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn, Self

ENDED_AT = 128
"""An exit code above it says which signal ended the command, as a shell does."""
ASKED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals by which a user or a system asks a command to end; Windows has not all of them."""


def end_early(number: int, _frame: FrameType | None = None) -> NoReturn:
    """End the process: nothing was begun that has to be cleaned up, and an import would turn an exception into another."""
    says = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    try:
        os.write(2, f"Error: {says}\n".encode())
    finally:
        os._exit(ENDED_AT + number)


OURS = (signal.SIG_DFL, signal.default_int_handler, end_early)
"""Handlers that we replace: others are a calling program's, or say that the signal is to be ignored."""


class StoppedError(KeyboardInterrupt):
    """A signal asked the process to end: what cleans up after Ctrl-C does so after it too."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


PATIENCE_S = 5.0
"""How long a user's import, or what is done whole, may go on after somebody asked for the end."""
LATER_S = 0.05
LIBRARIES = ("site-packages", "dist-packages")
"""Folders that pip and Debian install into."""


class Undivided:
    """What is done in its block is done whole: who asks for the end meanwhile is heard afterwards.

    A folder that was made is then known to whoever removes it. ``PATIENCE_S`` is the limit.
    """

    depth = 0
    """How many blocks the main thread is in."""

    def __enter__(self) -> None:
        self._counts = threading.current_thread() is threading.main_thread()
        Undivided.depth += self._counts

    def __exit__(self, *_error: object) -> None:
        Undivided.depth -= self._counts


class Stops:
    """Lets SIGTERM and SIGHUP end the command as Ctrl-C does, children and temporary files included.

    A library that is being imported is imported first: interrupted in its first lines it may end the process
    (onnx aborts), or call itself damaged. What a library imports for itself is waited for however long it takes.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._asked_at: float | None = None
        self._before: dict[int, Any] = {}
        self._coming: dict[int, threading.Timer] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in ASKED}
            self._before = {number: old for number, old in found.items() if old in OURS}
        for number in self._before:
            signal.signal(number, self._stop)
        return self

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self._asked_at = self._asked_at or now
        patient = now - self._asked_at < PATIENCE_S
        if _library_imports(frame) or (patient and (Undivided.depth or _imports(frame))):
            self._ask_again(number)
            return
        self._asked_at = None
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        signal.signal(number, signal.SIG_IGN)  # cleaning up is not to be cut short by the same wish
        self._heard = number
        raise StoppedError(number)

    def _ask_again(self, number: int) -> None:
        """Send the signal to the main thread once more, a little later; however often it comes meanwhile."""
        if number in self._coming:
            return

        def ask() -> None:
            if self._coming.pop(number, None) is not None:
                _send(number)

        timer = self._coming[number] = threading.Timer(LATER_S, ask)
        timer.daemon = True
        timer.start()

    def end_at_once(self) -> None:
        """Let whoever asks again not wait: all is cleaned up, and only the sentence is left to say.

        What was asked before is being done.
        """
        self._coming.clear()
        for number in self._before:
            if number != self._heard:
                signal.signal(number, signal.SIG_DFL)

    def code(self, code: int) -> int:
        """Return the exit code: a command that shows what it has so far says Ctrl-C's whatever it heard."""
        return ENDED_AT + self._heard if self._heard and code == ENDED_AT + signal.SIGINT else code

    def __exit__(self, *_error: object) -> None:
        # all is said: what is left is the interpreter's end
        for number, old in self._before.items():
            signal.signal(number, signal.SIG_DFL if old is end_early else old)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported below ``frame``."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _library_imports(frame: FrameType | None) -> bool:
    """Whether an installed library imports another below ``frame``.

    It may take the interrupt for a package that is missing, and go on (coremltools and executorch do): the wish is
    lost then, and what was half imported crashes when it is imported again (torch).
    """
    importing = False
    while frame is not None:
        code, caller = frame.f_code, frame.f_back
        if code.co_filename.startswith("<frozen importlib"):
            importing = True
        elif importing and code.co_name == "<module>" and _installed(code.co_filename):
            # a program's own first lines, or those of what runs it, are no import
            return caller is not None and caller.f_code.co_filename.startswith("<frozen importlib")
        frame = caller
    return False


def _installed(file: str) -> bool:
    return any(part in LIBRARIES for part in file.replace(os.sep, "/").split("/"))


def _send(number: int) -> None:
    """Send a signal to the main thread."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
