"""Every form a net can be exported in, from integers no processor decides: names and hashes of the files.

``python tests/export_forms.py FILE.json`` writes them; scripts/compare_exports.py runs it on two commits.
"""

import hashlib
import json
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from edgeconv.export.emit import EmitRequest
from edgeconv.export.graph import Graph
from edgeconv.export.hub.simplify import simplify
from edgeconv.export.hub.trace import trace_module
from edgeconv.export.integer.rules import output_channels, why_float
from edgeconv.export.op_traits import WEIGHTED, output_axis
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import PixelInput, prepare
from edgeconv.export.quant.ranges import choose_ranges, fixed_scales
from edgeconv.export.source import open_source
from edgeconv.export.targets import TARGETS
from edgeconv.recipe import Form, Recipe, Weights, bias_integers

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
RESOLUTION = 32
DESCRIPTION = dict.fromkeys(
    ("softmax", "preprocessing", "labels", "weights", "calibration", "recipe", "versions")
)
FORMS: tuple[Form, ...] = ("zero-point-free", "asymmetric")


def lowered(net: str, *, int8: bool) -> tuple[Graph, dict[str, tuple[float, int]]]:
    """Return the prepared graph of a bundled net at 32x32, and the scale of its exact pixels."""
    source = open_source(ExportOptions(net, resolution=RESOLUTION))
    assert source.module is not None
    assert source.preprocessing is not None
    hub = simplify(trace_module(source.module, source.shapes, source.output_names)).hub
    pixels = PixelInput(source.preprocessing.mean, source.preprocessing.std, False)
    made = prepare(hub, int8=int8, pixels=pixels)
    return made.graph, dict(made.exact_inputs)


def integer_recipe(graph: Graph, exact: dict[str, tuple[float, int]], form: Form) -> Recipe:
    """Return a recipe whose every number follows from names and shapes alone."""
    islands = frozenset(node.name for node in graph.nodes if why_float(graph, node) is not None)
    seen = cast(Any, SimpleNamespace(tensors=_Ranges(), peaks={}))
    activations = choose_ranges(
        graph,
        seen,
        form=form,
        method="minmax",
        fixed=fixed_scales(graph, exact, islands),
        float_nodes=islands,
    )
    weights = {}
    for node in graph.nodes:
        if node.op not in WEIGHTED or node.name in islands:
            continue
        shape = graph.shape(node.inputs[1])
        count = output_channels(node, graph.constants[node.inputs[1]])
        start, channels = zlib.crc32(node.name.encode()) % 997, np.arange(count)
        values = (np.arange(int(np.prod(shape))) * 89 + start) % 255 - 127
        made = Weights(
            values.reshape(shape).astype(np.int8),
            ((8 + (channels + start) % 7) / 4096).astype(np.float32),
            np.zeros(count, np.int32),
            (((channels * 37 + start) % 201 - 100) / 64).astype(np.float32),
            output_axis(node),
        )
        scale = activations[node.inputs[0]].scale
        weights[node.name] = replace(made, bias=bias_integers(made, scale))
    return Recipe("by hand", form, activations, weights, tuple(sorted(islands)))


class _Ranges(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        high = 1 + zlib.crc32(name.encode()) % 13 / 4
        return SimpleNamespace(low=np.array([-high]), high=np.array([high / 2]))


def forms(net: str) -> Iterator[tuple[str, str, ExportOptions]]:
    """Yield (name, form of the recipe, options) of every file of a net."""

    def one(target: str, precision: str, form: str = "", **more: Any) -> tuple[str, str, Any]:
        words = [net, target, precision, form, *(f"{k}={v}" for k, v in more.items())]
        made = ExportOptions(
            net, targets=(target,), precision=cast(Any, precision), resolution=RESOLUTION, **more
        )
        return " ".join(word for word in words if word), form, made

    free = FORMS[0]
    for target, precision in (
        ("onnx", "fp32"),
        ("tflite", "fp32"),
        ("tflite", "fp16"),
        ("coreml", "fp16"),
    ):
        yield one(target, precision)
    for form in FORMS:
        yield one("tflite", "int8", form)
        yield one("onnx", "int8", form)
    for cpu in ("any", "x86", "arm"):
        for prefer in ("speed", "size"):
            yield one("onnx", "int8", free, cpu=cpu, prefer=prefer)
    yield one("tflite", "int8", free, prefer="size")
    for io in ("int8", "uint8"):
        yield one("onnx", "int8", free, io=io)
        yield one("tflite", "int8", free, io=io)
    yield one("coreml", "int8", free)
    if net == "mobilenet_v1":  # a second a package, and nothing here depends on the net
        yield one("coreml", "fp32")
        yield one("coreml", "int8", free, int8_weights=True)


def file_hashes(net: str) -> dict[str, str]:
    """Return name -> hash of every file of a net, its description left out."""
    graph, _ = lowered(net, int8=False)
    integer, exact = lowered(net, int8=True)
    recipes: dict[str, Recipe] = {form: integer_recipe(integer, exact, form) for form in FORMS}
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, form, options in forms(net):
            target = options.targets[0]
            recipe = recipes.get(form)
            request = EmitRequest(
                graph if recipe is None else integer,
                recipe,
                options,
                options.io or "float",
                {**DESCRIPTION, "net": {"source": net}, "precision": options.precision},
            )
            path = Path(folder, f"{len(found)}{TARGETS[target].suffix}")
            TARGETS[target].emit(request, path)
            found[name] = content_hash(path)
    return found


def content_hash(path: Path) -> str:
    """Return the hash of a file, or of what a package holds besides its random identifiers."""
    parts = [path] if path.is_file() else sorted(path.rglob("*"))
    made = hashlib.sha256()
    for part in parts:
        if part.is_file() and part.name != "Manifest.json":
            made.update(part.read_bytes())
    return made.hexdigest()[:16]


if __name__ == "__main__":
    hashes = {name: value for net in NETS for name, value in file_hashes(net).items()}
    Path(sys.argv[1]).write_text(json.dumps(hashes, indent=1) + "\n")
