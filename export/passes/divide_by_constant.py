"""Multiply by the inverse of a constant: integer kernels multiply, few of them divide.

Given:   Div(x, c), c constant and nowhere 0
Result:  Mul(x, 1/c)
"""

import numpy as np

from edgeconv.export.graph import Graph


def divide_by_constant(graph: Graph) -> bool:
    """Apply the rewrite to every match of float32."""
    changed = False
    for node in graph.of("Div"):
        divisor = graph.constant(node, 1)
        if divisor is None or divisor.dtype != np.float32 or not np.all(divisor):
            continue
        inverse = (1.0 / divisor.astype(np.float64)).astype(np.float32)
        if not np.isfinite(inverse).all():
            continue
        node.op = "Mul"
        node.inputs[1] = graph.add_constant(f"{node.inputs[1]}_inverse", inverse)
        changed = True
    return changed
