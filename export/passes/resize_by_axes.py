"""Write a Resize axis by axis, for targets that have no such filter: a matrix product each.

    Given:   x -> Resize(cubic, antialiased, linear at odd coordinates or of other axes than two) -> y
    Result:  x -> MatMul(x, columns) -> MatMul(rows, x) -> y; an axis before the last two is the last but
             one of a Reshape around its MatMul

Emitters call this for the node that they are at; it is no pass of a list, because ONNX has the
operator itself. The filters are those of onnxruntime: what lies outside repeats the border, or is left
out with exclude_outside, and the weights sum to one.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Array, Graph, Node


def why_no_matrices(graph: Graph, node: Node) -> str | None:
    """Say why a Resize cannot be written as matrix products; None where it can."""
    if node.str("mode", "nearest") == "nearest":
        return "it is nearest"
    return why_no_places(graph, node)


def why_no_places(graph: Graph, node: Node) -> str | None:
    """Say why it is not known what each axis reads where; None where it is."""
    read = node.inputs[1 if _crops(node) else 2 :]  # others have no region
    if any(name and name not in graph.constants for name in read):
        return "its sizes or its region are computed"
    zeros = node.str("mode", "nearest") != "nearest" and node.float("extrapolation_value", 0.0) == 0
    if not zeros and any(_outside(graph, node, axis).any() for axis in _axes(graph, node)):
        return "it crops beyond the border, to what no product or gather gives"
    return None


def keeps_scales(graph: Graph, node: Node) -> bool:
    """Whether the scales of a Resize are others than its sizes are, because it keeps the aspect ratio."""
    if node.str("keep_aspect_ratio_policy", "stretch") == "stretch":
        return False
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    return any(
        abs(_scale(graph, node, axis) * before[axis] - after[axis]) > SAME
        for axis in _axes(graph, node)
    )


def resize_by_matrices(graph: Graph, node: Node, order: Sequence[int] = ()) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``.

    Between the first and the last the axes are in ``order``, as the target stores them.
    """
    rank, nodes = len(graph.shape(node.output)), list[Node]()
    x, order = node.inputs[0], tuple(order or range(rank))
    x = _turned(graph, node, nodes, x, order)
    for axis in reversed(range(rank)):
        matrix = filter_matrix(graph, node, order[axis])
        if np.array_equal(matrix, np.eye(len(matrix))):  # an axis that gets shorter is none
            continue
        stored = matrix.T if axis == rank - 1 else matrix
        constant = graph.add_constant(f"{node.name}/filter", np.ascontiguousarray(stored))
        before = graph.shape(x)
        after = (*before[:axis], len(matrix), *before[axis + 1 :])
        if axis >= rank - 2:
            operands = [x, constant] if axis == rank - 1 else [constant, x]
            x = _piece(graph, node, nodes, "MatMul", operands, after)
            continue
        lead, tail = int(np.prod(before[:axis])), int(np.prod(before[axis + 1 :]))
        x = _reshaped(graph, node, nodes, x, (lead, before[axis], tail))
        x = _piece(graph, node, nodes, "MatMul", [constant, x], (lead, len(matrix), tail))
        x = _reshaped(graph, node, nodes, x, after)
    x = _turned(graph, node, nodes, x, tuple(int(axis) for axis in np.argsort(order)))
    if not nodes:
        return [Node("Identity", f"{node.name}/same", [x], [node.output])]
    nodes[-1].outputs = [node.output]
    return nodes


def _piece(
    graph: Graph, node: Node, nodes: list[Node], op: str, inputs: list[str], shape: tuple[int, ...]
) -> str:
    made = graph.declare(graph.fresh(f"{node.name}/part"), shape, np.float32)
    nodes.append(Node(op, made, inputs, [made]))
    return made


def _turned(graph: Graph, node: Node, nodes: list[Node], x: str, perm: tuple[int, ...]) -> str:
    if perm == tuple(range(len(perm))):
        return x
    shape = graph.shape(x)
    made = _piece(graph, node, nodes, "Transpose", [x], tuple(shape[axis] for axis in perm))
    nodes[-1].attrs["perm"] = list(perm)
    return made


def _reshaped(graph: Graph, node: Node, nodes: list[Node], x: str, shape: tuple[int, ...]) -> str:
    sizes = graph.add_constant(f"{node.name}/shape", np.array(shape, np.int64))
    return _piece(graph, node, nodes, "Reshape", [x, sizes], shape)


