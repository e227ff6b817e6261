"""What later commands need to compare and explain, in one folder beside the artifacts."""

import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.export.emit import Emitted
from edgeconv.export.graph import Graph
from edgeconv.export.verify import Expected
from edgeconv.files import digest

if TYPE_CHECKING:
    import onnx

    from edgeconv.recipe import Recipe

MAX_INPUT_BYTES = 24 << 20  # verify.npz: as many samples as fit, at least MIN_SAMPLES
MIN_SAMPLES = 4


def evidence_files(
    raw: "onnx.ModelProto",
    hub: Graph,
    prepared: Graph,
    recipe: "Recipe | None",
    emitted: Mapping[str, Emitted],
    expected: Expected,
    names: Sequence[str],
) -> dict[str, bytes]:
    """Return the evidence folder's files by name (edgeconv/artifact.py says what each is)."""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    files = {
        "raw.onnx": save_model(raw),
        "hub.onnx": save_model(to_onnx(hub)),
        "prepared.onnx": save_model(to_onnx(prepared)),
        "verify.npz": _arrays(expected, names),
    }
    if recipe is not None:
        files["recipe.json"] = _json(recipe.to_json())
    for target, file in emitted.items():
        files[f"names_{target}.json"] = _json(dict(file.names))
    return files


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _arrays(expected: Expected, names: Sequence[str]) -> bytes:
    one = sum(value.nbytes for value in expected.feeds[0].values())
    count = min(len(expected.feeds), max(MIN_SAMPLES, MAX_INPUT_BYTES // max(one, 1)))
    few = expected.head(count)
    arrays = {
        f"input:{name}": np.concatenate([feed[name] for feed in few.feeds]) for name in few.feeds[0]
    }
    arrays.update({f"output:{name}": value for name, value in few.outputs.items()})
    truth = np.full(count, -1, np.int64) if few.truth is None else few.truth
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, names=np.array(names[:count]), truth=truth, **arrays)
    return buffer.getvalue()


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside ``folder``, removed at the end: a killed export names nothing.

    Raises EdgeconvError where ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".edgeconv-", dir=folder))
    except OSError as error:
        raise EdgeconvError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield place
    except OSError as error:
        raise EdgeconvError(f"cannot write to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def publish(place: Path, folder: Path, *, force: bool) -> None:
    """Move every staged file, and every package as a whole, to the same relative name in ``folder``.

    Without ``force`` one that exists with other contents is refused before anything moves.
    """
    staged = sorted(_units(place))
    for path in staged:
        target = folder / path.relative_to(place)
        if target.exists() and not force and digest(target) != digest(path):
            raise EdgeconvError(
                f"{target} exists and belongs to another export; --force replaces it, or name "
                "another --output"
            )
    for path in staged:
        target = folder / path.relative_to(place)
        target.parent.mkdir(exist_ok=True)
        if target.is_dir():  # a folder cannot be renamed over another
            target.replace(place / f"{path.name}.old")
        path.replace(target)


def _units(place: Path) -> Iterator[Path]:
    for path in place.iterdir():
        if path.is_dir() and path.suffix != ".mlpackage":
            yield from (item for item in path.rglob("*") if item.is_file())
        else:
            yield path
