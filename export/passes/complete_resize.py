"""Write a Resize of some axes as a Resize of all: not every reader knows the axes attribute.

Given:   x -> Resize(axes, scales | sizes of these axes) -> y
Result:  x -> Resize(scales | sizes of all axes, the others kept) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph


def complete_resize(graph: Graph) -> bool:
    """Apply the rewrite to every match with constant scales or sizes."""
    changed = False
    for node in graph.of("Resize"):
        axes = node.ints("axes", [])
        index = 3 if len(node.inputs) > 3 and node.inputs[3] else 2
        given = graph.constant(node, index)
        aspect = node.str("keep_aspect_ratio_policy", "stretch")
        crop = node.str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
        if not axes or given is None or aspect != "stretch" or crop:
            continue
        shape = graph.shape(node.inputs[0])
        whole = np.array(shape, np.int64) if index == 3 else np.ones(len(shape), np.float32)
        whole[axes] = given.reshape(-1)
        node.inputs[index] = graph.add_constant(f"{node.name}.all_axes", whole)
        del node.attrs["axes"]
        changed = True
    return changed
