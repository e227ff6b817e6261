"""Take channel shuffles and groups out of the ONNX file: fewer, larger integer products.

    Given:   x -> Conv(group=g) -> ChannelShuffle -> y        (the shuffle alone reads the Conv)
    Result:  x -> Conv(rows in shuffled order, group=1, zeros between the groups) -> y

    Given:   x -> Conv(1 < group < C) -> y
    Result:  x -> Conv(group=1, block-diagonal weights) -> y

Both are exact to the bit: zeros are added to integer sums. The file grows by the zeros.
"""

from edgeconv.export.integer.pair import Pair, dense, is_depthwise, pick_rows
from edgeconv.export.passes.find_shuffles import shuffle_order


def fold_shuffles(pair: Pair) -> int:
    """Apply the first rewrite to every match; return how many there were."""
    graph, count = pair.graph, 0
    for shuffle in graph.of("ChannelShuffle"):
        layer = graph.producers().get(shuffle.inputs[0])
        if layer is None or layer.op != "Conv" or not pair.is_integer(layer):
            continue
        if graph.sole_reader(layer.output) is None:
            continue
        if is_depthwise(graph, layer):
            continue
        order = shuffle_order(graph.shape(layer.output)[1], shuffle.int("groups", 1))
        whole = dense(pair.weights[layer.name], layer.int("group", 1))
        pair.set_layer(layer, pick_rows(whole, order))
        layer.attrs["group"] = 1
        pair.activations.pop(layer.output, None)
        layer.outputs[0] = shuffle.output
        graph.nodes.remove(shuffle)
        count += 1
    return count


def densify(pair: Pair) -> int:
    """Apply the second rewrite to every match; return how many there were."""
    count = 0
    for layer in pair.graph.of("Conv"):
        group = layer.int("group", 1)
        if group == 1 or not pair.is_integer(layer) or is_depthwise(pair.graph, layer):
            continue
        pair.set_layer(layer, dense(pair.weights[layer.name], group))
        layer.attrs["group"] = 1
        count += 1
    return count
