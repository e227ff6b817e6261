"""The one table of operators, and the check that a graph needs nothing outside it."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, Refusal, merged, refusals, refuse
from edgeconv.export.tflite import (
    ops_activation,
    ops_conv,
    ops_cut,
    ops_elementwise,
    ops_norm,
    ops_pool,
    ops_product,
    ops_recurrent,
    ops_reduce,
    ops_resize,
    ops_shape,
    ops_sort,
    ops_written,
)
from edgeconv.export.tflite.emission import Emit
from edgeconv.export.tflite.plan import Plan, plan_layouts

KINDS = ("float32", "int32", "int64", "uint8", "int8", "bool")

_ELSEWHERE = {
    "Einsum": "MatMul with Transpose and Reshape around it",
    "NonMaxSuppression": "the raw boxes and scores as outputs, selected outside the model",
    "Unique": "the values as output, sorted outside the model",
    "MaxUnpool": "ConvTranspose or Resize",
    "LpPool": "AveragePool or MaxPool",
    "BatchNormalization": "BatchNormalization in evaluation mode with constant statistics",
    "GatherND": "Gather",
    "Loop": "the loop unrolled before export",
    "If": "one branch chosen before export",
}


OPS: dict[str, Entry[Emit]] = merged(
    "TFLite",
    ops_conv.TABLE,
    ops_product.TABLE,
    ops_cut.TABLE,
    ops_pool.TABLE,
    ops_recurrent.TABLE,
    ops_elementwise.TABLE,
    ops_norm.TABLE,
    ops_activation.TABLE,
    ops_shape.TABLE,
    ops_resize.TABLE,
    ops_reduce.TABLE,
    ops_sort.TABLE,
    ops_written.TABLE,
)


def stops(graph: Graph) -> list[Refusal]:
    """Return every node that cannot be expressed."""
    return refusals(OPS, graph, _ELSEWHERE, _tensors)


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError for a graph that cannot be expressed, before any time is spent."""
    refuse("TFLite", stops(graph))


def planned(graph: Graph) -> Plan:
    """Return how the operators of a graph want its tensors stored."""
    return plan_layouts(graph, lambda g, node: OPS[node.op].layout_rule(g, node))


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
