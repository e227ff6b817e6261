"""Transpose as Permute, which knows every order of four axes; more axes go to their places one by one."""

from itertools import permutations
from math import prod

from edgeconv.export.graph import Node
from edgeconv.export.ncnn.axes import moved
from edgeconv.export.ncnn.ops_windows import Say
from edgeconv.export.ncnn.say import Blob, Emission
from edgeconv.export.op_table import Entry
from edgeconv.formats.ncnn_file import MOST_AXES, Shape


def _orders() -> dict[tuple[int, ...], int]:
    """Return for each transposition what Permute calls it: the list of its source, permute.cpp.

    ncnn counts from the innermost axis: order "h w c" of a (c, h, w) gives (c, w, h).
    """
    found = {(0,): 0, (0, 1): 0, (1, 0): 1}
    for number, inner in enumerate(("whc", "hwc", "wch", "cwh", "hcw", "chw")):
        found[tuple("chw".index(axis) for axis in reversed(inner))] = number
    number = 0
    for last in "cdhw":  # the outermost axis of the result
        for next_ in (axis for axis in "cdhw" if axis != last):
            rest = [axis for axis in "whdc" if axis not in (last, next_)]
            for pair in (rest, rest[::-1]):
                found[
                    "cdhw".index(last),
                    "cdhw".index(next_),
                    *("cdhw".index(axis) for axis in reversed(pair)),
                ] = number
                number += 1
    assert len(found) == 3 + len(list(permutations(range(3)))) + len(list(permutations(range(4))))
    return found


ORDERS = _orders()


def _transpose(em: Emission, node: Node) -> None:
    shape = em.graph.shape(node.inputs[0])
    before, perm = moved(shape, node.ints("perm", list(reversed(range(len(shape))))))
    if len(perm) > MOST_AXES:
        _one_by_one(em, node, before, perm)
        return
    blob = _permuted(em, node, em.read(node.inputs[0], before), perm)
    em.write(node, blob, tuple(before[axis] for axis in perm))


def _permuted(em: Emission, node: Node, blob: Blob, perm: tuple[int, ...]) -> Blob:
    """Return ``blob``, of four axes at most, with its axes in another order."""
    return em.add("Permute", node, [blob], {0: ORDERS[perm]}) if len(perm) > 1 else blob


def _one_by_one(em: Emission, node: Node, shape: Shape, perm: tuple[int, ...]) -> None:
    """Transpose where four axes do not say it: each axis goes to its place by itself.

    What is before its place, what it passes, itself, and what is behind it are four axes.
    """
    blob, seen = em.read(node.inputs[0]), em.own(node.inputs[0])
    order = list(range(len(shape)))
    for place, axis in enumerate(perm):
        at = order.index(axis)
        if at == place:
            continue
        parts = (order[:place], order[place:at], [axis], order[at + 1 :])
        four = tuple(prod(shape[one] for one in part) for part in parts)
        few, how = moved(four, (0, 2, 1, 3))
        blob = em.reshaped(node.name, blob, seen, few)
        blob, seen = _permuted(em, node, blob, how), tuple(few[one] for one in how)
        order.insert(place, order.pop(at))
    em.write(node, blob, seen)


OPS: dict[str, Entry[Say]] = {"Transpose": Entry(_transpose, "Permute")}
"""Operator -> entry."""
