"""Fuse ReLU and Clip into the operator whose result they bound.

Given:   x -> Conv | Gemm | Add | ... (read once) -> Relu | Clip(constants) -> y
Result:  x -> Conv(clamp=(low, high)) -> y

Given:   x -> Relu -> Clip, or any such pair
Result:  one clamp, the intersection of both
"""

import numpy as np

from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.op_traits import Is, operators

CARRIERS = operators(Is.TAKES_CLAMP)
"""Operators that emitters can give an activation, or whose INT8 range can imply it."""


def fuse_clamps(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Relu", "Clip"):
        bounds = clamp_of(graph, node)
        maker = graph.producers().get(node.inputs[0])
        if bounds is None or maker is None or maker.op not in CARRIERS:
            continue
        if graph.sole_reader(maker.output) is None:
            continue
        merged = bounds if maker.clamp is None else _intersect(maker.clamp, bounds)
        if merged is None:
            continue
        maker.clamp = merged
        maker.outputs[0] = node.output
        graph.nodes.remove(node)
        changed = True
    return changed


def clamp_of(graph: Graph, node: Node) -> Clamp | None:
    """Return the bounds of a Relu or of a Clip with constant bounds; None for any other Clip."""
    if graph.dtype(node.output) != np.float32:
        return None
    if node.op == "Relu":
        return (0.0, float("inf"))
    bounds = [-float("inf"), float("inf")]
    for index, key in ((1, "min"), (2, "max")):
        if key in node.attrs:
            bounds[index - 1] = node.float(key, 0.0)
        if index < len(node.inputs) and node.inputs[index]:
            value = graph.constant(node, index)
            if value is None:
                return None
            bounds[index - 1] = float(np.asarray(value).reshape(-1)[0])
    return min(bounds), bounds[1]  # where they cross, the upper one is taken


def _intersect(first: Clamp, second: Clamp) -> Clamp | None:
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, high) if low <= high else None
