"""Write Gelu, an operator since opset 20, as what older opsets have.

Given:   x -> Gelu -> y
Result:  Mul(Mul(x, 1/2), Add(Erf(Mul(x, 1/sqrt 2)), 1)) -> y, by Tanh of x + 0.044715 x^3 where Gelu
         is approximate; the graph's opset falls to ``opset``
"""

import math

import numpy as np

from edgeconv.export.graph import Graph, Node


def expand_gelu(graph: Graph, opset: int) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Gelu"):
        steps = _Steps(graph, node)
        x = node.inputs[0]
        if node.str("approximate", "none") == "tanh":
            cube = steps.do("Mul", steps.do("Mul", x, x), x)
            inner = steps.do("Add", x, steps.do("Mul", cube, steps.real(0.044715)))
            bent = steps.do("Tanh", steps.do("Mul", inner, steps.real(math.sqrt(2 / math.pi))))
        else:
            bent = steps.do("Erf", steps.do("Mul", x, steps.real(math.sqrt(0.5))))
        half = steps.do("Mul", x, steps.real(0.5))
        last = Node("Mul", node.name, [half, steps.do("Add", bent, steps.real(1.0))], node.outputs)
        at = graph.nodes.index(node)
        graph.nodes[at : at + 1] = [*steps.nodes, last]
        changed = True
    if changed:
        graph.opset = opset
    return changed


class _Steps:
    """The operators that one node becomes."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self.nodes: list[Node] = []

    def real(self, value: float) -> str:
        return self.graph.add_constant(f"{self.node.name}_constant", np.array(value, np.float32))

    def do(self, op: str, *inputs: str) -> str:
        graph, node = self.graph, self.node
        shape, kind = graph.shape(node.output), graph.dtype(node.output).type
        out = graph.declare(graph.fresh(f"{node.output}_{op.lower()}"), shape, kind)
        name = graph.fresh(f"{node.name}_{op.lower()}_{len(self.nodes)}")
        self.nodes.append(Node(op, name, list(inputs), [out]))
        return out
