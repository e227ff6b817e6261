"""A net itself, in PyTorch: the float row of the table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.runtimes.base import Runner


def open_net(asked: Mapping[str, Any], threads: int) -> Runner:
    """Build the module that ``asked`` (fields of ExportOptions) names and hold it open.

    Weights do not change the latency, so nets of ours get random ones and nothing is downloaded.
    Raises EdgeconvError or UsageError where the net cannot be built.
    """
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.source import open_source
    from edgeconv.runtimes.pytorch import open_module

    fields = {key: value for key, value in asked.items() if value is not None}
    if "input_shapes" in fields:
        fields["input_shapes"] = tuple(tuple(shape) for shape in fields["input_shapes"])
    source = open_source(ExportOptions(**{**fields, "output": Path()}))
    if source.module is None:
        raise EdgeconvError(f"{asked['net']} is a file, not a module")
    if fields.get("weights") == "random":
        # untrained activations can shrink from layer to layer into denormals, which are slow
        require("torch", "torch").set_flush_denormal(True)
    names = source.output_names or _output_names(source.module, list(source.shapes.values()))
    return open_module(
        source.module, list(source.shapes), names, list(source.shapes.values()), threads=threads
    )


def _output_names(module: Any, shapes: list[tuple[int, ...]]) -> tuple[str, ...]:
    """Number the outputs of a module whose names nobody gave."""
    import torch

    module.eval()
    with torch.no_grad():
        result = module(*(torch.zeros(shape) for shape in shapes))
    count = len(result) if isinstance(result, (list, tuple, dict)) else 1
    return tuple(f"output_{i}" if i else "output" for i in range(count))
