"""The one table of what the Core ML target can express, gathered from its families."""

import numpy as np

from edgeconv.export.coreml import (
    ops_convolution,
    ops_elementwise,
    ops_logic,
    ops_pooling,
    ops_recurrent,
    ops_resize,
    ops_shape,
    ops_types,
    ops_written,
)
from edgeconv.export.coreml.lowering import Lower
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, Refusal, first_failing, merged, refusals, refuse

OPS: dict[str, Entry[Lower]] = merged(
    "Core ML",
    ops_convolution.OPS,
    ops_elementwise.OPS,
    ops_logic.OPS,
    ops_pooling.OPS,
    ops_recurrent.OPS,
    ops_resize.OPS,
    ops_shape.OPS,
    ops_types.OPS,
    ops_written.OPS,
)
BORDERS = ("float32", "int32", "int64", "uint8", "int8", "bool")
"""Types of inputs and outputs: integers of every width and truth values cross as int32."""
MOST_AXES = 5
RESHAPING = frozenset(["Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])
"""coremltools makes one of several in a row, whatever lies between them."""


OF_REALS = frozenset(["DepthToSpace", "MaxPool", "Relu", "Resize", "SpaceToDepth"])
"""Those that coremltools has for floats alone."""
NOT_OF_TRUTH = frozenset(["Gather", "GatherElements", "GatherND", "Pad", "ReverseSequence"])
"""Those that it has for numbers alone."""


def stops(graph: Graph) -> list[Refusal]:
    """Return every node and border that Core ML cannot take."""
    problems = refusals(OPS, graph, {}, first_failing(_many_axes, _other_type))
    for tensor in (*graph.inputs, *graph.outputs):
        rank = len(graph.shape(tensor))
        if rank > MOST_AXES:
            problems.append(Refusal(tensor, f"{tensor} of {rank} axes: it has {MOST_AXES} at most"))
        kind = graph.dtype(tensor).name
        if kind not in BORDERS:
            clause = f"{tensor} as {kind}: it has {', '.join(BORDERS)}"
            problems.append(Refusal(tensor, clause))
    return problems


def _many_axes(graph: Graph, node: Node) -> str | None:
    if node.op in RESHAPING:
        return None
    ranks = [len(graph.shape(name)) for name in node.outputs if name]
    most = max(ranks, default=0)
    return f"it makes {most} axes, and Core ML has {MOST_AXES}" if most > MOST_AXES else None


def _other_type(graph: Graph, node: Node) -> str | None:
    kind = graph.dtype(node.inputs[0]) if node.inputs else np.dtype(np.float32)
    if node.op in OF_REALS and kind.kind != "f":
        return "its input is whole numbers; a Cast to float has a form"
    if node.op in NOT_OF_TRUTH and kind == np.bool_:
        return "its input is bool; a Cast to float has a form"
    return None


def check_supported(graph: Graph) -> None:
    """Raise UnsupportedOpError for a graph that Core ML cannot take, before any work."""
    refuse("Core ML", stops(graph))
