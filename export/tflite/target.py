"""TFLite as a target, for LiteRT and TensorFlow Lite runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.options import ExportOptions
    from edgeconv.tensors import TensorSpec


def _refuse(options: "ExportOptions") -> None:
    """Take every option that is not another target's."""


def _check(graph: "Graph") -> None:
    from edgeconv.export.tflite.table import check_supported

    check_supported(graph)


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from edgeconv.export.emit import Emitted, described, with_offset
    from edgeconv.export.tflite.device_rules import device_rules
    from edgeconv.export.tflite.emit import emit_tflite
    from edgeconv.export.tflite.inspect import read_tflite, summary_stats
    from edgeconv.export.tflite.rewrites import BY_PREFER
    from edgeconv.files import write_bytes

    def about(
        inputs: "tuple[TensorSpec, ...]", outputs: "tuple[TensorSpec, ...]"
    ) -> dict[str, str]:
        return described(request, tuple(with_offset(request, spec) for spec in inputs), outputs)

    made = emit_tflite(
        request.graph,
        request.recipe,
        precision=request.options.precision,
        io=request.io,
        metadata=about,
        rewrites=BY_PREFER[request.options.prefer],
    )
    inputs = tuple(with_offset(request, spec) for spec in made.inputs)
    write_bytes(path, made.data)
    summary = read_tflite(made.data)
    stats = {**summary_stats(summary), "rewrites": list(made.changes)}
    if request.recipe is not None:
        stats["device_rules"] = device_rules(summary)
    return Emitted(len(made.data), made.names, inputs, made.outputs, stats)


TFLITE = Target(
    name="tflite",
    suffix=".tflite",
    title="TFLite",
    needs=(("flatbuffers", "export"), ("ai_edge_litert", "tflite")),
    refuse=_refuse,
    check=_check,
    emit=_emit,
    options=("prefer",),
)
