"""Make the minus infinity of an attention mask a large finite number.

Given:   Add(x, mask) | Where(condition, x, mask) [-> Reshape | Transpose | ...] -> Softmax, with
         constants that hold -inf
Result:  the same with -1e9 there: exp of it is 0 as well, and a range can be spoken of
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators

MASKED = np.float32(-1e9)
PASSING = operators(Is.PASSES_MASK)


def finite_masks(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    readers = graph.consumers()
    changed = False
    for node in graph.of("Add", "Where"):
        for index, name in enumerate(node.inputs):
            mask = graph.constants.get(name)
            if mask is None or mask.dtype.kind != "f" or not np.isneginf(mask).any():
                continue
            if not _only_masks(graph, node, readers):
                continue
            finite = np.where(np.isneginf(mask), MASKED, mask).astype(mask.dtype)
            node.inputs[index] = graph.add_constant(f"{name}_finite", finite)
            changed = True
    return changed


def _only_masks(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Whether everything that reads the result is a Softmax, or passes it on to one."""
    following = readers.get(node.output, [])
    return (
        bool(following)
        and node.output not in graph.outputs
        and all(
            reader.op == "Softmax" or (reader.op in PASSING and _only_masks(graph, reader, readers))
            for reader in following
        )
    )
