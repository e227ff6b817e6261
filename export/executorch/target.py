"""ExecuTorch as a target: a .pte whose operators XNNPACK runs, with the recipe's own integers."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.export.target import Target

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.tensors import TensorSpec

LIMIT_S = 1800.0


def _stops(graph: "Graph") -> "list[Refusal]":
    from edgeconv.export.executorch.table import stops

    return stops(graph)


def _emit(request: "EmitRequest", path: Path) -> "Emitted":
    from edgeconv.export.emit import Emitted, with_offset
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.files import temporary_folder, write_bytes
    from edgeconv.isolate import call

    with temporary_folder() as folder:
        graph, recipe, made = folder / "graph.onnx", folder / "recipe.json", folder / "model.pte"
        graph.write_bytes(save_model(to_onnx(request.graph)))
        if request.recipe is not None:
            request.recipe.save(recipe)
        asked = {
            "graph": str(graph),
            "recipe": None if request.recipe is None else str(recipe),
            "io": request.io,
            "output": str(made),
        }
        what = f"lowering {path.name}"
        found = call("edgeconv.export.executorch.lower:lower", asked, what, timeout_s=LIMIT_S)
        data = made.read_bytes()
    write_bytes(path, data)
    notes = [
        "the .pte format is not stable between versions: run it with the ExecuTorch that made it"
    ]
    if found["outside"]:
        left = ", ".join(f"{count} {name}" for name, count in sorted(found["outside"].items()))
        notes.append(f"outside the XNNPACK delegate: {left}")
    inputs = tuple(
        with_offset(request, _spec(request, name, inward=True)) for name in request.graph.inputs
    )
    outputs = tuple(_spec(request, name, inward=False) for name in request.graph.outputs)
    return Emitted(len(data), {}, inputs, outputs, _stats(request, found), tuple(notes))


def _stats(request: "EmitRequest", found: dict[str, object]) -> dict[str, object]:
    from edgeconv.export.emit import counts
    from edgeconv.export.executorch.table import OPS
    from edgeconv.export.op_traits import WEIGHTED

    compute = [node for node in request.graph.nodes if node.op in WEIGHTED]
    integer = (
        0 if request.recipe is None else sum(n.name in request.recipe.weights for n in compute)
    )
    graph = request.graph
    islands = [node.name for node in graph.nodes if not OPS[node.op].native(graph, node)]
    return {
        "ops": len(request.graph.nodes),
        "compute": len(compute),
        "int8_compute": integer,
        "per_channel": integer,
        "transposes": sum(node.op == "Transpose" for node in request.graph.nodes),
        **counts(request, islands),
        **found,
    }


def _spec(request: "EmitRequest", name: str, *, inward: bool) -> "TensorSpec":
    from edgeconv.export.executorch.module import stored_input
    from edgeconv.tensors import Layout, Quantization, TensorSpec

    shape, recipe = request.graph.shape(name), request.recipe
    layout: Layout = "nchw" if len(shape) == 4 else "other"
    held = name
    if recipe is not None and inward:
        held = stored_input(request.graph, recipe, name) or name
    how = None if recipe is None or request.io != "int8" else recipe.activations.get(held)
    if how is None:
        return TensorSpec(name, shape, request.graph.dtype(name).name, layout)
    return TensorSpec(name, shape, "int8", layout, Quantization(how.scale, how.zero_point))


EXECUTORCH = Target(
    name="executorch",
    suffix=".pte",
    title="ExecuTorch",
    needs=(("onnx", "export"), ("torch", "executorch"), ("executorch.exir", "executorch")),
    stops=_stops,
    emit=_emit,
    verified=100,
    lacks={
        "fp16": "edgeconv lowers float32 and integers",
        "int8-weights": "edgeconv lowers integers of weights with those of activations",
        "io uint8": "XNNPACK's kernels take int8 or float",
    },
)
