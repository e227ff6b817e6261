"""Write convolutions whose weights or bias are computed as others: few kernels take such.

Given:   x (N, C, H, W), weights (O, C/group, kh, kw) computed -> Conv -> y
Result:  x -> Conv(picks each place of the window, a channel at a time) -> Reshape -> columns;
         MatMul(weights as a matrix, columns) -> Reshape [-> Add(bias)] -> y
Given:   x (N, C, H, W), weights (C, O/group, kh, kw) computed -> ConvTranspose -> y
Result:  MatMul(weights as a matrix, x) -> Reshape -> columns;
         columns -> ConvTranspose(puts each to its place of the window) -> Reshape [-> Add(bias)] -> y
Given:   constant weights, a bias that is computed -> Conv or ConvTranspose -> y
Result:  Conv or ConvTranspose -> Add(bias) -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Attribute, Graph, Node
from edgeconv.export.passes.steps import Steps

WINDOW = ("auto_pad", "dilations", "output_padding", "pads", "strides")


def computed_weights(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    nodes = [
        node
        for node in graph.of("Conv", "ConvTranspose")
        if any(name and name not in graph.constants for name in node.inputs[1:])
    ]
    for node in nodes:
        steps = Steps(graph, node)
        if node.inputs[1] in graph.constants:
            made = steps.do(node.op, *node.inputs[:2], attributes=node.attrs)
        elif node.op == "Conv":
            made = _product(steps)
        else:
            made = _spread_product(steps)
        _finish(steps, made)
    return bool(nodes)


def _finish(steps: Steps, made: str) -> None:
    """Make ``made`` what the node makes: its shape and, where the node has one, its bias."""
    graph, node = steps.graph, steps.node
    shape, size = graph.shape(node.output), steps.integers(graph.shape(node.output))
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    if not bias:
        steps.finish("Reshape", made, size)
        return
    if graph.shape(made) != shape:
        made = steps.do("Reshape", made, size)
    line = (1, shape[1], *[1] * len(shape[2:]))
    steps.finish("Add", made, _reshaped(steps, bias, line))


def _reshaped(steps: Steps, tensor: str, shape: tuple[int, ...]) -> str:
    return steps.do("Reshape", tensor, steps.integers(shape), shape=shape)


def _window(node: Node, kernel: tuple[int, ...], group: int) -> dict[str, Attribute]:
    """Return the attributes of a convolution with the node's window."""
    window: dict[str, Attribute] = {key: node.attrs[key] for key in WINDOW if key in node.attrs}
    return window | {"group": group, "kernel_shape": list(kernel)}


def _product(steps: Steps) -> str:
    """Return the Conv's output without its bias, (N, group, O/group, pixels)."""
    graph, node = steps.graph, steps.node
    shape, weights = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    made, kernel, group = graph.shape(node.output), weights[2:], node.int("group", 1)
    count, channels = shape[:2]
    places, pixels = int(np.prod(kernel)), int(np.prod(made[2:]))
    columns = node.inputs[0]
    if kernel != (1,) * len(kernel) or made[2:] != shape[2:]:
        picks = np.tile(_one_each(kernel), (channels, *[1] * (len(kernel) + 1)))
        columns = steps.do(
            "Conv",
            *(columns, steps.constant(picks)),
            shape=(count, channels * places, *made[2:]),
            attributes=_window(node, kernel, channels),
        )
    stacked = (count, group, channels // group * places, pixels)
    columns = _reshaped(steps, columns, stacked)
    matrix = (1, group, weights[0] // group, channels // group * places)
    rows = _reshaped(steps, node.inputs[1], matrix)
    return steps.do("MatMul", rows, columns, shape=(count, group, weights[0] // group, pixels))


def _spread_product(steps: Steps) -> str:
    """Return the ConvTranspose's output without its bias, (N * O, 1, H, W)."""
    graph, node = steps.graph, steps.node
    shape, weights = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    made, kernel, group = graph.shape(node.output), weights[2:], node.int("group", 1)
    count, channels = shape[:2]
    places, pixels = int(np.prod(kernel)), int(np.prod(shape[2:]))
    stacked = (count, group, channels // group, pixels)
    values = _reshaped(steps, node.inputs[0], stacked)
    matrix = (1, group, channels // group, weights[1] * places)
    rows = _reshaped(steps, node.inputs[1], matrix)
    turned = (1, group, weights[1] * places, channels // group)
    rows = steps.do("Transpose", rows, shape=turned, perm=[0, 1, 3, 2])
    product = (count, group, weights[1] * places, pixels)
    columns = steps.do("MatMul", rows, values, shape=product)
    blocks = (count * made[1], places, *shape[2:])
    columns = _reshaped(steps, columns, blocks)
    return steps.do(
        "ConvTranspose",
        *(columns, steps.constant(_one_each(kernel))),
        shape=(count * made[1], 1, *made[2:]),
        attributes=_window(node, kernel, 1),
    )


def _one_each(kernel: tuple[int, ...]) -> Array:
    """Return weights (places, 1, *kernel) each of which is 1 at its own place of the window."""
    places = int(np.prod(kernel))
    return np.eye(places).reshape(places, 1, *kernel)
