"""Give a Pad the amounts of all axes, where it names some.

Given:   x -> Pad(pads of the axes named) -> y
Result:  x -> Pad(pads of every axis) -> y

onnxruntime's own optimisation reads them so, whatever axes are named, and runs past their end behind a Transpose.
"""

import numpy as np

from edgeconv.export.graph import Graph
from edgeconv.export.op_parameters import pad_amounts


def complete_pads(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("Pad"):
        given = node.inputs[1:4:2]
        if len(node.inputs) < 4 or not all(name in graph.constants for name in given):
            continue
        amounts = np.array(pad_amounts(graph, node), np.int64).T.reshape(-1)
        del node.inputs[3]
        node.inputs[1] = graph.add_constant(f"{node.name}.pads", amounts)
        changed = True
    return changed
