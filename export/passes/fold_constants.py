"""Compute what depends on constants only, with ONNX's own reference evaluator.

Given:   c1, c2 -> op -> y (nothing but constants read)
Result:  y is a constant

Given:   x -> Softmax over an axis of one value, Shape, ... -> y (the same whatever x holds)
Result:  y is a constant
"""

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Array, Graph, Node

MAX_ELEMENTS = 1 << 24  # a ConstantOfShape may ask for anything; 16 M elements is a large weight
ALONE = {"Softmax": (-1, 1), "LogSoftmax": (-1, 0), "ArgMax": (0, 0), "ArgMin": (0, 0)}
"""Operator -> its usual axis, and what it makes of a value that is alone on that axis."""
RANDOM = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}


def fold_constants(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in list(graph.nodes):
        if node.op == "CastLike":  # its second input only names a type
            node.op, node.inputs = "Cast", node.inputs[:1]
            from onnx import helper

            node.attrs = {"to": helper.np_dtype_to_tensor_dtype(graph.dtype(node.output))}
            changed = True
        certain = _certain(graph, node)
        if certain is not None and node.inputs[0] not in graph.constants:
            values: list[Array] = [certain]
        elif _foldable(graph, node):
            values = _evaluate(graph, node)
        else:
            continue
        changed |= _store(graph, node, values)
    return changed


def fold_node(graph: Graph, node: Node, *, outputs: bool = False) -> bool:
    """Compute one node whose inputs are all constants; say whether it could be.

    ``outputs``: of what makes outputs of the graph, too, which are constants then.
    """
    return _foldable(graph, node) and _store(graph, node, _evaluate(graph, node), outputs)


def _store(graph: Graph, node: Node, values: list[Array], outputs: bool = False) -> bool:
    if not outputs and any(out in graph.outputs for out in node.outputs):
        return False
    graph.nodes.remove(node)
    for name, value in zip(node.outputs, values, strict=False):
        if name:
            graph.constants[name] = value
            graph.shapes.pop(name, None)
            graph.dtypes.pop(name, None)
    return True


def _certain(graph: Graph, node: Node) -> Array | None:
    """Return what a node makes whatever its input holds; None where that depends."""
    if node.op == "Shape":
        start, rank = node.int("start", 0), len(graph.shape(node.inputs[0]))
        return np.array(graph.shape(node.inputs[0])[start : node.int("end", rank)], np.int64)
    if node.op not in ALONE:
        return None
    axis, value = ALONE[node.op]
    shape, kind = graph.shape(node.inputs[0]), graph.dtype(node.output)
    alone = bool(shape) and shape[node.int("axis", axis)] == 1
    return np.full(graph.shape(node.output), value, kind) if alone else None


def _foldable(graph: Graph, node: Node) -> bool:
    if node.op in RANDOM or not all(name in graph.constants for name in node.inputs if name):
        return False
    size = sum(int(np.prod(graph.shape(out))) for out in node.outputs if out)
    return size <= MAX_ELEMENTS


def _evaluate(graph: Graph, node: Node) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    from edgeconv.export.hub.onnx_io import to_onnx

    piece = Graph("fold", graph.opset, [], [out for out in node.outputs if out], [node])
    piece.constants = {name: graph.constants[name] for name in node.inputs if name}
    for out in piece.outputs:
        piece.declare(out, graph.shape(out), graph.dtype(out).type)
    try:
        results = ReferenceEvaluator(to_onnx(piece)).run(None, {})
    except Exception as error:  # the evaluator's errors share no base class
        raise EdgeconvError(
            f"constant {node.op} {node.name} cannot be computed: {error}"
        ) from error
    by_name = dict(zip(piece.outputs, results, strict=True))
    kinds = {out: graph.dtype(out) for out in piece.outputs}
    return [np.asarray(by_name[out], kinds[out]) if out else np.zeros(0) for out in node.outputs]
