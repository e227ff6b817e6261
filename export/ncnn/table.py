"""The one table of operators that ncnn is told, and the check that a graph needs nothing outside it."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn import (
    ops_arithmetic,
    ops_layers,
    ops_move,
    ops_resize,
    ops_transpose,
    ops_windows,
)
from edgeconv.export.ncnn.ops_windows import Say
from edgeconv.export.op_table import Entry, Refusal, merged, refusals

OPS: dict[str, Entry[Say]] = merged(
    "ncnn",
    ops_windows.OPS,
    ops_layers.OPS,
    ops_move.OPS,
    ops_transpose.OPS,
    ops_resize.OPS,
    ops_arithmetic.OPS,
)

PARAMETERS = {
    **dict.fromkeys(("Clip", "Slice", "Resize"), (1, 2, 3, 4)),
    **dict.fromkeys(
        ("CumSum", "Expand", "Gather", "Reshape", "Split", "Squeeze", "Tile", "Unsqueeze"), (1,)
    ),
    **{op: (1,) for op in OPS if op.startswith("Reduce")},
    "Pad": (1, 2, 3),
}
"""Operator -> the inputs that are read as constants while the model is written, of any type."""


def stops(graph: Graph) -> list[Refusal]:
    """Return every node that cannot be expressed, before any time is spent."""
    return refusals(OPS, graph, {}, _tensors)


def _tensors(graph: Graph, node: Node) -> str | None:
    parameters = PARAMETERS.get(node.op, ())
    for place, name in enumerate(node.inputs):
        if name and place not in parameters and graph.dtype(name) != np.float32:
            return f"{name} is {graph.dtype(name).name}, and ncnn computes in float"
    for name in node.outputs:
        if name and graph.dtype(name) != np.float32:
            return f"{name} is {graph.dtype(name).name}, and ncnn computes in float"
    return None
