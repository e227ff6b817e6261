"""ncnn as a target: a .param and a .bin in float32, or with weights in float16."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.tensors import TensorSpec

NO_INTEGERS = (
    "it computes on integers without zero points, which its own tool makes and its wheels have not"
)


def _stops(graph: "Graph") -> "list[Refusal]":
    from edgeconv.export.ncnn.table import stops

    return stops(graph)


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from edgeconv.export.emit import Emitted
    from edgeconv.export.ncnn.emit import emit_ncnn
    from edgeconv.files import partner, write_bytes, write_text

    half = request.options.precision == "fp16"
    made = emit_ncnn(request.graph, half=half)
    weights = partner(path)
    assert weights is not None
    write_bytes(weights, made.weights)
    write_text(path, made.param)
    stats = {
        "ops": made.layers.total() - made.layers["Input"],
        "histogram": dict(sorted(made.layers.items())),
        "compute": made.compute,
        "int8_compute": 0,
        "per_channel": 0,
        "transposes": made.layers["Permute"],
    }
    graph = request.graph
    inputs, outputs = (
        tuple(_spec(graph, name, blob) for name, blob in zip(names, blobs, strict=True))
        for names, blobs in ((graph.inputs, made.inputs), (graph.outputs, made.outputs))
    )
    stored = "weights are float16, and " if half else ""
    notes = (
        f"{path.name} and {weights.name} are one model: keep them together",
        f"{stored}it is verified in float32 arithmetic; where a processor has float16 (Raspberry Pi 5, phones) ncnn "
        "computes in that unless opt.use_fp16_packed, _storage and _arithmetic are off, which may cost as much as "
        "INT8 does",
    )
    size = len(made.param.encode()) + len(made.weights)
    return Emitted(size, made.names, inputs, outputs, stats, notes)


def _spec(graph: "Graph", name: str, blob: str) -> "TensorSpec":
    from edgeconv.tensors import TensorSpec

    shape = graph.shape(name)
    return TensorSpec(blob, shape, "float32", "nchw" if len(shape) == 4 else "other")


NCNN = Target(
    name="ncnn",
    suffix=".param",
    title="ncnn",
    needs=(("ncnn", "ncnn"),),
    stops=_stops,
    emit=_emit,
    aborts=True,
    lacks=dict.fromkeys(("int8", "int8-weights", "io int8", "io uint8"), NO_INTEGERS),
)
