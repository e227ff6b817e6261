"""What a range need not reach: masks, what Pads fill and far ends of Max and Min, which are large and told apart from nothing."""

from collections.abc import Mapping

import numpy as np

from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.integer.groups import COMMUTING
from edgeconv.export.op_traits import Is, operators
from edgeconv.export.quant.observe import Observation

FAR = 100.0
"""Times that a mask is lower than all it has to be."""
MOVES_MASKS = operators(Is.PASSES_MASK) & COMMUTING
FILL = 1e30
"""Numbers so large stand for infinity."""
LIMITS = frozenset(["Max", "Min"])


def mask_bounds(graph: Graph, seen: Observation, bounds: Mapping[str, Clamp]) -> dict[str, Clamp]:
    """Return bounds of attention masks: what is only added, or moved there, where the sum has a bound.

    Of computed ones those that hold more than FAR times as much as that asks for.
    """
    readers, found = graph.consumers(), dict[str, Clamp]()
    makers = graph.producers()
    for name in [*reversed([n.output for n in graph.nodes]), *graph.inputs, *graph.constants]:
        if graph.dtype(name) != np.float32:  # an offset of indices
            continue
        floors = [
            _mask_floor(graph, seen, name, node, bounds, found) for node in readers.get(name, [])
        ]
        known = [floor for floor in floors if floor is not None]
        if not known or len(known) < len(floors):
            continue
        floor = min(known)
        computed = name in makers or name in graph.inputs
        far = floor < 0.0 and ends(graph, seen, name)[0] < FAR * floor
        if not computed or (far and name not in graph.outputs):
            found[name] = (floor, np.inf)
    return found


def _mask_floor(
    graph: Graph,
    seen: Observation,
    name: str,
    reader: Node,
    bounds: Mapping[str, Clamp],
    found: Mapping[str, Clamp],
) -> float | None:
    """Return where a mask may end for this reader; None where it is read otherwise."""
    if reader.op == "Add":
        others = [other for other in reader.inputs if other != name]
        high = max((ends(graph, seen, other)[1] for other in others), default=0.0)
        return bounds[reader.output][0] - max(high, 0.0)
    moved = reader.op in MOVES_MASKS and reader.inputs[0] == name and reader.output in found
    return found[reader.output][0] if moved else None


def fill_bounds(graph: Graph, seen: Observation) -> dict[str, Clamp]:
    """Return bounds of what Pads fill so low that no maximum is it, as dilated_pools.py does: what was padded."""
    readers, found = graph.consumers(), dict[str, Clamp]()
    for node in graph.of("Pad"):
        fill = graph.constant(node, 2)
        if fill is None or fill.size != 1 or float(fill.ravel()[0]) > -FILL:
            continue
        bound = (ends(graph, seen, node.inputs[0])[0], np.inf)
        pieces = [r.output for r in readers.get(node.output, []) if r.op == "Slice"]
        found.update(dict.fromkeys([node.output, *pieces], bound))
    return found


def limit_bounds(graph: Graph, seen: Observation) -> dict[str, Clamp]:
    """Return bounds of constants that only a Max or Min reads: what it makes; what lies beyond is never taken."""
    found = dict[str, Clamp]()
    for name, readers in graph.consumers().items():
        if name in graph.constants and all(node.op in LIMITS for node in readers):
            lows, highs = zip(*(ends(graph, seen, node.output) for node in readers), strict=True)
            found[name] = (min(lows), max(highs))
    return found


def ends(graph: Graph, seen: Observation, tensor: str) -> tuple[float, float]:
    """Return the least and the largest value of a tensor or constant; zeros for an empty one."""
    if 0 in graph.shape(tensor):
        return 0.0, 0.0
    if tensor in graph.constants:
        return float(graph.constants[tensor].min()), float(graph.constants[tensor].max())
    return float(seen.tensors[tensor].low.min()), float(seen.tensors[tensor].high.max())
