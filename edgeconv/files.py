"""Write files so that a final name never holds half a file."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.settle import lock

TEMPORARY = "edgeconv-tmp-"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files in the order of their names, names included."""
    if not path.is_dir():
        return sha256(path)
    whole = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return whole.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes that name, on failure it is removed.

    Raises EdgeconvError naming ``path`` where the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise EdgeconvError(f"cannot write {path}: {error.strerror or error}") from error
    os.close(handle)
    part = Path(name)
    held = lock(part, wait=False)
    try:
        _sweep(path.parent, f".{path.name}.", ".part")
        yield part
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise EdgeconvError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder (in ``parent``, else where TMPDIR says), gone afterwards.

    What runs that were killed left there goes too. Raises EdgeconvError where none can be made.
    """
    try:
        where = Path(tempfile.gettempdir()) if parent is None else parent
        _sweep(where, TEMPORARY, "")
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=where))
    except OSError as error:
        raise EdgeconvError(f"no temporary folder can be made: {error.strerror}") from error
    held = lock(folder, wait=False)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _sweep(folder: Path, prefix: str, suffix: str) -> None:
    """Remove our temporary files and folders of that name that no live process holds."""
    for path in folder.iterdir():
        if not (path.name.startswith(prefix) and path.name.endswith(suffix)):
            continue
        if (held := lock(path, wait=False)) is not None:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            os.close(held)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of a temporary file and a rename."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8 by way of a temporary file and a rename."""
    write_bytes(path, text.encode())
