"""Lower a prepared graph to a .pte. It runs in a process of its own: ExecuTorch is heavy, and may crash."""

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.log import muted

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph
    from edgeconv.recipe import Recipe

DELEGATE, PICK = "executorch_call_delegate", "getitem"
MEMORY = "executorch.exir.memory"
"""Where the calls are that only reserve memory, or see it in another shape."""


def lower(request: dict[str, Any]) -> dict[str, Any]:
    """Write ``request["output"]`` from the graph at ``request["graph"]``, an .onnx.

    ``request["recipe"]`` is the recipe's file or None, ``request["io"]`` float or int8. Returns how many
    pieces the delegate took (``delegates``) and the operators left outside by name (``outside``).
    """
    from edgeconv.export.hub.onnx_io import from_onnx, load_model
    from edgeconv.export.passes.fuse_clamps import fuse_clamps
    from edgeconv.recipe import load_recipe

    graph = from_onnx(load_model(Path(request["graph"])))
    fuse_clamps(graph)
    recipe = None if request["recipe"] is None else load_recipe(Path(request["recipe"]))
    with muted(logging.CRITICAL):  # what fails is raised, too
        data, found = program(graph, recipe, request["io"])
    Path(request["output"]).write_bytes(data)
    return found


def program(graph: "Graph", recipe: "Recipe | None", io: str) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a .pte, and how many delegates it has and which operators outside of them."""
    import torch

    from edgeconv.errors import EdgeconvError
    from edgeconv.export.executorch.module import GraphModule, stored_input

    integer = io == "int8" and recipe is not None
    kinds = [
        torch.int8
        if integer and recipe and stored_input(graph, recipe, name)
        else getattr(torch, graph.dtype(name).name)
        for name in graph.inputs
    ]
    inputs = tuple(
        torch.zeros(graph.shape(n), dtype=k) for n, k in zip(graph.inputs, kinds, strict=True)
    )
    module = GraphModule(graph, recipe, io).eval()
    try:
        made = _lowered(module, inputs)
    except Exception as error:  # whatever its passes raise: torch's, ExecuTorch's, plain Python's
        first = (str(error).strip().splitlines() or [""])[0]
        raise EdgeconvError(
            f"ExecuTorch cannot lower it: {type(error).__name__}: {first}"
        ) from error
    calls = Counter(
        getattr(node.target, "__name__", str(node.target)).split(".")[0]  # "amax.out"
        for node in made.exported_program().graph.nodes
        if node.op == "call_function" and getattr(node.target, "__module__", "") != MEMORY
    )
    outside = {name: count for name, count in calls.items() if name not in (DELEGATE, PICK)}
    return made.buffer, {"delegates": calls[DELEGATE], "outside": outside}


def _lowered(module: Any, inputs: tuple[Any, ...]) -> Any:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from torch.fx.traceback import NodeSource

    # each of some hundred passes copies the whole history of every node; it is never changed, and not written
    setattr(NodeSource, "__deepcopy__", lambda source, _memo: source)  # noqa: B010 - mypy
    with torch.no_grad():
        program = torch.export.export(module, inputs, strict=False)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        return edge.to_executorch()
