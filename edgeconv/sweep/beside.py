"""What a net reads besides the file that names it: without it another machine builds another net.

An .onnx file may keep its weights in files of their own. Code of the user's may read whatever it likes, so
it is run once here: what it opens is noted, and what it builds is hashed.
"""

import functools
import hashlib
import importlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.errors import EdgeconvError

MOST_BYTES = 1 << 30
"""A model file larger than that cannot hold its graph in itself: protobuf ends at 2 GiB."""

UNSEEN = (
    ("safetensors", "safe_open"),
    ("safetensors.torch", "safe_open"),
    ("safetensors.numpy", "safe_open"),
    ("torch.export", "load"),
    ("torch.jit", "load"),
)
"""Readers of files named by their first argument that open them past Python: its hooks see nothing."""

_watching: list[set[str]] = []
"""The names that the code which runs now has opened."""


@dataclass(frozen=True)
class Built:
    """``state`` is a hash of the net's weights, ``opened`` what was read, as the code named it."""

    state: str
    opened: tuple[str, ...]

    def below(self, folder: Path) -> tuple[str, ...]:
        """Return the files that lie in ``folder``, by their relative paths."""
        whole = folder.resolve()
        found = (Path(name).resolve() for name in self.opened)
        return tuple(
            sorted({p.relative_to(whole).as_posix() for p in found if p.is_relative_to(whole)})
        )

    def relative(self) -> tuple[str, ...]:
        """Return the files, but for code, that were named from the current folder and lie in it."""
        here = (n for n in self.opened if not os.path.isabs(n) and ".." not in n)
        return tuple(sorted(name for name in here if not name.endswith(".py")))


def data_files(model: Path) -> tuple[str, ...]:
    """Return the files beside an .onnx file that hold its weights, by their relative paths."""
    if not model.is_file():
        return ()
    content = model.read_bytes() if model.stat().st_size < MOST_BYTES else b""
    if b"location" not in content:
        return ()
    import onnx

    try:
        loaded = onnx.load_model_from_string(content)
    except Exception:  # its export says what is wrong with it
        return ()
    named = {
        entry.value
        for tensor in loaded.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    inside = (name for name in named if ".." not in name and not os.path.isabs(name))
    return tuple(sorted(name for name in inside if (model.parent / name).is_file()))


def build(net: str) -> Built | None:
    """Build ``net`` (FILE.py:factory, package.module:factory) once; None where that fails.

    Random weights are the same each time: the generators are seeded.
    """
    from edgeconv.models.user_net import open_user_net

    seed()
    try:
        with _noting() as opened:
            module = open_user_net(net).module
    except EdgeconvError:  # its export says so
        return None
    folder = Path(net.rpartition(":")[0]).resolve().parent
    modules = (getattr(one, "__file__", None) for one in list(sys.modules.values()))
    code = {str(p) for p in modules if p and Path(p).resolve().is_relative_to(folder)}
    return Built(_digest(module), tuple(sorted(filter(_own, opened | code))))


def seed() -> None:
    """Let nets without weights of their own be the same ones wherever they are built."""
    import torch

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _digest(module: Any) -> str:
    whole = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        values = tensor.detach().float().numpy() if hasattr(tensor, "detach") else np.array(0)
        whole.update(f"{name} {values.shape}\n".encode())
        whole.update(np.ascontiguousarray(values).tobytes())
    return whole.hexdigest()


def _own(name: str) -> bool:
    """Whether a file is the user's: of no package, and nothing that Python makes itself."""
    path = Path(name).resolve()
    installed = {
        Path(p).resolve() for p in (sys.prefix, sys.base_prefix, Path(__file__).parents[1])
    }
    packaged = "site-packages" in path.parts or any(path.is_relative_to(p) for p in installed)
    return path.is_file() and not packaged and path.suffix != ".pyc"


@contextmanager
def _noting() -> Iterator[set[str]]:
    """Yield the names of the files that are opened for reading meanwhile."""
    if not _hooked:
        sys.addaudithook(_note)
        _hooked.append(True)
    found: set[str] = set()
    _watching.append(found)
    try:
        with _seen():
            yield found
    finally:
        _watching.remove(found)


_hooked: list[bool] = []
"""Python takes a hook and gives none back: it is set once."""


@contextmanager
def _seen() -> Iterator[None]:
    """Let the readers of UNSEEN tell Python's hooks what they open; code may keep what it took of them."""
    replaced: list[tuple[Any, str, Any]] = []
    for module_name, name in UNSEEN:
        with suppress(ImportError):
            module = importlib.import_module(module_name)
            replaced.append((module, name, getattr(module, name)))
    try:
        for module, name, reader in replaced:
            setattr(module, name, _telling(reader))
        yield
    finally:
        for module, name, reader in replaced:
            setattr(module, name, reader)


def _telling(reader: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reader)
    def read(file: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(file, (str, os.PathLike)):
            sys.audit("open", os.fspath(file), "r", os.O_RDONLY)
        return reader(file, *rest, **named)

    return read


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    if (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR) == 0:
        _watching[-1].add(os.fsdecode(arguments[0]))