Coordinates = NDArray[np.float64]
SAME = 1e-4
"""Pixels; sizes that are no further apart are one."""
WHOLE = (0.0, 1.0)
"""The region that is all of an axis."""


def onnx_coordinates(
    mode: str, size: int, out: int, scale: float, region: tuple[float, float] = WHOLE
) -> Coordinates:
    """Return the source coordinate of each output position, as onnxruntime computes it.

    ``region`` is where tf_crop_and_resize begins and ends, in shares of the axis; no other mode has one.

    >>> onnx_coordinates("half_pixel", 2, 4, 2.0).tolist()
    [-0.25, 0.25, 0.75, 1.25]
    """
    x = np.arange(out, dtype=np.float64)
    if mode == "align_corners":
        # by the whole length, as torch too; ONNX's own reference takes size * scale, not rounded down
        return x * (size - 1) / (out - 1) if out != 1 else np.zeros(out)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_crop_and_resize":
        begin, end = (share * (size - 1) for share in region)
        return begin + x * (end - begin) / (out - 1) if out > 1 else np.array([(begin + end) / 2])
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    if mode == "half_pixel_symmetric":
        adjustment = out / (size * scale)
        return size / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
    return (x + 0.5) / scale - 0.5


ROUNDING: dict[str, Callable[[Coordinates], Coordinates]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""ONNX nearest_mode -> which of the two neighbours of a coordinate it takes."""


def places(graph: Graph, node: Node, axis: int) -> Coordinates:
    """Return where each output position of one axis reads, inside the input; whole numbers for nearest."""
    at = _coordinates(graph, node, axis)
    if node.str("mode", "nearest") == "nearest":
        at = ROUNDING[node.str("nearest_mode", "round_prefer_floor")](at)
    return np.clip(at, 0, graph.shape(node.inputs[0])[axis] - 1)


def _coordinates(graph: Graph, node: Node, axis: int) -> Coordinates:
    size, out = graph.shape(node.inputs[0])[axis], graph.shape(node.output)[axis]
    mode = node.str("coordinate_transformation_mode", "half_pixel")
    regions, axes, region = graph.constant(node, 1), _axes(graph, node), WHOLE
    if _crops(node) and regions is not None and axis in axes:
        begin, end = regions.reshape(2, len(axes))[:, axes.index(axis)]
        region = float(begin), float(end)
    return onnx_coordinates(mode, size, out, _scale(graph, node, axis), region)


def _crops(node: Node) -> bool:
    return node.str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"


def _outside(graph: Graph, node: Node, axis: int) -> NDArray[np.bool_]:
    """Say which output positions of a crop read beyond the border: those hold the extrapolation value."""
    at = _coordinates(graph, node, axis)
    beyond: NDArray[np.bool_] = (at < 0) | (at > graph.shape(node.inputs[0])[axis] - 1)
    return beyond & _crops(node)


def nearest_rows(graph: Graph, node: Node) -> dict[int, NDArray[np.int32]]:
    """Return, for each axis that a nearest Resize changes, the index that each output position takes."""
    found = {}
    for axis, size in enumerate(graph.shape(node.inputs[0])):
        rows = places(graph, node, axis).astype(np.int32)
        if not np.array_equal(rows, np.arange(size)):
            found[axis] = rows
    return found


def filter_matrix(graph: Graph, node: Node, axis: int) -> Array:
    """Return the (output size, input size) matrix, float32, that resizes one axis."""
    size, made = graph.shape(node.inputs[0])[axis], graph.shape(node.output)[axis]
    scale = _scale(graph, node, axis)
    where = _coordinates(graph, node, axis)
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
    matrix[_outside(graph, node, axis)] = 0.0
    return matrix.astype(np.float32)


def _axes(graph: Graph, node: Node) -> list[int]:
    rank = len(graph.shape(node.inputs[0]))
    return [item % rank for item in node.ints("axes", range(rank))]


def _scale(graph: Graph, node: Node, axis: int) -> float:
    """Return output / input of one axis: as the scales say it, else as the sizes are, or all ask for."""
    scales, sizes, axes = graph.constant(node, 2), graph.constant(node, 3), _axes(graph, node)
    policy = node.str("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch" and axis in axes:
        asked = sizes / np.array(graph.shape(node.inputs[0]))[axes]
        return float(asked.min() if policy == "not_larger" else asked.max())
    if scales is not None and scales.size == len(axes) and axis in axes:
        return float(scales[axes.index(axis)])
    return graph.shape(node.output)[axis] / graph.shape(node.inputs[0])[axis]


def _cubic(distance: Array, a: float) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
