"""Put channel shuffles where TFLite pays least for them: into a dense convolution, or behind a stride.

    Given:   x -> Conv(group=1) -> ChannelShuffle -> y          (the shuffle alone reads the Conv)
    Result:  x -> Conv(its rows in shuffled order) -> y

    Given:   x -> Conv(group=1) -> DepthToSpace(CRD: torch's PixelShuffle) -> y
    Result:  x -> Conv(its rows in the order of DCR) -> DepthToSpace(DCR) -> y

    Given:   x -> ChannelShuffle -> Conv(depthwise, stride > 1) -> y    (nothing else reads between)
    Result:  x -> Conv(depthwise, its filters in the order of x) -> ChannelShuffle -> y

All are exact to the bit: the same sums in the same order, stored elsewhere. The recipe's integers
move with the rows.
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import Order, is_depthwise
from edgeconv.export.passes.find_shuffles import shuffle_order
from edgeconv.export.rewrites.table import Change
from edgeconv.export.tflite.reorder import Reorder, has_constants
from edgeconv.recipe import Recipe


def place_shuffles(
    graph: Graph, recipe: Recipe | None
) -> tuple[Graph, Recipe | None, tuple[Change, ...]]:
    """Return graph and recipe after the rewrites, and what was done."""
    moved = Reorder.of(graph, recipe)
    folded = behind = 0
    for shuffle in moved.graph.of("ChannelShuffle"):
        folded += _fold(moved, shuffle)
        behind += _put_behind(moved, shuffle)
    blocks = sum(_order_blocks(moved, spread) for spread in moved.graph.of("DepthToSpace"))
    changes = (
        Change(
            "fold_shuffles", folded, "channel shuffles folded into the dense convolution before"
        ),
        Change(
            "order_blocks",
            blocks,
            "orders of PixelShuffles folded into the dense convolution before",
        ),
        Change(
            "move_shuffles", behind, "channel shuffles moved behind a strided depthwise convolution"
        ),
    )
    return *moved.result(), tuple(change for change in changes if change.count)


def _fold(moved: Reorder, shuffle: Node) -> bool:
    """Apply the first rewrite where it fits, and say whether it did."""
    graph = moved.graph
    conv = _dense_before(graph, shuffle)
    if conv is None:
        return False
    moved.rows(conv, _order(graph, shuffle))
    moved.activations.pop(conv.output, None)
    conv.outputs[0] = shuffle.output
    graph.nodes.remove(shuffle)
    return True


def _order_blocks(moved: Reorder, spread: Node) -> bool:
    """Apply the rewrite of a DepthToSpace where it fits, and say whether it did."""
    graph, blocks = moved.graph, spread.int("blocksize", 1) ** 2
    conv = _dense_before(graph, spread)
    if conv is None or spread.str("mode", "DCR") != "CRD":
        return False
    channels = graph.shape(conv.output)[1]
    moved.rows(conv, np.arange(channels).reshape(-1, blocks).T.reshape(-1))
    conv.outputs[0] = spread.inputs[0] = moved.tensor(conv.output, "by_blocks", channels)
    spread.attrs["mode"] = "DCR"
    return True


def _dense_before(graph: Graph, node: Node) -> Node | None:
    """Return the convolution of all channels that makes what a node alone reads; None where there is none."""
    conv = graph.producers().get(node.inputs[0])
    if conv is None or conv.op != "Conv" or conv.int("group", 1) != 1:
        return None
    fits = graph.sole_reader(conv.output) is node and has_constants(graph, conv)
    return conv if fits else None


def _put_behind(moved: Reorder, shuffle: Node) -> bool:
    """Apply the second rewrite where it fits, and say whether it did."""
    graph = moved.graph
    conv = graph.sole_reader(shuffle.output)
    if shuffle not in graph.nodes or conv is None:
        return False
    if conv.op != "Conv" or not is_depthwise(graph, conv) or not has_constants(graph, conv):
        return False
    if max(conv.ints("strides", [1])) == 1 or shuffle.clamp is not None:
        return False
    moved.rows(conv, np.argsort(_order(graph, shuffle)))
    made = conv.output
    between = moved.tensor(made, "unshuffled", graph.shape(made)[1])
    conv.inputs[0], conv.outputs[0] = shuffle.inputs[0], between
    shuffle.inputs[0], shuffle.outputs[0] = between, made
    graph.nodes.remove(shuffle)
    graph.nodes.insert(graph.nodes.index(conv) + 1, shuffle)
    return True


def _order(graph: Graph, shuffle: Node) -> Order:
    return shuffle_order(graph.shape(shuffle.output)[1], shuffle.int("groups", 1))
