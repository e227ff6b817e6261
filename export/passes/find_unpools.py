"""Recognise PyTorch's max_unpool, which its exporter writes as a scatter over all planes in a row.

Given:   MaxPool(x) -> (p, places); places -> Sub(each plane's start) -> Add(the same) -> Reshape;
         ScatterND(zeros, those, d) -> y
Result:  MaxUnpool(d, places) -> Reshape -> y

Given:   MaxPool(x, a window of one value) -> (p, places): how the exporter counts a plane's start
Result:  places, a constant
"""

from math import prod

import numpy as np

from edgeconv.export.graph import Array, Attribute, Graph, Node
from edgeconv.export.passes.steps import Steps


def find_unpools(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("MaxPool"):
        if any(node.outputs[1:]) and node.outputs[1] not in graph.outputs:
            changed |= _count(graph, node)
    for node in graph.of("ScatterND"):
        changed |= _find(graph, node)
    return changed


def _count(graph: Graph, node: Node) -> bool:
    one = all(size == 1 for key in ("kernel_shape", "strides") for size in node.ints(key, ()))
    if not one or any(node.ints("pads", ())) or node.int("storage_order", 0):
        return False
    shape, places = graph.shape(node.output), node.outputs[1]
    number = np.arange(prod(shape), dtype=np.int64).reshape(shape)
    known = graph.add_constant(f"{node.name}.places", number)
    for reader in graph.nodes:
        reader.inputs = [known if name == places else name for name in reader.inputs]
    del node.outputs[1:]
    return True


def _find(graph: Graph, node: Node) -> bool:
    zeros = graph.constant(node, 0)
    plain = node.str("reduction", "none") == "none"
    if zeros is None or zeros.ndim != 1 or zeros.any() or not plain:
        return False
    found = _pool(graph, node.inputs[1])
    if found is None:
        return False
    pool, shift = found
    made, size = graph.shape(pool.outputs[1]), graph.shape(pool.inputs[0])
    if shift.any() or prod(size) != zeros.size or prod(made) != prod(graph.shape(node.inputs[2])):
        return False
    steps = Steps(graph, node)
    given = steps.do("Reshape", node.inputs[2], steps.integers(made), shape=made)
    window: dict[str, Attribute] = {
        key: pool.ints(key, ()) for key in ("kernel_shape", "strides") if key in pool.attrs
    }
    wanted = steps.integers(size)
    whole = steps.do("MaxUnpool", given, pool.outputs[1], wanted, shape=size, attributes=window)
    steps.finish("Reshape", whole, steps.integers(graph.shape(node.output)))
    return True


def _pool(graph: Graph, places: str) -> tuple[Node, Array] | None:
    """Return the pool that ``places`` come from, and what constants were added to them since."""
    makers, shift = graph.producers(), np.zeros(1, np.int64)
    while (maker := makers.get(places)) is not None:
        if maker.op == "MaxPool":
            return (maker, shift) if places == maker.outputs[1] else None
        constants = [i for i, name in enumerate(maker.inputs) if name in graph.constants]
        moves = maker.op == "Reshape" and not shift.any()
        adds = maker.op == "Add" and len(constants) == 1
        if not (moves or adds or (maker.op == "Sub" and constants == [1])):
            return None
        if not moves:
            value = graph.constants[maker.inputs[constants[0]]]
            shift = shift + (value if adds else -value)
        places = maker.inputs[1 - constants[0] if adds else 0]
    return None
