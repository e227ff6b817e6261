"""Recognise the channel shuffle of arXiv 1707.01083, section 3.1, whole.

Given:   x (N, C, H, W) -> Reshape (N, g, C/g, H, W) -> Transpose (0, 2, 1, 3, 4)
           -> Reshape (N, C, H, W) -> y
Result:  x -> ChannelShuffle(groups=g) -> y, a pseudo-operator of ours: output channel
         k*g + i is input channel i*(C/g) + k
"""

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node


def shuffle_order(channels: int, groups: int) -> NDArray[np.int64]:
    """Return, for each channel behind a ChannelShuffle, the channel before it.

    >>> shuffle_order(6, 3).tolist()
    [0, 2, 4, 1, 3, 5]
    """
    return np.arange(channels, dtype=np.int64).reshape(groups, -1).T.reshape(-1)


def find_shuffles(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    while _find_one(graph):  # the maps go stale with each
        changed = True
    return changed


def _find_one(graph: Graph) -> bool:
    makers, readers = graph.producers(), graph.consumers()
    for last in graph.of("Reshape"):
        middle = makers.get(last.inputs[0])
        if middle is None or middle.op != "Transpose":
            continue
        first = makers.get(middle.inputs[0])
        if first is None or first.op != "Reshape":
            continue
        inner = (first.output, middle.output)
        if any(len(readers[name]) != 1 or name in graph.outputs for name in inner):
            continue
        groups = _groups(graph, first, middle, last)
        if groups is None:
            continue
        last.op, last.inputs, last.attrs = "ChannelShuffle", first.inputs[:1], {"groups": groups}
        graph.nodes.remove(first)
        graph.nodes.remove(middle)
        return True
    return False


def _groups(graph: Graph, first: Node, middle: Node, last: Node) -> int | None:
    source, split = graph.shape(first.inputs[0]), graph.shape(first.output)
    if len(source) != 4 or graph.shape(last.output) != source:
        return None
    n, c, h, w = source
    groups = split[1]
    if split == (n, groups, c // groups, h, w) and middle.ints("perm", ()) == [0, 2, 1, 3, 4]:
        return groups
    # some exporters merge the picture into one axis
    if split == (n, groups, c // groups, h * w) and middle.ints("perm", ()) == [0, 2, 1, 3]:
        return groups
    return None
