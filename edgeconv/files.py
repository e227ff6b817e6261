"""Write files so that a final name never holds half a file."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import open_file
from edgeconv.settle import lock
from edgeconv.signals import Undivided
from edgeconv.terminal import plain

TEMPORARY = "edgeconv-tmp-"
TRIES = 3
"""How often a temporary folder is removed that is still there."""

FOLDERS = ("/tmp", "/var/tmp", "/usr/tmp")
"""Where temporary files go if none of TMPDIR, TEMP and TMP names a folder that may be written."""


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex, read in 1 MiB pieces; raises OSError for a pipe or a device."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


PARTNERS = {".param": ".bin"}
"""Suffix of a model that is two files -> that of the other one, which lies beside it: ncnn's weights."""


def partner(path: Path) -> Path | None:
    """Return the file that ``path`` is a model with, whether it is there or not; None for most.

    >>> partner(Path("net.ncnn.param")), partner(Path("net.onnx"))
    (PosixPath('net.ncnn.bin'), None)
    """
    suffix = PARTNERS.get(path.suffix.lower())
    return None if suffix is None else path.with_suffix(suffix)


def refuse_weights_alone(path: Path) -> None:
    """Raise UsageError for the second file of a model whose first lies beside it: that one is the model."""
    for suffix, second in PARTNERS.items():
        if path.suffix.lower() != second:  # a folder as "." has no name to change
            continue
        first = path.with_suffix(suffix)
        if first.is_file():
            raise UsageError(
                f"{path} holds the weights of {first.name}: name that file, the two are one model"
            )


def model_files(path: Path) -> list[Path]:
    """Return every file of a model: itself and its partner, or what is in its folder."""
    if path.is_dir():
        return sorted(item for item in path.rglob("*") if item.is_file())
    other = partner(path)
    return [path] if other is None or not other.is_file() else [path, other]


def model_bytes(path: Path) -> int:
    """Return the size of a model: of all its files together."""
    return sum(file.stat().st_size for file in model_files(path))


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder or of a model that is two, names included."""
    files = model_files(path)
    if files == [path]:
        return sha256(path)
    folder, whole = path if path.is_dir() else path.parent, hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder).as_posix()}\0{sha256(file)}\n".encode())
    return whole.hexdigest()


def check_writable(path: Path, flag: str, *, folder: bool = False) -> None:
    """Raise where no file (no ``folder``) can be written at ``path``, which ``flag`` names; leave nothing there.

    UsageError for a folder in a file's place, a file in a folder's and a link to nothing there,
    EdgeconvError for what the system refuses.
    """
    if not folder and os.path.isdir(path):
        raise UsageError(f"{flag} {path} is a folder: name a file")
    place = path if folder else path.parent
    held = next(p for p in (place, *place.absolute().parents) if os.path.lexists(p))
    if not held.exists():
        raise UsageError(f"{flag} {path}: {held} is a link to {held.readlink()}, where nothing is")
    if not held.is_dir():
        raise UsageError(f"{flag} {path}: {held} is a file, not a folder")
    try:
        with suppress(FileNotFoundError):
            path.lstat()  # it raises for a name that is too long for any file
        tempfile.TemporaryFile(dir=held).close()
    except OSError as error:
        said = error.strerror or str(error)
        why = said if error.filename == str(path) else f"{held}: {said}"
        raise EdgeconvError(f"{flag} {path} cannot be written: {why}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes that name, on failure it is removed.

    Raises EdgeconvError naming ``path`` where the folder cannot be written or the disk is full.
    """
    prefix, suffix = f".{path.name}.", ".part"

    def make() -> str:
        handle, name = tempfile.mkstemp(suffix, prefix, path.parent)
        os.close(handle)
        return name

    part, held = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Undivided():
            part, held = _held(make)
        _sweep(path.parent, prefix, suffix)
        yield part
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise EdgeconvError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


@contextmanager
def temporary_folder(parent: Path | None = None, prefix: str = TEMPORARY) -> Iterator[Path]:
    """Yield a temporary folder (in ``parent``, else where TMPDIR says), gone afterwards.

    What runs that were killed left there under ``prefix`` goes too. Raises EdgeconvError where none
    can be made.
    """
    folder, held = None, None
    try:
        try:
            where = Path(tempfile.gettempdir()) if parent is None else parent
            _sweep(where, prefix, "")
            with Undivided():
                folder, held = held_folder(where, prefix)
        except OSError as error:
            raise EdgeconvError(
                f"no temporary folder can be made: {error.strerror or error}"
            ) from error
        yield folder
    finally:
        with Undivided():
            if folder is not None:
                _remove(folder)
            if held is not None:
                os.close(held)


def _remove(folder: Path) -> None:
    for _ in range(TRIES):  # a call that failed once, a child that wrote to the last
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break


def choose_temporary_folder() -> None:
    """Choose tempfile's folder as Python does, but without the file that Python tries each folder with.

    A process that is killed between making that file and removing it leaves it, under a name nobody knows.
    """
    if tempfile.tempdir is not None or os.name != "posix":
        return
    named = filter(None, map(os.environ.get, ("TMPDIR", "TEMP", "TMP")))
    for folder in (*named, *FOLDERS):
        if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            tempfile.tempdir = os.path.abspath(folder)
            return


def held_folder(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Return a new folder in ``parent`` and the descriptor that locks it, None where there are no locks."""
    return _held(lambda: tempfile.mkdtemp(prefix=prefix, dir=parent))


def _held(make: Callable[[], str]) -> tuple[Path, int | None]:
    """Return what ``make`` makes and its lock; another run may sweep it before it is locked."""
    while True:
        path = Path(make())
        held = lock(path, wait=True)
        if held is not None or path.exists():
            return path, held


def sweep_temporary() -> None:
    """Remove the temporary folders of dead processes of ours: one that was killed removed none of its own."""
    with suppress(OSError):
        _sweep(Path(tempfile.gettempdir()), TEMPORARY, "")


def _sweep(folder: Path, prefix: str, suffix: str) -> None:
    """Remove our temporary files and folders of that name that no live process holds."""
    for path in folder.iterdir():
        if not (path.name.startswith(prefix) and path.name.endswith(suffix)):
            continue
        if (held := lock(path, wait=False)) is not None:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            os.close(held)


def link(source: Path, place: Path) -> bool:
    """Let ``place`` show a file or folder by a symbolic link; return False where the system makes none."""
    try:
        place.symlink_to(source.absolute(), target_is_directory=source.is_dir())
    except OSError:
        if os.path.lexists(place):
            raise
        return False
    return True


def lay(source: Path, place: Path) -> None:
    """Let ``place`` show a file or folder: by a link, else by a copy. Raises OSError where it is taken."""
    if not link(source, place):
        shutil.copytree(source, place) if source.is_dir() else shutil.copyfile(source, place)


def in_bytes(size: int) -> str:
    """Return a size as it is read: in MB from a tenth of one, below it in kB.

    >>> in_bytes(2_712_345), in_bytes(18_432)
    ('2.7 MB', '18.4 kB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of a temporary file and a rename."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8 by way of a temporary file and a rename.

    What a foreign name could command a terminal or reorder a line with is written as an escape.
    """
    write_bytes(path, plain(text).encode())
