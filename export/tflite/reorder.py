"""Store a layer's channels in another order: float constants and the recipe's integers together."""

from dataclasses import dataclass, replace

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import Order, pick_columns, pick_rows
from edgeconv.recipe import Activation, Recipe, Weights


@dataclass
class Reorder:
    """A copy of a graph, and of its recipe if it has one, whose layers change in place."""

    graph: Graph
    weights: dict[str, Weights]
    activations: dict[str, Activation]
    recipe: Recipe | None

    @classmethod
    def of(cls, graph: Graph, recipe: Recipe | None) -> "Reorder":
        """Copy both, so that the originals stay."""
        if recipe is None:
            return cls(graph.clone(), {}, {}, None)
        return cls(graph.clone(), dict(recipe.weights), dict(recipe.activations), recipe)

    def result(self) -> tuple[Graph, Recipe | None]:
        """Return graph and recipe as they are now."""
        if self.recipe is None:
            return self.graph, None
        return self.graph, replace(self.recipe, weights=self.weights, activations=self.activations)

    def rows(self, conv: Node, order: Order) -> None:
        """Make row k of a convolution what its row order[k] was."""
        for index, name in enumerate(conv.inputs[1:], start=1):
            if name:
                rows = self.graph.constants[name][order]
                conv.inputs[index] = self.graph.add_constant(f"{name}_shuffled", rows)
        if conv.name in self.weights:
            self.weights[conv.name] = pick_rows(self.weights[conv.name], order)

    def columns(self, conv: Node, order: Order) -> None:
        """Make input channel k of a dense convolution what its input channel order[k] was."""
        weight = self.graph.constants[conv.inputs[1]][:, order]
        conv.inputs[1] = self.graph.add_constant(f"{conv.inputs[1]}_shuffled", weight)
        if conv.name in self.weights:
            self.weights[conv.name] = pick_columns(self.weights[conv.name], order)

    def tensor(self, like: str, suffix: str, channels: int) -> str:
        """Declare a picture of ``channels`` channels stored as ``like`` is; return its fresh name."""
        n, _, *size = self.graph.shape(like)
        name = self.graph.fresh(f"{like}_{suffix}")
        if like in self.activations:
            self.activations[name] = self.activations[like]
        return self.graph.declare(name, (n, channels, *size), self.graph.dtype(like).type)


def has_constants(graph: Graph, conv: Node) -> bool:
    """Say whether weights and bias of a convolution are constants."""
    return all(name in graph.constants for name in conv.inputs[1:] if name)
