"""Recognise hard swish (arXiv 1905.02244, section 5.2), which traces as several nodes.

Given:   x -> HardSigmoid(alpha=1/6, beta=1/2) -> h;  Mul(x, h) -> y
Result:  x -> HardSwish -> y

Given:   x -> Add(3) -> Clip(0, 6) -> Div(6) or Mul(1/6) -> h
Result:  x -> HardSigmoid(alpha=1/6, beta=1/2) -> h
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.fuse_clamps import clamp_of


def fuse_hardswish(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    while _hard_sigmoids(graph) or _hard_swishes(graph):  # each takes one: the maps go stale
        changed = True
    return changed


def is_standard(node: Node) -> bool:
    """Whether a HardSigmoid has the slope and offset of the paper and of TFLite."""
    return bool(
        np.isclose(node.float("alpha", 0.2), 1 / 6, atol=1e-6)
        and np.isclose(node.float("beta", 0.5), 0.5, atol=1e-6)
    )


def _hard_swishes(graph: Graph) -> bool:
    readers = graph.consumers()
    for gate in graph.of("HardSigmoid"):
        users = readers.get(gate.output, [])
        if not is_standard(gate) or len(users) != 1 or gate.output in graph.outputs:
            continue
        mul = users[0]
        if mul.clamp is not None or gate.clamp is not None:
            continue
        if mul.op == "Mul" and sorted(mul.inputs) == sorted([gate.inputs[0], gate.output]):
            mul.op, mul.inputs, mul.attrs = "HardSwish", [gate.inputs[0]], {}
            graph.nodes.remove(gate)
            return True
    return False


def _scalar(graph: Graph, name: str) -> float | None:
    value = graph.constants.get(name)
    return None if value is None or value.size != 1 else float(np.asarray(value).reshape(-1)[0])


def _hard_sigmoids(graph: Graph) -> bool:
    makers, readers = graph.producers(), graph.consumers()
    for last in graph.of("Div", "Mul"):
        factor = _scalar(graph, last.inputs[1])
        wanted = 6.0 if last.op == "Div" else 1 / 6
        clip = makers.get(last.inputs[0])
        if factor is None or not np.isclose(factor, wanted) or clip is None or clip.op != "Clip":
            continue
        add = makers.get(clip.inputs[0])
        if add is None or add.op != "Add" or clamp_of(graph, clip) != (0.0, 6.0):
            continue
        sides = [i for i in (0, 1) if _scalar(graph, add.inputs[i]) == 3.0]
        single = all(
            len(readers[n.output]) == 1 and n.output not in graph.outputs for n in (add, clip)
        )
        if not sides or not single or add.clamp or last.clamp:
            continue
        if graph.shape(last.output) != graph.shape(add.inputs[1 - sides[0]]):
            continue  # a constant of higher rank adds axes
        last.op, last.inputs = "HardSigmoid", [add.inputs[1 - sides[0]]]
        last.attrs = {"alpha": 1 / 6, "beta": 0.5}
        graph.nodes.remove(add)
        graph.nodes.remove(clip)
        return True
    return False
