"""Give every inner number one axis: kernels that broadcast make one of it anyway, where they like.

Given:   x -> ReduceMean(all axes) -> s of rank 0 -> Mul(2) -> y of rank 0, an output
Result:  x -> ReduceMean -> Reshape (1,) -> Mul(2) -> (1,) -> Reshape () -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators

ELEMENTWISE = (operators(Is.BROADCASTS) | operators(Is.CHANNELWISE)) - {"MatMul"}


def lift_scalars(graph: Graph) -> bool:
    """Apply the rewrite to real numbers that element-wise operators make or read."""
    changed = False
    for node in graph.of(*ELEMENTWISE):
        out = node.output
        if not _is_number(graph, out) or out in graph.constants:
            continue
        for index, name in enumerate(node.inputs):
            if name and _is_number(graph, name):
                node.inputs[index] = _wide(graph, node, name)
        if out in graph.outputs:
            wide = graph.fresh(f"{out}_one")
            node.outputs[0] = graph.declare(wide, (1,), np.float32)
            back = _reshape(graph, wide, out, ())
            graph.nodes.insert(graph.nodes.index(node) + 1, back)
        else:
            graph.declare(out, (1,), np.float32)
            _narrow_readers(graph, node, out)
        changed = True
    return changed


def _is_number(graph: Graph, name: str) -> bool:
    return graph.shape(name) == () and graph.dtype(name) == np.float32


def _wide(graph: Graph, node: Node, name: str) -> str:
    if name in graph.constants:
        return graph.add_constant(f"{name}_one", graph.constants[name].reshape(1))
    wide = graph.declare(graph.fresh(f"{name}_one"), (1,), np.float32)
    graph.nodes.insert(graph.nodes.index(node), _reshape(graph, name, wide, (1,)))
    return wide


def _narrow_readers(graph: Graph, maker: Node, name: str) -> None:
    """Let readers that must see a number see one: comparisons of it, and what is not element-wise."""
    readers = [
        reader
        for reader in graph.nodes
        if name in reader.inputs
        and (reader.op not in ELEMENTWISE or graph.dtype(reader.output) != np.float32)
    ]
    if not readers:
        return
    number = graph.declare(graph.fresh(f"{name}_number"), (), np.float32)
    graph.nodes.insert(graph.nodes.index(maker) + 1, _reshape(graph, name, number, ()))
    for reader in readers:
        reader.inputs = [number if n == name else n for n in reader.inputs]


def _reshape(graph: Graph, source: str, target: str, shape: tuple[int, ...]) -> Node:
    sizes = graph.add_constant(f"{target}.shape", np.array(shape, np.int64))
    return Node("Reshape", graph.fresh(f"{target}_reshape"), [source, sizes], [target])
