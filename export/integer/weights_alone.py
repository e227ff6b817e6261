"""INT8 weights alone: rounded from the float ones, without calibration."""

import numpy as np

from edgeconv.export.graph import Graph
from edgeconv.export.op_traits import WEIGHTED, output_axis
from edgeconv.recipe import Recipe, Weights


def round_weights(graph: Graph) -> Recipe:
    """Return a weight-only recipe made from the float weights, with no pictures at all.

    Each output channel is rounded to int8 at absmax / 127, biases are kept.
    """
    found: dict[str, Weights] = {}
    for node in graph.of(*WEIGHTED):
        real = graph.constant(node, 1)
        if real is None or real.dtype != np.float32:
            continue
        groups = node.int("group", 1) if node.op == "ConvTranspose" else 1
        if groups > 1:
            continue  # output channels of a grouped transposed convolution are not one axis
        axis = output_axis(node)
        others = tuple(index for index in range(real.ndim) if index != axis)
        peak = np.abs(real).max(axis=others).astype(np.float32)
        scales = np.where(peak > 0, peak / np.float32(127), np.float32(1)).astype(np.float32)
        shape = [1] * real.ndim
        shape[axis] = -1
        values = np.clip(np.rint(real / scales.reshape(shape)), -127, 127).astype(np.int8)
        bias = graph.constant(node, 2)
        real_bias = np.zeros(len(scales)) if bias is None else np.asarray(bias).ravel()
        found[node.name] = Weights(
            values, scales, np.zeros(len(scales), np.int32), real_bias.astype(np.float32), axis
        )
    return Recipe("weight-only", "zero-point-free", {}, found)
