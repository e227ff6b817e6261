"""tflite-runtime: the only runtime for 32-bit ARM, and the end of its line at Python 3.11."""

import importlib.metadata

import numpy as np

from edgeconv.deps import MissingDependencyError, require
from edgeconv.runtimes.checks import Shapes, Source
from edgeconv.runtimes.tflite import TfliteRunner, open_interpreter


def check_numpy(version: str) -> None:
    """Raise MissingDependencyError for numpy 2 or newer, which makes every interpreter fail.

    The package was compiled for numpy 1 although its metadata asks for nothing of the kind.
    """
    if int(version.partition(".")[0]) >= 2:
        raise MissingDependencyError(
            f"tflite-runtime needs numpy below 2 and numpy {version} is installed:"
            " pip install 'edgeconv[tflite-runtime]', or use 'edgeconv[tflite]' instead"
        )


def open_model(
    source: Source, *, threads: int = 1, xnnpack: bool = True, shapes: Shapes | None = None
) -> TfliteRunner:
    """Open a model from a path or from bytes; ``xnnpack=False`` runs the builtin kernels."""
    check_numpy(np.__version__)
    module = require("tflite_runtime.interpreter", "tflite-runtime")
    version = importlib.metadata.version("tflite-runtime")
    name = "tflite-runtime" if xnnpack else "tflite-runtime/no-xnnpack"
    return open_interpreter(module, name, version, source, threads, xnnpack, shapes)


open = open_model
