"""TFLite as a target, for LiteRT and TensorFlow Lite runtimes."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.export.tflite.metadata import App
    from edgeconv.recipe import Recipe
    from edgeconv.tensors import TensorSpec


def _stops(graph: "Graph") -> "list[Refusal]":
    from edgeconv.export.tflite.table import stops

    return stops(graph)


def _float_outputs(graph: "Graph", recipe: "Recipe") -> tuple[str, ...]:
    """What ends a file by sums, differences or few probabilities; of layers, which take 4 to 7 % of the time in float, best's."""
    from edgeconv.export.quant.float_outputs import SMALL, logits, probabilities, real_ends

    small = (*real_ends(graph, recipe, SMALL), *probabilities(graph, recipe))
    return (*logits(graph, recipe), *small) if recipe.name == "best" else small


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from edgeconv.export.emit import Emitted, counts, described, with_offset
    from edgeconv.export.nms.tail import for_tflite
    from edgeconv.export.tflite import metadata
    from edgeconv.export.tflite.device_rules import device_rules
    from edgeconv.export.tflite.emit import emit_tflite
    from edgeconv.export.tflite.inspect import read_tflite, summary_stats, tflite_census
    from edgeconv.export.tflite.rewrites import chosen
    from edgeconv.files import write_bytes

    app = _app(request)

    def about(
        inputs: "tuple[TensorSpec, ...]", outputs: "tuple[TensorSpec, ...]"
    ) -> dict[str, str | bytes]:
        fed = tuple(with_offset(request, spec) for spec in inputs)
        packed = metadata.labelled_output(app, outputs) is not None
        return {
            **described(request, fed, outputs, labels=not packed),
            metadata.ENTRY: metadata.app_metadata(app, inputs, outputs),
        }

    made = emit_tflite(
        request.graph if request.nms is None else for_tflite(request.graph),
        request.recipe,
        precision=request.options.precision,
        io=request.io,
        metadata=about,
        rewrites=chosen(request.options.cpu, request.options.prefer),
        nms=request.nms,
        weights_only=request.options.int8_weights,
    )
    inputs = tuple(with_offset(request, spec) for spec in made.inputs)
    data = made.data
    if app.labels and metadata.labelled_output(app, made.outputs):
        data = metadata.pack_labels(data, app.labels)
    write_bytes(path, data)
    summary = read_tflite(data)
    stats = {**summary_stats(summary), **counts(request, made.islands)}
    if request.options.int8_weights:
        stats["int8_compute"] = tflite_census(summary).weight_only
    elif request.recipe is not None:
        stats["device_rules"] = device_rules(summary)
    refused = metadata.refused_by_apps(app, inputs) or _without_nms(request)
    notes = () if refused is None else (refused,)
    return Emitted(len(data), made.names, inputs, made.outputs, stats, notes, changes=made.changes)


def _app(request: "EmitRequest") -> "App":
    from edgeconv.artifact import preprocessing_from_json
    from edgeconv.export.emit import sentence
    from edgeconv.export.tflite.metadata import App

    about, options = request.description, request.options
    how = about["preprocessing"]
    return App(
        name=str(about["net"]["source"]),
        description=sentence(about),
        how=None if how is None else preprocessing_from_json(how),
        labels=about.get("labels"),
        version=options.model_version or "",
        author=options.author or "",
        license=options.license or "",
        activation=None if request.nms is not None else _activation(request.graph),
    )


def _without_nms(request: "EmitRequest") -> str | None:
    """Say what apps miss of a detector whose boxes are not thinned."""
    from edgeconv.evaluate.task import task_of

    graph, options = request.graph, request.options
    shapes = [graph.shape(name) for name in graph.outputs]
    whole = graph.whole_outputs()
    if options.nms is not None or request.nms is not None or task_of(shapes, whole) != "boxes":
        return None
    if len(graph.inputs) != 1 or len(graph.shape(graph.inputs[0])) != 4:
        return None
    return (
        "MediaPipe's ObjectDetector takes boxes after NMS: --nms auto writes such a file beside, "
        "where these outputs are a detector's"
    )


def _activation(graph: "Graph") -> int | None:
    """Return what makes a segmenter's map of pixels probabilities; None where there is no such map."""
    from edgeconv.evaluate.task import task_of
    from edgeconv.export.tflite import metadata

    shape, made = graph.shape(graph.outputs[0]), graph.producers()
    if len(graph.outputs) != 1 or task_of([shape]) != "masks":
        return None
    node = made.get(graph.outputs[0])
    while node is not None and node.op in ("Resize", "Transpose", "Reshape", "Identity"):
        node = made.get(node.inputs[0])
    if node is not None and node.op in ("Softmax", "Sigmoid"):
        return metadata.NO_ACTIVATION
    return metadata.SIGMOID if shape[1] == 1 else metadata.SOFTMAX


TFLITE = Target(
    name="tflite",
    suffix=".tflite",
    title="TFLite",
    needs=(("flatbuffers", "export"), ("ai_edge_litert", "export")),
    stops=_stops,
    emit=_emit,
    float_outputs=_float_outputs,
    options=("cpu", "prefer", "int8_weights", "author", "license", "model_version", "nms"),
    aborts=True,
    modules=(
        "edgeconv.export.tflite.table",
        "edgeconv.export.tflite.emit",
        "edgeconv.export.tflite.inspect",
        "edgeconv.export.tflite.device_rules",
    ),
)
