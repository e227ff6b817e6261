"""LiteRT, TFLite's successor, from the package ai-edge-litert."""

import importlib.metadata

from edgeconv.deps import require
from edgeconv.runtimes.checks import Shapes, Source
from edgeconv.runtimes.tflite import TfliteRunner, open_interpreter


def open_model(
    source: Source, *, threads: int = 1, xnnpack: bool = True, shapes: Shapes | None = None
) -> TfliteRunner:
    """Open a model from a path or from bytes.

    ``xnnpack=False`` runs TFLite's builtin kernels, which round differently (fixed point).
    """
    module = require("ai_edge_litert.interpreter", "tflite")
    version = importlib.metadata.version("ai-edge-litert")
    name = "ai-edge-litert" if xnnpack else "ai-edge-litert/no-xnnpack"
    return open_interpreter(module, name, version, source, threads, xnnpack, shapes)


open = open_model
