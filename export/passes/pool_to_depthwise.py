"""Write an average pool that counts its padding as a depthwise convolution of 1/k.

TFLite's AVERAGE_POOL_2D leaves padding out of the count, and onnxruntime's INT8 pool is several
times slower than its depthwise convolution.

    Given:   x -> AveragePool(k x k, count_include_pad or no padding, no ceil_mode) -> y
    Result:  x -> Conv(group=C, weights 1/k^2) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph


def pool_to_depthwise(graph: Graph) -> bool:
    """Apply the rewrite to every match of rank 4."""
    changed = False
    for node in graph.of("AveragePool"):
        shape = graph.shape(node.inputs[0])
        pads, kernel = node.ints("pads", ()), node.ints("kernel_shape", ())
        counted = node.int("count_include_pad", 0) == 1 or not any(pads)
        if len(shape) != 4 or not counted or node.int("ceil_mode", 0):
            continue
        channels, taps = shape[1], int(np.prod(kernel))
        weights = np.full((channels, 1, *kernel), 1 / taps, np.float32)
        node.op = "Conv"
        node.attrs = {
            "kernel_shape": kernel,
            "strides": node.ints("strides", [1, 1]),
            "dilations": node.ints("dilations", [1, 1]),
            "pads": pads,
            "group": channels,
        }
        node.inputs = [
            node.inputs[0],
            graph.add_constant(f"{node.name}.weight", weights),
            graph.add_constant(f"{node.name}.bias", np.zeros(channels, np.float32)),
        ]
        changed = True
    return changed
