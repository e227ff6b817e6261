"""The one table of what the Core ML target can express, gathered from its families."""

import numpy as np

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
RETURNED = frozenset(np.dtype(kind) for kind in (np.float32, np.int32, np.int64))


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError, naming every operator and node Core ML cannot take, before any work."""
    problems = []
    for node in graph.nodes:
        if node.op not in OPS:
            problems.append(f"{node.op} ({node.name}) has no Core ML lowering")
        elif reason := OPS[node.op].refuse(graph, node):
            problems.append(f"{node.op} ({node.name}): {reason}")
    for tensor in graph.inputs:
        if graph.dtype(tensor).name != "float32":
            problems.append(f"input {tensor} is {graph.dtype(tensor)}; Core ML gets float32 inputs")
    for tensor in graph.outputs:
        if graph.dtype(tensor) not in RETURNED:
            problems.append(f"output {tensor} is {graph.dtype(tensor)}; Core ML returns numbers")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UnsupportedOpError(
            "Core ML cannot take this graph: " + "; ".join(problems[:3]) + more
        )
