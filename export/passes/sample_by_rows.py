"""Write the sampling of a picture at computed places as operators that every target has.

    Given:   x (N, C, H, W), grid (N, h, w, 2) -> GridSample -> y (N, C, h, w)
    Result:  x as rows of pixels -> Gather at each corner around a place -> Mul(how near it is) -> Add -> y

Emitters call this for the node that they are at; it is no pass of a list, because ONNX has the
operator itself, and because places and shares are no values for 8 bits.
"""

from typing import NamedTuple

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Shape, Steps

INT64, FLOAT = 7, 1  # of the ONNX format's TensorProto
_NEAREST, _LINEAR = frozenset(["nearest"]), frozenset(["linear", "bilinear"])


class _Axis(NamedTuple):
    """Where an axis is read: the whole places in it, and how near each is (None: beside nothing)."""

    places: tuple[str, ...]
    shares: tuple[str | None, ...]


def why_no_rows(graph: Graph, node: Node) -> str | None:
    """Say what of a GridSample has no form; None where all has one."""
    shape = graph.shape(node.inputs[0])
    if len(shape) != 4:
        return f"it samples {len(shape) - 2} axes, not 2"
    if node.str("mode", "linear") not in _NEAREST | _LINEAR:
        return "it interpolates by cubics"
    if node.str("padding_mode", "zeros") == "reflection":
        return "it reflects at the edges"
    return None


def sample_by_rows(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    steps = Steps(graph, node)
    count, channels, height, width = graph.shape(node.inputs[0])
    made = graph.shape(node.output)
    points = (count, *made[2:])
    pixels = (count, height, width, channels)
    last = steps.do("Transpose", node.inputs[0], shape=pixels, perm=[0, 2, 3, 1])
    flat = (count * height * width, channels)
    rows = steps.do("Reshape", last, steps.integers(flat), shape=flat)
    across, down = (
        _axis(steps, node, place, size, points) for place, size in enumerate((width, height))
    )
    picture = np.arange(count).reshape(-1, 1, 1) * (height * width)
    total = ""
    for y, near_y in zip(*down, strict=True):
        line = steps.do("Mul", y, steps.integers([width]), shape=points, kind=np.int64)
        line = (
            steps.do("Add", line, steps.integers(picture), shape=points, kind=np.int64)
            if count > 1
            else line
        )
        for x, near_x in zip(*across, strict=True):
            number = steps.do("Add", line, x, shape=points, kind=np.int64)
            read = steps.do("Gather", rows, number, shape=(*points, channels), axis=0)
            read = _weighted(steps, read, [near_y, near_x], points)
            total = steps.do("Add", total, read, shape=(*points, channels)) if total else read
    last_node = Node("Transpose", node.name, [total], [node.output], {"perm": [0, 3, 1, 2]})
    return [*steps.nodes, last_node]


def _weighted(steps: Steps, read: str, shares: list[str | None], points: Shape) -> str:
    known = [share for share in shares if share is not None]
    if not known:
        return read
    share = known[0] if len(known) == 1 else steps.do("Mul", *known, shape=points)
    wide = (*points, 1)
    share = steps.do("Reshape", share, steps.integers(wide), shape=wide)
    return steps.do("Mul", read, share, shape=(*points, steps.graph.shape(read)[-1]))


def _axis(steps: Steps, node: Node, place: int, size: int, points: Shape) -> _Axis:
    """Return where the ``place``-th coordinate of the grid reads an axis of ``size``."""
    wide = (*points, 1)
    one = steps.do(
        "Slice", node.inputs[1], *map(steps.integers, ([place], [place + 1], [3])), shape=wide
    )
    at = steps.do("Reshape", one, steps.integers(points), shape=points)
    corners = bool(node.int("align_corners", 0))
    half = (size - 1 if corners else size) / 2
    at = steps.do("Mul", at, steps.constant(half), shape=points)
    at = steps.do("Add", at, steps.constant((size - 1) / 2), shape=points)
    zeros = node.str("padding_mode", "zeros") == "zeros"
    if not zeros:
        at = _inside(steps, at, size, points)
    if node.str("mode", "linear") in _NEAREST:
        found: list[tuple[str, str | None]] = [(steps.do("Round", at, shape=points), None)]
    else:
        low = steps.do("Floor", at, shape=points)
        high = steps.do("Add", low, steps.constant(1.0), shape=points)
        near_high = steps.do("Sub", at, low, shape=points)
        near_low = steps.do("Sub", steps.constant(1.0), near_high, shape=points)
        found = [(low, near_low), (high, near_high)]
    kept = [_kept(steps, whole, near, size, points, zeros) for whole, near in found]
    return _Axis(*zip(*kept, strict=True))


def _kept(
    steps: Steps, whole: str, near: str | None, size: int, points: Shape, zeros: bool
) -> tuple[str, str | None]:
    """Return a place inside the axis as an integer, and a share that is zero where it was outside."""
    inside = _inside(steps, whole, size, points)
    number = steps.do("Cast", inside, shape=points, kind=np.int64, to=INT64)
    if not zeros:
        return number, near
    same = steps.do("Equal", whole, inside, shape=points, kind=np.bool_)
    real = steps.do("Cast", same, shape=points, to=FLOAT)
    return number, real if near is None else steps.do("Mul", near, real, shape=points)


def _inside(steps: Steps, at: str, size: int, points: Shape) -> str:
    bounds = steps.constant(0.0), steps.constant(size - 1.0)
    return steps.do("Clip", at, *bounds, shape=points)
