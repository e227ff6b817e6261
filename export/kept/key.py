"""The key of an export: a hash of all that decides the bytes of its files."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import edgeconv
from edgeconv.demo_files import find_demo
from edgeconv.export.manifest import versions
from edgeconv.export.options import ExportOptions
from edgeconv.files import digest
from edgeconv.machine import cpuinfo
from edgeconv.models.specs import SPECS

PACKAGE = Path(edgeconv.__file__).parent
"""What holds this code: a change of it is another version."""
UNREAD = frozenset({"output", "force", "threads", "fresh"})
"""Options that change no byte of a file."""
MOST_BYTES = 1 << 30
"""Pictures and nets larger than that are not read for a key."""


def key_of(options: ExportOptions) -> str | None:
    """Return the key, in hex; None where what decides the files cannot be read: code of the user's.

    Files and folders count by name and content, edgeconv by its version and the state of its files,
    other packages by their versions, the processor by its features: kernels differ.
    """
    net = options.net
    if not isinstance(net, str) or not (net in SPECS or net.endswith(".onnx")):
        return None
    given: dict[str, Any] = {}
    try:
        for field in fields(options):
            if field.name not in UNREAD:
                given[field.name] = _content(getattr(options, field.name))
        code = [*_state(PACKAGE), *(row for p in _demo() for row in _state(p))]
    except (OSError, _Unreadable):
        return None
    about = {
        "options": given,
        "edgeconv": edgeconv.__version__,
        "code": code,
        "packages": versions(options.targets),
        "machine": [platform.system(), platform.machine(), _features()],
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


class _Unreadable(Exception):  # noqa: N818 - it never leaves this file
    """Data whose hash would not say what it holds, or would take too long."""


def _content(value: object) -> object:
    """Return a value as it is typed and, where it names a file or folder, what that holds."""
    if isinstance(value, Mapping):
        return {name: _content(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (str, Path)):
        text = str(value)
        if ".py:" in text:
            raise _Unreadable
        path = Path(text)
        return [text, _digest(path)] if text and path.exists() else text
    return value


def _digest(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        raise _Unreadable
    if path.suffix == ".onnx" and b"location" in path.read_bytes():
        raise _Unreadable  # it may keep its weights in files of their own
    return digest(path)


def _demo() -> list[Path]:
    return [folder for part in ("weights", "pictures") if (folder := find_demo(part)) is not None]


def _state(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of every file in ``folder`` that Python did not make itself."""
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            file = Path(root, name)
            about = file.stat()
            yield file.relative_to(folder).as_posix(), about.st_size, about.st_mtime_ns


def _features() -> str:
    """Return what the processor can do, as far as the system says it."""
    rows = (
        line
        for line in cpuinfo().splitlines()
        if line.lower().startswith(("flags", "features", "model name"))
    )
    return "\n".join(dict.fromkeys(rows)) or platform.processor()
