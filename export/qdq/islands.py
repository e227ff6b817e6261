"""What of a quantized file stays in float, and the scales that what only moves numbers takes from others."""

from collections.abc import Mapping

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import same_scale
from edgeconv.export.integer.rules import data_inputs, why_float
from edgeconv.export.op_traits import RULES


def islands_of(graph: Graph, scales: dict[str, tuple[float, int]]) -> dict[str, str]:
    """Return the nodes that stay in float; scales that a shared group implies are filled in."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        reason = why_float(graph, node) or _why_rounded_twice(node, scales)
        if reason is not None:
            found[node.name] = reason
    changed = True
    while changed:
        changed = _fill_groups(graph, scales, frozenset(found))
        for node in graph.nodes:
            needed = [*data_inputs(graph, node), *(out for out in node.outputs if out)]
            missing = [n for n in needed if n not in scales and n not in graph.constants]
            if node.name not in found and missing and not changed:
                found[node.name] = "the file gives no scale to all that it reads and makes"
                changed = True
    return found


def _why_rounded_twice(node: Node, scales: Mapping[str, tuple[float, int]]) -> str | None:
    """Return why a Softmax of coarser steps than INT8 prescribes stays in float.

    TFLite's gives steps of 1/256 first. Of those an odd number is half of a step of 1/127 or just below, and
    falls to the number below it: attention over 256 places, 1/256 each, becomes 0.
    """
    prescribed = RULES["Softmax"].fixed
    step = scales.get(node.output, (0.0, 0))[0]
    if node.op != "Softmax" or prescribed is None or step <= prescribed[0] * (1 + 1e-3):
        return None
    return "its steps in the file are coarser than 1/256, which INT8 rounds to first"


def _fill_groups(
    graph: Graph, scales: dict[str, tuple[float, int]], floats: frozenset[str]
) -> bool:
    groups = same_scale(graph, floats)
    known = {groups.root(name): pair for name, pair in scales.items() if name in graph.shapes}
    changed = False
    for node in graph.nodes:
        rule = RULES.get(node.op)
        if rule is None or rule.kind != "same-scale" or node.name in floats:
            continue
        for name in [*data_inputs(graph, node), *node.outputs]:
            if name and name not in scales and groups.root(name) in known:
                scales[name] = known[groups.root(name)]
                changed = True
    return changed
