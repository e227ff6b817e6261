"""What later commands need to compare and explain, in one folder beside the artifacts."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.emit import Emitted
from edgeconv.export.graph import Graph
from edgeconv.export.verify import Expected

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
