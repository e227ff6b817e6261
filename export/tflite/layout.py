"""How a tensor is stored, and what operators make of it: ``plain`` (ONNX's order) or ``last``.

Last are the channels then: NCHW becomes NHWC, NCL becomes NLC. plan.py decides which it is.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.movement import MOST, Movement, Step, movement, steps_of

Layout = Literal["plain", "last"]
PLAIN: Layout = "plain"
LAST: Layout = "last"

Rule = Literal["picture", "any", "plain", "move", "loose", "product"]
"""How an operator sees layouts: picture = channels last in and out; any = the same in and out,
whichever; plain = ONNX's order in and out; move = Reshape and Transpose, which may be free; loose =
it reads any layout and drops axes: what is left comes out in ONNX's order, or channels last; product =
matrices, of which one layout is the other turned."""


def order(layout: Layout, rank: int) -> tuple[int, ...]:
    """Return the ONNX axis that each stored axis holds.

    >>> order("last", 4), order("last", 3), order("last", 2), order("plain", 3)
    ((0, 2, 3, 1), (0, 2, 1), (0, 1), (0, 1, 2))
    """
    if layout == "plain" or rank < 3:
        return tuple(range(rank))
    return (0, *range(2, rank), 1)


def stored_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Return the shape in stored order.

    >>> stored_shape((1, 3, 224, 192), "last")
    (1, 224, 192, 3)
    """
    return tuple(shape[axis] for axis in order(layout, len(shape)))


def stored_axis(axis: int, rank: int, layout: Layout) -> int:
    """Return where an ONNX axis (negative allowed) is stored.

    >>> stored_axis(1, 4, "last"), stored_axis(-1, 4, "last")
    (3, 2)
    """
    return order(layout, rank).index(axis % rank)


def is_copy(shape: tuple[int, ...], permutation: tuple[int, ...]) -> bool:
    """Say whether transposing leaves the memory as it is: only axes of size 1 move.

    >>> is_copy((1, 64, 1, 1), (0, 2, 3, 1)), is_copy((1, 64, 7, 7), (0, 2, 3, 1))
    (True, False)
    """
    moving = [axis for axis in permutation if shape[axis] != 1]
    return moving == sorted(moving)


def conversion(rank: int, source: Layout, target: Layout) -> tuple[int, ...]:
    """Return the permutation of stored axes that turns one layout into the other."""
    held = order(source, rank)
    return tuple(held.index(axis) for axis in order(target, rank))


def swapped_with_last(shape: tuple[int, ...], node: Node, layout: Layout) -> tuple[int, ...]:
    """Return the permutation of stored axes that brings the axis of a softmax to the end."""
    swap = list(range(len(shape)))
    place = stored_axis(node.int("axis", -1), len(shape), layout)
    swap[place], swap[-1] = swap[-1], swap[place]
    return tuple(swap)


def without_axes(rank: int, axes: Sequence[int], held: Layout) -> tuple[Layout, Layout]:
    """Return the layouts to read a tensor in and in which it comes out when ``axes`` are dropped.

    >>> without_axes(4, [3], "last"), without_axes(4, [1], "last"), without_axes(5, [0], "last")
    (('last', 'last'), ('last', 'plain'), ('plain', 'plain'))
    """
    left = [axis for axis in order(held, rank) if axis not in axes]
    kept = sorted(left)
    for made in (PLAIN, LAST):
        if [kept[axis] for axis in order(made, len(kept))] == left:
            return held, made
    return PLAIN, PLAIN


def left_of_product(node: Node, made: Layout) -> tuple[int, Layout]:
    """Return which input of a MatMul has to be BATCH_MATMUL's left side, and the layout that it has to be in.

    The kernel turns its right side as it reads. A result channels last is the turned one: the product of
    both sides turned, in the other order.
    """
    if made == PLAIN:
        return 0, PLAIN
    return 1, PLAIN if node.int("transB", 0) else LAST


def stored_movement(graph: Graph, node: Node, source: Layout, target: Layout) -> Movement | None:
    """Return what a Reshape or Transpose moves between two layouts; None where it takes two steps."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    held = tuple(int(axis) for axis in np.argsort(order(source, len(before))))
    steps = [Step("perm", held), *steps_of(graph, node), Step("perm", order(target, len(after)))]
    found = movement(stored_shape(before, source), steps)
    return None if found is None or len(found.sizes) > MOST else found
