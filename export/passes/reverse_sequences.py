"""Turn each sequence up to its own length by reading at computed places.

Given:   x (time and batch first, in any order), lengths -> ReverseSequence -> y
Result:  time -> Where(time < length, length - 1 - time, time) -> GatherND(batch_dims=1) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps


def reverse_sequences(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of("ReverseSequence"):
        _reverse(graph, node)
        changed = True
    return changed


def _reverse(graph: Graph, node: Node) -> None:
    steps, (x, lengths) = Steps(graph, node), node.inputs
    time_first = node.int("time_axis", 0) == 0
    shape, rank = graph.shape(x), len(graph.shape(x))
    turn = [1, 0, *range(2, rank)]
    if time_first:
        shape = (shape[1], shape[0], *shape[2:])
        x = steps.do("Transpose", x, shape=shape, perm=turn)
    count, length = shape[:2]
    kind = graph.dtype(lengths).type
    line, plane = (count, 1), (count, length)
    ends = steps.do("Reshape", lengths, steps.integers(line), shape=line, kind=kind)
    time = steps.constant(np.arange(length)[None], kind)
    inside = steps.do("Less", time, ends, shape=plane, kind=np.bool_)
    last = steps.do("Sub", ends, steps.constant(1, kind), shape=line, kind=kind)
    mirrored = steps.do("Sub", last, time, shape=plane, kind=kind)
    places = steps.do("Where", inside, mirrored, time, shape=plane, kind=kind)
    if kind != np.int64:
        places = steps.do("Cast", places, shape=plane, kind=np.int64, to=7)  # INT64
    deep = (*plane, 1)
    places = steps.do("Reshape", places, steps.integers(deep), shape=deep, kind=np.int64)
    if time_first:
        made = steps.do("GatherND", x, places, shape=shape, batch_dims=1)
        steps.finish("Transpose", made, perm=turn)
    else:
        steps.finish("GatherND", x, places, batch_dims=1)
