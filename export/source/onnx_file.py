"""An .onnx file, of edgeconv or foreign."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.artifact import preprocessing_from_json
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source, refuse_net_options
from edgeconv.export.source.freeze import plain, told
from edgeconv.export.source.preprocessing import as_asked, picture_preprocessing
from edgeconv.files import sha256
from edgeconv.manifest_schema import DESCRIPTION
from edgeconv.models.specs import stem_of
from edgeconv.preprocessing import ASSUMED, who_says
from edgeconv.schema import checked

if TYPE_CHECKING:
    import onnx


def from_onnx(path: Path, options: ExportOptions) -> Source:
    """Read the file; what edgeconv wrote says itself how its pictures are prepared."""
    from edgeconv.export.hub.freeze import freeze_inputs
    from edgeconv.export.hub.ingest import ingest
    from edgeconv.export.hub.inputs import (
        index_limits,
        input_shapes,
        input_types,
        input_values,
        settle_shapes,
    )
    from edgeconv.export.hub.onnx_io import load_model

    refuse_net_options(options, str(path))
    if options.weights is not None:
        raise UsageError(f"--weights: {path} holds its own weights")
    loaded = load_model(path)
    title = f"{path.name} · opset {loaded.opset_import[0].version} · {len(loaded.graph.node)} nodes"
    model, notes = ingest(loaded)
    wanted = options.named_shapes([value.name for value in input_values(model)])
    frozen = freeze_inputs(model, options.freeze_inputs, wanted)
    wanted = {name: shape for name, shape in wanted.items() if name not in frozen}
    model, assumed = settle_shapes(model, wanted)
    shapes, dtypes = input_shapes(model), input_types(model)
    _refuse_other_size(path, shapes, options.resolution)
    if options.input_types:
        raise UsageError(
            f"{path} declares the types of its inputs: leave them out of --input-shape"
        )
    described = _description(model, path)
    preprocessing = picture_preprocessing(options, shapes, dtypes, bool(described))
    if described.get("preprocessing") and preprocessing is not None:
        own = preprocessing_from_json(described["preprocessing"])
        channels = next(iter(shapes.values()))[1]
        preprocessing = as_asked(options, own, preprocessing.size, channels)
    return Source(
        title=title,
        stem=stem_of(str(path)),
        module=None,
        model=model,
        shapes=shapes,
        output_names=None,
        preprocessing=preprocessing,
        origin=who_says(options, "manifest" if described.get("preprocessing") else ASSUMED),
        labels=described.get("labels"),
        net={"source": path.name, "sha256": sha256(path)},
        weights={"source": "file", "sha256": sha256(path)},
        dtypes=dtypes,
        limits=index_limits(model),
        frozen={name: plain(value) for name, value in frozen.items()},
        notes=(*notes, *assumed, *told(frozen)),
    )


def _refuse_other_size(
    path: Path, shapes: Mapping[str, tuple[int, ...]], resolution: int | None
) -> None:
    if resolution is None or any(
        shape[2:] == (resolution, resolution) for shape in shapes.values()
    ):
        return
    said = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    raise UsageError(
        f"--resolution {resolution} does not fit {path}, which takes {said}; "
        "--input-shape settles sizes that a file leaves open"
    )


def _description(model: "onnx.ModelProto", path: Path) -> dict[str, Any]:
    """Return our own description inside the file, where edgeconv made it."""
    for entry in model.metadata_props:
        if entry.key == "edgeconv":
            try:
                found = json.loads(entry.value)
            except (ValueError, RecursionError):
                return {}
            if not isinstance(found, dict):
                return {}
            source = f"{path}: what edgeconv says of itself in the file"
            described: dict[str, Any] = checked(found, DESCRIPTION, source)
            return described
    return {}
