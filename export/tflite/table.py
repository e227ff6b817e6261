"""The one table of operators, and the check that a graph needs nothing outside it."""

import numpy as np

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite import (
    ops_activation,
    ops_conv,
    ops_cut,
    ops_elementwise,
    ops_norm,
    ops_pool,
    ops_reduce,
    ops_resize,
    ops_shape,
)
from edgeconv.export.tflite.entry import Entry

KINDS = ("float32", "int32", "int64", "uint8", "int8", "bool")

_ELSEWHERE = {
    "Einsum": "MatMul with Transpose and Reshape around it",
    "LSTM": "a net without recurrence",
    "GRU": "a net without recurrence",
    "RNN": "a net without recurrence",
    "NonMaxSuppression": "the raw boxes and scores as outputs, selected outside the model",
    "TopK": "the scores as output, sorted outside the model",
    "GridSample": "Resize",
    "MaxUnpool": "ConvTranspose or Resize",
    "LpPool": "AveragePool or MaxPool",
    "BatchNormalization": "BatchNormalization in evaluation mode with constant statistics",
    "ScatterND": "Concat of slices",
    "GatherND": "Gather",
    "Loop": "the loop unrolled before export",
    "If": "one branch chosen before export",
}


def _merged() -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    families = (
        ops_conv,
        ops_cut,
        ops_pool,
        ops_elementwise,
        ops_norm,
        ops_activation,
        ops_shape,
        ops_resize,
        ops_reduce,
    )
    for family in families:
        for op, entry in family.TABLE.items():
            if op in table:
                raise ValueError(f"two entries of the TFLite op table are called {op}")
            table[op] = entry
    return table


OPS = _merged()


def entry_for(node: Node) -> Entry:
    """Return the entry of a node; raises UnsupportedOpError where there is none."""
    if node.op not in OPS:
        nearest = _ELSEWHERE.get(node.op, "a composition of the supported operators")
        raise UnsupportedOpError(
            f"TFLite emission has no {node.op} (node {node.name}); "
            f"the nearest supported form is {nearest}"
        )
    return OPS[node.op]


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError for the first node that cannot be expressed, before any time is spent.

    The sentence names op, node, reason and the nearest supported form.
    """
    for node in graph.nodes:
        entry = entry_for(node)
        reason = _tensors(graph, node) or entry.check(graph, node)
        if reason is not None:
            raise UnsupportedOpError(
                f"TFLite cannot express {node.op} (node {node.name}): {reason}; "
                f"the nearest supported form is {entry.nearest}"
            )


def _tensors(graph: Graph, node: Node) -> str | None:
    for name in (*node.inputs, *node.outputs):
        if not name:
            continue
        if graph.dtype(name).name not in KINDS and not _unread(graph, node, name):
            return f"{name} is {graph.dtype(name).name}, which is none of {', '.join(KINDS)}"
        if name not in graph.constants and 0 in graph.shape(name):
            return f"{name} is empty"
    return None


def _unread(graph: Graph, node: Node, name: str) -> bool:
    """Say whether a constant only parametrizes a node: its dtype never reaches the file."""
    return (
        name in graph.constants and np.ndim(graph.constants[name]) <= 1 and node.op in ("Resize",)
    )
