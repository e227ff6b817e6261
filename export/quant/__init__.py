"""The INT8 recipe and the engine that makes it: numpy and onnxruntime, no torch."""

import importlib
from typing import TYPE_CHECKING, Any

from edgeconv.export.quant.recipe import Activation, Recipe, Weights, load_recipe

if TYPE_CHECKING:
    from edgeconv.export.quant.engine import Quantized, quantize
    from edgeconv.export.quant.qdq import EmittedOnnx, emit_qdq

_LAZY = {
    "EmittedOnnx": "edgeconv.export.quant.qdq",
    "Quantized": "edgeconv.export.quant.engine",
    "emit_qdq": "edgeconv.export.quant.qdq",
    "quantize": "edgeconv.export.quant.engine",
}


def __getattr__(name: str) -> Any:
    """Import what needs onnx only when it is asked for: reading a recipe does not."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(_LAZY[name]), name)


__all__ = [
    "Activation",
    "EmittedOnnx",
    "Quantized",
    "Recipe",
    "Weights",
    "emit_qdq",
    "load_recipe",
    "quantize",
]
