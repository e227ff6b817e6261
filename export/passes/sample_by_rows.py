"""Write the sampling of a picture or volume at computed places as operators that every target has.

    Given:   x (N, C, H, W), grid (N, h, w, 2) -> GridSample -> y (N, C, h, w)
    Result:  x as rows of pixels -> Gather at each corner around a place -> Mul(how near it is) -> Add -> y

A volume has an axis more. Emitters call this for the node that they are at; it is no pass of a list,
because ONNX has the operator itself, and because places and shares are no values for 8 bits.
"""

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Shape, Steps

INT64, FLOAT = 7, 1  # of the ONNX format's TensorProto
NEAREST, CUBIC = frozenset(["nearest"]), frozenset(["cubic", "bicubic"])
SHARPNESS = -0.75
"""Of the cubic: PyTorch's and onnxruntime's alpha (Keys, 1981)."""


class _Axis(NamedTuple):
    """Where an axis is read: the whole places in it, and how near each is (None: beside nothing)."""

    places: tuple[str, ...]
    shares: tuple[str | None, ...]


def why_no_rows(graph: Graph, node: Node) -> str | None:
    """Say what of a GridSample has no form; None where all has one."""
    axes = len(graph.shape(node.inputs[0])) - 2
    return None if axes in (1, 2, 3) else f"it samples {axes} axes, more than 3"


