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
        axes = graph.constant(node, 3) if has_axes else np.arange(len(shape))
        if widths is None or axes is None or not (np.asarray(widths) < 0).any():
            continue
        before, after = np.asarray(widths, np.int64).reshape(2, -1)
        sizes = np.array(shape)
        starts, ends = np.maximum(-before, 0), sizes[axes] - np.maximum(-after, 0)
        sizes[axes] = ends - starts
        steps = Steps(graph, node)
        bounds = [steps.integers(np.asarray(values, np.int64)) for values in (starts, ends, axes)]
        cut = steps.do("Slice", node.inputs[0], *bounds, shape=sizes.tolist())
        kept = steps.integers(np.maximum([*before, *after], 0))
        steps.finish("Pad", cut, kept, *node.inputs[2:], mode=node.str("mode", "constant"))
        changed = True
    return changed
