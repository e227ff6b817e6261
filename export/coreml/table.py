"""The one table of what the Core ML target can express, gathered from its families."""

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.coreml import (
    ops_convolution,
    ops_elementwise,
    ops_logic,
    ops_pooling,
    ops_resize,
    ops_shape,
)
from edgeconv.export.coreml.lowering import Op
from edgeconv.export.graph import Graph

OPS: dict[str, Op] = {
    **ops_convolution.OPS,
    **ops_elementwise.OPS,
    **ops_logic.OPS,
    **ops_pooling.OPS,
    **ops_resize.OPS,
    **ops_shape.OPS,
}
BORDERS = ("float32", "int32", "int64", "uint8", "int8", "bool")
"""Types of inputs and outputs: integers of every width and truth values cross as int32."""


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError, naming every operator and node Core ML cannot take, before any work."""
    problems = []
    for node in graph.nodes:
        if node.op not in OPS:
            problems.append(f"{node.op} ({node.name}) has no Core ML lowering")
        elif reason := OPS[node.op].refuse(graph, node):
            problems.append(f"{node.op} ({node.name}): {reason}")
    for tensor in (*graph.inputs, *graph.outputs):
        if graph.dtype(tensor).name not in BORDERS:
            problems.append(f"{tensor} is {graph.dtype(tensor)}; Core ML has {', '.join(BORDERS)}")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UnsupportedOpError(
            "Core ML cannot take this graph: " + "; ".join(problems[:3]) + more
        )
