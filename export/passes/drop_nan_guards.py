"""Take the test for NaN from behind a Softmax, which gives it only for rows that are masked as a whole.

Given:   Softmax(x) -> s, IsNaN(s) -> n, Where(n, fallback, s), as torch spells attention with masks
Result:  s, where no mask is added to x or a constant one that leaves something of each row; else
         Where(the row is masked as a whole, fallback, s), by what chooses the mask
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.finite_masks import MASKED
from edgeconv.export.passes.steps import Steps

FLOAT = 1  # TensorProto.FLOAT of the ONNX format


def drop_nan_guards(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for guard in graph.of("Where"):
        makers = graph.producers()
        test, softmax = (makers.get(guard.inputs[i]) for i in (0, 2))
        if test is None or softmax is None or (test.op, softmax.op) != ("IsNaN", "Softmax"):
            continue
        whole = graph.shape(guard.output) == graph.shape(softmax.output)
        if whole and test.inputs[0] == softmax.output:
            changed |= _without_test(graph, guard, softmax, makers)
    return changed


def _without_test(graph: Graph, guard: Node, softmax: Node, makers: dict[str, Node]) -> bool:
    scores = graph.shape(softmax.inputs[0])
    axis = softmax.int("axis", -1) % len(scores)
    adder = makers.get(softmax.inputs[0])
    for name in adder.inputs if adder is not None and adder.op == "Add" else ():
        mask, chooser = graph.constants.get(name), makers.get(name)
        if mask is not None:
            empty = np.broadcast_to(mask, scores).max(axis, keepdims=True) < MASKED / 2
            if empty.any():
                steps = Steps(graph, guard)
                steps.finish("Where", steps.constant(empty, np.bool_), *guard.inputs[1:])
                return True
        if chooser is not None and chooser.op == "Where":
            return axis == len(scores) - 1 and _by_condition(graph, guard, chooser, scores[-1])
    if {guard.output, softmax.output} <= set(graph.outputs):
        return False
    graph.nodes.remove(guard)
    graph.redirect(guard.output, softmax.output)
    return True


def _by_condition(graph: Graph, guard: Node, chooser: Node, places: int) -> bool:
    """Ask what chooses the mask, not the result."""
    condition, *values = chooser.inputs
    shape = graph.shape(condition)
    low = [
        name in graph.constants and bool((graph.constants[name] < MASKED / 2).all())
        for name in values
    ]
    if shape[-1:] != (places,) or low.count(True) != 1:
        return False
    steps, row = Steps(graph, guard), (*shape[:-1], 1)
    allowed = condition if low[1] else steps.do("Not", condition, shape=shape, kind=np.bool_)
    counted = steps.do("Cast", allowed, shape=shape, kind=np.float32, to=FLOAT)
    most = steps.do("ReduceMax", counted, steps.integers([-1]), shape=row, keepdims=1)
    nowhere = steps.do("Less", most, steps.constant(0.5), shape=row, kind=np.bool_)
    steps.finish("Where", nowhere, *guard.inputs[1:])
    return True
