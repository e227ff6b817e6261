"""The one table of what the Core ML target can express, gathered from its families."""

from edgeconv.export.coreml import (
    ops_convolution,
    ops_elementwise,
    ops_logic,
    ops_pooling,
    ops_resize,
    ops_shape,
)
from edgeconv.export.coreml.lowering import Lower
from edgeconv.export.graph import Graph
from edgeconv.export.op_table import Entry, merged, refusals, refuse

OPS: dict[str, Entry[Lower]] = merged(
    "Core ML",
    ops_convolution.OPS,
    ops_elementwise.OPS,
    ops_logic.OPS,
    ops_pooling.OPS,
    ops_resize.OPS,
    ops_shape.OPS,
)
BORDERS = ("float32", "int32", "int64", "uint8", "int8", "bool")
"""Types of inputs and outputs: integers of every width and truth values cross as int32."""


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError for a graph that Core ML cannot take, before any work."""
    problems = refusals(OPS, graph, {})
    for tensor in (*graph.inputs, *graph.outputs):
        if graph.dtype(tensor).name not in BORDERS:
            problems.append(f"{tensor} as {graph.dtype(tensor)}: it has {', '.join(BORDERS)}")
    refuse("Core ML", problems)
