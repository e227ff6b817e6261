"""Pool volumes as pictures: over height and width first, then over depth.

    Given:   x (N, C, D, H, W) -> MaxPool | AveragePool -> y
    Result:  x -> Reshape (N, C*D, H, W) -> pool -> Reshape (N, C, D, H'*W') -> pool over D -> Reshape -> y

    Given:   x (N, C, D, H, W) -> GlobalAveragePool | GlobalMaxPool -> y
    Result:  x -> Reshape (N, C, D, H*W) -> global pool -> Reshape -> y

A maximum of maxima is the maximum, and windows count as many values as their sides multiplied, at
borders too. TFLite pools pictures only.
"""

import numpy as np

from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.passes.steps import Steps

GLOBAL = ("GlobalAveragePool", "GlobalMaxPool")


def flatten_pools(graph: Graph) -> bool:
    """Apply both rewrites to every match without indices."""
    changed = False
    for node in graph.of("MaxPool", "AveragePool", *GLOBAL):
        if len(graph.shape(node.inputs[0])) != 5 or any(node.outputs[1:]):
            continue
        if node.op in GLOBAL:
            _flatten_global(graph, node)
        else:
            _flatten(graph, node)
        changed = True
    return changed


def _flatten_global(graph: Graph, node: Node) -> None:
    steps = Steps(graph, node)
    n, c, d, h, w = graph.shape(node.inputs[0])
    flat = _reshape(steps, node.inputs[0], (n, c, d, h * w))
    pooled = steps.do(node.op, flat, shape=(n, c, 1, 1))
    steps.finish("Reshape", pooled, steps.integers([n, c, 1, 1, 1]))


def _flatten(graph: Graph, node: Node) -> None:
    steps = Steps(graph, node)
    n, c, d, h, w = graph.shape(node.inputs[0])
    _, _, depth, height, width = graph.shape(node.output)
    x = _reshape(steps, node.inputs[0], (n, c * d, h, w))
    plane = _window(node, [1, 2])
    x = steps.do(node.op, x, shape=(n, c * d, height, width), attributes=plane)
    x = _reshape(steps, x, (n, c, d, height * width))
    along = _window(node, [0])
    x = steps.do(node.op, x, shape=(n, c, depth, height * width), attributes=along)
    steps.finish("Reshape", x, steps.integers(graph.shape(node.output)))


def _reshape(steps: Steps, x: str, shape: tuple[int, ...]) -> str:
    return steps.do("Reshape", x, steps.integers(shape), shape=shape)


def _window(node: Node, axes: list[int]) -> dict[str, Attribute]:
    """Return the attributes of a pool over two axes: those of a volume's ``axes``, then of no window."""
    found: dict[str, Attribute] = {
        key: node.int(key, 0) for key in ("ceil_mode", "count_include_pad") if key in node.attrs
    }
    missing = 2 - len(axes)
    for key, usual in (("kernel_shape", 1), ("strides", 1), ("dilations", 1)):
        if key == "dilations" and key not in node.attrs:
            continue  # an average has it since opset 19 only
        given = node.ints(key, [usual] * 3)
        found[key] = [*(given[axis] for axis in axes), *[1] * missing]
    pads = np.reshape(node.ints("pads", [0] * 6), (2, 3))[:, axes]
    found["pads"] = [int(v) for side in pads for v in (*side, *[0] * missing)]
    return found
