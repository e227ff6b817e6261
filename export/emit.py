"""What an emitter is given and what it gives, and what all of them say of a file."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgeconv.artifact import Preprocessing, spec_to_json
from edgeconv.export.graph import Graph
from edgeconv.export.kinds import Io
from edgeconv.recipe import Recipe
from edgeconv.tensors import TensorSpec

if TYPE_CHECKING:
    from edgeconv.export.integer.pair import Order
    from edgeconv.export.nms.suppression import Suppression
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.rewrites.table import Change


@dataclass(frozen=True)
class Emitted:
    """What the manifest says of a written file (or package folder).

    ``size`` is in bytes. ``names`` maps tensors of the prepared graph to tensors of the file.
    ``channels``: those that have more channels in the file -> for each of the
    file's channels its place in the graph, -1 for an added one. ``changes`` are the exact rewrites
    that were made for the target. ``stats`` are figures read back from it (operators, INT8 count, transposes). ``notes`` are for
    the user.
    """

    size: int
    names: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stats: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    changes: "tuple[Change, ...]" = ()
    channels: "Mapping[str, Order]" = field(default_factory=dict)

    def tensors(self) -> dict[str, dict[str, Any]]:
        """Return the evidence of where the graph's tensors are: name and, where they differ, channels."""
        found: dict[str, dict[str, Any]] = {t: {"name": name} for t, name in self.names.items()}
        for tensor in found.keys() & self.channels.keys():
            found[tensor]["channels"] = [int(place) for place in self.channels[tensor]]
        return found

    def figures(self) -> dict[str, Any]:
        """Return what the manifest says of the graph in the file: figures, and each rewrite's id and count."""
        return {**self.stats, "rewrites": [change.to_json() for change in self.changes]}


@dataclass(frozen=True)
class EmitRequest:
    """What an emitter is given: the prepared graph, the recipe for INT8, and the user's options.

    ``io`` is the settled type of an INT8 file's borders. ``description`` is what the file says of
    itself (export/manifest.py). ``image`` and ``labels`` make a Core ML package take images and
    name classes; ``probabilities``: the graph gives those of classes itself. ``reference`` are the float net's outputs, name -> (samples, ...). ``nms``: the graph gives boxes and scores (export/nms/tail.py) for that.
    """

    graph: Graph
    recipe: Recipe | None
    options: "ExportOptions"
    io: Io
    description: Mapping[str, Any]
    image: Preprocessing | None = None
    labels: list[str] | None = None
    probabilities: bool = False
    reference: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    nms: "Suppression | None" = None


def counts(request: EmitRequest, islands: Collection[str] = ()) -> dict[str, Any]:
    """Return how many operators of an INT8 file compute, how many on integers, and the others by reason and kind."""
    from edgeconv.export.integer.counts import count_operators, has_integer_layers

    if request.recipe is None:
        return {}
    none = {} if has_integer_layers(request.graph) else {"integer_layers": 0}
    if not request.recipe.activations:
        return none
    found = count_operators(request.graph, request.recipe, islands)
    stats = {"operators": found.all, "int8_operators": found.integer, **none}
    return stats | ({"float_operators": found.floats} if found.floats else {})


def with_offset(request: EmitRequest, spec: TensorSpec) -> TensorSpec:
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


def inside(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a shipped file says of itself: of calibration its count and a digest.

    The pictures' names and hashes stay in the manifest beside it: they are the user's own, and
    were a fifteenth of a small file.
    """
    known = description.get("calibration")
    if known is None:
        return dict(description)
    names = json.dumps(known, sort_keys=True).encode()
    counted = {"count": known["count"], "sha256": hashlib.sha256(names).hexdigest()}
    return {**description, "calibration": counted}


def sentence(description: Mapping[str, Any]) -> str:
    """Return the short description that Xcode and Android Studio show."""
    how = description["preprocessing"]
    feeding = (
        "" if how is None else f"; input {how['formula']}, mean {how['mean']}, std {how['std']}"
    )
    return f"{description['net']['source']}, {description['precision']}, by edgeconv{feeding}"


def described(
    request: EmitRequest,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    labels: bool = True,
) -> dict[str, str]:
    """Return the description, borders included, as the one metadata entry of a file.

    ``labels`` False leaves the class names out, where the file holds them already.
    """
    borders = {
        "inputs": [spec_to_json(spec) for spec in inputs],
        "outputs": [spec_to_json(spec) for spec in outputs],
    }
    about = {**inside(request.description), **borders}
    return {"edgeconv": json.dumps(about if labels else {**about, "labels": None}, sort_keys=True)}
