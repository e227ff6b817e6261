"""The table of targets: a new format is a folder with a target.py, and a row here."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgeconv.deps import distribution
from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml.target import COREML
from edgeconv.export.executorch.target import EXECUTORCH
from edgeconv.export.ncnn.target import NCNN
from edgeconv.export.qdq.target import ONNX
from edgeconv.export.target import Target
from edgeconv.export.tflite.target import TFLITE
from edgeconv.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph

TARGETS: dict[str, Target] = {
    target.name: target for target in (ONNX, TFLITE, COREML, EXECUTORCH, NCNN)
}


HUB = ("torch", "onnx", "onnxsim", "numpy", "pillow")
"""Packages that have a part in the graph and the integers of every target."""


def packages(targets: Iterable[str]) -> tuple[str, ...]:
    """Return the packages that have a part in files of ``targets``: the hub's, and those that write and run them.

    >>> packages(["coreml"])
    ('torch', 'onnx', 'onnxsim', 'numpy', 'pillow', 'coremltools')
    """
    chosen = [TARGETS[name] for name in targets]
    written = [distribution(module) for target in chosen for module, _ in target.needs]
    run = [
        package
        for runtime in RUNTIMES.values()
        for package in runtime.packages[:1]
        if not runtime.asked and any(target.suffix in runtime.suffixes for target in chosen)
    ]
    return tuple(dict.fromkeys((*HUB, *written, *run)))


def readers(field: str) -> list[str]:
    """Return the targets that read a field of ExportOptions; none where every target does.

    >>> readers("prefer"), readers("net")
    (['onnx', 'tflite'], [])
    """
    return [name for name, target in TARGETS.items() if field in target.options]


def special_fields() -> list[str]:
    """Return the fields of ExportOptions that only some targets read."""
    rows = (field for t in TARGETS.values() for field in t.options)
    return list(dict.fromkeys(rows))


def refused_targets(
    graph: "Graph", targets: Iterable[str], *, integer: bool = False
) -> dict[str, str]:
    """Return why each of ``targets`` cannot express ``graph``; those that can are left out.

    ``integer``: as an INT8 file.
    """
    found = {}
    for name in targets:
        try:
            TARGETS[name].check(graph, integer=integer)
        except UnsupportedOpError as error:
            found[name] = str(error)
    return found
