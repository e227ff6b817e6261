"""Write a Pad of negative widths, which cuts, as a Slice: Core ML has no such widths.

Given:   x -> Pad(widths, some of them negative) -> y
Result:  x -> Slice -> Pad(the other widths) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph
from edgeconv.export.passes.steps import Steps


def crop_by_slice(graph: Graph) -> bool:
    """Apply the rewrite to every Pad of constant widths."""
    changed = False
    for node in graph.of("Pad"):
        widths, shape = graph.constant(node, 1), graph.shape(node.inputs[0])
        has_axes = len(node.inputs) > 3 and node.inputs[3] != ""
        if widths is None or has_axes or not (np.asarray(widths) < 0).any():
            continue
        before, after = np.asarray(widths, np.int64).reshape(2, -1)
        starts, ends = np.maximum(-before, 0), np.array(shape) - np.maximum(-after, 0)
        steps = Steps(graph, node)
        bounds = [steps.integers(values) for values in (starts, ends, np.arange(len(shape)))]
        cut = steps.do("Slice", node.inputs[0], *bounds, shape=(ends - starts).tolist())
        kept = steps.integers(np.maximum([*before, *after], 0))
        steps.finish("Pad", cut, kept, *node.inputs[2:], mode=node.str("mode", "constant"))
        changed = True
    return changed
