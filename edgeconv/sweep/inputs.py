"""The files that tasks read: named by their hashes, so that they can be sent to a worker once."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.files import digest, lay, link
from edgeconv.pictures import picture_names
from edgeconv.spread import spread
from edgeconv.sweep.beside import Built, build, data_files


@dataclass(frozen=True)
class Files:
    """Files and folders that go together: ``names`` below ``folder``; ``alone``: a task sees no others there."""

    folder: Path
    names: tuple[str, ...]
    alone: bool = False

    def lay(self, place: Path) -> None:
        """Make ``place`` show them."""
        if not self.alone and link(self.folder, place):
            return
        for name in self.names or [path.name for path in self.folder.iterdir()]:
            shown = place / name
            shown.parent.mkdir(parents=True, exist_ok=True)
            lay(self.folder / name, shown)


@dataclass
class Inputs:
    """Every file and folder that tasks read, by the hash of their content.

    ``hashed`` says what that is; where nothing is sent or kept, ``stamp`` is as good. ``shown`` is how errors
    call the folder of a hash; of others they name the bare files.
    """

    known: dict[str, Files] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    hashed: Callable[[Path], str] = digest
    _seen: dict[Files, str] = field(default_factory=dict)
    _built: dict[str, Built | None] = field(default_factory=dict)
    _pictures: dict[Path, list[str]] = field(default_factory=dict)

    def add(self, *paths: Path) -> str:
        """Return "@HASH/NAME" for the first of ``paths``, which lie in one folder and go together.

        Raises UsageError for one that does not exist.
        """
        folder = paths[0].absolute().parent
        return f"@{self._key(Files(folder, tuple(path.name for path in paths)))}/{paths[0].name}"

    def add_net(self, net: str) -> dict[str, str]:
        """Return what a task is told of a file or of code: its ``net``, and where code says more what that is.

        ``beside`` is what it reads by names from the current folder, ``state`` a hash of its weights.
        """
        script, colon, function = net.rpartition(":")
        if not (colon and function.isidentifier()):
            path = Path(net)
            if path.suffix != ".onnx":
                return {"net": self.add(path)}
            names = (path.name, *data_files(path))
            return {"net": self.add_below(path.parent, names)[:-1] + path.name}
        if net not in self._built:
            self._built[net] = build(net)
        built = self._built[net]
        told: dict[str, str] = {} if built is None else {"state": built.state}
        if built is not None and built.relative():
            told["beside"] = self.add_some(Path(), built.relative())
        if not script.endswith(".py"):
            return {"net": net, **told}
        path = Path(script)
        others = () if built is None else built.below(path.parent)
        names = tuple(dict.fromkeys((path.name, *others)))
        where = self.add_below(path.parent, names)[:-1] + path.name
        return {"net": f"{where}:{function}", **told}

    def add_below(self, folder: Path, names: Sequence[str]) -> str:
        """Return "@HASH/." for ``names`` (relative paths) of ``folder`` alone; it stands for the folder."""
        return f"@{self._key(Files(folder.absolute(), tuple(names)))}/."

    def add_pictures(self, folder: Path, names: Sequence[str]) -> str:
        """Do as ``add_below``; errors name the pictures by their whole paths."""
        key = self._key(Files(folder.absolute(), tuple(names)))
        self.shown[key] = f"{folder}/"
        return f"@{key}/."

    def in_words(self, text: str, keys: Iterable[str]) -> str:
        """Return a task's error with the files of ``keys``, which lie in folders named by hashes, as users know them."""
        for key in keys:
            text = text.replace(f"{key}/", self.shown.get(key, ""))
        return text

    def add_some(self, folder: Path, names: Sequence[str]) -> str:
        """Return "@HASH/FOLDER": to a task ``folder`` holds nothing but ``names`` (relative paths)."""
        whole = folder.absolute()
        shown = tuple(f"{whole.name}/{name}" for name in names)
        key = self._key(Files(whole.parent, shown, alone=True))
        if folder.parent != Path():  # errors name files as they were named here
            self.shown[key] = f"{folder.parent}/"
        return f"@{key}/{whole.name}"

    def add_spread(self, source: str, count: int) -> str:
        """Return what stands for ``source``: of a folder ``count`` pictures, spread evenly, else the file."""
        path = Path(source)
        if not path.is_dir():
            return self.add(path)
        return self.add_some(path, spread(self.pictures(path), count))

    def pictures(self, folder: Path) -> list[str]:
        """Return the relative paths of every picture below ``folder``, sorted, listed once."""
        if folder not in self._pictures:
            self._pictures[folder] = picture_names(folder)
        return self._pictures[folder]

    def _key(self, files: Files) -> str:
        if files not in self._seen:
            whole = "".join(f"{name}:{self._hash(files.folder / name)}\n" for name in files.names)
            self._seen[files] = hashlib.sha256(whole.encode()).hexdigest()[:32]
        key = self._seen[files]
        self.known[key] = files
        return key

    def _hash(self, path: Path) -> str:
        try:
            return self.hashed(path)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist") from None

    def pack(self, key: str) -> bytes:
        """Return the files of ``key`` as one tar."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            for name in self.known[key].names:
                tar.add(self.known[key].folder / name, name)
        return made.getvalue()


def stamp(path: Path) -> str:
    """Return what tells a file from another one on this machine: its path, size and time."""
    about = path.stat()
    return f"{path} {about.st_size} {about.st_mtime_ns}"


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
