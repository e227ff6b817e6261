"""Class names that a file carries itself: it may have been copied without its manifest, or be somebody else's."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError

LABELS = "labels.txt"
MAX_BYTES = 4 << 20
"""More than this are no names of classes."""
LONGEST = 1000
"""Characters of a name."""


def carried_labels(path: Path) -> tuple[str, ...]:
    """Return the class names inside a file, in the order of its scores; none where it holds none that can be read.

    A .tflite has them as TFLite Metadata (one a line of the text packed behind the model), a Core ML classifier
    in its program, an .onnx of ours in its description.
    """
    reader = READERS.get(path.suffix.lower())
    try:
        found = () if reader is None else reader(path)
    except (EdgeconvError, OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return ()
    names = tuple(str(name).strip() for name in found)
    return names if all(name and len(name) <= LONGEST for name in names) else ()


def _packed(path: Path) -> Sequence[str]:
    """Return the lines of labels.txt in the zip behind a .tflite, or of its only text."""
    if not zipfile.is_zipfile(path):
        return ()
    with zipfile.ZipFile(path) as archive:
        texts = [name for name in archive.namelist() if name.lower().endswith(".txt")]
        chosen = LABELS if LABELS in texts else texts[0] if len(texts) == 1 else None
        if chosen is None:
            return ()
        with archive.open(chosen) as member:
            data = member.read(MAX_BYTES + 1)
    return data.decode("utf-8-sig").rstrip().splitlines() if len(data) <= MAX_BYTES else ()


def _described(path: Path) -> Sequence[Any]:
    from edgeconv.inspection import inspect_file

    labels = (inspect_file(path).description or {}).get("labels")
    return labels if isinstance(labels, list) else ()


def _classified(path: Path) -> Sequence[Any]:
    from edgeconv.mil import open_program

    return open_program(path).labels() or _described(path)


READERS: dict[str, Callable[[Path], Sequence[Any]]] = {
    ".tflite": _packed,
    ".onnx": _described,
    ".mlpackage": _classified,
}
