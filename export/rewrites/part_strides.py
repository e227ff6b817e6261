"""Stride over the parts of a Concat instead of over the whole, and join the fewer positions that are left.

    Given:   a, b -> Concat -> depthwise Conv(stride 2) -> y
    Result:  a -> depthwise Conv(its kernels), b -> depthwise Conv(its kernels) -> Concat -> y

Exact to the bit: a depthwise kernel sees its own channel alone. A runtime joins channels position by position,
one copy of a few bytes for every part of each, and a stride of 2 leaves a quarter of the positions.
"""

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.integer.groups import stored_alike
from edgeconv.export.integer.pair import Pair, is_depthwise, pick_rows

VECTOR = 8
"""Channels that a kernel takes at a time: other parts would each be filled up (docs/arm_kernels.md)."""


def part_strides(pair: Pair) -> int:
    """Apply the rewrite wherever it fits; return how many Concats were moved."""
    return sum(_move(pair, concat) for concat in list(pair.graph.of("Concat")))


def _move(pair: Pair, concat: Node) -> bool:
    graph = pair.graph
    conv = graph.sole_reader(concat.output)
    if conv is None or not joins_integers(pair, concat) or not _strides(pair, conv, concat):
        return False
    weights, made = pair.weights[conv.name], conv.output
    n, _, height, width = graph.shape(made)
    parts, start = list[Node](), 0
    for name in concat.inputs:
        channels = graph.shape(name)[1]
        part = Node(
            "Conv",
            graph.fresh(f"{conv.name}_part"),
            [name],
            [pair.add_tensor(made, "part", (n, channels, height, width))],
            {**conv.attrs, "group": channels},
            conv.clamp,
        )
        pair.set_layer(part, pick_rows(weights, np.arange(start, start + channels)))
        graph.nodes.insert(graph.nodes.index(conv), part)  # its name is taken from here on
        parts.append(part)
        start += channels
    concat.inputs, concat.outputs = [part.output for part in parts], [made]
    graph.nodes.remove(concat)
    graph.nodes[graph.nodes.index(conv)] = concat
    return True


def joins_integers(pair: Pair, concat: Node) -> bool:
    """Whether a Concat only puts channels of pictures side by side, all of one scale and zero point."""
    graph, held = pair.graph, pair.activations
    joined = held.get(concat.output)
    if joined is None or concat.clamp is not None or len(graph.shape(concat.output)) != 4:
        return False
    if concat.int("axis", 1) not in (1, -3) or concat.name in pair.recipe.float_nodes:
        return False
    return all(name in held and stored_alike(held[name], joined) for name in concat.inputs)


def _strides(pair: Pair, conv: Node, concat: Node) -> bool:
    graph = pair.graph
    if conv.op != "Conv" or conv.inputs[0] != concat.output or not pair.is_integer(conv):
        return False
    full = all(graph.shape(name)[1] % VECTOR == 0 for name in concat.inputs)
    return full and is_depthwise(graph, conv) and max(conv.ints("strides", [1])) > 1
