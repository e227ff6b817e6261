"""What runs on a dask worker: a task with its files at hand. Only JSON and tars of files travel."""

import io
import tarfile
import time
from pathlib import Path
from typing import Any

from edgeconv.cache import cache_dir
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import temporary_folder
from edgeconv.sweep.inputs import Files, unpack
from edgeconv.sweep.tasks import perform

Answer = tuple[dict[str, Any], bytes, float]
"""A result or {"error": ...}, its files as a tar, and the seconds that the work itself took."""


Needs = dict[str, bytes | Files]
"""Hash -> the files as a tar, or where they lie on this machine."""


def on_worker(kind: str, spec: dict[str, Any], needs: Needs) -> Answer:
    """Do a task on a worker."""
    started = time.perf_counter()
    places = {key: _at_hand(key, data) for key, data in needs.items()}
    with temporary_folder() as scratch:
        folder = scratch / "files"
        folder.mkdir()
        try:
            result = perform(kind, spec, places, folder)
        except EdgeconvError as error:
            told = {"error": str(error), "usage": isinstance(error, UsageError)}
            return told, b"", time.perf_counter() - started
        packed = _packed(folder)
    return result, packed, time.perf_counter() - started


def _packed(folder: Path) -> bytes:
    """Return the files below ``folder`` as a tar; nothing where there is none."""
    paths = sorted(item for item in folder.rglob("*") if item.is_file())
    if not paths:
        return b""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path in paths:
            tar.add(path, path.relative_to(folder).as_posix())
    return made.getvalue()


def once(name: str, kind: str, spec: dict[str, Any], needs: Needs) -> Answer:
    """Do a task as ``on_worker``, unless one of that ``name`` was started before.

    A scheduler of the user's starts a task again whose worker died; a board may still be busy with it.
    """
    import distributed

    client = distributed.get_client()
    place = ["edgeconv", name]
    if client.get_metadata(place, default=False):
        text = "its worker died while the board was timing it: run the same sweep again"
        return {"error": text}, b"", 0.0
    client.set_metadata(place, True)
    return on_worker(kind, spec, needs)


def _at_hand(key: str, data: bytes | Files) -> Files:
    """Return the files of ``key`` on this machine; a tar, which holds no others, is unpacked once."""
    if isinstance(data, Files):
        return data
    place = cache_dir() / "sweep" / key
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place.parent, f".{key[:8]}.") as part:
            unpack(data, part)
            try:
                part.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
    return Files(place, ())


def unpacked(data: bytes) -> dict[str, bytes]:
    """Read a tar of a worker's files; names that lead out of the folder are refused by EdgeconvError."""
    found: dict[str, bytes] = {}
    if not data:
        return found
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            parts = Path(member.name).parts
            if not member.isfile() or ".." in parts or Path(member.name).is_absolute():
                raise EdgeconvError(f"a worker sent {member.name!r}, which is no file of a result")
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found
