"""Make the model take raw 0..255 pixels and scale them itself.

Given:   x (N, C, H, W), x = (pixel/255 - mean)/std -> rest
Result:  pixels -> Mul(1/(255 std)) -> Add(-mean/std) -> rest

or, for INT8, where a multiplication by constants must be a layer with weights of its own:
         pixels -> Conv(1x1, group=C, weights 1/(255 std), bias -mean/std) -> rest
"""

from collections.abc import Sequence

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Array, Graph, Node


def embed_preprocessing(
    graph: Graph, mean: Sequence[float], std: Sequence[float], *, as_conv: bool = False
) -> bool:
    """Apply the rewrite to the graph's one input, whose name then means raw pixels.

    Raises EdgeconvError where the graph does not take one picture.
    """
    if len(graph.inputs) != 1 or len(graph.shape(graph.inputs[0])) != 4:
        raise EdgeconvError("preprocessing can be embedded only in a net that takes one picture")
    tensor = graph.inputs[0]
    shape = graph.shape(tensor)
    if not {len(mean), len(std)} <= {1, shape[1]}:
        raise EdgeconvError(f"--mean and --std take one value, or {shape[1]} for this model")
    factor = np.broadcast_to(1 / (255 * np.asarray(std, np.float64)), shape[1])
    shift = np.broadcast_to(-np.asarray(mean, np.float64) / np.asarray(std), shape[1])
    scaled = graph.declare(graph.fresh(f"{tensor}_normalized"), shape, np.float32)
    for node in graph.nodes:
        node.inputs = [scaled if name == tensor else name for name in node.inputs]
    weights, bias = factor.astype(np.float32), shift.astype(np.float32)
    if as_conv:
        graph.nodes.insert(0, _conv(graph, tensor, scaled, weights, bias))
        return True
    middle = graph.declare(graph.fresh(f"{tensor}_scaled"), shape, np.float32)
    mul = graph.add_constant("pixel_factor", weights.reshape(1, -1, 1, 1))
    add = graph.add_constant("pixel_shift", bias.reshape(1, -1, 1, 1))
    graph.nodes[0:0] = [
        Node("Mul", graph.fresh("scale_pixels"), [tensor, mul], [middle]),
        Node("Add", graph.fresh("shift_pixels"), [middle, add], [scaled]),
    ]
    return True


def _conv(
    graph: Graph,
    source: str,
    target: str,
    factor: Array,
    shift: Array,
) -> Node:
    channels = len(factor)
    weights = graph.add_constant("pixel_factor", factor.reshape(channels, 1, 1, 1))
    bias = graph.add_constant("pixel_shift", shift)
    attrs = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1]}
    return Node(
        "Conv",
        graph.fresh("normalize_pixels"),
        [source, weights, bias],
        [target],
        {**attrs, "pads": [0, 0, 0, 0], "group": channels},
    )
