"""Write Gelu, an operator since opset 20, as what older opsets have.

Given:   x -> Gelu -> y
Result:  Mul(Mul(x, 1/2), Add(Erf(Mul(x, 1/sqrt 2)), 1)) -> y, by Tanh of x + 0.044715 x^3 where Gelu
         is approximate; the graph's opset falls to ``opset``
"""

import math

from edgeconv.export.graph import Graph
from edgeconv.export.passes.steps import Steps


def expand_gelu(graph: Graph, opset: int) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Gelu"):
        steps = Steps(graph, node)
        x = node.inputs[0]
        if node.str("approximate", "none") == "tanh":
            cube = steps.do("Mul", steps.do("Mul", x, x), x)
            inner = steps.do("Add", x, steps.do("Mul", cube, steps.constant(0.044715)))
            bent = steps.do("Tanh", steps.do("Mul", inner, steps.constant(math.sqrt(2 / math.pi))))
        else:
            bent = steps.do("Erf", steps.do("Mul", x, steps.constant(math.sqrt(0.5))))
        half = steps.do("Mul", x, steps.constant(0.5))
        steps.finish("Mul", half, steps.do("Add", bent, steps.constant(1.0)))
        changed = True
    if changed:
        graph.opset = opset
    return changed
