"""One table of targets: how each writes its file, and what it says of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeconv.artifact import spec_to_json
from edgeconv.export.graph import Graph
from edgeconv.export.options import Io, Precision
from edgeconv.export.quant.recipe import Recipe
from edgeconv.tensors import TensorSpec


@dataclass(frozen=True)
class Emitted:
    """A file's bytes and what the manifest says of them.

    ``names`` maps tensors of the prepared graph to tensors of the file. ``stats`` are figures read
    back from the bytes (operators, INT8 count, transposes).
    """

    data: bytes
    names: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stats: Mapping[str, Any]


@dataclass(frozen=True)
class EmitRequest:
    """What an emitter is given: the prepared graph, the recipe for INT8, and the borders' type.

    ``description`` is what the file says of itself (export/manifest.py).
    """

    graph: Graph
    recipe: Recipe | None
    precision: Precision
    io: Io
    opset: int
    description: Mapping[str, Any]


def emit(target: str, request: EmitRequest) -> Emitted:
    """Write ``request`` for ``target``; raises UnsupportedOpError where it cannot be expressed."""
    first = EMITTERS[target](request, {})
    inputs = tuple(_with_offset(request, spec) for spec in first.inputs)
    borders = {
        "inputs": [spec_to_json(spec) for spec in inputs],
        "outputs": [spec_to_json(spec) for spec in first.outputs],
    }
    # a second pass, because only the first knows the borders that the file describes
    text = json.dumps({**request.description, **borders}, sort_keys=True)
    return replace(EMITTERS[target](request, {"edgeconv": text}), inputs=inputs)


def _with_offset(request: EmitRequest, spec: TensorSpec) -> TensorSpec:
    """Add the half step of exactly stored pixels, which the file formats have no field for."""
    shift = next(
        (n for n in request.graph.nodes if n.op == "Sub" and n.inputs[0] == spec.name), None
    )
    if spec.quantization is None or shift is None or shift.inputs[1] not in request.graph.constants:
        return spec
    offset = float(request.graph.constants[shift.inputs[1]])
    return replace(spec, quantization=replace(spec.quantization, offset=offset))


def check_targets(graph: Graph, targets: tuple[str, ...]) -> None:
    """Raise UnsupportedOpError for the first operator that one of ``targets`` cannot express."""
    if "tflite" in targets:
        from edgeconv.export.tflite import check_supported

        check_supported(graph)


def _emit_onnx(request: EmitRequest, metadata: Mapping[str, str]) -> Emitted:
    from edgeconv.export.inspect_onnx import onnx_stats
    from edgeconv.export.onnx_io import save_model, to_onnx, with_opset
    from edgeconv.export.quant.qdq import emit_qdq

    if request.recipe is None:
        model = to_onnx(request.graph, dict(metadata))
        names: Mapping[str, str] = {tensor: tensor for tensor in request.graph.shapes}
        inputs = tuple(_spec(request.graph, name) for name in request.graph.inputs)
        outputs = tuple(_spec(request.graph, name) for name in request.graph.outputs)
    else:
        qdq = emit_qdq(request.graph, request.recipe, io=request.io, metadata=metadata)
        model, names, inputs, outputs = qdq.model, qdq.names, qdq.inputs, qdq.outputs
    data = save_model(with_opset(model, request.opset))
    return Emitted(data, names, inputs, outputs, onnx_stats(data))


def _spec(graph: Graph, tensor: str) -> TensorSpec:
    shape = graph.shape(tensor)
    return TensorSpec(
        tensor, shape, graph.dtype(tensor).name, "nchw" if len(shape) == 4 else "other"
    )


def _emit_tflite(request: EmitRequest, metadata: Mapping[str, str]) -> Emitted:
    from edgeconv.export.tflite import emit_tflite, tflite_stats

    made = emit_tflite(
        request.graph,
        request.recipe,
        precision=request.precision,
        io=request.io,
        metadata=dict(metadata),
    )
    return Emitted(made.data, made.names, made.inputs, made.outputs, tflite_stats(made.data))


EMITTERS: dict[str, Callable[[EmitRequest, Mapping[str, str]], Emitted]] = {
    "onnx": _emit_onnx,
    "tflite": _emit_tflite,
}
