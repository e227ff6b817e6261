"""Keep outputs of very different size apart: one scale for all would leave the small ones no steps.

Given:   Concat(boxes in hundreds, scores around 1) [-> Reshape | Transpose | ...] -> output
Result:  these nodes compute in float, and each part keeps its own scale
"""

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import moves_integers
from edgeconv.export.op_traits import RULES
from edgeconv.export.quant.observe import Observation

FIXED = frozenset(op for op, rule in RULES.items() if rule.kind == "fixed")
WIDEST = 4.0
"""Times that one part's values may exceed another's: two bits of the smaller one."""


def kept_apart(graph: Graph, seen: Observation) -> dict[str, str]:
    """Return the nodes that must compute in float for this, with the reason."""
    readers = graph.consumers()
    found: dict[str, str] = {}
    for node in graph.of("Concat"):
        sizes = [_size(graph, seen, name) for name in node.inputs]
        real = [size for size in sizes if size > 0.0]
        following = _only_moved(graph, node, readers)
        if following is not None and real and max(real) > WIDEST * min(real):
            reason = f"it joins outputs of very different size (up to {max(real) / min(real):.3g}x)"
            gates = [maker.name for maker in _gates(graph, node, readers)]
            found.update(dict.fromkeys([node.name, *following, *gates], reason))
    return found


def _gates(graph: Graph, concat: Node, readers: dict[str, list[Node]]) -> list[Node]:
    """Return the nodes of prescribed scale that make nothing but a part: 1/256 is much for a score."""
    makers = graph.producers()
    parts = [makers[name] for name in concat.inputs if name in makers]
    return [
        node
        for node in parts
        if node.op in FIXED and len(readers[node.output]) == 1 and node.output not in graph.outputs
    ]


def _size(graph: Graph, seen: Observation, tensor: str) -> float:
    if tensor in seen.tensors:
        stats = seen.tensors[tensor]
        return max(-float(stats.low.min()), float(stats.high.max()))
    return 0.0


def _only_moved(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> list[str] | None:
    """Return the nodes between this one and the outputs; None where one of them computes."""
    found: list[str] = []
    for out in filter(None, node.outputs):
        for reader in readers.get(out, []):
            after = _only_moved(graph, reader, readers) if moves_integers(reader) else None
            if after is None:
                return None
            found += [reader.name, *after]
        if out not in graph.outputs and out not in readers:
            return None
    return found
