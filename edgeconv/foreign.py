"""Open files that we did not write: a pipe or a device may never end, a folder is no file."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from edgeconv.errors import UsageError

MAX_BYTES = 256 << 20
"""A text beyond this is none that we wrote, and would fill the memory."""


def refuse_missing(path: Path) -> None:
    """Raise UsageError where there is neither a file nor a folder; a pipe or a device may never end."""
    if not path.is_dir():
        refuse_no_file(path)


def refuse_no_model(path: Path) -> None:
    """Raise UsageError where there is no model: a regular file, or a folder where it is a Core ML package."""
    if path.suffix.lower() != ".mlpackage" or not path.is_dir():
        refuse_no_file(path)


def refuse_no_file(path: Path, before: str = "", after: str = "") -> None:
    """Raise UsageError where there is no regular file; ``before`` and ``after`` stand around what is wrong."""
    if path.is_file():
        return
    if path.is_dir():
        wrong = "is a folder, not a file"
    elif path.exists():
        wrong = "is no file but a pipe or a device"
    else:
        wrong = "does not exist"
    raise UsageError(f"{before}{path} {wrong}{after}")


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read bytes. Raises OSError for anything else, without waiting for it."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file but a pipe, a device or a folder", str(path))
    return os.fdopen(handle, "rb")


def read_bytes(path: Path) -> bytes:
    """Return what a small regular file holds; raises OSError for one of over 256 MiB."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"it has {size >> 20} MiB", str(path))
        return file.read(MAX_BYTES)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a small regular file; raises OSError, or UnicodeDecodeError for other bytes."""
    return read_bytes(path).decode(encoding)
