"""Keep what native code writes to standard error out of the terminal, and hand it to whoever asks."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


class Captured:
    """What was written so far; complete once the ``with`` block has ended."""

    text = ""


@contextmanager
def quiet_stderr() -> Iterator[Captured]:
    """Send file descriptor 2 to a temporary file for the length of the block.

    LiteRT announces its delegate and its errors there and has no switch for it. ExecuTorch writes to
    ``sys.stderr``, which a display may have put in its place: what that is goes to the file too, so
    nothing else should print meanwhile.
    """
    captured = Captured()
    _flush()
    with tempfile.TemporaryFile() as file:
        try:
            saved = os.dup(2)
        except OSError:  # a process without standard error has nothing to keep quiet
            yield captured
            return
        os.dup2(file.fileno(), 2)
        try:
            with open(os.dup(2), "w", buffering=1, encoding="utf-8") as text, redirect_stderr(text):
                yield captured
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            captured.text = file.read().decode(errors="replace")


def _flush() -> None:
    if sys.stderr is not None:  # a process may be started without it
        sys.stderr.flush()
