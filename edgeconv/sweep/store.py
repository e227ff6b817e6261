"""Results on disk, addressed by what they depend on: an interrupted sweep goes on where it stopped."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.files import temporary_folder
from edgeconv.foreign import read_bytes
from edgeconv.settle import PREFIX, lock, locks

RESULT = "result.json"


def key_of(kind: str, spec: Mapping[str, Any], versions: Mapping[str, Any]) -> str:
    """Return the address of a result: SHA-256 of the task, its inputs' hashes and the versions."""
    text = json.dumps([kind, spec, versions], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Store:
    """A folder of results; each is a folder of files with ``result.json`` among them, or is not there."""

    folder: Path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for one sweep; a new one without a result, with nothing beside it, is removed.

        Raises EdgeconvError where another one holds it.
        """
        new = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeconvError(f"cannot write {self.folder}: {error.strerror or error}") from error
        handle = lock(self.folder, wait=False)
        if handle is None and locks():
            raise EdgeconvError(
                f"another sweep is at work in {self.folder.parent}: wait for it, or name another --output"
            )
        try:
            yield
        finally:
            for place in self.folder.glob("??"):  # of results that were not made
                with contextlib.suppress(OSError):
                    place.rmdir()
            with contextlib.suppress(OSError):  # what is in one keeps it
                alone = [*self.folder.parent.iterdir()] == [self.folder]
                for place in new if alone else ():  # a table beside it is a sweep's that goes on
                    place.rmdir()
            if handle is not None:
                os.close(handle)

    def place(self, key: str) -> Path:
        """Return where the result of ``key`` lies once it is done."""
        return self.folder / key[:2] / key

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a result, None where there is none; a damaged one is removed and counts as none."""
        path = self.place(key) / RESULT
        try:
            found = json.loads(read_bytes(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            shutil.rmtree(self.place(key), ignore_errors=True)
            return None
        return found

    @contextlib.contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the result of ``key`` once ``result.json`` is in it.

        It takes its place by one rename. Without ``result.json``, or on an error, it is removed.
        Another process that was faster wins: equal keys mean equal results.
        """
        place = self.place(key)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeconvError(
                f"cannot write {place.parent}: {error.strerror or error}"
            ) from error
        with temporary_folder(place.parent, f".{key[:8]}.") as part:
            try:
                yield part
                if (part / RESULT).is_file():
                    part.chmod(0o755)
                    os.replace(part, place)
            except OSError as error:
                if not (place / RESULT).is_file():
                    raise EdgeconvError(
                        f"cannot write {place}: {error.strerror or error}"
                    ) from error

    def put(self, key: str, result: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Keep a result that was made elsewhere with its files (relative name -> content)."""
        with self.making(key) as part:
            for name, content in files.items():
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            write_result(part, result)

    def drop(self, key: str) -> None:
        """Forget a result."""
        shutil.rmtree(self.place(key), ignore_errors=True)

    def clear(self) -> None:
        """Forget every result."""
        for part in self.folder.glob("??"):
            shutil.rmtree(part, ignore_errors=True)

    def sweep_parts(self) -> None:
        """Remove what runs that were killed left half-made, while the folder is held."""
        for part in self.folder.glob("??/.*"):
            shutil.rmtree(part, ignore_errors=True)

    def in_words(self, text: str) -> str:
        """Return an error without the folders in which results are made, which are gone when it is read."""
        made = rf"{re.escape(str(self.folder))}/\w\w/\.\w{{8}}\.\w+/(?:{re.escape(PREFIX)}\w+/)?"
        return re.sub(made, lambda _: f"{self.folder}/", text)


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write ``result.json`` into ``folder``."""
    (folder / RESULT).write_text(json.dumps(result, sort_keys=True), encoding="utf-8")
