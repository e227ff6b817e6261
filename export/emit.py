"""One table of targets: how each writes its file, and what it says of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeconv.artifact import Preprocessing, spec_to_json
from edgeconv.export.graph import Graph
from edgeconv.export.options import DEFAULT_OPSET, ExportOptions, Io
from edgeconv.files import write_bytes
from edgeconv.recipe import Recipe
from edgeconv.tensors import TensorSpec


@dataclass(frozen=True)
class Emitted:
    """What the manifest says of a written file (or package folder).

    ``size`` is in bytes. ``names`` maps tensors of the prepared graph to tensors of the file.
    ``stats`` are figures read back from it (operators, INT8 count, transposes). ``notes`` are for
    the user.
    """

    size: int
    names: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stats: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class EmitRequest:
    """What an emitter is given: the prepared graph, the recipe for INT8, and the user's options.

    ``io`` is the settled type of an INT8 file's borders. ``description`` is what the file says of
    itself (export/manifest.py). ``image`` and ``labels`` make a Core ML package take images and
    name classes.
    """

    graph: Graph
    recipe: Recipe | None
    options: ExportOptions
    io: Io
    description: Mapping[str, Any]
    image: Preprocessing | None = None
    labels: list[str] | None = None


def emit(target: str, request: EmitRequest, path: Path) -> Emitted:
    """Write ``request`` to ``path``; raises UnsupportedOpError where it cannot be expressed."""
    return EMITTERS[target](request, path)


def check_targets(graph: Graph, targets: tuple[str, ...]) -> None:
    """Raise UnsupportedOpError for the first operator that one of ``targets`` cannot express."""
    if "tflite" in targets:
        from edgeconv.export.tflite import check_supported

        check_supported(graph)
    if "coreml" in targets:
        from edgeconv.export.coreml import check_supported as check_coreml

        check_coreml(graph)


def _with_offset(request: EmitRequest, spec: TensorSpec) -> TensorSpec:
    """Add the half step of exactly stored pixels, which the file formats have no field for."""
    constants = request.graph.constants
    for node in request.graph.nodes:
        if node.op != "Sub" or node.inputs[0] != spec.name or spec.quantization is None:
            continue
        offset = constants.get(node.inputs[1])
        if offset is not None and offset.size == 1:
            shifted = replace(spec.quantization, offset=float(offset.reshape(-1)[0]))
            return replace(spec, quantization=shifted)
    return spec


def _described(
    request: EmitRequest, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> dict[str, str]:
    """Return the description, borders included, as the one metadata entry of a file."""
    borders = {
        "inputs": [spec_to_json(spec) for spec in inputs],
        "outputs": [spec_to_json(spec) for spec in outputs],
    }
    return {"edgeconv": json.dumps({**request.description, **borders}, sort_keys=True)}


def _emit_onnx(request: EmitRequest, path: Path) -> Emitted:
    from onnx import helper

    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.export.hub.opset import with_opset
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.export.qdq.inspect import onnx_stats
    from edgeconv.export.rewrites.table import BY_CPU

    graph, options = request.graph, request.options
    if request.recipe is None:
        model = to_onnx(graph)
        names: Mapping[str, str] = {tensor: tensor for tensor in graph.shapes}
        inputs = tuple(_spec(graph, name) for name in graph.inputs)
        outputs = tuple(_spec(graph, name) for name in graph.outputs)
        changes: tuple[str, ...] = ()
    else:
        wanted = BY_CPU[options.cpu][options.prefer]
        qdq = emit_qdq(graph, request.recipe, io=request.io, rewrites=wanted)
        model, names, outputs, changes = qdq.model, qdq.names, qdq.outputs, qdq.changes
        inputs = tuple(_with_offset(request, spec) for spec in qdq.inputs)
    helper.set_model_props(model, _described(request, inputs, outputs))
    data = save_model(with_opset(model, options.opset or max(DEFAULT_OPSET, graph.opset)))
    write_bytes(path, data)
    stats = {**onnx_stats(data), "rewrites": list(changes)}
    return Emitted(len(data), names, inputs, outputs, stats)


def _spec(graph: Graph, tensor: str) -> TensorSpec:
    shape = graph.shape(tensor)
    return TensorSpec(
        tensor, shape, graph.dtype(tensor).name, "nchw" if len(shape) == 4 else "other"
    )


def _emit_tflite(request: EmitRequest, path: Path) -> Emitted:
    from edgeconv.export.tflite import emit_tflite
    from edgeconv.export.tflite.device_rules import device_rules
    from edgeconv.export.tflite.inspect import read_tflite, summary_stats
    from edgeconv.export.tflite.rewrites import BY_PREFER

    def described(
        inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> dict[str, str]:
        return _described(request, tuple(_with_offset(request, spec) for spec in inputs), outputs)

    made = emit_tflite(
        request.graph,
        request.recipe,
        precision=request.options.precision,
        io=request.io,
        metadata=described,
        rewrites=BY_PREFER[request.options.prefer],
    )
    inputs = tuple(_with_offset(request, spec) for spec in made.inputs)
    write_bytes(path, made.data)
    summary = read_tflite(made.data)
    stats = {**summary_stats(summary), "rewrites": list(made.changes)}
    if request.recipe is not None:
        stats["device_rules"] = device_rules(summary)
    return Emitted(len(made.data), made.names, inputs, made.outputs, stats)


def _emit_coreml(request: EmitRequest, path: Path) -> Emitted:
    from edgeconv.export.coreml import emit_coreml

    options = request.options
    own = {"author": options.author, "license": options.license, "version": options.model_version}
    metadata = {key: value for key, value in own.items() if value is not None}
    metadata["edgeconv"] = json.dumps(request.description, sort_keys=True)
    metadata["description"] = _sentence(request.description)
    made = emit_coreml(
        request.graph,
        request.recipe,
        path=path,
        precision=options.precision,
        compute=options.coreml_compute,
        min_ios=options.min_ios,
        weights_only=options.int8_weights,
        image_input=request.image,
        labels=None if request.labels is None else unique(request.labels),
        metadata=metadata,
        avoid_known_issues=options.avoid_known_issues,
    )
    compute = sum(made.ops.get(op, 0) for op in ("conv", "conv_transpose", "linear", "matmul"))
    stats = {
        "ops": sum(made.ops.values()),
        "histogram": dict(made.ops),
        "compute": compute,
        "int8_compute": compute if options.precision == "int8" else 0,
        "transposes": made.ops.get("transpose", 0),
        "int8_tensors": len(made.integers),
        "rescaled": {k: [name, factor] for k, (name, factor) in made.rescaled.items()},
    }
    return Emitted(made.bytes, made.names, made.inputs, made.outputs, stats, made.notes)


def unique(labels: list[str]) -> list[str]:
    """Tell equal names apart: a Core ML classifier returns one probability a name.

    >>> unique(["crane", "tench", "crane"])
    ['crane', 'tench', 'crane (class 2)']
    """
    return [
        f"{name} (class {index})" if name in labels[:index] else name
        for index, name in enumerate(labels)
    ]


def _sentence(description: Mapping[str, Any]) -> str:
    """Return the short description that Xcode shows."""
    how = description["preprocessing"]
    feeding = (
        "" if how is None else f"; input {how['formula']}, mean {how['mean']}, std {how['std']}"
    )
    return f"{description['net']['source']}, {description['precision']}, by edgeconv{feeding}"


EMITTERS: dict[str, Callable[[EmitRequest, Path], Emitted]] = {
    "onnx": _emit_onnx,
    "tflite": _emit_tflite,
    "coreml": _emit_coreml,
}
