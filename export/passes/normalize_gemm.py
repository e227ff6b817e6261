"""Write every fully connected layer as Gemm with (out, in) weights and a bias vector.

Given:   x -> MatMul(constant (in, out)) [-> Add(constant (out,))] -> y, x of rank 2
Result:  x -> Gemm(weights (out, in), bias, transB=1) -> y

Given:   x -> Gemm(alpha, beta, transA, transB whatever, constant B and C) -> y
Result:  x -> Gemm(transB=1, alpha=beta=1) -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node


def normalize_gemm(graph: Graph) -> bool:
    """Apply the rewrites to every match."""
    changed = False
    for node in graph.of("MatMul"):
        weights = graph.constant(node, 1)
        if weights is None or weights.ndim != 2 or len(graph.shape(node.inputs[0])) != 2:
            continue
        _set_gemm(
            graph, node, np.ascontiguousarray(weights.T), np.zeros(weights.shape[1], weights.dtype)
        )
        _absorb_add(graph, node)
        changed = True
    for node in graph.of("Gemm"):
        changed |= _normalize(graph, node)
    return changed


def _normalize(graph: Graph, node: Node) -> bool:
    weights = graph.constant(node, 1)
    has_bias = len(node.inputs) > 2 and node.inputs[2] != ""
    bias = graph.constant(node, 2)
    if weights is None or node.int("transA", 0) or (has_bias and bias is None):
        return False
    outs = graph.shape(node.output)[1]
    done = node.attrs.get("transB") == 1 and has_bias and bias is not None and bias.shape == (outs,)
    if done and node.float("alpha", 1.0) == node.float("beta", 1.0) == 1.0:
        return False
    if bias is not None and bias.ndim == 2 and bias.shape[0] != 1:
        return False  # a bias that differs by row is no bias: the emitters refuse it by name
    stored = weights if node.int("transB", 0) else weights.T
    scaled = np.asarray(stored * np.asarray(node.float("alpha", 1.0), weights.dtype))
    vector = np.zeros(outs, weights.dtype)
    if bias is not None:
        vector = vector + np.asarray(bias).reshape(-1) * np.asarray(
            node.float("beta", 1.0), weights.dtype
        )
    _set_gemm(graph, node, np.ascontiguousarray(scaled), vector)
    return True


def _set_gemm(graph: Graph, node: Node, weights: Array, bias: Array) -> None:
    node.op, node.attrs = "Gemm", {"alpha": 1.0, "beta": 1.0, "transB": 1}
    node.inputs = [
        node.inputs[0],
        graph.add_constant(f"{node.name}.weight", weights),
        graph.add_constant(f"{node.name}.bias", bias),
    ]


def _absorb_add(graph: Graph, gemm: Node) -> None:
    readers = graph.consumers().get(gemm.output, [])
    if len(readers) != 1 or readers[0].op != "Add" or gemm.output in graph.outputs:
        return
    add = readers[0]
    if add.clamp is not None or graph.shape(add.output) != graph.shape(gemm.output):
        return
    other = add.inputs[1] if add.inputs[0] == gemm.output else add.inputs[0]
    bias = graph.constants.get(other)
    outs = graph.shape(gemm.output)[1]
    if bias is None or bias.size != (bias.shape[-1] if bias.ndim else 1):
        return  # one that differs by row is no bias
    gemm.inputs[2] = graph.add_constant(
        f"{gemm.name}.bias", np.broadcast_to(np.asarray(bias).reshape(-1), (outs,)).copy()
    )
    gemm.outputs[0] = add.output
    graph.nodes.remove(add)
