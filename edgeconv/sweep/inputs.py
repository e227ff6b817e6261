"""The files that tasks read: named by their hashes, so that they can be sent to a worker once."""

import hashlib
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import digest


@dataclass(frozen=True)
class Files:
    """Files and folders that go together: ``names`` below ``folder``."""

    folder: Path
    names: tuple[str, ...]


@dataclass
class Inputs:
    """Every file and folder that tasks read, by the hash of their content."""

    known: dict[str, Files] = field(default_factory=dict)
    _seen: dict[Files, str] = field(default_factory=dict)

    def add(self, *paths: Path) -> str:
        """Return "@HASH/NAME" for the first of ``paths``, which lie in one folder and go together.

        Raises UsageError for one that does not exist.
        """
        folder = paths[0].absolute().parent
        return f"@{self._key(Files(folder, tuple(path.name for path in paths)))}/{paths[0].name}"

    def add_below(self, folder: Path, names: Sequence[str]) -> str:
        """Return "@HASH/." for ``names`` (relative paths) of ``folder`` alone; it stands for the folder."""
        return f"@{self._key(Files(folder.absolute(), tuple(names)))}/."

    def _key(self, files: Files) -> str:
        if files not in self._seen:
            whole = "".join(f"{name}:{_digest(files.folder / name)}\n" for name in files.names)
            self._seen[files] = hashlib.sha256(whole.encode()).hexdigest()[:32]
        key = self._seen[files]
        self.known[key] = files
        return key

    def pack(self, key: str) -> bytes:
        """Return the files of ``key`` as one tar."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name in self.known[key].names:
                tar.add(self.known[key].folder / name, name)
        return made.getvalue()


def _digest(path: Path) -> str:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    return digest(path)


def wanted(spec: object) -> set[str]:
    """Return the hashes that a task's spec names, in whatever it is nested.

    >>> wanted({"net": "@12/m.onnx", "more": ["@34/photos"]}) == {"12", "34"}
    True
    """
    if isinstance(spec, str):
        return {spec[1:].partition("/")[0]} if spec.startswith("@") else set()
    if isinstance(spec, dict):
        return set().union(*(wanted(value) for value in spec.values()))
    if isinstance(spec, (list, tuple)):
        return set().union(*(wanted(value) for value in spec))
    return set()


def unpack(data: bytes, folder: Path) -> None:
    """Write a tar of ``Inputs.pack`` below ``folder``."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        tar.extractall(folder, filter="data")
