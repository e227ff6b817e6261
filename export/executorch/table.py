"""The one table of operators that ExecuTorch is told, and the check that a graph needs nothing outside it."""

from edgeconv.export.executorch import (
    ops_activation,
    ops_arithmetic,
    ops_layers,
    ops_move,
    ops_pool,
    ops_reduce,
    written,
)
from edgeconv.export.executorch.say import Say, parameter
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import slice_bounds
from edgeconv.export.op_table import Entry, Refusal, merged, refusals

OPS: dict[str, Entry[Say]] = merged(
    "ExecuTorch",
    ops_layers.OPS,
    ops_pool.OPS,
    ops_move.OPS,
    ops_reduce.OPS,
    ops_arithmetic.OPS,
    ops_activation.OPS,
    written.OPS,
)
KINDS = ("float32", "int32", "int64", "uint8", "int8", "bool")
ALIKE = ("Expand", "Gather", "ReduceMax", "ReduceMin", "Tile")
"""Operators that run outside of the delegate, and there on the integers themselves."""


def stops(graph: Graph) -> list[Refusal]:
    """Return every node that cannot be expressed, before any time is spent."""
    return refusals(OPS, graph, {}, _tensors, ours=True)


def on_integers(graph: Graph, node: Node) -> bool:
    """Whether a node that only moves or selects values outside of the delegate does so with stored integers."""
    if node.op == "Slice":
        return any(step != 1 for _, _, step in slice_bounds(graph, node).values())
    return node.op in ALIKE


def _tensors(graph: Graph, node: Node) -> str | None:
    read = [name for i, name in enumerate(node.inputs) if name and not parameter(graph, node, i)]
    for name in (*read, *filter(None, node.outputs)):
        kind = graph.dtype(name).name
        if kind not in KINDS:
            return f"{name} is {kind}, which is none of {', '.join(KINDS)}"
        if name not in graph.constants and 0 in graph.shape(name):
            return f"{name} is empty"
    return None
