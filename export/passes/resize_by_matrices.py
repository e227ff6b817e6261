"""Write a Resize as one matrix product an axis, for targets that have no such filter.

    Given:   x -> Resize(cubic, antialiased, or linear at odd coordinates) over the last two axes -> y
    Result:  x -> MatMul(x, columns) -> MatMul(rows, x) -> y

Emitters call this for the node that they are at; it is no pass of a list, because ONNX has the
operator itself. The filters are those of onnxruntime: what lies outside repeats the border, or is left
out with exclude_outside, and the weights sum to one.
"""

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Array, Graph, Node


def why_no_matrices(graph: Graph, node: Node) -> str | None:
    """Say why a Resize cannot be written as matrix products; None where it can."""
    source, made = graph.shape(node.inputs[0]), graph.shape(node.output)
    if len(source) < 3 or source[:-2] != made[:-2]:
        return "it changes more than the last two axes"
    if node.str("mode", "nearest") == "nearest":
        return "it is nearest"
    if node.str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return "it crops"
    if any(name and name not in graph.constants for name in node.inputs[2:]):
        return "its sizes are computed"
    if node.str("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "it keeps the aspect ratio"
    return None


def resize_by_matrices(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    rank, x, nodes = len(graph.shape(node.inputs[0])), node.inputs[0], []
    last = node.output
    for axis in (rank - 1, rank - 2):
        shape = list(graph.shape(x))
        shape[axis] = graph.shape(node.output)[axis]
        if tuple(shape) == graph.shape(x):
            continue
        matrix = filter_matrix(graph, node, axis)
        stored = matrix.T if axis == rank - 1 else matrix
        constant = graph.add_constant(f"{node.name}/filter", np.ascontiguousarray(stored))
        made = graph.declare(graph.fresh(f"{node.name}/axis{axis}"), shape, np.float32)
        inputs = [x, constant] if axis == rank - 1 else [constant, x]
        nodes.append(Node("MatMul", made, inputs, [made]))
        x = made
    if not nodes:
        return [Node("Identity", f"{node.name}/same", [x], [last])]
    nodes[-1].outputs = [last]
    return nodes


Coordinates = NDArray[np.float64]


def onnx_coordinates(mode: str, size: int, out: int, scale: float) -> Coordinates:
    """Return the source coordinate of each output position, as ONNX's Resize defines it.

    >>> onnx_coordinates("half_pixel", 2, 4, 2.0).tolist()
    [-0.25, 0.25, 0.75, 1.25]
    """
    x = np.arange(out, dtype=np.float64)
    if mode == "align_corners":
        # by the exact length, of which ``out`` is the floor
        length = size * scale
        return x * (size - 1) / (length - 1) if length != 1 else np.zeros(out)
    if mode == "asymmetric":
        return x / scale
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    if mode == "half_pixel_symmetric":
        adjustment = out / (size * scale)
        return size / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
    return (x + 0.5) / scale - 0.5


def filter_matrix(graph: Graph, node: Node, axis: int) -> Array:
    """Return the (output size, input size) matrix, float32, that resizes one axis."""
    size, made = graph.shape(node.inputs[0])[axis], graph.shape(node.output)[axis]
    scale = _scale(graph, node, axis)
    mode = node.str("coordinate_transformation_mode", "half_pixel")
    where = onnx_coordinates(mode, size, made, scale)
    cubic = node.str("mode", "nearest") == "cubic"
    shrink = min(scale, 1.0) if node.int("antialias", 0) else 1.0
    reach = (2.0 if cubic else 1.0) / shrink
    coefficient = node.float("cubic_coeff_a", -0.75)
    matrix = np.zeros((made, size))
    for row, place in enumerate(where):
        taps = np.arange(np.floor(place - reach), np.ceil(place + reach) + 1)
        distance = np.abs(taps - place) * shrink
        weights = _cubic(distance, coefficient) if cubic else np.maximum(1 - distance, 0)
        inside = (taps >= 0) & (taps < size)
        if node.int("exclude_outside", 0):
            weights = np.where(inside, weights, 0)
        weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(taps, 0, size - 1).astype(int), weights)
    return matrix.astype(np.float32)


def _scale(graph: Graph, node: Node, axis: int) -> float:
    """Return output / input of one axis: as the scales say it, else as the sizes are."""
    scales = graph.constant(node, 2)
    rank = len(graph.shape(node.inputs[0]))
    axes = [item % rank for item in node.ints("axes", range(rank))]
    if scales is not None and scales.size == len(axes) and axis in axes:
        return float(scales[axes.index(axis)])
    return graph.shape(node.output)[axis] / graph.shape(node.inputs[0])[axis]


def _cubic(distance: Array, a: float) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
