"""Move a finished set of files under its final names, whoever dies meanwhile. Standard library only.

A run stages its files in ``OUTPUT/.edgeconv-set-XXXX`` and holds a lock on that folder while it
lives. Once the set is whole it writes ``.commit`` there (JSON: relative name -> digest): from then
on the files belong under their final names, and whoever comes next finishes the moves. ``.old``
keeps what they replaced, to undo a move that fails. ``.done`` is the renamed ``.commit`` of a set
that was moved whole; it stays where the run did not live to report it.

``python settle.py FOLDER`` moves one set: a process of its own outlives a killed parent.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Set
from pathlib import Path

try:
    import fcntl
except ImportError:  # without locks nobody can tell a dead run's folder from a live one's
    fcntl = None  # type: ignore[assignment]

PREFIX = ".edgeconv-set-"
COMMIT, DONE, OLD = ".commit", ".done", ".old"
FULL = errno.ENOSPC, errno.EDQUOT
"""What a full disk says."""


def lock(path: Path, *, wait: bool) -> int | None:
    """Lock a file or folder and return the descriptor that holds the lock; None where somebody else does.

    A symbolic link and what belongs to another user are never ours to lock. Without ``wait`` a held lock
    is not waited for.
    """
    if sys.platform == "win32" or fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        about = os.fstat(handle)
        if about.st_uid == os.geteuid():
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(about, os.stat(path)):  # not swept while we waited
                return handle
    except OSError:
        pass
    os.close(handle)
    return None


def locks() -> bool:
    """Whether this system has locks at all."""
    return fcntl is not None


def listed(root: Path, name: str) -> dict[str, str]:
    """Return the table ``name`` (COMMIT or DONE) of a staging folder; empty where it has none."""
    path = root / name
    if path.is_symlink() or not path.is_file():  # a pipe would never end
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    inside = isinstance(found, dict) and all(isinstance(v, str) for v in found.values())
    # a name that leaves the output folder is none that we wrote
    if not inside or any(Path(k).is_absolute() or ".." in Path(k).parts for k in found):
        return {}
    return dict(found)


class HalfMovedError(OSError):
    """Neither could the moves be finished nor undone: the note stays, and whoever comes next finishes."""


def settle(root: Path) -> None:
    """Move what the note lists and is not moved yet. The caller holds the lock.

    What asks for room on the disk and can wait for nobody, folders and second names, comes before the
    first move: a full disk is found while there is nothing to undo.
    """
    waiting = [
        (root / name, root.parent / name, root / OLD / name)
        for name in listed(root, COMMIT)
        if os.path.lexists(root / name) and not (root.parent / name).parent.is_symlink()
    ]
    for _, target, kept in waiting:
        target.parent.mkdir(exist_ok=True)
        if os.path.lexists(target) and not os.path.lexists(kept):
            kept.parent.mkdir(parents=True, exist_ok=True)
            _name_twice(target, kept)
    for fresh, target, kept in waiting:
        if os.path.lexists(target) and not os.path.lexists(kept):
            os.replace(target, kept)
        os.replace(fresh, target)
    os.replace(root / COMMIT, root / DONE)


def _name_twice(target: Path, kept: Path) -> None:
    """Keep ``target`` as ``kept`` too, so that the first name is never missing, if it may be.

    A folder cannot be renamed over another, and has one name.
    """
    if target.is_dir() and not target.is_symlink():
        return
    try:
        os.link(target, kept, follow_symlinks=False)
    except NotImplementedError:  # a system that gives symbolic links no second name
        return
    except OSError as error:
        if error.errno in FULL:
            raise


def undo(root: Path) -> None:
    """Bring back what ``settle`` replaced, after it failed. The caller holds the lock.

    Raises HalfMovedError where even that cannot be moved.
    """
    stuck = []
    for name in reversed(listed(root, COMMIT)):
        fresh, target, kept = root / name, root.parent / name, root / OLD / name
        try:
            if not os.path.lexists(fresh) and os.path.lexists(target):
                os.replace(target, fresh)
            if os.path.lexists(kept):
                os.replace(kept, target)
        except OSError as error:
            if os.path.lexists(kept):
                raise HalfMovedError(*error.args) from error
            stuck.append(target)  # nothing was there: to remove it asks for no room
    os.unlink(root / COMMIT)
    for target in stuck:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


def settle_all(folder: Path) -> None:
    """Finish the sets that killed runs had committed in ``folder``; a folder that may not be written stays."""
    for root in _roots(folder):
        if (root / COMMIT).exists() and (handle := lock(root, wait=True)) is not None:
            with contextlib.suppress(OSError), _held(handle):
                if (root / COMMIT).exists():
                    settle(root)


def sweep(folder: Path) -> dict[str, str]:
    """Remove what dead runs left in ``folder``, and finish what they had committed.

    Returns relative name -> digest of the sets that are there but were never reported.
    """
    unreported: dict[str, str] = {}
    for root in _roots(folder):
        if (handle := lock(root, wait=False)) is None:
            continue
        with contextlib.suppress(OSError), _held(handle):
            if (root / COMMIT).exists():
                settle(root)
            if found := listed(root, DONE):
                unreported |= found
            else:
                shutil.rmtree(root, ignore_errors=True)
    return unreported


def forget(folder: Path, names: Set[str]) -> None:
    """Remove the notes of unreported sets that share one of ``names``: a later run reported them."""
    for root in _roots(folder):
        if names & listed(root, DONE).keys() and (handle := lock(root, wait=False)) is not None:
            with _held(handle):
                remove(root)


def remove(root: Path) -> None:
    """Remove a staging folder, its note last: killed in between, the note still says whose set it is."""
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)


def _roots(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(PREFIX))
    except OSError:
        return []


@contextlib.contextmanager
def _held(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)


if __name__ == "__main__":
    settle(Path(sys.argv[1]))
