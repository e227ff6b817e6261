"""The files that tasks read: named by their hashes, so that they can be sent to a worker once."""

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import digest


@dataclass
class Inputs:
    """Every file and folder that a sweep's tasks read, by the hash of their content."""

    known: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    _seen: dict[tuple[Path, ...], str] = field(default_factory=dict)

    def add(self, *paths: Path) -> str:
        """Return "@HASH/NAME" for the first of ``paths``, which lie in one folder and go together.

        Raises UsageError for one that does not exist.
        """
        for path in paths:
            if not path.exists():
                raise UsageError(f"{path} does not exist")
        places = tuple(path.absolute() for path in paths)
        if places not in self._seen:
            whole = "".join(f"{path.name}:{digest(path)}\n" for path in places)
            self._seen[places] = hashlib.sha256(whole.encode()).hexdigest()[:32]
        key = self._seen[places]
        self.known[key] = places
        return f"@{key}/{paths[0].name}"

    def pack(self, key: str) -> bytes:
        """Return the files of ``key`` as one tar."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for path in self.known[key]:
                tar.add(path, path.name)
        return made.getvalue()


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
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(folder, filter="data")
