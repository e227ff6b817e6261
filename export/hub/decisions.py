"""How sure a net is of the labels that it gives: the scores behind an ArgMax or a TopK, and their margins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph

Array = NDArray[Any]

MOST = 64
"""Labels a sample: a map of more shows what turned by itself."""
KEEPS_ORDER = frozenset(["Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze"])
"""What hands labels on in the order that they have."""
KEEPS_BEST = frozenset(["Softmax", "LogSoftmax"])
"""What leaves the order of scores along its axis."""


@dataclass(frozen=True)
class Decision:
    """Where labels are decided: the ``count`` best of a tensor of ``scores`` along ``axis``, smallest where ``sign`` is -1.

    ``axis`` counts from the last one: rows of samples may have one more axis than the tensor.
    """

    scores: str
    axis: int
    count: int
    sign: int

    def margins(self, scores: Array) -> Array:
        """Return how far each label is from another one, (samples, labels): what its scores would have to move.

        >>> Decision("x", -1, 2, 1).margins(np.array([[5.0, 9.0, 8.0, 1.0]]))
        array([[1., 1.]])
        """
        ordered = -np.sort(-self.sign * np.moveaxis(scores, self.axis, -1), axis=-1)
        gaps = ordered[..., :-1] - ordered[..., 1:]
        gaps = np.concatenate([gaps, np.full((*gaps.shape[:-1], 1), math.inf)], -1)
        before = np.concatenate([np.full((*gaps.shape[:-1], 1), math.inf), gaps[..., :-1]], -1)
        near = np.minimum(before, gaps)[..., : self.count]
        found: Array = np.moveaxis(near, -1, self.axis).reshape(len(scores), -1)
        return found


def decisions(graph: Graph) -> dict[str, Decision]:
    """Return output -> where it is decided, of those that hold a few labels a sample."""
    makers = graph.producers()
    found = {}
    for output in graph.outputs:
        labels = math.prod(_row(graph, output))
        if labels > MOST or not graph.shape(output):
            continue
        tensor = output
        while (node := makers.get(tensor)) is not None and node.op in KEEPS_ORDER:
            tensor = node.inputs[0]
        if (
            node is None
            or node.op not in ("ArgMax", "ArgMin", "TopK")
            or tensor != node.outputs[-1]
        ):
            continue
        scores, rank = node.inputs[0], len(graph.shape(node.inputs[0]))
        axis = node.int("axis", -1 if node.op == "TopK" else 0) % rank
        while (before := makers.get(scores)) is not None and before.op in KEEPS_BEST:
            if before.int("axis", -1) % rank != axis:
                break
            scores = before.inputs[0]
        count = graph.shape(tensor)[axis] if node.op == "TopK" else 1
        smallest = node.op == "ArgMin" or (node.op == "TopK" and not node.int("largest", 1))
        made = Decision(scores, axis - rank, count, -1 if smallest else 1)
        row = _row(graph, scores)
        within = len(row) == rank or axis > 0  # else it is decided among samples
        if not within or graph.dtype(scores) != np.float32:
            continue
        if math.prod(row) // graph.shape(scores)[axis] * count == labels:
            found[output] = made
    return found


def _row(graph: Graph, tensor: str) -> tuple[int, ...]:
    """Return the shape of what one sample makes of a tensor: all of it where its first axis is not the batch."""
    shape = graph.shape(tensor)
    given = graph.shape(graph.inputs[0]) if graph.inputs else ()
    batch = given[0] if given else 1
    return shape[1:] if shape and shape[0] == batch else shape


def opened(graph: Graph, decided: Mapping[str, Decision]) -> Graph:
    """Return a graph that gives the scores behind ``decided`` too."""
    graph = graph.clone()
    more = dict.fromkeys(d.scores for d in decided.values())
    graph.outputs = [*graph.outputs, *(name for name in more if name not in graph.outputs)]
    return graph
