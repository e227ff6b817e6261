"""Core ML as a target: an .mlpackage, made without a Mac."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.export.options import ExportOptions
    from edgeconv.recipe import Recipe


def _refuse(options: "ExportOptions") -> None:
    from edgeconv.export.coreml.choices import settle

    settle(options.precision, options.coreml_compute, options.min_ios, options.int8_weights)


def _stops(graph: "Graph") -> "list[Refusal]":
    from edgeconv.export.coreml.table import stops

    return stops(graph)


def _float_outputs(graph: "Graph", recipe: "Recipe") -> tuple[str, ...]:
    """Integers stand in front of the operators that read them, so none is behind the last."""
    from edgeconv.export.quant.float_outputs import unread

    return unread(graph, recipe)


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from edgeconv.export.coreml.emit import emit_coreml
    from edgeconv.export.coreml.suppress import COORDINATES, for_coreml
    from edgeconv.export.coreml.wide import coarse_outputs
    from edgeconv.export.emit import Emitted, counts, inside, sentence
    from edgeconv.export.integer.free_form import INTEGER_READERS

    options = request.options
    own = {"author": options.author, "license": options.license, "version": options.model_version}
    metadata = {key: value for key, value in own.items() if value is not None}
    metadata["edgeconv"] = json.dumps(inside(request.description), sort_keys=True)
    metadata["description"] = sentence(request.description)
    graph, labels, coarse = request.graph, request.labels, coarse_outputs(request.reference)
    if request.nms is not None:
        graph, labels = for_coreml(graph), request.description.get("labels")
        coarse = (COORDINATES,) if coarse else ()
    made = emit_coreml(
        graph,
        request.recipe,
        path=path,
        precision=options.precision,
        compute=options.coreml_compute,
        min_ios=options.min_ios,
        weights_only=options.int8_weights,
        image_input=request.image,
        labels=None if labels is None else unique(labels),
        probabilities=request.probabilities,
        metadata=metadata,
        avoid_known_issues=options.avoid_known_issues,
        coarse=coarse,
        nms=request.nms,
    )
    census = made.census
    weighed = census.weight_only if options.int8_weights else 0
    stats = {
        **census.to_json(),
        **counts(request, [n.name for n in request.graph.nodes if n.op not in INTEGER_READERS]),
        "int8_compute": census.integer + weighed,
        "image_input": request.image is not None,
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


COREML = Target(
    name="coreml",
    suffix=".mlpackage",
    title="Core ML",
    needs=(("coremltools", "coreml"),),
    refuse=_refuse,
    stops=_stops,
    emit=_emit,
    float_outputs=_float_outputs,
    options=(
        "coreml_compute",
        "min_ios",
        "avoid_known_issues",
        "int8_weights",
        "author",
        "license",
        "model_version",
        "nms",
        "image_input",
    ),
    verified=50,  # the reference evaluator takes up to 0.3 s a picture
    halves_tensors=True,
    then="parity",
    lacks=dict.fromkeys(("io int8", "io uint8"), "a package takes and returns floats or images"),
)
