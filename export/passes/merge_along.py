"""Give operators that work along one axis as few axes as the same function needs (merge_axes.py).

Given:   x -> Gather | Slice | Softmax | Concat | Split | CumSum along one axis -> y of rank above 5
Result:  the same between Reshapes: the axes before it are one, so are those behind it
"""

from math import prod

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.between import between

MOST = 5  # axes that every target can hold
ALONG = (
    "ArgMax",
    "ArgMin",
    "Concat",
    "CumSum",
    "Gather",
    "LogSoftmax",
    "Slice",
    "Softmax",
    "Split",
)
"""One axis, the others side by side."""
FIRST = frozenset(["ArgMax", "ArgMin", "Gather", "Split"])
"""Those whose axis is 0 where none is given; of the others the last."""


def merge_around(graph: Graph, node: Node) -> bool:
    """Merge the axes before and behind the one that ``node``, of ALONG, works along."""
    shape, axis = graph.shape(node.inputs[0]), _only_axis(graph, node)
    made = [graph.shape(name) for name in node.outputs if name]
    if (
        axis is None
        or len(made) < len(node.outputs)
        or max(len(shape), *map(len, made)) <= MOST
        or len(shape) <= 3
    ):
        return False
    outer, inner = prod(shape[:axis]), prod(shape[axis + 1 :])
    data = node.inputs if node.op == "Concat" else node.inputs[:1]
    behind = len(shape) - axis - 1
    inputs = [[outer, graph.shape(name)[axis], inner] for name in data]
    between(graph, node, inputs, *([outer, *s[axis : len(s) - behind], inner] for s in made))
    if node.op == "Slice":
        node.inputs[3] = graph.add_constant(f"{node.name}.axes", np.array([1], np.int64))
    elif node.op == "CumSum":
        node.inputs[1] = graph.add_constant(f"{node.name}.axis", np.array(1, np.int64))
    else:
        node.attrs["axis"] = 1
    return True


def _only_axis(graph: Graph, node: Node) -> int | None:
    """Return the axis that an operator works along; None where there is none or there are several."""
    rank = len(graph.shape(node.inputs[0]))
    if node.op not in ("CumSum", "Slice"):
        return node.int("axis", 0 if node.op in FIRST else -1) % rank
    axes = graph.constant(node, 1 if node.op == "CumSum" else 3)
    return None if axes is None or axes.size != 1 else int(axes.reshape(-1)[0]) % rank
