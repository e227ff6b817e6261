"""The recipe simulated in float: the noise that INT8 implies before any integer kernel adds its own.

The prepared graph with quantize/dequantize pairs runs in onnxruntime with every rewrite off, so all
arithmetic between the pairs is float32.
"""

from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.deps import require
from edgeconv.files import write_bytes


def simulated_recipe(artifact: Artifact, path: Path) -> Path:
    """Write the recipe of ``artifact`` as a QDQ model with float inputs and outputs to ``path``.

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
    write_bytes(path, save_model(emitted.model))
    return path
