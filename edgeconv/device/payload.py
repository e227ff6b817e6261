"""What a board runs of our own Python files, as an archive: the same bytes from the same files."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import edgeconv

PACKAGE = Path(edgeconv.__file__).parent
LEFT_OUT = (
    "calib_data", "__pycache__", "bundled", "golden",
    "evaluate", "export", "layers", "mcu", "mil", "models", "rescue", "sweep", "train",
)  # fmt: skip
"""Folders of data and weights, and of what converts, trains or judges: a board runs files, and says what they gave."""


def sources() -> list[tuple[str, bytes]]:
    """(name below src/, content) of every module that a board's commands may import."""
    found = []
    for folder, names, files in os.walk(PACKAGE, followlinks=True):
        names[:] = sorted(name for name in names if name not in LEFT_OUT)
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder) / name
                found.append(
                    (f"edgeconv/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes())
                )
    return found


def archive(entries: Iterable[tuple[str, bytes]], *, gzip: bool = False) -> bytes:
    """A tar of (name, content): sorted, without times or owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(entries):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755 if name.endswith("run.py") else 0o644
            tar.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    if not gzip:
        return data
    import gzip as compression

    return compression.compress(data, mtime=0)


def zipped(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of (name, content), as a wheel is one: sorted, without times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in sorted(entries):
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
