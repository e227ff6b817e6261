"""The decoding as operators behind a detector: its outputs become boxes and scores that NMS takes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeconv.evaluate.heads import boxes_last
from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.nms.head import Head

LEAST_SIDE = 1e-5
"""Of a box on 0..1: the operators take no box without an extent, and no logarithm of zero."""

APART = 2.0
"""Picture heights between the boxes of a class and the next, where all are thinned at once."""


class Tail:
    """Appends operators to a graph; every tensor is float32 and of rank 3 unless said."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def do(
        self,
        op: str,
        *inputs: Any,
        shape: Sequence[int],
        kind: Any = np.float32,
        **attrs: Attribute,
    ) -> str:
        """Add an operator over tensors (texts) and constants (anything else); return its output."""
        names = [
            one if isinstance(one, str) else self.graph.add_constant("nms_value", np.asarray(one))
            for one in inputs
        ]
        out = self.graph.declare(self.graph.fresh(f"nms_{op.lower()}"), shape, kind)
        self.graph.nodes.append(
            Node(op, self.graph.fresh(f"{out}_node"), names, [out], dict(attrs))
        )
        return out

    def columns(self, x: str, first: int, last: int) -> str:
        """Return figures ``first`` to ``last`` of every box."""
        n, rows, _ = self.graph.shape(x)
        bounds = [np.array([value], np.int64) for value in (first, last, 2)]
        return self.do("Slice", x, *bounds, shape=(n, rows, last - first))

    def turned(self, x: str) -> str:
        """Return (1, b, a) of (1, a, b)."""
        n, a, b = self.graph.shape(x)
        return self.do("Transpose", x, shape=(n, b, a), perm=[0, 2, 1])

    def with_value(self, op: str, x: str, value: Any) -> str:
        """Return ``x`` and a constant through an operator that broadcasts."""
        return self.do(op, x, np.asarray(value, np.float32), shape=self.graph.shape(x))


def decoded(graph: Graph, head: Head) -> Graph:
    """Return the net with two outputs instead of its own: boxes (1, n, 4) and scores (1, n, classes).

    Boxes are centre x, y, width, height as shares of the picture. Of a box's scores all but the best,
    the first of equal ones, are 0, so that NMS by class gives each box once.
    """
    tail = Tail(graph.clone())
    boxes, scores = _PARTS[head.name](tail, head)
    shape = tail.graph.shape(scores)
    if head.background:
        scores = tail.columns(scores, 1, shape[2])
        shape = tail.graph.shape(scores)
    if head.pixels:
        high, wide = head.size
        boxes = tail.with_value("Mul", boxes, [1 / wide, 1 / high, 1 / wide, 1 / high])
    best = tail.do("ArgMax", scores, shape=(*shape[:2], 1), kind=np.int64, axis=2, keepdims=1)
    places = np.arange(shape[2], dtype=np.int64).reshape(1, 1, -1)
    hot = tail.do("Equal", best, places, shape=shape, kind=np.bool_)
    share = tail.do("Cast", hot, shape=shape, to=1)
    tail.graph.outputs = [boxes, tail.do("Mul", scores, share, shape=shape)]
    tail.graph.prune()
    return tail.graph


def _probable(tail: Tail, scores: str, head: Head) -> str:
    return tail.do("Sigmoid", scores, shape=tail.graph.shape(scores)) if head.logits else scores


def _rows(tail: Tail, head: Head) -> str:
    (one,) = tail.graph.outputs
    return tail.turned(one) if boxes_last(tail.graph.shape(one), head.size) else one


def _pair(tail: Tail, axis: int) -> tuple[str, str]:
    """Return the output that is four figures a box along ``axis``, and the other."""
    sides = next(name for name in tail.graph.outputs if tail.graph.shape(name)[axis] == 4)
    return sides, next(name for name in tail.graph.outputs if name != sides)


def _yolov8(tail: Tail, head: Head) -> tuple[str, str]:
    if len(tail.graph.outputs) == 2:
        boxes, scores = (tail.turned(name) for name in _pair(tail, 1))
    else:
        rows = _rows(tail, head)
        boxes = tail.columns(rows, 0, 4)
        scores = tail.columns(rows, 4, tail.graph.shape(rows)[2])
    return boxes, _probable(tail, scores, head)


def _yolov5(tail: Tail, head: Head) -> tuple[str, str]:
    rows = _rows(tail, head)
    seen, each = tail.columns(rows, 4, 5), tail.columns(rows, 5, tail.graph.shape(rows)[2])
    scores = tail.do("Mul", each, seen, shape=tail.graph.shape(each))
    return tail.columns(rows, 0, 4), scores


def _ssd(tail: Tail, head: Head) -> tuple[str, str]:
    corners, scores = _pair(tail, 2)
    low, high = tail.columns(corners, 0, 2), tail.columns(corners, 2, 4)
    shape = tail.graph.shape(low)
    middle = tail.with_value("Mul", tail.do("Add", low, high, shape=shape), 0.5)
    extent = tail.do("Sub", high, low, shape=shape)
    boxes = tail.do("Concat", middle, extent, shape=(*shape[:2], 4), axis=2)
    return boxes, _probable(tail, scores, head)


_PARTS: dict[str, Callable[[Tail, Head], tuple[str, str]]] = {
    "yolov8": _yolov8,
    "yolov5": _yolov5,
    "ssd": _ssd,
}
"""Head -> what appends centre-and-size boxes, (1, n, 4), and scores, (1, n, classes)."""


def for_tflite(graph: Graph) -> Graph:
    """Return a decoded net whose boxes are centre y, x and the logarithms of height and width.

    So does TFLite's detection operator take them, of anchors at 0 with sides of 1. Its NMS by class
    loses one class where LiteRT runs with as many threads as that class's number (seen in 2.3.0), so
    NMS is over all boxes, and those of a class lie ``APART`` times its number below the picture.
    """
    tail = Tail(graph.clone())
    boxes, scores = tail.graph.outputs
    rows = tail.graph.shape(boxes)[:2]
    middle, extent = (
        tail.do("Gather", boxes, np.array(order, np.int64), shape=(*rows, 2), axis=2)
        for order in ([1, 0], [3, 2])
    )
    kind = tail.do("ArgMax", scores, shape=(*rows, 1), kind=np.int64, axis=2, keepdims=1)
    kind = tail.do("Cast", kind, shape=(*rows, 1), to=1)
    below = tail.do("Mul", kind, np.array([APART, 0], np.float32), shape=(*rows, 2))
    middle = tail.do("Add", middle, below, shape=(*rows, 2))
    extent = tail.do("Log", tail.with_value("Max", extent, LEAST_SIDE), shape=(*rows, 2))
    both = tail.do("Concat", middle, extent, shape=(*rows, 4), axis=2)
    tail.graph.outputs = [both, scores]
    return tail.graph
