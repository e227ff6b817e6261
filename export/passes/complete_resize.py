"""Write forms of Resize that not every reader knows: some axes, a value beyond the border.

Given:   x -> Resize(axes, scales | sizes of these axes) -> y
Result:  x -> Resize(scales | sizes of all axes, the others kept) -> y

Given:   x -> Resize(a crop that is filled with c beyond the border) -> y
Result:  x -> Sub(c) -> Resize(filled with 0) -> Add(c) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps


def complete_resize(graph: Graph) -> bool:
    """Apply both rewrites, the first to every match with constant scales or sizes."""
    changed = False
    for node in graph.of("Resize"):
        changed |= _fill_with_zeros(graph, node)
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


def _fill_with_zeros(graph: Graph, node: Node) -> bool:
    value = node.float("extrapolation_value", 0.0)
    crops = node.str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    if value == 0.0 or not crops or node.str("mode", "nearest") == "nearest":
        return False
    steps, x = Steps(graph, node), node.inputs[0]
    excess = steps.do("Sub", x, steps.constant(value), shape=graph.shape(x))
    kept = {key: held for key, held in node.attrs.items() if key != "extrapolation_value"}
    cropped = steps.do("Resize", excess, *node.inputs[1:], attributes=kept)
    steps.finish("Add", cropped, steps.constant(value))
    return True