def sample_by_rows(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    steps = Steps(graph, node)
    count, channels, *sides = graph.shape(node.inputs[0])
    points = (count, *graph.shape(node.output)[2:])
    rank = len(sides) + 2
    pixels = (count, *sides, channels)
    last = [0, *range(2, rank), 1]
    moved = steps.do("Transpose", node.inputs[0], shape=pixels, perm=last)
    flat = (count * prod(sides), channels)
    rows = steps.do("Reshape", moved, steps.integers(flat), shape=flat)
    axes = [
        _axis(steps, len(sides) - 1 - number, side, points) for number, side in enumerate(sides)
    ]
    picture = np.arange(count).reshape(-1, *[1] * len(sides)) * prod(sides)
    total = ""
    for corner in product(*(zip(*axis, strict=True) for axis in axes)):
        number = ""
        for side, (place, _) in zip(sides, corner, strict=True):
            if number:
                number = steps.do(
                    "Mul", number, steps.integers([side]), shape=points, kind=np.int64
                )
                number = steps.do("Add", number, place, shape=points, kind=np.int64)
            else:
                number = place
        if count > 1:
            number = steps.do("Add", number, steps.integers(picture), shape=points, kind=np.int64)
        read = steps.do("Gather", rows, number, shape=(*points, channels), axis=0)
        read = _weighted(steps, read, [near for _, near in corner], points)
        total = steps.do("Add", total, read, shape=(*points, channels)) if total else read
    back = [0, rank - 1, *range(1, rank - 1)]
    return [*steps.nodes, Node("Transpose", node.name, [total], [node.output], {"perm": back})]


def _weighted(steps: Steps, read: str, shares: list[str | None], points: Shape) -> str:
    known = [share for share in shares if share is not None]
    if not known:
        return read
    share = known[0]
    for other in known[1:]:
        share = steps.do("Mul", share, other, shape=points)
    wide = (*points, 1)
    share = steps.do("Reshape", share, steps.integers(wide), shape=wide)
    return steps.do("Mul", read, share, shape=(*points, steps.graph.shape(read)[-1]))


def _axis(steps: Steps, place: int, size: int, points: Shape) -> _Axis:
    """Return where the ``place``-th coordinate of the grid reads an axis of ``size``."""
    node = steps.node
    wide = (*points, 1)
    cut = map(steps.integers, ([place], [place + 1], [len(points)]))
    one = steps.do("Slice", node.inputs[1], *cut, shape=wide)
    at = steps.do("Reshape", one, steps.integers(points), shape=points)
    corners = bool(node.int("align_corners", 0))
    half = (size - 1 if corners else size) / 2
    at = steps.do("Mul", at, steps.constant(half), shape=points)
    at = steps.do("Add", at, steps.constant((size - 1) / 2), shape=points)
    mode = node.str("mode", "linear")
    if mode not in CUBIC:  # whose places are brought inside one by one
        at = _brought_inside(steps, at, size, points)
    if mode in NEAREST:
        found: list[tuple[str, str | None]] = [(steps.do("Round", at, shape=points), None)]
    else:
        low = steps.do("Floor", at, shape=points)
        part = steps.do("Sub", at, low, shape=points)
        near = _cubic(steps, part, points) if mode in CUBIC else _linear(steps, part, points)
        found = [(_moved(steps, low, ahead, points), share) for ahead, share in near.items()]
    kept = [_kept(steps, whole, near, size, points) for whole, near in found]
    return _Axis(*zip(*kept, strict=True))


def _moved(steps: Steps, low: str, ahead: int, points: Shape) -> str:
    return steps.do("Add", low, steps.constant(float(ahead)), shape=points) if ahead else low


def _linear(steps: Steps, part: str, points: Shape) -> dict[int, str]:
    return {0: steps.do("Sub", steps.constant(1.0), part, shape=points), 1: part}


def _cubic(steps: Steps, part: str, points: Shape) -> dict[int, str]:
    """Return the shares of the four pixels around a place, ``part`` of a pixel behind the second.

    Within a pixel (a + 2) d^3 - (a + 3) d^2 + 1, from one to two a d^3 - 5a d^2 + 8a d - 4a.
    """
    a = SHARPNESS
    one, two = steps.constant(1.0), steps.constant(2.0)
    ahead = steps.do("Sub", one, part, shape=points)
    inner, outer = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
    return {
        -1: _polynomial(steps, steps.do("Add", part, one, shape=points), outer, points),
        0: _polynomial(steps, part, inner, points),
        1: _polynomial(steps, ahead, inner, points),
        2: _polynomial(steps, steps.do("Sub", two, part, shape=points), outer, points),
    }


def _polynomial(steps: Steps, x: str, factors: tuple[float, ...], points: Shape) -> str:
    total = steps.do("Mul", x, steps.constant(factors[0]), shape=points)
    for factor in factors[1:-1]:
        total = steps.do("Add", total, steps.constant(factor), shape=points)
        total = steps.do("Mul", total, x, shape=points)
    return steps.do("Add", total, steps.constant(factors[-1]), shape=points)


def _kept(
    steps: Steps, whole: str, near: str | None, size: int, points: Shape
) -> tuple[str, str | None]:
    """Return a place inside the axis as an integer, and a share that is zero where it was outside."""
    inside = whole
    mode = steps.node.str("mode", "linear")
    if mode in CUBIC:
        inside = _brought_inside(steps, whole, size, points)
    inside = _clipped(steps, inside, size, points)
    number = steps.do("Cast", inside, shape=points, kind=np.int64, to=INT64)
    if _outside(steps) != "zeros":
        return number, near
    same = steps.do("Equal", whole, inside, shape=points, kind=np.bool_)
    real = steps.do("Cast", same, shape=points, to=FLOAT)
    return number, real if near is None else steps.do("Mul", near, real, shape=points)


def _outside(steps: Steps) -> str:
    return steps.node.str("padding_mode", "zeros")


def _brought_inside(steps: Steps, at: str, size: int, points: Shape) -> str:
    """Return places of the border or mirrored; of zeros as they are."""
    if _outside(steps) == "border":
        return _clipped(steps, at, size, points)
    if _outside(steps) == "reflection":
        return _mirrored(steps, at, size, points)
    return at


def _mirrored(steps: Steps, at: str, size: int, points: Shape) -> str:
    """Mirror places at the first and last pixel, or at their outer edges: by the distance from every second mirror."""
    aligned = bool(steps.node.int("align_corners", 0))
    first = 0.0 if aligned else -0.5
    span = float(size - 1 if aligned else size)
    if span == 0:
        return steps.do("Mul", at, steps.constant(0.0), shape=points)
    ahead = steps.do("Sub", at, steps.constant(first), shape=points)
    turns = steps.do("Mul", ahead, steps.constant(0.5 / span), shape=points)
    turns = steps.do("Floor", turns, shape=points)
    past = steps.do("Mul", turns, steps.constant(2 * span), shape=points)
    rest = steps.do("Sub", ahead, past, shape=points)  # 0 to twice the span
    far = steps.do("Sub", rest, steps.constant(span), shape=points)
    far = steps.do("Abs", far, shape=points)
    return steps.do("Sub", steps.constant(first + span), far, shape=points)


def _clipped(steps: Steps, at: str, size: int, points: Shape) -> str:
    bounds = steps.constant(0.0), steps.constant(size - 1.0)
    return steps.do("Clip", at, *bounds, shape=points)
