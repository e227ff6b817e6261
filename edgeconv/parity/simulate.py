"""The recipe simulated in float: the noise that INT8 implies before any integer kernel adds its own.

The prepared graph with quantize/dequantize pairs runs in onnxruntime without integer kernels, as an export runs it,
so all arithmetic between the pairs is float32.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.artifact import Artifact
from edgeconv.deps import require
from edgeconv.files import write_bytes

if TYPE_CHECKING:
    from edgeconv.recipe import Recipe


def simulated_model(
    artifact: Artifact, recipe: "Recipe | None" = None
) -> tuple[bytes, dict[str, str]]:
    """Return the recipe of ``artifact`` as a QDQ model with float borders, and its tensor names.

    ``recipe`` takes the place of the one in the evidence; what it stores is then rounded for all readers where
    the file has no zero points, as layers of one at a time are held to it.

    Raises MissingDependencyError without the onnx package, EdgeconvError where the evidence is
    incomplete.
    """
    prepared = artifact.evidence("prepared.onnx")
    require("onnx", "export")
    from edgeconv.export.hub.onnx_io import from_onnx, load_model, save_model
    from edgeconv.export.integer.free_form import held_on
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.recipe import WITHOUT_ZERO_POINTS, load_recipe

    graph = from_onnx(load_model(prepared))
    whole, free = recipe is not None, artifact.target in WITHOUT_ZERO_POINTS
    if recipe is None:
        recipe = load_recipe(artifact.evidence("recipe.json"))
        recipe = held_on(graph, recipe, artifact.target, artifact.real_outputs)
    emitted = emit_qdq(graph, recipe, free=free and not whole, rounded=free and whole)
    return save_model(emitted.model), dict(emitted.names)


def whole_border(artifact: Artifact, path: Path) -> Path:
    """Write the prepared graph of ``artifact`` to ``path`` with the border that exact pixels move; return where it is.

    What it is held against is the hub's function to the last bits. The evidence's own file where the net
    takes no pictures.
    """
    prepared, how = artifact.evidence("prepared.onnx"), artifact.preprocessing
    if how is None:
        return prepared
    require("onnx", "export")
    from edgeconv.export.hub.onnx_io import from_onnx, load_model, save_model, to_onnx
    from edgeconv.export.prepare import PixelInput, with_border

    pixels = PixelInput(how.mean, how.std, how.embedded)
    graph = with_border(from_onnx(load_model(prepared)), pixels)
    write_bytes(path, save_model(to_onnx(graph)))
    return path


def simulated_recipe(artifact: Artifact, path: Path) -> Path:
    """Write the simulated recipe of ``artifact`` to ``path``."""
    write_bytes(path, simulated_model(artifact)[0])
    return path
