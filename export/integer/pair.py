"""Change a quantized layer's integers inside a graph and recipe that are rewritten together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.recipe import Activation, Recipe, Weights

Order = NDArray[np.int64]
"""New channel -> old channel, -1 for a channel that was added and is always zero."""


@dataclass
class Pair:
    """A graph and the parts of its recipe that exact rewrites change, both in place.

    ``channels``: tensor -> where each of its channels was before any rewrite, for tensors that were
    given more of them.
    """

    graph: Graph
    activations: dict[str, Activation]
    weights: dict[str, Weights]
    recipe: Recipe
    channels: dict[str, Order] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, recipe: Recipe) -> "Pair":
        """Copy both, so that the originals stay."""
        return cls(graph.clone(), dict(recipe.activations), dict(recipe.weights), recipe)

    def result(self) -> tuple[Graph, Recipe]:
        """Return the rewritten graph and recipe."""
        self.graph.prune()
        names = {node.name for node in self.graph.nodes}
        kept: Mapping[str, Weights] = {k: w for k, w in self.weights.items() if k in names}
        return self.graph, replace(self.recipe, activations=self.activations, weights=kept)

    def is_integer(self, node: Node) -> bool:
        """Whether the node has integer weights."""
        return node.name in self.weights and node.name not in self.recipe.float_nodes

    def set_layer(self, node: Node, weights: Weights) -> None:
        """Give a layer new integers; its float constants follow in shape and value."""
        self.weights[node.name] = weights
        real = weights.values.astype(np.float32)
        shape = [1] * real.ndim
        shape[weights.axis] = -1
        node.inputs = [
            node.inputs[0],
            self.graph.add_constant(f"{node.name}.weight", real * weights.scales.reshape(shape)),
            self.graph.add_constant(f"{node.name}.bias", weights.float_bias),
        ]

    def add_tensor(self, like: str, suffix: str, shape: Sequence[int]) -> str:
        """Declare a tensor with the integers' scale and zero point of ``like``; return its fresh name."""
        name = self.graph.fresh(f"{like}_{suffix}")
        self.activations[name] = self.activations[like]
        return self.graph.declare(name, shape, np.float32)

    def border_pictures(self) -> list[str]:
        """Return the integer pictures (N, C, H, W) that are inputs or inputs centred on integers.

        Something reads them, and they are no outputs.
        """
        graph, read = self.graph, self.graph.consumers()
        centred = [node.output for node in graph.of("Sub") if node.inputs[0] in graph.inputs]
        return [
            name
            for name in (*graph.inputs, *centred)
            if name in self.activations
            and len(graph.shape(name)) == 4
            and name in read
            and name not in graph.outputs
        ]

    def lay_out(self, tensor: str, order: Order) -> None:
        """Give a picture tensor the channels of ``order``, counted as they are now."""
        shape = self.graph.shape(tensor)
        now = self.channels.get(tensor, np.arange(shape[1]))
        self.channels[tensor] = np.where(order < 0, -1, now[np.maximum(order, 0)])
        self.graph.shapes[tensor] = (shape[0], len(order), *shape[2:])


def pick_rows(weights: Weights, order: Order) -> Weights:
    """Reorder output channels; added ones get zero weights and bias at the layer's widest scale."""
    added = order < 0
    old = np.where(added, 0, order)
    values, scales = weights.values[old].copy(), weights.scales[old].copy()
    bias, real = weights.bias[old].copy(), weights.float_bias[old].copy()
    values[added], bias[added], real[added] = 0, 0, 0.0
    scales[added] = weights.scales.max()
    return replace(weights, values=values, scales=scales, bias=bias, float_bias=real)


def pick_columns(weights: Weights, order: Order) -> Weights:
    """Reorder input channels of a dense layer; added ones are ignored by every output."""
    values = weights.values[:, np.where(order < 0, 0, order)].copy()
    values[:, order < 0] = 0
    return replace(weights, values=values)


def dense(weights: Weights, group: int) -> Weights:
    """Write grouped weights as one block-diagonal matrix: the same sums, with zeros added."""
    outputs, inside = weights.values.shape[:2]
    each = outputs // group
    values = np.zeros((outputs, inside * group, *weights.values.shape[2:]), np.int8)
    for g in range(group):
        rows = slice(g * each, (g + 1) * each)
        values[rows, g * inside : (g + 1) * inside] = weights.values[rows]
    return replace(weights, values=values)


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Whether every input channel makes exactly one output channel of its own."""
    channels = graph.shape(node.inputs[0])[1]
    return node.op == "Conv" and node.int("group", 1) == channels == graph.shape(node.output)[1]
