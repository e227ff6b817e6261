"""Find the parts of an .mlpackage folder, and never look outside it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeconv.foreign import read_bytes
from edgeconv.formats.protobuf import CorruptFileError

MAX_MODEL_BYTES = 1 << 30


@dataclass(frozen=True)
class Package:
    """Where the specification of a package lies; ``folder`` is what "@model_path" stands for."""

    path: Path
    model: Path

    @property
    def folder(self) -> Path:
        """The folder of the specification."""
        return self.model.parent

    def resolve(self, name: str) -> Path:
        """Return a weight file by the name a program gives it.

        Raises CorruptFileError where that is absolute, leaves the package, or is no file.
        """
        prefix = "@model_path/"
        relative = name.removeprefix(prefix)
        if relative == name:
            raise CorruptFileError(f"{self.path} names the weight file {name}, not {prefix}...")
        return _inside(self.path, self.folder / relative, name)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Begin a CorruptFileError that does not name the package with its name."""
    try:
        yield
    except CorruptFileError as error:
        said = str(error)
        raise CorruptFileError(said if path.name in said else f"{path}: {said}") from error


def open_package(path: Path) -> Package:
    """Read the manifest of a package.

    Raises CorruptFileError where it is missing, unreadable, or points outside the folder.
    """
    manifest = path / "Manifest.json"
    try:
        data = json.loads(read_bytes(manifest))
        item = data["itemInfoEntries"][data["rootModelIdentifier"]]["path"]
    except OSError as error:
        raise CorruptFileError(
            f"{path} is no .mlpackage: {manifest.name}: {error.strerror or error}"
        ) from error
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"{manifest} is not a package manifest: it is not text") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFileError(f"{manifest} is not a package manifest: {error}") from error
    if not isinstance(item, str):
        raise CorruptFileError(f"{manifest} names no model file")
    model = _inside(path, path / "Data" / item, item)
    if model.stat().st_size > MAX_MODEL_BYTES:
        raise CorruptFileError(f"{model} is larger than {MAX_MODEL_BYTES} bytes")
    return Package(path, model)


def _inside(package: Path, target: Path, name: str) -> Path:
    try:
        found = target.resolve()
        if not found.is_relative_to(package.resolve()):
            raise CorruptFileError(f"{package} points outside itself: {name}")
        if not found.is_file():
            raise CorruptFileError(f"{package} names {name}, which is not there")
    except (OSError, ValueError) as error:  # names that no file system takes
        raise CorruptFileError(f"{package} names {name!r}, which is no file name") from error
    return found


def package_sha256(path: Path) -> str:
    """SHA-256 over the names and bytes of every file of a package, in hex."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        data = file.read_bytes()
        name = file.relative_to(path).as_posix().encode()
        digest.update(len(name).to_bytes(8, "little") + name)
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
