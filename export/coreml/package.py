"""Write an .mlpackage folder: the same content gives the same bytes, and half a package is never seen."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from edgeconv.errors import EdgeconvError

AUTHOR = "com.apple.CoreML"
MODEL, WEIGHTS = f"{AUTHOR}/model.mlmodel", f"{AUTHOR}/weights"


def write_package(path: Path, model: bytes, weights: Path | None) -> None:
    """Write ``model`` (a serialized specification) and the weight file as the package ``path``.

    It is made in a temporary folder beside and renamed; an older package of that name is replaced.
    Raises EdgeconvError naming ``path`` where the folder cannot be written.
    """
    if path.exists() and not (path / "Manifest.json").is_file():
        raise EdgeconvError(f"{path} exists and is no .mlpackage; it is left alone")
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        part.chmod(0o755)
        data = part / "Data"
        (data / AUTHOR).mkdir(parents=True)
        (data / MODEL).write_bytes(model)
        if weights is not None:
            (data / WEIGHTS).mkdir()
            shutil.copyfile(weights, data / WEIGHTS / "weight.bin")
        (part / "Manifest.json").write_bytes(_manifest(model, weights is not None).encode())
        _swap(part, path)
    except OSError as error:
        raise EdgeconvError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _swap(part: Path, path: Path) -> None:
    """Rename ``part`` to ``path``; a folder in the way steps aside first and comes back on failure."""
    old = part.with_suffix(".old")
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(part, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _manifest(model: bytes, has_weights: bool) -> str:
    """Return the package's table of contents; its identifiers come from the content, not from chance."""
    digest = hashlib.sha256(model).hexdigest()
    root = _identifier(digest, "model")
    entries = {
        root: {
            "author": AUTHOR,
            "description": "CoreML Model Specification",
            "name": "model.mlmodel",
            "path": MODEL,
        }
    }
    if has_weights:
        entries[_identifier(digest, "weights")] = {
            "author": AUTHOR,
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": WEIGHTS,
        }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": dict(sorted(entries.items())),
        "rootModelIdentifier": root,
    }
    return json.dumps(manifest, indent=4) + "\n"


def _identifier(digest: str, part: str) -> str:
    """Return 32 hex digits in the grouping that Apple's tools write."""
    h = hashlib.sha256(f"{digest} {part}".encode()).hexdigest().upper()
    return "-".join([h[:8], h[8:12], h[12:16], h[16:20], h[20:32]])
