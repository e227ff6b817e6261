"""ONNX as a target: float as it is, INT8 as QDQ for onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.recipe import Recipe
    from edgeconv.tensors import TensorSpec


OTHERS = (
    "for any processor: counted on our four nets, a Pi 4 executes up to 2 % more instructions than with "
    "--cpu pi4 and a Pi 5 4 to 7 % more than with --cpu pi5 (int8 activations); the same bits"
)


def _stops(graph: "Graph") -> "list[Refusal]":
    return []  # every standard operator can stay as it is


def _float_outputs(graph: "Graph", recipe: "Recipe") -> tuple[str, ...]:
    """onnxruntime's integer Gemm gives float, and so does what it computes in float: one operator less."""
    from edgeconv.export.quant.float_outputs import logits, probabilities, real_ends

    ends = probabilities(graph, recipe, gemms=True)
    return (*logits(graph, recipe), *real_ends(graph, recipe), *ends)


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from onnx import helper

    from edgeconv.export.emit import Emitted, counts, described, with_offset
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.export.hub.opset import with_opset
    from edgeconv.export.kinds import DEFAULT_OPSET
    from edgeconv.export.passes.expand_gelu import expand_gelu
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.export.rewrites.table import BY_CPU, INT8_ACTIVATIONS
    from edgeconv.files import write_bytes
    from edgeconv.formats.census import onnx_census
    from edgeconv.formats.onnx_file import read_onnx

    graph, options = request.graph, request.options
    if options.opset is not None and options.opset < graph.opset:
        graph = graph.clone()
        expand_gelu(graph, DEFAULT_OPSET)
    done: dict[str, Any] = {}
    if request.recipe is None:
        model = to_onnx(graph)
        names: Mapping[str, str] = {tensor: tensor for tensor in graph.shapes}
        inputs = tuple(_spec(graph, name) for name in graph.inputs)
        outputs = tuple(_spec(graph, name) for name in graph.outputs)
    else:
        wanted = BY_CPU[options.cpu][options.prefer]
        signed = options.cpu in INT8_ACTIVATIONS
        qdq = emit_qdq(graph, request.recipe, io=request.io, rewrites=wanted, signed=signed)
        model, names, outputs = qdq.model, qdq.names, qdq.outputs
        done = {"changes": qdq.changes, "channels": qdq.channels}
        done["notes"] = (OTHERS,) if options.cpu == "any" and options.prefer == "speed" else ()
        inputs = tuple(with_offset(request, spec) for spec in qdq.inputs)
    helper.set_model_props(model, described(request, inputs, outputs))
    data = save_model(with_opset(model, options.opset or max(DEFAULT_OPSET, graph.opset)))
    write_bytes(path, data)
    stats = {**onnx_census(read_onnx(data, path.name)).to_json(), **counts(request)}
    return Emitted(len(data), names, inputs, outputs, stats, **done)


def _spec(graph: "Graph", tensor: str) -> "TensorSpec":
    from edgeconv.tensors import TensorSpec

    shape = graph.shape(tensor)
    return TensorSpec(
        tensor, shape, graph.dtype(tensor).name, "nchw" if len(shape) == 4 else "other"
    )


ONNX = Target(
    name="onnx",
    suffix=".onnx",
    title="ONNX",
    needs=(("onnx", "export"), ("onnxruntime", "export")),
    stops=_stops,
    emit=_emit,
    float_outputs=_float_outputs,
    options=("cpu", "opset", "prefer"),
    lacks={
        "fp16": "onnxruntime's CPU kernels would convert it back to float at every layer",
        "int8-weights": (
            "onnxruntime would make them real again in every run, and quantize activations anew in dynamic files"
        ),
    },
)
