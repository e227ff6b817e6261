"""Keep what native code writes to standard error or output out of the terminal, and hand it to whoever asks."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO


class Captured:
    """What was written so far; complete once the ``with`` block has ended."""

    text = ""


def quiet_stderr() -> AbstractContextManager[Captured]:
    """Send file descriptor 2 to a temporary file for the length of the block.

    LiteRT announces its delegate and its errors there and has no switch for it. ExecuTorch writes to
    ``sys.stderr``, which a display may have put in its place: what that is goes to the file too, so
    nothing else should print meanwhile.
    """
    return _quiet(2, redirect_stderr)


def quiet_stdout() -> AbstractContextManager[Captured]:
    """Send file descriptor 1 and ``sys.stdout`` to a temporary file for the length of the block."""
    return _quiet(1, redirect_stdout)


@contextmanager
def _quiet(
    number: int, redirect: Callable[[TextIO], AbstractContextManager[Any]]
) -> Iterator[Captured]:
    captured = Captured()
    _flush()
    with tempfile.TemporaryFile() as file:
        try:
            saved = os.dup(number)
        except OSError:  # a process without it has nothing to keep quiet
            yield captured
            return
        os.dup2(file.fileno(), number)
        try:
            with open(os.dup(number), "w", buffering=1, encoding="utf-8") as text, redirect(text):
                yield captured
        finally:
            _flush()
            os.dup2(saved, number)
            os.close(saved)
            file.seek(0)
            captured.text = file.read().decode(errors="replace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a process may be started without it
            stream.flush()
