"""Fold batch normalization into the layer before it, else into Mul and Add (arXiv 1502.03167, eq. 4).

Given:   x -> Conv | ConvTranspose | Gemm (read once) -> BatchNormalization -> y
Result:  x -> Conv (weights times gamma/sqrt(var+eps), bias shifted) -> y

Given:   x -> BatchNormalization -> y otherwise
Result:  x -> Mul(gamma/sqrt(var+eps)) -> Add(beta - mean*that) -> y

Given:   x of batch 1 -> BatchNormalization in training mode -> y
Result:  x -> InstanceNormalization -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_traits import WEIGHTED, output_axis


def fold_batchnorm(graph: Graph) -> bool:
    """Apply the rewrites: in training mode to batches of 1, else to those with constant statistics."""
    changed = False
    for norm in graph.of("BatchNormalization"):
        if norm.int("training_mode", 0) and _is_one_picture(graph, norm):
            norm.op, norm.inputs, norm.outputs = (
                "InstanceNormalization",
                norm.inputs[:3],
                norm.outputs[:1],
            )
            norm.attrs = {"epsilon": norm.float("epsilon", 1e-5)}
            changed = True
            continue
        stats = [graph.constant(norm, index) for index in range(1, 5)]
        if any(value is None for value in stats) or norm.int("training_mode", 0):
            continue
        gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in stats)
        scale = gamma / np.sqrt(variance + norm.float("epsilon", 1e-5))
        shift = beta - mean * scale
        maker = graph.producers().get(norm.inputs[0])
        alone = graph.sole_reader(norm.inputs[0]) is not None
        if maker is not None and alone and takes_scale(graph, maker):
            into_layer(graph, maker, scale, shift)
            maker.outputs[0] = norm.output
        else:
            _as_mul_add(graph, norm, scale, shift)
        graph.nodes.remove(norm)
        changed = True
    return changed


def _is_one_picture(graph: Graph, norm: Node) -> bool:
    """Whether statistics over the batch are those of one picture, and nobody asks for them."""
    readers, shape = graph.consumers(), graph.shape(norm.inputs[0])
    asked = any(name in readers or name in graph.outputs for name in norm.outputs[1:] if name)
    constant = all(graph.constant(norm, index) is not None for index in (1, 2))
    return len(shape) > 2 and shape[0] == 1 and constant and not asked


def takes_scale(graph: Graph, node: Node, *, clamped: bool = False) -> bool:
    """Whether a layer has constant weights and bias of the plain form; ``clamped``: a clamp may follow."""
    if node.op not in WEIGHTED or (node.clamp is not None and not clamped):
        return False
    if node.op == "ConvTranspose" and node.int("group", 1) != 1:
        return False
    if node.op == "Gemm" and (
        node.int("transB", 0),
        node.float("alpha", 1),
        node.float("beta", 1),
    ) != (1, 1, 1):
        return False
    bias = graph.constant(node, 2)
    has_bias = len(node.inputs) > 2 and node.inputs[2] != ""
    return graph.constant(node, 1) is not None and (
        not has_bias or (bias is not None and bias.ndim == 1)
    )


def into_layer(graph: Graph, layer: Node, scale: Array, shift: Array) -> None:
    """Scale and shift the output channels of a layer."""
    weights = np.asarray(graph.constant(layer, 1))
    shape = [1] * weights.ndim
    shape[output_axis(layer)] = -1
    bias = graph.constant(layer, 2)
    old = np.zeros(scale.shape) if bias is None else np.asarray(bias, np.float64)
    kind = weights.dtype
    folded = (weights * np.asarray(scale).reshape(shape)).astype(kind)
    layer.inputs[1:] = [
        graph.add_constant(f"{layer.name}.weight", folded),
        graph.add_constant(f"{layer.name}.bias", np.asarray(old * scale + shift, kind)),
    ]


def _as_mul_add(graph: Graph, norm: Node, scale: Array, shift: Array) -> None:
    source, shape = norm.inputs[0], graph.shape(norm.output)
    kind = graph.dtype(norm.output).type
    spread = (-1,) + (1,) * (len(shape) - 2)
    middle = graph.declare(graph.fresh(f"{norm.output}_scaled"), shape, kind)
    factor = graph.add_constant(f"{norm.name}.scale", np.asarray(scale, kind).reshape(spread))
    offset = graph.add_constant(f"{norm.name}.shift", np.asarray(shift, kind).reshape(spread))
    at = graph.nodes.index(norm)
    graph.nodes[at:at] = [
        Node("Mul", graph.fresh(f"{norm.name}_mul"), [source, factor], [middle]),
        Node("Add", graph.fresh(f"{norm.name}_add"), [middle, offset], [norm.output]),
    ]
