"""Write every fully connected layer as Gemm with (out, in) weights and a bias vector.

Given:   x -> MatMul(constant (in, out)) [-> Add(constant (out,))] -> y, x of rank 2
Result:  x -> Gemm(weights (out, in), bias, transB=1) -> y

Given:   x -> Gemm(alpha, beta, transA, transB whatever, constant B and C) -> y
Result:  x [-> Transpose] -> Gemm(transB=1, alpha=beta=1) [-> Add(C that differs by row)] -> y

Given:   x -> Gemm(B or C computed) -> y
Result:  x [-> Transpose] -> MatMul(B [-> Transpose]) [-> Mul(alpha)] [-> Add(C [-> Mul(beta)])] -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.steps import Steps


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
    if weights is None or (has_bias and bias is None):
        _write_out(graph, node)
        return True
    if node.int("transA", 0):
        _transpose_first(graph, node)
    if bias is not None and bias.ndim == 2 and bias.shape[0] != 1:
        _add_behind(graph, node, bias * np.asarray(node.float("beta", 1.0), bias.dtype))
        bias, has_bias = None, False
    outs = graph.shape(node.output)[1]
    done = node.attrs.get("transB") == 1 and has_bias and bias is not None and bias.shape == (outs,)
    if done and node.float("alpha", 1.0) == node.float("beta", 1.0) == 1.0:
        return False
    stored = weights if node.int("transB", 0) else weights.T
    scaled = np.asarray(stored * np.asarray(node.float("alpha", 1.0), weights.dtype))
    vector = np.zeros(outs, weights.dtype)
    if bias is not None:
        vector = vector + np.asarray(bias).reshape(-1) * np.asarray(
            node.float("beta", 1.0), weights.dtype
        )
    _set_gemm(graph, node, np.ascontiguousarray(scaled), vector)
    return True


def _write_out(graph: Graph, node: Node) -> None:
    steps = Steps(graph, node)
    factors = [
        _turned(steps, name) if node.int(flag, 0) else name
        for name, flag in zip(node.inputs[:2], ("transA", "transB"), strict=True)
    ]
    parts = [steps.do("MatMul", *factors), *filter(None, node.inputs[2:])]
    scaled = []
    for name, flag in zip(parts, ("alpha", "beta"), strict=False):
        factor = node.float(flag, 1.0)
        shape = graph.shape(name)
        scaled.append(
            name if factor == 1.0 else steps.do("Mul", name, steps.constant(factor), shape=shape)
        )
    if len(scaled) == 2:
        steps.finish("Add", *scaled)
    else:
        steps.finish("Identity", *scaled)


def _turned(steps: Steps, name: str) -> str:
    rows, columns = steps.graph.shape(name)
    return steps.do("Transpose", name, shape=(columns, rows), perm=[1, 0])


def _transpose_first(graph: Graph, node: Node) -> None:
    rows, columns = graph.shape(node.inputs[0])
    kind = graph.dtype(node.inputs[0]).type
    made = graph.declare(graph.fresh(f"{node.name}_turned"), (columns, rows), kind)
    turn = Node("Transpose", graph.fresh(f"{node.name}_turn"), node.inputs[:1], [made])
    turn.attrs["perm"] = [1, 0]
    graph.nodes.insert(graph.nodes.index(node), turn)
    node.inputs[0] = made
    del node.attrs["transA"]


def _add_behind(graph: Graph, node: Node, bias: Array) -> None:
    """Move what is added out of a Gemm: what differs by row is no bias."""
    shape, kind = graph.shape(node.output), graph.dtype(node.output).type
    made = graph.declare(graph.fresh(f"{node.name}_product"), shape, kind)
    addend = graph.add_constant(f"{node.name}.rows", np.ascontiguousarray(bias))
    add = Node("Add", graph.fresh(f"{node.name}_rows"), [made, addend], [node.output])
    graph.nodes.insert(graph.nodes.index(node) + 1, add)
    node.outputs = [made]
    node.inputs = node.inputs[:2]


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
