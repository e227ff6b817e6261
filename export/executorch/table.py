"""The one table of operators that ExecuTorch is told, and the check that a graph needs nothing outside it."""

import numpy as np

from edgeconv.export.executorch import ops_arithmetic, ops_layers, ops_move
from edgeconv.export.executorch.say import PARAMETERS, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, Refusal, merged, refusals

OPS: dict[str, Entry[Say]] = merged("ExecuTorch", ops_layers.OPS, ops_move.OPS, ops_arithmetic.OPS)


def stops(graph: Graph) -> list[Refusal]:
    """Return every node that cannot be expressed, before any time is spent."""
    return refusals(OPS, graph, {}, _tensors)


def _tensors(graph: Graph, node: Node) -> str | None:
    for place, name in enumerate((*node.inputs, *node.outputs)):
        parameter = place < len(node.inputs) and place in PARAMETERS.get(node.op, ())
        if name and not parameter and graph.dtype(name) != np.float32:
            return f"{name} is {graph.dtype(name).name}, not float32"
    return None
