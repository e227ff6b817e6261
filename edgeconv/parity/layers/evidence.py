"""What an export's evidence says of its layers: grids, weights, and which tensor is which."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.errors import EdgeconvError
from edgeconv.parity.child import Job
from edgeconv.parity.layers.exposed import Reference
from edgeconv.parity.layers.figures import weight_sqnr
from edgeconv.schema import checked, items, mapping, read_json, table, text, whole
from edgeconv.tensors import Quantization

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph
    from edgeconv.recipe import Recipe

Order = NDArray[np.intp]
"""For each channel of the file the reference's channel, -1 for an added one."""

HELD = mapping(table({"name": text}, {"channels": items(whole(-1))}))


def emitted_graph(artifact: Artifact) -> "Graph":
    """Return the graph that the file was made from, in the form that emitters read."""
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.export.passes.find_shuffles import find_shuffles
    from edgeconv.export.passes.fuse_clamps import fuse_clamps

    graph = from_onnx(load_model(artifact.evidence("prepared.onnx")))
    fuse_clamps(graph)  # a file holds clamps apart, and each shuffle as three operators
    find_shuffles(graph)
    return graph


def held_recipe(artifact: Artifact) -> "Recipe":
    """Return the recipe in the form that the file holds.

    Core ML takes no zero points, and some outputs of files with float borders have no integers.
    """
    from edgeconv.recipe import form_on, load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    if form_on(artifact.target, recipe.form) == recipe.form:
        return recipe.on(artifact.target, artifact.real_outputs)
    from edgeconv.export.hub.onnx_io import from_onnx, load_model

    graph = from_onnx(load_model(artifact.evidence("prepared.onnx")))
    inputs = {node.name: node.inputs[0] for node in graph.nodes if node.name in recipe.weights}
    return recipe.on(artifact.target, artifact.real_outputs, inputs)


def grids_of(artifact: Artifact | None) -> dict[str, Quantization]:
    """Return the recipe's quantization of every tensor, for int8."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    grids = held_recipe(artifact).activations
    return {t: Quantization(a.scale, a.zero_point) for t, a in grids.items()}


def weight_figures(artifact: Artifact | None, model: Any) -> dict[str, float]:
    """Return node name -> SQNR of its integer weights against the prepared graph's float ones."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    from onnx import numpy_helper

    from edgeconv.recipe import load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    constants = {i.name: i for i in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        weights = recipe.weights.get(node.name)
        if weights is not None and node.input[1] in constants:
            real = np.asarray(numpy_helper.to_array(constants[node.input[1]]))
            if (
                real.shape == weights.values.shape
                and weights.scales.size == real.shape[weights.axis]
            ):
                found[node.name] = weight_sqnr(real, weights.values, weights.scales, weights.axis)
    return found


def held_tensors(artifact: Artifact) -> dict[str, dict[str, Any]]:
    """Return prepared tensor -> what the file holds of it (edgeconv/artifact.py).

    Raises EdgeconvError for a file whose evidence is of an earlier form.
    """
    files = artifact.manifest["evidence"]["files"]
    if f"names_{artifact.target}.json" in files:
        raise EdgeconvError(
            f"{artifact.path.name} was made by an earlier edgeconv, whose evidence does not say where its "
            "channels are: run its edgeconv export again, with --force, to compare its layers"
        )
    path = artifact.evidence(f"tensors_{artifact.target}.json")
    found: dict[str, dict[str, Any]] = checked(
        read_json(path, "a table of tensors"), HELD, str(path)
    )
    return found


def channel_orders(artifact: Artifact) -> dict[str, Order]:
    """Return, for tensors that have more channels in the file, each one's place in the reference."""
    return {
        tensor: np.array(data["channels"], np.intp)
        for tensor, data in held_tensors(artifact).items()
        if "channels" in data
    }


def names_for(artifact: Artifact | None, job: Job, reference: Reference) -> dict[str, str]:
    """Return reference tensor -> tensor of the file: from the evidence, else matched."""
    if artifact is not None:
        held = held_tensors(artifact)
        order = [*reference.shapes.keys() - set(reference.tensors), *reference.tensors]
        return {tensor: str(held[tensor]["name"]) for tensor in order if tensor in held}
    if job.path.suffix.lower() != ".onnx":
        raise EdgeconvError(
            f"{job.path.name} was not made by edgeconv export, so nothing says which of its tensors "
            "is which of the reference's"
        )
    import onnx

    from edgeconv.parity.layers.surgery_onnx import match_layers

    return match_layers(reference.model, onnx.load(str(job.path)))
