"""What a graph decides of its outputs, by the operators behind them: labels, amounts, values kept or zero, signals."""

import math

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators
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
LAYERS = ("Conv", "ConvTranspose", "MatMul")
"""Those that give something for each of several places."""
ONE_BY_ONE = MOVES | operators(Is.CHANNELWISE) | operators(Is.BROADCASTS)
"""What leaves a number for each that it reads."""


def whole_outputs(graph: Graph) -> dict[str, Whole]:
    """Return output -> what its whole numbers are; outputs of other real numbers are left out.

    Given: ArgMax -> Cast(float) -> output, and Equal -> Cast(int64) -> ReduceSum -> output. Result:
    labels, and amounts. An output that a Cast or a Round made of other real numbers is an amount. What is a
    maximum of its neighbours or zero, by MaxPool -> Equal -> Cast -> Mul or by Where, is kept. What a layer gives
    for each of several places, Conv -> Flatten -> output, is a signal.
    """
    makers = graph.producers()
    found: dict[str, Whole] = {}
    for output in graph.outputs:
        if is_label(graph, makers, output):
            found[output] = "labels"
        elif graph.dtype(output).kind in "iu":
            found[output] = "amounts"
        elif _is_kept(graph, makers, output):
            found[output] = "kept"
        elif _is_signal(graph, makers, output):
            found[output] = "signal"
    return found


def _is_signal(graph: Graph, makers: dict[str, Node], tensor: str) -> bool:
    """Whether a vector holds what a layer gives for each of several places, moved or changed one by one."""
    whole = graph.shape(tensor)
    if math.prod(whole[1:]) != max(whole[1:], default=0):
        return False
    node = makers.get(tensor)
    while node is not None and node.op not in LAYERS:
        sources = [name for name in node.inputs if name not in graph.constants]
        if node.op not in ONE_BY_ONE or math.prod(graph.shape(sources[0])) != math.prod(whole):
            return False
        node = makers.get(sources[0])
    if node is None:
        return False
    shape = graph.shape(node.output)
    return math.prod(shape[1:-1] if node.op == "MatMul" else shape[2:]) > 1


def _is_kept(graph: Graph, makers: dict[str, Node], tensor: str) -> bool:
    """Whether a comparison of two computed numbers decides if a real number is kept or zero."""
    node = makers.get(tensor)
    while node is not None and node.op in MOVES and node.op not in ("Concat", "Pad"):
        node = makers.get(node.inputs[0])
    if node is None:
        return False
    if node.op == "Mul":
        return any(_is_contest(graph, makers, name) for name in node.inputs)
    if node.op != "Where" or not _is_contest(graph, makers, node.inputs[0]):
        return False
    others = [graph.constants[name] for name in node.inputs[1:] if name in graph.constants]
    return len(others) == 1 and not others[0].any()


def _is_contest(graph: Graph, makers: dict[str, Node], tensor: str) -> bool:
    """Whether it says which of two computed real numbers is larger, or if they are equal."""
    node = makers.get(tensor)
    while node is not None and node.op in ("Cast", "Not", *MOVES):
        node = makers.get(node.inputs[0])
    return (
        node is not None
        and node.op in COMPARISONS
        and all(
            name not in graph.constants and graph.dtype(name).kind == "f" for name in node.inputs
        )
    )


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
