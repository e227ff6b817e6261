"""Recognise a softmax that is spelled out.

Given:   x [-> Sub(what is the same along an axis)] -> e = Exp -> Div(e, ReduceSum(e) over that axis)
Result:  x -> Softmax(axis) -> y

Exp makes of a step of the largest value a share of each: as one operator none is rounded before it.
"""

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

_SHAPED = frozenset(["Reshape", "Expand", "Squeeze", "Unsqueeze"])


def fuse_softmax(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    makers, changed = graph.producers(), False
    for node in graph.of("Div"):
        power = makers.get(node.inputs[0])
        axis = None if power is None or power.op != "Exp" else _axis(graph, makers, node, power)
        if axis is not None and power is not None:
            source = _unshifted(graph, makers.get(power.inputs[0]), axis) or power.inputs[0]
            Steps(graph, node).finish("Softmax", source, axis=axis)
            changed = True
    return changed


def _axis(graph: Graph, makers: dict[str, Node], node: Node, power: Node) -> int | None:
    """Return the one axis over which the divisor sums the powers."""
    total = makers.get(node.inputs[1])
    while total is not None and total.op in _SHAPED:
        total = makers.get(total.inputs[0])
    if total is None or total.op != "ReduceSum" or total.inputs[0] != power.output:
        return None
    shape = graph.shape(power.output)
    given = graph.constant(total, 1)
    named = total.ints("axes", []) if given is None else given.reshape(-1).tolist()
    if len(named) != 1 or total.clamp is not None or power.clamp is not None:
        return None
    axis = int(named[0]) % len(shape)
    summed = tuple(1 if place == axis else size for place, size in enumerate(shape))
    wide = graph.shape(node.inputs[1])
    same = (1,) * (len(shape) - len(wide)) + wide in (summed, shape)
    return axis if same and graph.shape(node.output) == shape else None


def _unshifted(graph: Graph, shift: Node | None, axis: int) -> str | None:
    """Return what a Sub takes the same value from, all along the axis."""
    if shift is None or shift.op != "Sub" or shift.clamp is not None:
        return None
    shape, taken = graph.shape(shift.output), graph.shape(shift.inputs[1])
    wide = (1,) * (len(shape) - len(taken)) + taken
    return shift.inputs[0] if graph.shape(shift.inputs[0]) == shape and wide[axis] == 1 else None
