"""Let a channel shuffle hand a depthwise convolution a multiple of 16 channels: pad_channels.py says why.

    Given:   x (60 channels) -> ChannelShuffle -> depthwise Conv -> Conv(group=3)
    Result:  x -> Gather (each group of 20 padded to 32) -> depthwise Conv(zero kernels between)
             -> Conv(group=3, zero columns)

Exact to the bit: whatever a Gather puts into the added channels, they meet zero weights.
"""

from math import gcd

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.integer.pair import Order, Pair, is_depthwise, pick_columns, pick_rows
from edgeconv.export.passes.find_shuffles import shuffle_order
from edgeconv.export.rewrites.pad_channels import MULTIPLE


def pad_shuffles(pair: Pair) -> int:
    """Apply the rewrite wherever it fits; return how many depthwise layers were padded."""
    return sum(_pad(pair, shuffle) for shuffle in list(pair.graph.of("ChannelShuffle")))


def _pad(pair: Pair, shuffle: Node) -> bool:
    found = _readers(pair, shuffle)
    if found is None:
        return False
    graph, (deep, last) = pair.graph, found
    n, channels, height, width = graph.shape(shuffle.output)
    group = last.int("group", 1)
    order = padded_groups(channels, group)
    before = shuffle_order(channels, shuffle.int("groups", 1))
    index = graph.add_constant(f"{shuffle.name}_padded", before[np.maximum(order, 0)])
    wide = pair.add_tensor(shuffle.output, "padded", (n, len(order), height, width))
    shuffle.op, shuffle.attrs = "Gather", {"axis": 1}
    shuffle.inputs, shuffle.outputs = [shuffle.inputs[0], index], [wide]

    deep.inputs[0], deep.attrs["group"] = wide, len(order)
    pair.set_layer(deep, pick_rows(pair.weights[deep.name], order))
    pair.lay_out(deep.output, order)
    first = order[: len(order) // group]  # the weights of a group know its own channels alone
    pair.set_layer(last, pick_columns(pair.weights[last.name], first))
    return True


def padded_groups(channels: int, groups: int) -> Order:
    """Return the channels, each group padded so that all together are a multiple of 16.

    >>> padded_groups(4, 2).tolist()
    [0, 1, -1, -1, -1, -1, -1, -1, 2, 3, -1, -1, -1, -1, -1, -1]
    """
    inside, step = channels // groups, MULTIPLE // gcd(MULTIPLE, groups)
    order = np.full((groups, -(-inside // step) * step), -1)
    order[:, :inside] = np.arange(channels).reshape(groups, inside)
    return order.reshape(-1)


def _readers(pair: Pair, shuffle: Node) -> tuple[Node, Node] | None:
    """Return the depthwise layer that alone reads the shuffle and the layer that alone reads it."""
    graph = pair.graph
    deep = graph.sole_reader(shuffle.output)
    last = None if deep is None else graph.sole_reader(deep.output)
    if deep is None or last is None or deep.op != "Conv" or last.op != "Conv":
        return None
    if not pair.is_integer(deep) or not pair.is_integer(last):
        return None
    fits = is_depthwise(graph, deep) and not is_depthwise(graph, last)
    wanted = graph.shape(shuffle.output)[1] % MULTIPLE and shuffle.clamp is None
    return (deep, last) if fits and wanted else None
