"""What later commands need to compare and explain, in one folder beside the artifacts."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing
from edgeconv.export.emit import Emitted
from edgeconv.export.graph import Graph
from edgeconv.export.verify import Expected
from edgeconv.levels import pack
from edgeconv.pictures import to_input

if TYPE_CHECKING:
    import onnx

    from edgeconv.recipe import Recipe


def evidence_files(
    raw: "onnx.ModelProto",
    hub: Graph,
    prepared: Graph,
    recipe: "Recipe | None",
    expected: Expected,
    names: Sequence[str],
    how: Preprocessing | None,
) -> dict[str, bytes]:
    """Return the evidence folder's files by name (edgeconv/artifact.py says what each is), but for the targets'."""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx

    files = {
        "raw.onnx": save_model(raw),
        "hub.onnx": save_model(to_onnx(hub)),
        "prepared.onnx": save_model(to_onnx(prepared)),
        "verify.npz": _arrays(expected, names, how),
    }
    if recipe is not None:
        files["recipe.json"] = _json(recipe.to_json())
    return files


def tensor_files(emitted: Mapping[str, Emitted]) -> dict[str, bytes]:
    """Return by name what the evidence says of each target's tensors."""
    return {f"tensors_{target}.json": _json(file.tensors()) for target, file in emitted.items()}


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _arrays(expected: Expected, names: Sequence[str], how: Preprocessing | None) -> bytes:
    """Return verify.npz: every sample that the files were judged on, so that parity judges the same."""
    rows = len(next(iter(expected.outputs.values())))
    arrays: dict[str, NDArray[Any]] = {}
    for name in expected.feeds[0]:
        arrays |= _input(name, [feed[name] for feed in expected.feeds], how)
    arrays |= {f"output:{name}": value for name, value in expected.outputs.items()}
    arrays |= {f"margin:{name}": made.margins for name, made in expected.scores.items()}
    truth = np.full(rows, -1, np.int64) if expected.truth is None else expected.truth
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, names=np.array(names), truth=truth, **arrays)
    return buffer.getvalue()


def _input(
    name: str, values: Sequence[NDArray[Any]], how: Preprocessing | None
) -> dict[str, NDArray[Any]]:
    """Return one input of every sample, a byte a value where it is a picture."""
    if how is not None and values[0].ndim == 4 and values[0].dtype == np.float32:
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
        levels = to_input(ramp, how, values[0].shape[1])[0, :, :, 0]
        packed = [pack(value, levels) for value in values]
        if all(value is not None for value in packed):
            whole = np.concatenate([value for value in packed if value is not None])
            return {f"packed:{name}": whole, f"levels:{name}": levels}
    return {f"input:{name}": np.concatenate([np.atleast_1d(each) for each in values])}
