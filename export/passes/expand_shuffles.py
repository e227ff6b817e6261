"""Write our ChannelShuffle pseudo-operator as plain ONNX again, for files others read.

Given:   x (N, C, H, W) -> ChannelShuffle(groups=g) -> y
Result:  x -> Reshape (N, g, C/g, H, W) -> Transpose (0, 2, 1, 3, 4) -> Reshape -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def expand_shuffles(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("ChannelShuffle"):
        source, groups = node.inputs[0], node.int("groups", 1)
        n, c, h, w = graph.shape(source)
        kind = graph.dtype(source).type
        split_shape, swapped_shape = (n, groups, c // groups, h, w), (n, c // groups, groups, h, w)
        split = graph.declare(graph.fresh(f"{node.output}_split"), split_shape, kind)
        swapped = graph.declare(graph.fresh(f"{node.output}_swapped"), swapped_shape, kind)
        there = graph.add_constant("shuffle_split", np.array(split_shape, np.int64))
        back = graph.add_constant("shuffle_merge", np.array((n, c, h, w), np.int64))
        at = graph.nodes.index(node)
        graph.nodes[at : at + 1] = [
            Node("Reshape", graph.fresh(f"{node.name}_split"), [source, there], [split]),
            Node(
                "Transpose",
                graph.fresh(f"{node.name}_swap"),
                [split],
                [swapped],
                {"perm": [0, 2, 1, 3, 4]},
            ),
            Node("Reshape", node.name, [swapped, back], [node.output]),
        ]
        changed = True
    return changed
