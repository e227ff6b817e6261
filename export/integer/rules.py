"""What a node's INT8 rule (op_traits.py) means for it: its stored inputs, why it stays in float.

The rules are TFLite's (https://ai.google.dev/edge/litert/models/quantization_spec), because they
are the strictest: whatever they allow, ONNX QDQ can express.
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_traits import RULES, OpRule, plain_gemm


def rule(node: Node) -> OpRule | None:
    """Return the node's rule; None where it cannot be int8."""
    return RULES.get(node.op)


def moves_integers(node: Node) -> bool:
    """Whether the operator may run on the integers themselves (nearest Resize, not linear)."""
    if node.op == "Resize":
        return node.str("mode", "nearest") == "nearest"
    found = RULES.get(node.op)
    return found is not None and found.moves


def data_inputs(graph: Graph, node: Node) -> list[str]:
    """Return the float inputs that int8 execution would store as integers, constants included."""
    found = RULES.get(node.op)
    if found is None:
        return []
    names = node.inputs if found.data is None else [node.inputs[i] for i in found.data]
    return [name for name in names if name and graph.dtype(name) == np.float32]


def why_float(graph: Graph, node: Node) -> str | None:
    """Say why a node cannot be int8; None where it can.

    Nodes that hold no float tensor at all (shape arithmetic) are neither.
    """
    if not any(graph.dtype(out) == np.float32 for out in node.outputs if out):
        return "it makes no real numbers"
    found = RULES.get(node.op)
    if found is None:
        return "it has no INT8 form"
    if found.kind == "weighted":
        weights = graph.constant(node, 1)
        if weights is None:
            return "its weights are computed, not constant"
        if len(node.inputs) > 2 and node.inputs[2] and graph.constant(node, 2) is None:
            return "its bias is computed, not constant"
        if node.op == "Gemm" and not plain_gemm(node):
            return "it is not x * transposed weights + bias"
        if node.inputs[0] in graph.constants:
            return "its input is constant"
    constants = [graph.constants[n] for n in data_inputs(graph, node) if n in graph.constants]
    if not all(np.isfinite(constant).all() for constant in constants):
        return "it reads an infinite constant, which no scale covers"
    if node.op == "Resize" and node.str("mode", "nearest") == "cubic":
        return "cubic Resize has no INT8 form"
    if node.op == "MaxPool" and len(node.outputs) > 1 and node.outputs[1]:
        return "MaxPool with indices has no INT8 form"
    if node.op == "Softmax" and graph.shape(node.inputs[0])[node.int("axis", -1)] == 1:
        return "Softmax over one value is 1, which onnxruntime's INT8 kernel wraps to 0"
    return None


def is_pixel_shift(graph: Graph, node: Node) -> bool:
    """Whether the node is the leading Sub of passes/exact_pixels.py, done before quantization."""
    return (
        node.op == "Sub"
        and node.inputs[0] in graph.inputs
        and node.inputs[1] in graph.constants
        and graph.constants[node.inputs[1]].size == 1
        and len(graph.consumers().get(node.inputs[0], [])) == 1
        and node.clamp is None
    )


def float_weights(graph: Graph, node: Node) -> tuple[Array, Array]:
    """Return a weighted node's float32 weights and bias (zeros where it has none)."""
    weights = np.asarray(graph.constants[node.inputs[1]], np.float32)
    bias = graph.constant(node, 2)
    if bias is not None:
        return weights, np.asarray(bias, np.float32).ravel()
    return weights, np.zeros(output_channels(node, weights), np.float32)


def output_channels(node: Node, weights: Array) -> int:
    """Return how many output channels a weighted node has."""
    if node.op == "ConvTranspose":
        return int(weights.shape[1]) * node.int("group", 1)
    return int(weights.shape[0])
