"""Count what computes in INT8 and what in float, islands included."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import is_pixel_shift, moves_integers, why_float
from edgeconv.export.op_traits import RULES, WEIGHTED
from edgeconv.recipe import Recipe
from edgeconv.terminal import reasons_text

KEPT = "the recipe keeps it in float"
THERE = "this target has no integers for it"


@dataclass(frozen=True)
class OperatorCounts:
    """How many operators compute real numbers on integers, and on floats by reason and kind.

    Those that only move values count where they stand in float: then they move floats.
    """

    integer: int
    floats: Mapping[str, Mapping[str, int]]

    @property
    def all(self) -> int:
        """All operators that compute."""
        return self.integer + sum(
            count for kinds in self.floats.values() for count in kinds.values()
        )

    def float_text(self) -> str:
        """Return "3 of 40 operators in float: 2 Erf, 1 Div (it has no INT8 form)"; empty where none is."""
        count, kinds = self.all - self.integer, reasons_text(self.floats)
        return f"{count} of {self.all} operators in float: {kinds}" if count else ""


def count_operators(graph: Graph, recipe: Recipe, islands: Collection[str] = ()) -> OperatorCounts:
    """Count a prepared graph's operators; ``islands`` are more nodes that a target has in float."""
    floats: defaultdict[str, Counter[str]] = defaultdict(Counter)
    said: Mapping[str, str] = recipe.notes.get("float", {})
    integer = 0
    for node in graph.nodes:
        if not _is_real(graph, node) or is_pixel_shift(graph, node):
            continue
        if node.name in recipe.float_nodes or node.op not in RULES or node.name in islands:
            own = said.get(node.name) or why_float(graph, node) or KEPT
            floats[own if node.name in recipe.float_nodes else THERE][node.op] += 1
        elif not moves_integers(node):
            integer += 1
    most = sorted(floats.items(), key=lambda each: -each[1].total())
    return OperatorCounts(integer, {reason: dict(ops.most_common()) for reason, ops in most})


def has_integer_layers(graph: Graph) -> bool:
    """Whether a convolution or product of the net has an INT8 form: an LSTM, which targets write as products, has none."""
    return any(why_float(graph, node) is None for node in graph.of(*WEIGHTED, "MatMul"))


def _is_real(graph: Graph, node: Node) -> bool:
    return any(graph.dtype(out) == np.float32 for out in node.outputs if out) and not all(
        name in graph.constants for name in node.inputs if name
    )
