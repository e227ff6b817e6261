"""Write a convolution whose weights are computed as a product of matrices: few kernels take such weights.

Given:   x (N, C, H, W), weights (O, C/group, kh, kw) computed -> Conv -> y
Result:  x -> Conv(picks each place of the window, a channel at a time) -> Reshape -> columns;
         MatMul(weights as a matrix, columns) [-> Add(bias)] -> Reshape -> y
"""

import numpy as np

from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.passes.steps import Steps

WINDOW = ("auto_pad", "dilations", "pads", "strides")


def computed_weights(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    nodes = [
        node
        for node in graph.of("Conv")
        if graph.constant(node, 1) is None and node.inputs[0] not in graph.constants
    ]
    for node in nodes:
        _expand(graph, node)
    return bool(nodes)


def _expand(graph: Graph, node: Node) -> None:
    steps, made = Steps(graph, node), graph.shape(node.output)
    shape, weights = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    group, kernel = node.int("group", 1), weights[2:]
    count, channels = shape[:2]
    places, pixels = int(np.prod(kernel)), int(np.prod(made[2:]))
    columns = node.inputs[0]
    if kernel != (1,) * len(kernel) or made[2:] != shape[2:]:
        picks = np.tile(
            np.eye(places).reshape(places, 1, *kernel), (channels, *[1] * (len(kernel) + 1))
        )
        window: dict[str, Attribute] = {key: node.attrs[key] for key in WINDOW if key in node.attrs}
        window |= {"group": channels, "kernel_shape": list(kernel)}
        columns = steps.do(
            "Conv",
            *(columns, steps.constant(picks)),
            shape=(count, channels * places, *made[2:]),
            attributes=window,
        )
    stacked = (count, group, channels // group * places, pixels)
    columns = steps.do("Reshape", columns, steps.integers(stacked), shape=stacked)
    matrix = (1, group, weights[0] // group, channels // group * places)
    rows = steps.do("Reshape", node.inputs[1], steps.integers(matrix), shape=matrix)
    product = (count, group, weights[0] // group, pixels)
    result = steps.do("MatMul", rows, columns, shape=product)
    if len(node.inputs) < 3 or not node.inputs[2]:
        steps.finish("Reshape", result, steps.integers(made))
        return
    flat = steps.do("Reshape", result, steps.integers(made), shape=made)
    line = (1, made[1], *[1] * len(kernel))
    bias = steps.do("Reshape", node.inputs[2], steps.integers(line), shape=line)
    steps.finish("Add", flat, bias)
