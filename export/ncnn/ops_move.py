"""What moves, cuts, joins, repeats or resizes values, as ncnn's layers."""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.axes import around, inner_axis, paired
from edgeconv.export.ncnn.ops_windows import Say, one_picture
from edgeconv.export.ncnn.say import Blob, Emission, Parameter
from edgeconv.export.op_parameters import runs
from edgeconv.export.op_table import Entry, first_failing, needs_constant
from edgeconv.formats.ncnn_file import MOST_AXES, Shape, own_shape

PIECES = 64
"""Cuts that a Gather becomes at most."""
PADDINGS = {"constant": 0, "edge": 1, "reflect": 2}


def _same(em: Emission, node: Node) -> None:
    em.write(node, em.read(node.inputs[0]), em.own(node.inputs[0]))


def _along(em: Emission, names: Sequence[str], axis: int) -> tuple[int, list[Shape]]:
    """Return the axis and the shapes that tensors are read in to be joined or cut along an axis."""
    shapes = [em.graph.shape(name) for name in names]
    places = {inner_axis(shape, axis) for shape in shapes}
    ranks = {len(own_shape(shape)) for shape in shapes}
    if len(places) == len(ranks) == 1 and None not in places:
        (place,) = places
        return place or 0, [own_shape(shape) for shape in shapes]
    return 1, [(outer, size * inner) for outer, size, inner in (around(s, axis) for s in shapes)]


def _concat(em: Emission, node: Node) -> None:
    names = [name for name in node.inputs if name]
    place, shapes = _along(em, [*names, node.output], node.int("axis", 0))
    blobs = [em.read(name, shape) for name, shape in zip(names, shapes, strict=False)]
    em.write(node, em.add("Concat", node, blobs, {0: place}), shapes[-1])


def _split(em: Emission, node: Node) -> None:
    names = [name for name in node.outputs if name]
    place, shapes = _along(em, [*names, node.inputs[0]], node.int("axis", 0))
    sizes = [shape[place] for shape in shapes[:-1]]
    x = em.read(node.inputs[0], shapes[-1])
    parameters: dict[int, Parameter] = {0: sizes, 1: place}
    parts = em.layer("Slice", node.name, [x], parameters, gives=len(names))
    for index, (part, shape) in enumerate(zip(parts, shapes, strict=False)):
        em.write(node, part, shape, index)


def _crop(
    em: Emission, node: Node, x: Blob, shape: Shape, axis: int, ends: tuple[int, int]
) -> Blob:
    """Return what lies from ``ends[0]`` up to ``ends[1]`` of one axis."""
    if ends == (0, shape[axis]):
        return x
    return em.add("Crop", node, [x], {9: [ends[0]], 10: [ends[1]], 11: [axis]})


