"""Remove what holds no values: tensors with an axis of size 0.

Given:   x -> op -> e (an axis of 0), read by Concat with others
Result:  Concat of the others

Given:   x -> op -> e otherwise, no output of the graph
Result:  e is an empty constant; a Split of others too makes those alone
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def drop_empty(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("Split"):
        changed |= _drop_parts(graph, node)
    for node in list(graph.nodes):
        made = [out for out in node.outputs if out]
        if all(0 in graph.shape(out) and out not in graph.outputs for out in made):
            for out in made:
                graph.constants[out] = np.zeros(graph.shape(out), graph.dtype(out))
            graph.nodes.remove(node)
            changed = True
    for node in graph.of("Concat"):
        full = [name for name in node.inputs if 0 not in graph.shape(name)]
        if full and len(full) < len(node.inputs):
            node.inputs = full
            changed = True
    return changed


def _drop_parts(graph: Graph, node: Node) -> bool:
    empty = [
        out for out in node.outputs if out and 0 in graph.shape(out) and out not in graph.outputs
    ]
    kept = [out for out in node.outputs if out not in empty]
    if not empty or not kept or not all(kept):
        return False
    for out in empty:
        graph.constants[out] = np.zeros(graph.shape(out), graph.dtype(out))
    axis = node.int("axis", 0)
    sizes = np.array([graph.shape(out)[axis] for out in kept], np.int64)
    node.outputs, node.attrs = kept, {"axis": axis}
    node.inputs = [node.inputs[0], graph.add_constant(f"{node.name}.sizes", sizes)]
    return True
