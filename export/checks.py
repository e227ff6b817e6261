"""What stops an export before it costs time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.options import ExportOptions
from edgeconv.export.publish import staging
from edgeconv.export.targets import TARGETS
from edgeconv.files import digest


def refuse_existing(options: ExportOptions, stem: str) -> None:
    """Raise EdgeconvError where the output cannot be written, or exists and --force was not given."""
    folder = options.output
    if folder.exists() and not folder.is_dir():
        raise EdgeconvError(f"--output {folder} is a file, not a folder")
    with staging(folder) as staged:  # an unwritable folder is found before any work
        for target in options.targets:
            path = folder / (stem + TARGETS[target].suffix)
            if not path.exists() or options.force:
                continue
            if staged.unreported.get(path.name) != digest(path):
                raise EdgeconvError(f"{path} exists; --force replaces it")


WEIGHTED = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"])


def check_finite(graph: Graph) -> None:
    """Raise EdgeconvError naming a weight that holds NaN or infinity.

    Constants of other operators may be infinite: attention masks are -inf where nothing is seen.
    """
    weights = {name for node in graph.of(*WEIGHTED) for name in node.inputs}
    for name, value in graph.constants.items():
        if value.dtype.kind != "f" or not value.ndim:
            continue
        if np.isnan(value).any() or (name in weights and not np.isfinite(value).all()):
            raise EdgeconvError(f"the weight {name} holds NaN or infinity")


def check_labels(path: Path, labels: Sequence[str], graph: Graph) -> None:
    """Raise UsageError where the names of ``path`` are not one a class of the only output."""
    shape = graph.shape(graph.outputs[0])
    if len(graph.outputs) != 1 or len(shape) != 2 or shape[0] != 1:
        raise UsageError(f"--labels {path} names classes, but this net has no one row of scores")
    if shape[1] != len(labels):
        raise UsageError(f"--labels {path} has {len(labels)} names for {shape[1]} classes")