def _slice(em: Emission, node: Node) -> None:
    x, shape = em.read(node.inputs[0]), em.own(node.inputs[0])
    full = em.graph.shape(node.inputs[0])
    for axis, (first, last, step) in cuts(em.graph, node).items():
        place = inner_axis(full, axis)
        seen, at = (shape, place) if place is not None else (around(full, axis), 1)
        x = em.reshaped(node.name, x, shape, seen)
        x = _crop(em, node, x, seen, at, (first, last))
        if step < 0:
            x = em.add("Flip", node, [x], {0: [at]})
        shape = (*seen[:at], last - first, *seen[at + 1 :])
        full = (*full[:axis], last - first, *full[axis + 1 :])
        if abs(step) > 1:  # a pool of windows of one takes every step-th
            outer, size, inner = around(full, axis)
            x = em.reshaped(node.name, x, shape, (outer, size, inner))
            x = em.add("Pooling", node, [x], {0: 0, 1: 1, 11: 1, 2: 1, 12: abs(step), 5: 1})
            full = (*full[:axis], -(-size // abs(step)), *full[axis + 1 :])
            x = em.reshaped(node.name, x, (outer, full[axis], inner), own_shape(full))
            shape = own_shape(full)
        elif shape != own_shape(full):
            x = em.reshaped(node.name, x, shape, own_shape(full))
            shape = own_shape(full)
    em.write(node, x, shape)


def cuts(graph: Graph, node: Node) -> dict[int, tuple[int, int, int]]:
    """Return axis -> first, last, step of what a Slice takes, for the axes that it changes.

    A negative step takes the same places from the last one on.
    """
    shape = graph.shape(node.inputs[0])
    starts, ends = (graph.constants[node.inputs[i]].ravel() for i in (1, 2))
    axes, steps = graph.constant(node, 3), graph.constant(node, 4)
    found = {}
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = (i if axes is None else int(axes.ravel()[i])) % len(shape)
        step = 1 if steps is None else int(steps.ravel()[i])
        low, high, _ = slice(int(start), int(end), step).indices(shape[axis])
        taken = range(low, high, step)
        if taken and taken != range(shape[axis]):
            found[axis] = (min(taken), max(taken) + 1, step)
    return found


def take(em: Emission, node: Node, blob: Blob, shape: Shape, axis: int, at: Sequence[int]) -> Blob:
    """Return what ``axis`` of ``blob``, which has ``shape``, holds at the places ``at``."""
    pieces = [_crop(em, node, blob, shape, axis, ends) for ends in runs(at)]
    return pieces[0] if len(pieces) == 1 else em.add("Concat", node, pieces, {0: axis})


def _gather(em: Emission, node: Node) -> None:
    full, axis = em.graph.shape(node.inputs[0]), node.int("axis", 0)
    at, place, shape = _places(em.graph, node), inner_axis(full, axis), em.own(node.inputs[0])
    if place is None:
        place, shape = 1, around(full, axis)
    made = take(em, node, em.read(node.inputs[0], shape), shape, place, at)
    em.write(node, made, (*shape[:place], len(at), *shape[place + 1 :]))


def _places(graph: Graph, node: Node) -> list[int]:
    size = graph.shape(node.inputs[0])[node.int("axis", 0)]
    return [int(i) % size for i in graph.constants[node.inputs[1]].ravel()]


def _few_runs(graph: Graph, node: Node) -> str | None:
    many = len(runs(_places(graph, node)))
    return f"it takes {many} pieces, more than {PIECES}" if many > PIECES else None


def _shuffle(em: Emission, node: Node) -> None:
    groups = node.int("group" if "group" in node.attrs else "groups", 1)
    made = em.add("ShuffleChannel", node, [em.read(node.inputs[0])], {0: groups})
    em.write(node, made, em.own(node.output))


def _depth_to_space(em: Emission, node: Node) -> None:
    mode = int(node.str("mode", "DCR") == "DCR")
    x = em.read(node.inputs[0])
    made = em.add("PixelShuffle", node, [x], {0: node.int("blocksize", 1), 1: mode})
    em.write(node, made, em.own(node.output))


def _space_to_depth(em: Emission, node: Node) -> None:
    made = em.add("Reorg", node, [em.read(node.inputs[0])], {0: node.int("blocksize", 1), 1: 1})
    em.write(node, made, em.own(node.output))


def _repeat(em: Emission, node: Node) -> None:
    """Expand and Tile: the input in a shape of as many axes, each repeated."""
    shape, times = _repeats(em.graph, node)
    made = em.read(node.inputs[0], shape)
    for axis, count in enumerate(times):
        if count != 1:
            made = em.add("Tile", node, [made], {0: axis, 1: count})
    em.write(node, made, tuple(s * t for s, t in zip(shape, times, strict=True)))


def _repeats(graph: Graph, node: Node) -> tuple[Shape, Shape]:
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    if node.op == "Expand":
        shape, grown = paired(before, after)
        return shape, tuple(b // a for a, b in zip(shape, grown, strict=True))
    pairs = [(size, made // size) for size, made in zip(before, after, strict=True) if made != 1]
    return tuple(s for s, _ in pairs) or (1,), tuple(t for _, t in pairs) or (1,)


def _few_repeats(graph: Graph, node: Node) -> str | None:
    if len(_repeats(graph, node)[0]) > MOST_AXES:
        return "it repeats over more axes than ncnn's four"
    return None


def _pad(em: Emission, node: Node) -> None:
    before, after = _pads(em.graph, node)
    fill = em.graph.constant(node, 2)
    value = 0.0 if fill is None else float(np.ravel(fill)[0])
    rank = len(before)
    sides: dict[int, Parameter] = {2: before[-1], 3: after[-1]}
    if rank > 1:
        sides |= {0: before[-2], 1: after[-2]}
    if rank > 2:
        sides |= {7: before[-3], 8: after[-3]}
    parameters = {**sides, 4: PADDINGS[node.str("mode", "constant")], 5: value}
    made = em.add("Padding", node, [em.read(node.inputs[0])], parameters)
    em.write(node, made, em.own(node.output))


def _pads(graph: Graph, node: Node) -> tuple[list[int], list[int]]:
    """Return what is added before and after each axis of the tensor's own shape."""
    shape = graph.shape(node.inputs[0])
    pads = [int(v) for v in graph.constants[node.inputs[1]].ravel()]
    axes = graph.constant(node, 3)
    named = range(len(shape)) if axes is None else [int(a) % len(shape) for a in axes.ravel()]
    half = len(pads) // 2
    before = {axis: pads[i] for i, axis in enumerate(named)}
    after = {axis: pads[half + i] for i, axis in enumerate(named)}
    kept = [axis for axis in range(len(shape)) if inner_axis(shape, axis) is not None]
    return [before.get(a, 0) for a in kept], [after.get(a, 0) for a in kept]


def _plain_pad(graph: Graph, node: Node) -> str | None:
    if (mode := node.str("mode", "constant")) not in PADDINGS:
        return f"its mode is {mode}"
    shape, made = graph.shape(node.inputs[0]), graph.shape(node.output)
    before, after = _pads(graph, node)
    grown = [size + b + a for size, b, a in zip(own_shape(shape), before, after, strict=False)]
    if tuple(grown) != own_shape(made) or len(shape) != len(made):
        return "it pads the batch, or more axes than ncnn has"
    if min(*before, *after) < 0:
        return "it cuts off"
    if len(before) == MOST_AXES and (before[0] or after[0]):
        return "it pads the outermost of four axes"
    return None


_constant_pads = first_failing(
    needs_constant(1, "padding"), needs_constant(2, "value"), needs_constant(3, "choice of axes")
)
_constant_cuts = first_failing(*(needs_constant(place, "place") for place in (1, 2, 3, 4)))
_shape = Entry(_same, "Reshape")

OPS: dict[str, Entry[Say]] = {
    "ChannelShuffle": Entry(_shuffle, "ShuffleChannel", check=one_picture),
    "Concat": Entry(_concat, "Concat"),
    "DepthToSpace": Entry(_depth_to_space, "PixelShuffle", check=one_picture),
    "Expand": Entry(_repeat, "Tile", check=first_failing(needs_constant(1, "shape"), _few_repeats)),
    "Gather": Entry(
        _gather,
        "Crop, Concat",
        check=first_failing(needs_constant(1, "list of indices"), _few_runs),
    ),
    "Pad": Entry(_pad, "Padding", check=first_failing(_constant_pads, _plain_pad)),
    "Slice": Entry(_slice, "Crop, Flip, Pooling", check=_constant_cuts),
    "SpaceToDepth": Entry(_space_to_depth, "Reorg", check=one_picture),
    "Split": Entry(_split, "Slice"),
    "Tile": Entry(_repeat, "Tile", check=first_failing(needs_constant(1, "count"), _few_repeats)),
    **dict.fromkeys(("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"), _shape),
}
"""Operator -> entry."""
