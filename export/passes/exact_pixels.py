"""Move pixels off the rounding ties of INT8, half a step, into the first convolution's bias.

With x = pixel/127.5 - 1 and scale 2/255 every pixel lies exactly between two integers. Reading
x' = x - scale/2 instead makes q = pixel - 128 exact for all 256 values; the half step returns
through the bias. Only the border is touched: padding with x' = 0 stands for x = scale/2.

    Given:   x -> Conv(w, b) -> y
    Result:  x -> Sub(offset) -> x' -> Conv(w, b + offset * sum(w)) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def pixel_step(mean: float, std: float) -> tuple[float, float]:
    """Return (scale, offset): x - offset is scale times an integer in [-128, 127] for every pixel.

    x = (pixel/255 - mean)/std; the offset is smaller than one step and 0 where x needs none.

    >>> pixel_step(0.5, 0.5)
    (0.00784313725490196, 0.00392156862745098)
    >>> pixel_step(0.0, 1.0)[1]
    0.0
    """
    scale = 1.0 / (255.0 * std)
    zero = 255.0 * mean
    offset = (np.ceil(zero - 1e-9) - zero) * scale
    return scale, float(max(offset, 0.0)) if offset > 1e-9 * scale else 0.0


def exact_pixels(graph: Graph, tensor: str, offset: float) -> bool:
    """Apply the rewrite to input ``tensor``; False where it is not read by convolutions alone."""
    readers = graph.consumers().get(tensor, [])
    if not offset or tensor in graph.outputs or not readers:
        return False
    if any(node.op != "Conv" or graph.constant(node, 1) is None for node in readers):
        return False
    for node in readers:
        weights = np.asarray(graph.constant(node, 1), np.float64)
        bias = graph.constant(node, 2)
        old = np.zeros(weights.shape[0]) if bias is None else np.asarray(bias, np.float64)
        shifted = old + offset * weights.sum(axis=(1, 2, 3))
        name = graph.add_constant(f"{node.name}.pixel_bias", shifted.astype(np.float32))
        node.inputs = [node.inputs[0], node.inputs[1], name]
    centred = graph.declare(graph.fresh(f"{tensor}_centred"), graph.shape(tensor), np.float32)
    for node in readers:
        node.inputs[0] = centred
    step = graph.add_constant("pixel_offset", np.array(offset, np.float32))
    graph.nodes.insert(0, Node("Sub", graph.fresh("centre_pixels"), [tensor, step], [centred]))
    return True
