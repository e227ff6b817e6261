"""Put channel shuffles where TFLite pays least for them: into a dense convolution, or behind a stride.

    Given:   x -> Conv(group=1) -> ChannelShuffle -> y          (the shuffle alone reads the Conv)
    Result:  x -> Conv(its rows in shuffled order) -> y

    Given:   x -> ChannelShuffle -> Conv(depthwise, stride > 1) -> y    (nothing else reads between)
    Result:  x -> Conv(depthwise, its filters in the order of x) -> ChannelShuffle -> y

Both are exact to the bit: the same sums in the same order, stored elsewhere. The recipe's integers
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
    changes = (
        Change(
            "fold_shuffles", folded, "channel shuffles folded into the dense convolution before"
        ),
        Change(
            "move_shuffles", behind, "channel shuffles moved behind a strided depthwise convolution"
        ),
    )
    return *moved.result(), tuple(change for change in changes if change.count)


def _fold(moved: Reorder, shuffle: Node) -> bool:
    """Apply the first rewrite where it fits, and say whether it did."""
    graph = moved.graph
    conv = graph.producers().get(shuffle.inputs[0])
    if conv is None or conv.op != "Conv" or conv.int("group", 1) != 1:
        return False
    if graph.sole_reader(conv.output) is None or not has_constants(graph, conv):
        return False
    moved.rows(conv, _order(graph, shuffle))
    moved.activations.pop(conv.output, None)
    conv.outputs[0] = shuffle.output
    graph.nodes.remove(shuffle)
    return True


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
