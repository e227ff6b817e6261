"""Give the first convolution a fourth, empty input channel: onnxruntime's kernels work in fours.

    Given:   pixels (1, 3, H, W) -> Conv
    Result:  pixels -> Pad(one channel of zero point) -> Conv(weights with a zero column)

Exact to the bit: the new channel is multiplied by zero weights.
"""

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.integer.pair import Pair, pick_columns

WIDTH = 4


def pad_stem(pair: Pair) -> int:
    """Apply the rewrite to every input picture; return how many there were."""
    graph, count = pair.graph, 0
    for tensor in pair.border_pictures():
        readers = graph.consumers()[tensor]
        n, channels, height, width = graph.shape(tensor)
        fits = all(
            node.op == "Conv" and node.int("group", 1) == 1 and pair.is_integer(node)
            for node in readers
        )
        if not fits or channels >= WIDTH:
            continue
        padded = pair.add_tensor(tensor, "padded", (n, WIDTH, height, width))
        pads = graph.add_constant("stem_pads", np.array([0, 0, 0, 0, 0, WIDTH - channels, 0, 0]))
        order = np.concatenate([np.arange(channels), np.full(WIDTH - channels, -1)])
        for node in readers:
            pair.set_layer(node, pick_columns(pair.weights[node.name], order))
            node.inputs[0] = padded
        at = min(graph.nodes.index(node) for node in readers)
        graph.nodes.insert(at, Node("Pad", graph.fresh("pad_stem"), [tensor, pads], [padded]))
        count += 1
    return count
