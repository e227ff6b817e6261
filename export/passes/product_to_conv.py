"""Write a product with constant weights on the left as a convolution, which has a scale for each output.

Integer layers have a scale for each output channel and add their bias in 32 bits; a product of two
tensors has neither.

Given:   MatMul(constant (M, K), x (..., K, N)) -> y
Result:  x -> Reshape(B, K, 1, N) -> Conv(weights (M, K, 1, 1)) -> Reshape(..., M, N) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps


def product_to_conv(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("MatMul"):
        weights, shape = graph.constant(node, 0), graph.shape(node.inputs[1])
        if node.inputs[1] in graph.constants or weights is None or weights.dtype != np.float32:
            continue
        if weights.ndim == 2 and len(shape) >= 2:
            _rewrite(graph, node)
            changed = True
    return changed


def _rewrite(graph: Graph, node: Node) -> None:
    steps, weights = Steps(graph, node), graph.constants[node.inputs[0]]
    *batch, inside, length = graph.shape(node.inputs[1])
    count, outside = int(np.prod(batch)), weights.shape[0]
    wide, made = (count, inside, 1, length), (count, outside, 1, length)
    x = steps.do("Reshape", node.inputs[1], steps.integers(wide), shape=wide)
    y = steps.do("Conv", x, steps.constant(weights[:, :, None, None]), shape=made)
    steps.nodes[-1].attrs = {"kernel_shape": [1, 1]}
    steps.finish("Reshape", y, steps.integers(graph.shape(node.output)))
