"""Write every change of shape as a Reshape to a constant, complete shape.

Given:   x -> Flatten | Squeeze | Unsqueeze | Reshape(shape with 0 or -1) -> y
Result:  x -> Reshape(the static shape of y) -> y

Given:   x -> Reshape -> Reshape -> y, the first read by Reshapes alone
Result:  x -> Reshape -> y
"""

import numpy as np

from edgeconv.export.graph import Graph


def normalize_reshapes(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("Flatten", "Squeeze", "Unsqueeze", "Reshape"):
        shape = np.array(graph.shape(node.output), np.int64)
        now = graph.constant(node, 1) if node.op == "Reshape" else None
        if now is not None and np.array_equal(now, shape) and not node.attrs:
            continue
        stem = "shape_" + "x".join(str(size) for size in shape)
        node.op, node.attrs = "Reshape", {}
        node.inputs = [node.inputs[0], graph.add_constant(stem, shape)]
        changed = True
    while _merge_one(graph):  # the maps go stale with each
        changed = True
    return changed


def _merge_one(graph: Graph) -> bool:
    readers, makers = graph.consumers(), graph.producers()
    for node in graph.of("Reshape"):
        first = makers.get(node.inputs[0])
        if (
            first is not None
            and first.op == "Reshape"
            and first.clamp is None
            and first.output not in graph.outputs
            and all(reader.op == "Reshape" for reader in readers[first.output])
        ):
            for reader in readers[first.output]:
                reader.inputs[0] = first.inputs[0]
            graph.nodes.remove(first)
            return True
    return False
