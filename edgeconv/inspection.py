"""What is inside a file: operators, types, quantization of each tensor, transposes, our own description.

Uses the converters' own readers where they are installed, and says what less there is without them.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import load_artifact
from edgeconv.deps import MissingDependencyError
from edgeconv.errors import EdgeconvError, UsageError, reading
from edgeconv.files import digest, model_bytes, refuse_weights_alone
from edgeconv.foreign import refuse_missing, refuse_no_file
from edgeconv.formats.census import Census
from edgeconv.inspection_ncnn import look_into_ncnn
from edgeconv.inspection_pte import look_into_pte
from edgeconv.memory import check_fits
from edgeconv.runtimes.checks import check_readable


@dataclass(frozen=True)
class TensorNote:
    """A quantized tensor: how many scales it has, their range, and its zero points."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    scales: int
    scale_min: float
    scale_max: float
    zero_points: tuple[int, ...]
    constant: bool


@dataclass(frozen=True)
class Inspection:
    """What ``inspect_file`` found. ``histogram`` counts operators, ``types`` tensors by type.

    ``compute`` counts convolutions and matrix products, ``int8_compute`` those on integers,
    ``per_channel`` those of them with a weight scale a channel. ``float_operators`` are what the manifest
    says computes in float in an INT8 file: reason -> operator -> how many. ``description`` is what edgeconv wrote
    into the file, None for other people's. ``read_by`` says which reader was at hand.
    """

    path: Path
    form: str
    bytes: int
    sha256: str | None
    histogram: Mapping[str, int]
    compute: int | None
    int8_compute: int | None
    per_channel: int | None
    transposes: int
    conversions: int
    types: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    quantization: tuple[TensorNote, ...] = ()
    description: Mapping[str, Any] | None = None
    manifest: bool = False
    float_operators: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    read_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {**asdict(self), "path": str(self.path)}


def inspect_file(path: Path) -> Inspection:
    """Look into an .onnx, .tflite, .mlpackage, .pte or .param without running it.

    Raises UsageError for another suffix, EdgeconvError where the file is missing or damaged.
    """
    readers = {
        **{".onnx": _onnx, ".tflite": _tflite, ".mlpackage": _mlpackage},
        **{".pte": look_into_pte, ".param": look_into_ncnn},
    }
    reader = readers.get(path.suffix.lower())
    refuse_missing(path)
    refuse_weights_alone(path)
    if path.suffix.lower() != ".mlpackage" and reader is not None:
        refuse_no_file(path)
    if reader is None:
        raise UsageError(f"{path}: inspect reads {', '.join(readers)}")
    if path.is_file():
        check_readable(path)
    check_fits(path)
    with reading(f"{path} cannot be read"):
        found = reader(path)
    artifact = load_artifact(path)
    common = {
        "path": path,
        "bytes": model_bytes(path),
        "sha256": digest(path) if path.is_file() else None,
        "manifest": artifact is not None,
        "float_operators": ((artifact.manifest if artifact else {}).get("graph") or {}).get(
            "float_operators", {}
        ),
    }
    return Inspection(**{**found, **common})


def _notes(
    name: str, shape: Any, dtype: str, scales: Any, zero_points: Any, constant: bool
) -> TensorNote:
    flat = np.asarray(scales, np.float64).ravel()
    zeros = sorted({int(z) for z in np.asarray(zero_points).ravel()})
    return TensorNote(
        name,
        None if shape is None else tuple(int(d) for d in shape),
        dtype,
        len(flat),
        float(flat.min()),
        float(flat.max()),
        tuple(zeros),
        constant,
    )


