"""Count what computes in INT8 and what in float, islands included."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import is_pixel_shift, moves_integers
from edgeconv.export.op_traits import RULES
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class OperatorCounts:
    """How many operators compute real numbers on integers, and on floats by kind.

    Those that only move values count where they stand in float: then they move floats.
    """

    integer: int
    floats: dict[str, int]

    @property
    def all(self) -> int:
        """All operators that compute."""
        return self.integer + sum(self.floats.values())

    def float_text(self) -> str:
        """Return "3 of 40 operators in float: 2 Erf, 1 Div"; empty where none is."""
        count = sum(self.floats.values())
        kinds = ", ".join(f"{number} {op}" for op, number in self.floats.items())
        return f"{count} of {self.all} operators in float: {kinds}" if count else ""


def count_operators(graph: Graph, recipe: Recipe, islands: Collection[str] = ()) -> OperatorCounts:
    """Count a prepared graph's operators; ``islands`` are more nodes that a target has in float."""
    floats: Counter[str] = Counter()
    integer = 0
    for node in graph.nodes:
        if not _is_real(graph, node) or is_pixel_shift(graph, node):
            continue
        if node.name in recipe.float_nodes or node.op not in RULES or node.name in islands:
            floats[node.op] += 1
        elif not moves_integers(node):
            integer += 1
    return OperatorCounts(integer, dict(floats.most_common()))


def _is_real(graph: Graph, node: Node) -> bool:
    return any(graph.dtype(out) == np.float32 for out in node.outputs if out) and not all(
        name in graph.constants for name in node.inputs if name
    )
