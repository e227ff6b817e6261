"""The table of targets: a new format is a folder with a target.py, and a row here."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml.target import COREML
from edgeconv.export.executorch.target import EXECUTORCH
from edgeconv.export.qdq.target import ONNX
from edgeconv.export.target import Target
from edgeconv.export.tflite.target import TFLITE

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX, TFLITE, COREML, EXECUTORCH)}


def readers(field: str) -> list[str]:
    """Return the targets that read a field of ExportOptions; none where every target does.

    >>> readers("prefer"), readers("net")
    (['onnx', 'tflite'], [])
    """
    return [name for name, target in TARGETS.items() if field in (*target.options, *target.alone)]


def special_fields() -> list[str]:
    """Return the fields of ExportOptions that only some targets read."""
    rows = (field for t in TARGETS.values() for field in (*t.options, *t.alone))
    return list(dict.fromkeys(rows))


def refused_targets(graph: "Graph", targets: Iterable[str]) -> dict[str, str]:
    """Return why each of ``targets`` cannot express ``graph``; those that can are left out."""
    found = {}
    for name in targets:
        try:
            TARGETS[name].check(graph)
        except UnsupportedOpError as error:
            found[name] = str(error)
    return found
