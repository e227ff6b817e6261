"""Put channel shuffles where TFLite pays least for them: into a dense convolution, or behind a stride.

    Given:   x -> Conv(group=1) -> ChannelShuffle -> y          (the shuffle alone reads the Conv)
    Result:  x -> Conv(its rows in shuffled order) -> y

    Given:   x -> ChannelShuffle -> Conv(depthwise, stride > 1) -> y    (nothing else reads between)
    Result:  x -> Conv(depthwise, its filters in the order of x) -> ChannelShuffle -> y

Both are exact to the bit: the same sums in the same order, stored elsewhere. The recipe's integers
move with the rows.
"""

from dataclasses import replace

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import Order, is_depthwise, pick_rows
from edgeconv.export.passes.find_shuffles import shuffle_order
from edgeconv.export.rewrites.table import Change
from edgeconv.recipe import Activation, Recipe, Weights


def place_shuffles(
    graph: Graph, recipe: Recipe | None
) -> tuple[Graph, Recipe | None, tuple[Change, ...]]:
    """Return graph and recipe after the rewrites, and what was done."""
    moved = _Placing(graph.clone(), recipe)
    folded = behind = 0
    for shuffle in moved.graph.of("ChannelShuffle"):
        folded += moved.fold(shuffle)
        behind += moved.put_behind(shuffle)
    changes = (
        Change(
            "fold_shuffles", folded, "channel shuffles folded into the dense convolution before"
        ),
        Change(
            "move_shuffles", behind, "channel shuffles moved behind a strided depthwise convolution"
        ),
    )
    return moved.graph, moved.recipe, tuple(change for change in changes if change.count)


class _Placing:
    """A graph and its recipe, rewritten together."""

    def __init__(self, graph: Graph, recipe: Recipe | None) -> None:
        self.graph, self._recipe = graph, recipe
        self.weights: dict[str, Weights] = {} if recipe is None else dict(recipe.weights)
        self.activations: dict[str, Activation] = {} if recipe is None else dict(recipe.activations)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the graph as it is now."""
        if self._recipe is None:
            return None
        return replace(self._recipe, weights=self.weights, activations=self.activations)

    def fold(self, shuffle: Node) -> bool:
        """Apply the first rewrite where it fits, and say whether it did."""
        conv = self.graph.producers().get(shuffle.inputs[0])
        if conv is None or conv.op != "Conv" or conv.int("group", 1) != 1:
            return False
        if self.graph.sole_reader(conv.output) is None or not self._has_constants(conv):
            return False
        self._pick(conv, self._order(shuffle))
        self.activations.pop(conv.output, None)
        conv.outputs[0] = shuffle.output
        self.graph.nodes.remove(shuffle)
        return True

    def put_behind(self, shuffle: Node) -> bool:
        """Apply the second rewrite where it fits, and say whether it did."""
        graph = self.graph
        conv = graph.sole_reader(shuffle.output)
        if shuffle not in graph.nodes or conv is None:
            return False
        if conv.op != "Conv" or not is_depthwise(graph, conv) or not self._has_constants(conv):
            return False
        if max(conv.ints("strides", [1])) == 1 or shuffle.clamp is not None:
            return False
        self._pick(conv, np.argsort(self._order(shuffle)))
        made, shape = conv.output, graph.shape(conv.output)
        between = graph.declare(graph.fresh(f"{made}_unshuffled"), shape, graph.dtype(made))
        if made in self.activations:
            self.activations[between] = self.activations[made]
        conv.inputs[0], conv.outputs[0] = shuffle.inputs[0], between
        shuffle.inputs[0], shuffle.outputs[0] = between, made
        graph.nodes.remove(shuffle)
        graph.nodes.insert(graph.nodes.index(conv) + 1, shuffle)
        return True

    def _has_constants(self, conv: Node) -> bool:
        return all(name in self.graph.constants for name in conv.inputs[1:] if name)

    def _pick(self, conv: Node, order: Order) -> None:
        """Make row k of a convolution what its row order[k] was."""
        for index, name in enumerate(conv.inputs[1:], start=1):
            if name:
                rows = self.graph.constants[name][order]
                conv.inputs[index] = self.graph.add_constant(f"{name}_shuffled", rows)
        if conv.name in self.weights:
            self.weights[conv.name] = pick_rows(self.weights[conv.name], order)

    def _order(self, shuffle: Node) -> Order:
        return shuffle_order(self.graph.shape(shuffle.output)[1], shuffle.int("groups", 1))
