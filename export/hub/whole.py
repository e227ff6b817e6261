"""What whole numbers an output holds, by the operators behind it: labels, or amounts."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.judge.whole import Whole

MOVES = frozenset(
    [
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Expand",
        "Tile",
        "Slice",
        "Split",
        "Concat",
        "Pad",
        "ChannelShuffle",
        "DepthToSpace",
        "SpaceToDepth",
    ]
)
"""Operators that hand labels on as they are."""
CHOICES = frozenset(
    ["ArgMax", "ArgMin", "NonZero", "NonMaxSuppression", "OneHot", "And", "Or", "Not", "Xor"]
)
COMPARISONS = frozenset(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
OFFSETS = ("Add", "Sub")


def whole_outputs(graph: Graph) -> dict[str, Whole]:
    """Return output -> what its whole numbers are; outputs of other real numbers are left out.

    Given: ArgMax -> Cast(float) -> output, and Equal -> Cast(int64) -> ReduceSum -> output. Result:
    labels, and amounts. An output that a Cast or a Round made of other real numbers is an amount.
    """
    makers = graph.producers()
    found: dict[str, Whole] = {}
    for output in graph.outputs:
        if is_label(graph, makers, output):
            found[output] = "labels"
        elif graph.dtype(output).kind in "iu":
            found[output] = "amounts"
    return found


def is_label(graph: Graph, makers: dict[str, Node], tensor: str) -> bool:
    """Whether a tensor holds indices, classes or a mask, moved or written as another type at most."""
    node = makers.get(tensor)
    if node is None:
        return graph.dtype(tensor).kind in "biu"
    if node.op in CHOICES | COMPARISONS or graph.dtype(tensor) == np.bool_:
        return True
    if node.op == "TopK":
        return tensor == node.outputs[1]
    inputs = [name for name in node.inputs if name]
    if node.op in ("Cast", *MOVES):
        sources = inputs if node.op == "Concat" else inputs[:1]
        return all(is_label(graph, makers, name) for name in sources)
    if node.op == "Gather":  # a table of labels, or labels by place
        return graph.dtype(tensor).kind in "iu" and all(
            is_label(graph, makers, name) for name in inputs if name not in graph.constants
        )
    if node.op == "Where":
        return all(name in graph.constants or is_label(graph, makers, name) for name in inputs[1:])
    if node.op in OFFSETS:  # the background left out
        others = [name for name in inputs if name not in graph.constants]
        return len(others) == 1 and is_label(graph, makers, others[0])
    return False
