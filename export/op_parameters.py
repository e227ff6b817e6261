"""What an operator's constant inputs and attributes come to, for every target that reads them while it writes."""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Array, Graph, Node


def reduced_axes(graph: Graph, node: Node) -> list[int]:
    """Return the ONNX axes of a reduction (input or attribute; none means all)."""
    rank = len(graph.shape(node.inputs[0]))
    given = graph.constant(node, 1)
    axes = node.ints("axes", []) if given is None else [int(axis) for axis in given.ravel()]
    if not axes and not node.int("noop_with_empty_axes", 0):
        axes = list(range(rank))
    return sorted(axis % rank for axis in axes)


def dropped_axes(graph: Graph, node: Node) -> list[int]:
    """Return the ONNX axes that the result of a reduction, an ArgMax or a Gather of one place lacks."""
    if node.op.startswith("Reduce"):
        return reduced_axes(graph, node)
    return [node.int("axis", 0) % len(graph.shape(node.inputs[0]))]


def slice_bounds(graph: Graph, node: Node) -> dict[int, tuple[int, int, int]]:
    """Return axis -> (start, end, step) of a Slice with constant bounds, clamped as ONNX says.

    ``end`` is -1 where a negative step runs past the first element.
    """
    shape = graph.shape(node.inputs[0])
    starts, ends = (graph.constants[name].ravel() for name in node.inputs[1:3])
    axes, steps = graph.constant(node, 3), graph.constant(node, 4)
    chosen = np.arange(len(starts)) if axes is None else axes.ravel()
    strides = np.ones(len(starts), np.int64) if steps is None else steps.ravel()
    bounds = {}
    for axis, start, end, step in zip(chosen, starts, ends, strides, strict=True):
        place = int(axis) % len(shape)
        first, last, stride = slice(int(start), int(end), int(step)).indices(shape[place])
        bounds[place] = (first, last, stride)
    return bounds


def pad_amounts(graph: Graph, node: Node) -> list[tuple[int, int]]:
    """Return (before, after) of each axis of a Pad; negative amounts cut."""
    rank = len(graph.shape(node.inputs[0]))
    amounts = graph.constants[node.inputs[1]].ravel()
    axes = graph.constant(node, 3)
    chosen = range(rank) if axes is None else [int(axis) % rank for axis in axes.ravel()]
    found = [(0, 0)] * rank
    for number, axis in enumerate(chosen):
        found[axis] = (int(amounts[number]), int(amounts[number + len(amounts) // 2]))
    return found


def averaged(graph: Graph, node: Node, axis: int) -> Array:
    """Return ONNX's divisor of each window of an AveragePool along a spatial axis.

    Cells beyond the padding are never counted, padding is where count_include_pad says so.
    """
    spatial = len(node.ints("kernel_shape", []))
    pads = node.ints("pads", [0] * 2 * spatial)
    size, out = graph.shape(node.inputs[0])[2 + axis], graph.shape(node.output)[2 + axis]
    kernel, stride = node.ints("kernel_shape", [])[axis], node.ints("strides", [1] * spatial)[axis]
    before, after = pads[axis], pads[axis + spatial]
    counted = bool(node.int("count_include_pad", 0))
    low, high = (-before, size + after) if counted else (0, size)
    starts = np.arange(out) * stride - before
    divisors: Array = np.minimum(starts + kernel, high) - np.maximum(starts, low)
    return divisors


def runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return indices as stretches (first, last): what lies one after another is one.

    >>> runs([2, 3, 4, 0, 0])
    [(2, 5), (0, 1), (0, 1)]
    """
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = found[-1][0], index + 1
        else:
            found.append((index, index + 1))
    return found
