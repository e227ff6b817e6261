"""Put a set of finished files under their final names: all of them or none, at whatever moment it stops."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeconv import settle
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import digest, held_folder
from edgeconv.signals import Undivided
from edgeconv.system import start_apart

SYNCED = os.O_RDONLY if os.name == "posix" else os.O_RDWR
"""How a file is opened to bring it to the disk: Windows wants to be allowed to write."""


@dataclass(frozen=True)
class Staged:
    """A hidden folder ``place`` in the output folder, locked by ``lock``, where files are made.

    ``unreported`` is relative name -> digest of what a killed run put into the output folder: the
    same command may write it again.
    """

    place: Path
    lock: int | None
    unreported: dict[str, str]


@contextmanager
def staging(folder: Path) -> Iterator[Staged]:
    """Yield a staging folder inside ``folder``; it is gone afterwards, and so is what dead runs left.

    Raises EdgeconvError where ``folder`` cannot be written.
    """
    fresh = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    staged, ended, half = None, False, False
    try:
        with Undivided():
            folder.mkdir(parents=True, exist_ok=True)
            unreported = settle.sweep(folder)
            staged = Staged(*held_folder(folder, settle.PREFIX), unreported)
        yield staged
        ended = True
    except settle.HalfMovedError as error:
        half = True
        raise EdgeconvError(
            f"cannot write to {folder}: {error.strerror or error}; some files of the set there are the new "
            "ones, some the old ones, and none could be moved back: the same command finishes the set "
            "once it can write"
        ) from error
    except OSError as error:
        raise EdgeconvError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        with Undivided():
            if staged is not None:
                _unstage(staged, ended, half)
            for place in fresh:  # those that are empty: nothing came of it
                with contextlib.suppress(OSError):
                    place.rmdir()


def _unstage(staged: Staged, ended: bool, half: bool) -> None:
    published = settle.listed(staged.place, settle.DONE)
    if ended:
        settle.forget(staged.place.parent, published.keys())
    # what was moved but will not be reported keeps its note, and so does what is moved by half
    if ended or not (published or half):
        settle.remove(staged.place)
    if staged.lock is not None:
        os.close(staged.lock)


def publish(staged: Staged, *, force: bool) -> None:
    """Move every staged file, and every package as a whole, to the same relative name in the output.

    Without ``force`` one that exists with other contents is refused before anything moves. Raises
    EdgeconvError where a file cannot be moved; what was there before is then back in its place.
    """
    folder = staged.place.parent
    units = {path.relative_to(staged.place).as_posix(): digest(path) for path in _units(staged)}
    for name, fresh in units.items():
        target = folder / name
        if target.parent.is_symlink() and target.parent != folder:
            raise EdgeconvError(
                f"{target.parent} is a symbolic link, which is not followed: remove it, or name "
                "another --output"
            )
        if os.path.lexists(target) and not force and _differs(target, fresh):
            raise UsageError(
                f"{target} exists and belongs to another export; --force replaces it, or name "
                "another --output"
            )
    note = staged.place / ".note"
    note.write_bytes(json.dumps(units).encode())
    _sync(staged)
    os.replace(note, staged.place / settle.COMMIT)
    _move(staged)


def _differs(target: Path, fresh: str) -> bool:
    return target.is_symlink() or not target.exists() or digest(target) != fresh


def _units(staged: Staged) -> list[Path]:
    """Return what is moved as one: files, and packages as a whole."""
    found = []
    for path in sorted(staged.place.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.suffix != ".mlpackage":
            found += sorted(item for item in path.rglob("*") if item.is_file())
        else:
            found.append(path)
    return found


def _sync(staged: Staged) -> None:
    """Bring the files to the disk before the note that vouches for them."""
    for path in staged.place.rglob("*"):
        if path.is_file():
            handle = os.open(path, SYNCED)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _move(staged: Staged) -> None:
    """Let a process of its own move the set, where one can be had; undo it where it cannot be moved."""
    held = () if staged.lock is None else (staged.lock,)  # the lock lasts as long as the mover
    command = [sys.executable, "-I", "-S", settle.__file__, str(staged.place.absolute())]
    quiet = subprocess.DEVNULL
    with contextlib.suppress(OSError, ValueError):
        mover = start_apart(command, stdin=quiet, stdout=quiet, stderr=quiet, pass_fds=held)
        try:
            mover.wait()
        except BaseException:
            mover.wait()  # it takes no longer than the renames; half a set is not to be left
            raise
    if not (staged.place / settle.COMMIT).exists():
        return
    try:
        settle.settle(staged.place)
    except OSError:
        settle.undo(staged.place)
        raise
