"""Products of matrices: layers with constant weights, and two computed sides."""

from typing import Any

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_table import Entry, first_failing, rank_within
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import LAST, PLAIN, Rule, left_of_product
from edgeconv.export.tflite.weights import weight_operands


def gemm(em: Emission, node: Node) -> None:
    """Gemm: FULLY_CONNECTED, per-channel in INT8; with a computed right side BATCH_MATMUL."""
    graph = em.graph
    if not _fully_connected(graph, node):
        product(em, node)
        return
    transposed, alpha = node.int("transB", 0), node.float("alpha", 1.0)
    channels, columns = graph.shape(node.output)[-1], em.flattened.get(node.inputs[0])

    def arrange(weight: Array) -> Array:
        rows = weight if transposed else weight.T
        rows = rows if columns is None else rows[:, columns]
        return np.ascontiguousarray(rows if alpha == 1.0 else rows * np.float32(alpha))

    weights = weight_operands(em, node, arrange, 0, channels)
    rank = len(graph.shape(node.output))
    em.emit(
        node,
        "FULLY_CONNECTED",
        [em.read(node.inputs[0], "plain"), *weights],
        "FullyConnectedOptions",
        layout="plain",
        keepNumDims=rank > 2,
    )


def _fully_connected(graph: Graph, node: Node) -> bool:
    """Say whether a Gemm has the form of a layer: constant weights and one bias a channel."""
    if node.inputs[1] not in graph.constants or node.int("transA", 0):
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = graph.constants.get(node.inputs[2])
    channels = graph.shape(node.output)[-1]
    return (
        bias is not None
        and node.float("beta", 1.0) == 1.0
        and bias.size in (1, channels)
        and (bias.ndim < 2 or bias.shape[0] == 1)
    )


def matmul(em: Emission, node: Node) -> None:
    """MatMul: BATCH_MATMUL; a side that is stored turned, or a result that is, costs nothing."""
    if _matmul_rule(em.graph, node) != "product":
        product(em, node)
        return
    made, transposed = em.layout(node.output), bool(node.int("transB", 0))
    side, wanted = left_of_product(node, made)
    layouts = [em.layout(name) for name in node.inputs]
    layouts[side] = wanted
    sides = [em.read(name, layout) for name, layout in zip(node.inputs, layouts, strict=True)]
    turned = layouts[1 - side] == LAST
    em.emit(
        node,
        "BATCH_MATMUL",
        [sides[side], sides[1 - side]],
        "BatchMatMulOptions",
        layout=made,
        adjX=False,
        adjY=turned != transposed if made == PLAIN else not turned,
    )


def _matmul_rule(graph: Graph, node: Node) -> Rule:
    """Batches of matrices are the only tensors of which one layout is the other turned."""
    both = all(len(graph.shape(name)) == 3 for name in node.inputs)
    return "product" if both else "plain"


def product(em: Emission, node: Node) -> None:
    """Product of lists of matrices, or Gemm of two computed ones: BATCH_MATMUL, then a scaled ADD."""
    b = em.builder
    flips: dict[str, Any] = {
        "adjX": bool(node.int("transA", 0)),
        "adjY": bool(node.int("transB", 0)),
    }
    left, right = (em.read(name, "plain") for name in node.inputs[:2])
    rows, columns = len(b.shape(left)) > 1, len(b.shape(right)) > 1
    left = left if rows else em.reshape(left, (1, *b.shape(left)))
    right = right if columns else em.reshape(right, (*b.shape(right), 1))
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    added = node.inputs[2] if len(node.inputs) > 2 else ""
    if alpha == 1.0 and not added:
        shape = _product_shape(b.shape(left), b.shape(right), flips)
        em.emit(
            node,
            "BATCH_MATMUL",
            [left, right],
            "BatchMatMulOptions",
            layout="plain",
            shape=shape,
            **flips,
        )
        return
    shape = _product_shape(b.shape(left), b.shape(right), flips)
    x = em.do("BATCH_MATMUL", [left, right], "BatchMatMulOptions", shape=shape, **flips)
    if not added:
        em.emit(node, "MUL", [x, em.real(alpha)], "MulOptions")
        return
    x = x if alpha == 1.0 else em.do("MUL", [x, em.real(alpha)], "MulOptions")
    y = em.read(added, "plain")
    y = y if beta == 1.0 else em.do("MUL", [y, em.real(beta)], "MulOptions")
    em.emit(node, "ADD", [x, y], "AddOptions")


def _of_reals(graph: Graph, node: Node) -> str | None:
    kind = graph.dtype(node.output)
    return None if kind == np.float32 else f"it is of {kind.name}, and the kernel of float32"


def _product_shape(
    left: tuple[int, ...], right: tuple[int, ...], flips: dict[str, Any]
) -> tuple[int, ...]:
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    return (*batch, left[-1 if flips["adjX"] else -2], right[-2 if flips["adjY"] else -1])


TABLE = {
    "Gemm": Entry(
        gemm,
        "FULLY_CONNECTED, BATCH_MATMUL",
        "a product of matrices with a constant right side and bias",
        rule="plain",
        int8=True,
    ),
    "MatMul": Entry(
        matmul,
        "BATCH_MATMUL",
        "a product of tensors of up to 5 axes",
        first_failing(rank_within(1, 5), _of_reals),
        _matmul_rule,
        int8=True,
    ),
}
