"""Operators that move, cut or repeat data and compute nothing."""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import (
    PLAIN,
    order,
    stored_movement,
    stored_shape,
)
from edgeconv.export.tflite.movement import written


def move(em: Emission, node: Node) -> None:
    """Reshape, Transpose: one TRANSPOSE between the two stored orders, a RESHAPE where nothing moves."""
    source, target = node.inputs[0], node.output
    after, wanted = em.graph.shape(target), em.layout(target)
    scale = em.result(node)
    if target in em.plan.flattened:
        before = em.graph.shape(source)
        columns = np.arange(int(np.prod(before[1:]))).reshape(before[1:])
        em.flattened[target] = columns.transpose(1, 2, 0).ravel()
        _reshape(em, node, em.read(source, scale=scale), after)
        return
    held = PLAIN if source in em.graph.constants else em.layout(source)
    tried = ((held, wanted), (PLAIN, wanted), (PLAIN, PLAIN))  # the last can always be done
    held, made, moved = next(
        (first, second, found)
        for first, second in tried
        if (found := stored_movement(em.graph, node, first, second)) is not None
    )
    index, after = em.read(source, held, scale=scale), stored_shape(after, made)
    if not moved.sizes:
        _reshape(em, node, index, after)
        return
    shape, permutation = written(moved, em.builder.shape(index), after)
    inputs = [em.reshape(index, shape), em.ints(permutation, "permutation")]
    turned = [shape[axis] for axis in permutation]
    em.emit(node, "TRANSPOSE", inputs, "TransposeOptions", shape=turned, layout=made)


def _reshape(em: Emission, node: Node, index: int, shape: Sequence[int]) -> None:
    """Give the output its shape: no operator where it is the input's already."""
    if tuple(shape) == em.builder.shape(index) and em.share(node, index):
        return
    em.emit(
        node,
        "RESHAPE",
        [index, em.ints(shape, "shape")],
        "ReshapeOptions",
        newShape=[int(size) for size in shape],
    )


def channel_shuffle(em: Emission, node: Node) -> None:
    """ChannelShuffle: to channels first, swap the group axis, back: three large TRANSPOSEs.

    XNNPACK is slow at many tiny transposes and fast at large ones: 5 against 27 us for 28x28x60
    int8 as one TRANSPOSE of (1, H*W, groups, C/groups).
    """
    groups = node.int("groups", 1)
    x = em.read(node.inputs[0], "last", scale=em.result(node))
    n, h, w, c = em.builder.shape(x)
    x = em.reshape(x, (n, h * w, groups, c // groups))
    x = em.transpose(x, (0, 2, 3, 1))
    x = em.transpose(x, (0, 2, 1, 3))
    x = em.reshape(x, (n, c, h * w))
    x = em.transpose(x, (0, 2, 1))
    _reshape(em, node, x, (n, h, w, c))


def concat(em: Emission, node: Node) -> None:
    """Concat: CONCATENATION, every input at the output's scale."""
    layout = em.layout(node.output)
    scale = em.result(node)
    inputs = [em.read(name, layout, scale=scale) for name in node.inputs]
    axis = em.axis(node, node.int("axis", 0))
    em.emit(node, "CONCATENATION", inputs, "ConcatenationOptions", axis=axis)


def expand(em: Emission, node: Node) -> None:
    """Expand: BROADCAST_TO."""
    layout, shape = em.layout(node.output), em.graph.shape(node.output)
    x = em.operand(node.inputs[0], len(shape), layout, scale=em.result(node))
    target = em.ints(stored_shape(shape, layout), "shape")
    em.emit(node, "BROADCAST_TO", [x, target], "BroadcastToOptions")


def tile(em: Emission, node: Node) -> None:
    """Tile: TILE."""
    layout = em.layout(node.output)
    repeats = [int(count) for count in em.graph.constants[node.inputs[1]].ravel()]
    counts = em.ints([repeats[axis] for axis in order(layout, len(repeats))], "repeats")
    x = em.read(node.inputs[0], layout, scale=em.result(node))
    em.emit(node, "TILE", [x, counts], "TileOptions")


def depth_to_space(em: Emission, node: Node) -> None:
    """DepthToSpace: DEPTH_TO_SPACE (which is DCR); CRD's channels are reordered before."""
    x = em.read(node.inputs[0], "last", scale=em.result(node))
    block = node.int("blocksize", 1)
    if node.str("mode", "DCR") == "CRD":
        n, h, w, c = em.builder.shape(x)
        x = em.reshape(x, (n * h * w, c // block**2, block**2))
        x = em.reshape(em.transpose(x, (0, 2, 1)), (n, h, w, c))
    em.emit(node, "DEPTH_TO_SPACE", [x], "DepthToSpaceOptions", layout="last", blockSize=block)


def space_to_depth(em: Emission, node: Node) -> None:
    """SpaceToDepth: SPACE_TO_DEPTH."""
    x = em.read(node.inputs[0], "last", scale=em.result(node))
    block = node.int("blocksize", 1)
    em.emit(node, "SPACE_TO_DEPTH", [x], "SpaceToDepthOptions", layout="last", blockSize=block)


def _check_dcr(graph: Graph, node: Node) -> str | None:
    mode = node.str("mode", "DCR")
    return None if mode == "DCR" else f"its mode is {mode}"


TABLE = {
    "Reshape": Entry(move, "RESHAPE", "a constant shape", rule="move", int8=True),
    "Transpose": Entry(
        move, "TRANSPOSE", "a tensor of up to 6 axes", rank_within(0, 6), "move", int8=True
    ),
    "ChannelShuffle": Entry(
        channel_shuffle, "RESHAPE, TRANSPOSE", "a picture", rank_within(4, 4), "picture", int8=True
    ),
    "Concat": Entry(concat, "CONCATENATION", "tensors of equal rank", int8=True),
    "Expand": Entry(
        expand, "BROADCAST_TO", "a constant shape", needs_constant(1, "shape"), int8=True
    ),
    "Tile": Entry(
        tile, "TILE", "constant repeats", needs_constant(1, "list of repeats"), int8=True
    ),
    "DepthToSpace": Entry(
        depth_to_space, "DEPTH_TO_SPACE", "a picture", rank_within(4, 4), "picture", int8=True
    ),
    "SpaceToDepth": Entry(
        space_to_depth,
        "SPACE_TO_DEPTH",
        "a picture in mode DCR",
        first_failing(rank_within(4, 4), _check_dcr),
        "picture",
        int8=True,
    ),
}
