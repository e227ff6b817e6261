"""Fold a hard sigmoid into the layer before it (INT8: saturation then is the clip).

Given:   x -> Conv | Gemm (read once) -> HardSigmoid(alpha, beta) -> y
Result:  x -> Conv (weights * alpha, bias * alpha + beta, clamp (0, 1)) -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node


def _plain(layer: Node) -> bool:
    gemm = (layer.int("transB", 0), layer.float("alpha", 1), layer.float("beta", 1))
    return layer.op != "Gemm" or gemm == (1, 1, 1)


def fold_hard_sigmoid(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for gate in graph.of("HardSigmoid"):
        layer = graph.producers().get(gate.inputs[0])
        if layer is None or layer.op not in {"Conv", "Gemm"} or layer.clamp is not None:
            continue
        weights, bias = graph.constant(layer, 1), graph.constant(layer, 2)
        if (
            weights is None
            or (bias is None and any(layer.inputs[2:]))
            or not _plain(layer)
            or graph.sole_reader(layer.output) is None
        ):
            continue
        alpha = np.float32(gate.float("alpha", 0.2))
        beta = np.float32(gate.float("beta", 0.5))
        old = np.zeros(weights.shape[0], np.float32) if bias is None else np.asarray(bias)
        layer.inputs[1:] = [
            graph.add_constant(
                f"{layer.name}.gated_weight", np.asarray(weights * alpha, np.float32)
            ),
            graph.add_constant(
                f"{layer.name}.gated_bias", np.asarray(old * alpha + beta, np.float32)
            ),
        ]
        layer.clamp = (0.0, 1.0)
        layer.outputs[0] = gate.output
        graph.nodes.remove(gate)
        changed = True
    return changed
