"""Give both sides of a power one type, as every target wants it.

Given:   x, an exponent of whole numbers -> Pow -> y, x in float
Result:  x, Cast(the exponent) -> Pow -> y

Given:   x of whole numbers -> Pow(1, 2, 3 or 4) -> y
Result:  x -> Mul, once for each further factor -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

FLOAT = 1  # TensorProto.FLOAT of the ONNX format
MOST_FACTORS = 4


def one_type_powers(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("Pow"):
        base, exponent = (graph.dtype(name).kind for name in node.inputs)
        if base == "f" and exponent != "f":
            _in_float(graph, node)
            changed = True
        elif base != "f":
            changed |= _multiplied(graph, node)
    return changed


def _in_float(graph: Graph, node: Node) -> None:
    steps, exponent = Steps(graph, node), node.inputs[1]
    known = graph.constants.get(exponent)
    if known is None:
        shape = graph.shape(exponent)
        real = steps.do("Cast", exponent, shape=shape, kind=np.float32, to=FLOAT)
    else:
        real = steps.constant(known, np.float32)
    steps.finish("Pow", node.inputs[0], real)


def _multiplied(graph: Graph, node: Node) -> bool:
    """Write a small whole power as products: a power in float loses digits above 2**24."""
    exponent, x = graph.constant(node, 1), node.inputs[0]
    if exponent is None or exponent.size != 1 or graph.shape(x) != graph.shape(node.output):
        return False
    factors = float(exponent.reshape(-1)[0])
    if factors not in range(1, MOST_FACTORS + 1):
        return False
    if factors == 1:
        Steps(graph, node).finish("Identity", x)
        return True
    steps, made = Steps(graph, node), x
    for _ in range(int(factors) - 2):
        made = steps.do("Mul", made, x)
    steps.finish("Mul", made, x)
    return True
