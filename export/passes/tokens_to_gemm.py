"""Write a product of tokens and constant weights as a fully connected layer of rows.

Integer layers have a scale for each output channel and add their bias in 32 bits; a product of two
tensors has neither.

Given:   x (..., T, K) -> MatMul(constant (K, N)) [-> Add(constant (N,))] -> y
Result:  x -> Reshape(rows, K) -> Gemm(weights (N, K), bias) -> Reshape(..., T, N) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def tokens_to_gemm(graph: Graph) -> bool:
    """Apply the rewrite to every match of rank 3 and more."""
    changed = False
    for node in graph.of("MatMul"):
        weights, shape = graph.constant(node, 1), graph.shape(node.inputs[0])
        if weights is None or weights.ndim != 2 or len(shape) < 3 or weights.dtype != np.float32:
            continue
        _rewrite(graph, node)
        changed = True
    return changed


def _rewrite(graph: Graph, node: Node) -> None:
    weights = graph.constants[node.inputs[1]]
    inside, outside = weights.shape
    bias, last = np.zeros(outside, np.float32), node
    if node.clamp is None and (add := _bias_behind(graph, node)) is not None:
        name = next(n for n in add.inputs if n in graph.constants)
        bias, last = np.broadcast_to(graph.constants[name].reshape(-1), (outside,)).copy(), add
    rows = int(np.prod(graph.shape(node.inputs[0])[:-1]))
    flat = graph.declare(graph.fresh(f"{node.name}_rows"), (rows, inside), np.float32)
    made = graph.declare(graph.fresh(f"{node.name}_made"), (rows, outside), np.float32)
    layer = Node("Gemm", node.name, [flat], [made], {"alpha": 1.0, "beta": 1.0, "transB": 1})
    layer.inputs += [
        graph.add_constant(f"{node.name}.weight", np.ascontiguousarray(weights.T)),
        graph.add_constant(f"{node.name}.bias", bias),
    ]
    layer.clamp = last.clamp
    chain = [
        _reshape(graph, f"{node.name}_to_rows", node.inputs[0], flat),
        layer,
        _reshape(graph, f"{node.name}_from_rows", made, last.output),
    ]
    at = graph.nodes.index(node)
    graph.nodes[at : at + 1] = chain
    if last is not node:
        graph.nodes.remove(last)


def _bias_behind(graph: Graph, node: Node) -> Node | None:
    add = graph.sole_reader(node.output)
    if add is None or add.op != "Add" or graph.shape(add.output) != graph.shape(node.output):
        return None
    constants = [graph.constants[name] for name in add.inputs if name in graph.constants]
    vector = len(constants) == 1 and constants[0].size in (1, *constants[0].shape[-1:])
    if not vector:
        return None
    return add


def _reshape(graph: Graph, stem: str, source: str, target: str) -> Node:
    shape = np.array(graph.shape(target), np.int64)
    return Node(
        "Reshape", graph.fresh(stem), [source, graph.add_constant(f"{stem}_shape", shape)], [target]
    )
