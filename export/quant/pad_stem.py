"""Give the first convolution a fourth, empty input channel: onnxruntime's kernels work in fours.

    Given:   pixels (1, 3, H, W) -> Conv
    Result:  pixels -> Pad(one channel of zero point) -> Conv(weights with a zero column)

Exact to the bit: the new channel is multiplied by zero weights.
"""

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.quant.layers import Pair, pick_columns

WIDTH = 4


def pad_stem(pair: Pair) -> int:
    """Apply the rewrite to every input picture; return how many there were."""
    graph, count = pair.graph, 0
    makers = graph.producers()
    for tensor in list(pair.activations):
        maker = makers.get(tensor)
        at_border = tensor in graph.inputs or (
            maker is not None and maker.inputs[0] in graph.inputs
        )
        readers = graph.consumers().get(tensor, [])
        if not at_border or len(graph.shape(tensor)) != 4 or not readers:
            continue
        if maker is not None and maker.op != "Sub":
            continue
        channels = graph.shape(tensor)[1]
        fits = all(
            node.op == "Conv" and node.int("group", 1) == 1 and pair.is_integer(node)
            for node in readers
        )
        if not fits or channels >= WIDTH or tensor in graph.outputs:
            continue
        n, _, height, width = graph.shape(tensor)
        padded = graph.declare(
            graph.fresh(f"{tensor}_padded"), (n, WIDTH, height, width), np.float32
        )
        pair.activations[padded] = pair.activations[tensor]
        pads = graph.add_constant("stem_pads", np.array([0, 0, 0, 0, 0, WIDTH - channels, 0, 0]))
        order = np.concatenate([np.arange(channels), np.full(WIDTH - channels, -1)])
        for node in readers:
            pair.set_layer(node, pick_columns(pair.weights[node.name], order))
            node.inputs[0] = padded
        at = min(graph.nodes.index(node) for node in readers)
        graph.nodes.insert(at, Node("Pad", graph.fresh("pad_stem"), [tensor, pads], [padded]))
        count += 1
    return count
