"""A pseudo terminal of the tests: what is written to it is read to its end, however it is cut."""

import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


def read_to_the_end(master: int) -> str:
    """Return all that a terminal was sent, and close it; its other end is closed already.

    The kernel hands on what was written in pieces of any length: one read is not all of it.
    """
    sent = b""
    try:
        while piece := os.read(master, 65536):
            sent += piece
    except OSError:  # Linux says that the other end is closed this way
        pass
    finally:
        os.close(master)
    return sent.decode().replace("\r\n", "\n")


@contextmanager
def terminal() -> Iterator[tuple[IO[str], list[str]]]:
    """Yield a stream that is a terminal, and a list that holds its lines after the block."""
    master, slave = pty.openpty()
    lines: list[str] = []
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream, lines
    lines.extend(read_to_the_end(master).splitlines())
