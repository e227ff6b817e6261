"""The table of targets: a new format is a folder with a target.py, and a row here."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from edgeconv.deps import distribution
from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml.target import COREML
from edgeconv.export.executorch.target import EXECUTORCH
from edgeconv.export.ncnn.target import NCNN
from edgeconv.export.qdq.target import ONNX
from edgeconv.export.target import Target
from edgeconv.export.tflite.target import TFLITE
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph
    from edgeconv.export.options import ExportOptions

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


def lack(target: Target, forms: Sequence[str]) -> str:
    """Return why ``target`` has no file of all ``forms``, which are as they are typed; empty where it has one.

    >>> lack(TARGETS["coreml"], ["int8", "io int8"])
    '--io int8 is for ONNX, TFLite and ExecuTorch, not Core ML: a package takes and returns floats or images; leave --io out'
    """
    for form in forms:
        if (why := target.lacks.get(form)) is None:
            continue
        *titles, last = (other.title for other in TARGETS.values() if form not in other.lacks)
        others = [f"--{p}" for p in PRECISIONS if p != form and p not in target.lacks]
        instead = "leave --io out" if form.startswith("io ") else f"take {' or '.join(others)}"
        return (
            f"--{form} is for {', '.join(titles)} and {last}, not {target.title}: {why}; {instead}"
        )
    return ""


def lacking(options: "ExportOptions") -> dict[str, str]:
    """Return why some of the targets that ``options`` ask for have no such form; those that have it are left out."""
    forms: list[str] = [options.precision]
    forms += ["int8-weights"] if options.int8_weights else []
    forms += [] if options.io in (None, "float") else [f"io {options.io}"]
    found = {name: lack(TARGETS[name], forms) for name in options.targets}
    return {name: why for name, why in found.items() if why}


def refused_targets(graph: "Graph", options: "ExportOptions") -> dict[str, str]:
    """Return why each of the targets asked for cannot express ``graph`` in the form asked for."""
    found = lacking(options)
    for name in options.targets:
        try:
            TARGETS[name].check(graph)
        except UnsupportedOpError as error:
            found.setdefault(name, str(error))
    return found
