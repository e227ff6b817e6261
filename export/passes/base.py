"""What a pass is, and how a list of them is run."""

from collections.abc import Callable, Sequence

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph

Pass = Callable[[Graph], bool]
"""Rewrites the graph in place and says whether it changed anything."""

MAX_ROUNDS = 20


def run_passes(graph: Graph, passes: Sequence[Pass]) -> None:
    """Run ``passes`` in order until a whole round changes nothing.

    Raises EdgeconvError where the borders of the graph were touched or no fixpoint is reached.
    """
    borders = _borders(graph)
    for _ in range(MAX_ROUNDS):
        changed = False
        for rewrite in passes:
            if rewrite(graph):
                changed = True
                graph.prune()
        if _borders(graph) != borders:
            raise EdgeconvError("a graph pass changed the model's inputs or outputs")
        if not changed:
            graph.sort()
            return
    raise EdgeconvError(f"the graph passes did not settle within {MAX_ROUNDS} rounds")


def _borders(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, graph.shape(name)) for name in [*graph.inputs, *graph.outputs]]
