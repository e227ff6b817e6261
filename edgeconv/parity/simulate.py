"""The recipe simulated in float: the noise that INT8 implies before any integer kernel adds its own.

The prepared graph with quantize/dequantize pairs runs in onnxruntime with every rewrite off, so all
arithmetic between the pairs is float32.
"""

from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.deps import require
from edgeconv.files import write_bytes


def simulated_model(artifact: Artifact) -> tuple[bytes, dict[str, str]]:
    """Return the recipe of ``artifact`` as a QDQ model with float borders, and its tensor names.

    Raises MissingDependencyError without the onnx package, EdgeconvError where the evidence is
    incomplete.
    """
    prepared, recipe_file = artifact.evidence("prepared.onnx"), artifact.evidence("recipe.json")
    require("onnx", "export")
    from edgeconv.export.onnx_io import from_onnx, load_model, save_model
    from edgeconv.export.quant.qdq import emit_qdq
    from edgeconv.export.quant.recipe import load_recipe

    graph = from_onnx(load_model(prepared))
    emitted = emit_qdq(graph, load_recipe(recipe_file), io="float")
    return save_model(emitted.model), dict(emitted.names)


def simulated_recipe(artifact: Artifact, path: Path) -> Path:
    """Write the simulated recipe of ``artifact`` to ``path``."""
    write_bytes(path, simulated_model(artifact)[0])
    return path