def _tflite(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        from edgeconv.export.tflite.inspect import read_tflite, tflite_census

        summary = read_tflite(data, str(path))
    except MissingDependencyError:
        return _by_runtime(path)
    tensors = summary.tensors
    ends = {
        side: tuple(
            {"name": tensors[i].name, "shape": list(tensors[i].shape), "dtype": tensors[i].dtype}
            for i in numbers
        )
        for side, numbers in (("inputs", summary.inputs), ("outputs", summary.outputs))
    }
    return {
        **_counts(tflite_census(summary)),
        **ends,
        "types": dict(sorted(Counter(t.dtype for t in tensors).items())),
        "quantization": tuple(
            _notes(t.name, t.shape, t.dtype, t.scales, t.zero_points, t.data is not None)
            for t in tensors
            if len(t.scales)
        ),
        "description": _described(summary.metadata),
        "read_by": "the file itself",
    }


def _counts(census: Census) -> dict[str, Any]:
    """Return the fields of an Inspection that a census gives."""
    return {
        "form": census.form,
        "histogram": dict(census.ops),
        "compute": census.compute,
        "int8_compute": census.integer,
        "per_channel": census.per_channel,
        "transposes": census.transposes,
        "conversions": census.conversions,
    }


def _described(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = metadata.get("edgeconv")
    if isinstance(found, dict) and isinstance(found.get("edgeconv"), str):
        found = found["edgeconv"]  # the emitter stores a mapping of texts, ours among them
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _onnx(path: Path) -> dict[str, Any]:
    from edgeconv.formats.census import onnx_census
    from edgeconv.formats.onnx_file import read_onnx

    graph = read_onnx(path.read_bytes(), str(path))
    common = {
        **_counts(onnx_census(graph)),
        "description": _described(graph.metadata),
        "types": dict(sorted(Counter(c.dtype for c in graph.constants.values()).items())),
    }
    try:
        from edgeconv.deps import require

        require("onnx", "export")
    except MissingDependencyError:
        why = "its nodes only: pip install 'edgeconv[export]' shows quantization too"
        return {**common, **_runtime_ends(path), "read_by": why}
    return {**common, **_with_onnx(path), "read_by": "the file itself"}


def _with_onnx(path: Path) -> dict[str, Any]:
    from onnx import TensorProto, helper, numpy_helper

    from edgeconv.export.hub.onnx_io import load_model
    from edgeconv.export.hub.simplify import admit

    admit(path)
    model = load_model(path)
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}

    def ends(values: Any) -> tuple[dict[str, Any], ...]:
        found = []
        for value in values:
            if value.name in constants:
                continue
            kind = value.type.tensor_type
            dims = [d.dim_param or d.dim_value for d in kind.shape.dim]
            dtype = TensorProto.DataType.Name(kind.elem_type).lower()
            dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
            found.append({"name": value.name, "shape": dims, "dtype": dtype})
        return tuple(found)

    notes = []
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[1] not in constants:
            continue
        stored, zero = constants.get(node.input[0]), constants.get((*node.input, "", "")[2])
        zeros = np.zeros(1, np.uint8) if zero is None else numpy_helper.to_array(zero)
        shape = None if stored is None else list(stored.dims)
        typed = zero if zero is not None else stored
        kind = TensorProto.UINT8 if typed is None else typed.data_type  # the operator's default
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name
        scales = numpy_helper.to_array(constants[node.input[1]])
        notes.append(_notes(node.input[0], shape, dtype, scales, zeros, stored is not None))
    return {
        "inputs": ends(graph.input),
        "outputs": ends(graph.output),
        "quantization": tuple(notes),
    }


def _by_runtime(path: Path) -> dict[str, Any]:
    """What a child process with the runtime can tell of a .tflite file."""
    from edgeconv.bench.facts import examine
    from edgeconv.runtimes.choose import choose, fitting

    if not any(row.installed() for row in fitting(path)):
        raise MissingDependencyError(
            f"{path.name} needs a reader: pip install 'edgeconv[export]' reads the whole file, "
            "'edgeconv[tflite]' its operators and types"
        )
    runtime = choose(path).name
    facts = examine(path, runtime)
    return {
        "form": "tflite",
        **_runtime_ends(path),
        "histogram": facts.ops,
        "compute": facts.compute,
        "int8_compute": facts.integer,
        "per_channel": None,
        "transposes": facts.transposes,
        "conversions": facts.conversions,
        "read_by": f"{runtime}: pip install 'edgeconv[export]' shows quantization too",
    }


def _runtime_ends(path: Path) -> dict[str, Any]:
    """Inputs and outputs from the runtime, or nothing where none is installed."""
    from edgeconv.artifact import spec_to_json
    from edgeconv.runtimes.base import open_runner

    try:
        with open_runner(path, isolate=True) as runner:
            sides = {"inputs": runner.inputs, "outputs": runner.outputs}
            return {side: tuple(map(spec_to_json, specs)) for side, specs in sides.items()}
    except EdgeconvError:
        return {}


def _mlpackage(path: Path) -> dict[str, Any]:
    from edgeconv.inspection_mil import look_into

    found = look_into(path)
    metadata, census = found.pop("metadata"), found.pop("census")
    notes = tuple(_notes(*note) for note in found["quantization"])
    return {
        **found,
        **_counts(census),
        "quantization": notes,
        "description": _described(metadata),
        "read_by": "the package's own program",
    }
