"""Convolutions, fully connected layers and matrix products."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lowering, Op, interleave
from edgeconv.export.graph import Graph, Node


def _weights(c: Lowering, node: Node, outputs: int) -> dict[str, Any]:
    """Return MIL's ``weight`` and ``bias``, from the recipe where it has this node."""
    if c.integers is not None:
        found = c.integers.weights(c.mb, node, c.name(f"{node.name}_weight"))
        if found is not None:
            return {"weight": found[0], "bias": found[1]}
    arguments = {"weight": c.tensor(node.inputs[1])}
    if c.has(node, 2):
        bias = np.asarray(c.tensor(node.inputs[2])).reshape(-1)
        arguments["bias"] = np.ascontiguousarray(np.broadcast_to(bias, (outputs,)))
    return arguments


def _window(node: Node, axes: int) -> dict[str, Any]:
    """Return MIL's strides, dilations, groups and padding of a convolution over ``axes`` axes."""
    pads = node.ints("pads", [0] * 2 * axes)
    arguments: dict[str, Any] = {
        "strides": node.ints("strides", [1] * axes),
        "dilations": node.ints("dilations", [1] * axes),
        "groups": node.int("group", 1),
        "pad_type": "valid",
    }
    if any(pads):
        arguments |= {"pad_type": "custom", "pad": interleave(pads)}
    return arguments


def _conv(c: Lowering, node: Node, name: str) -> Any:
    shape = c.shape(node.inputs[1])
    arguments = _weights(c, node, shape[0]) | _window(node, len(shape) - 2)
    return c.mb.conv(x=c.read(node), name=name, **arguments)


def _conv_transpose(c: Lowering, node: Node, name: str) -> Any:
    shape = c.shape(node.inputs[1])
    arguments = _weights(c, node, shape[1] * node.int("group", 1)) | _window(node, len(shape) - 2)
    return c.mb.conv_transpose(
        x=c.read(node), output_shape=list(c.shape(node.output)), name=name, **arguments
    )


def _gemm(c: Lowering, node: Node, name: str) -> Any:
    if c.graph.constant(node, 1) is not None:
        outputs = c.shape(node.inputs[1])[0]
        return c.mb.linear(x=c.read(node), name=name, **_weights(c, node, outputs))
    product = c.mb.matmul(
        x=c.read(node),
        y=c.tensor(node.inputs[1]),
        transpose_x=bool(node.int("transA", 0)),
        transpose_y=bool(node.int("transB", 0)),
        name=c.name(f"{name}_product") if c.has(node, 2) else name,
    )
    return c.mb.add(x=product, y=c.tensor(node.inputs[2]), name=name) if c.has(node, 2) else product


def _matmul(c: Lowering, node: Node, name: str) -> Any:
    return c.mb.matmul(x=c.tensor(node.inputs[0]), y=c.tensor(node.inputs[1]), name=name)


def _refuse_conv(graph: Graph, node: Node) -> str | None:
    if graph.constant(node, 1) is None:
        return "its weights are computed; Core ML needs them constant"
    rank = len(graph.shape(node.inputs[0]))
    if rank not in (3, 4, 5):
        return f"its input has rank {rank}; Core ML convolves over one to three axes"
    if node.str("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "auto_pad is not resolved; prepare the graph first"
    if len(node.inputs) > 2 and node.inputs[2] and graph.constant(node, 2) is None:
        return "its bias is computed; Core ML needs it constant"
    return None


def _refuse_gemm(graph: Graph, node: Node) -> str | None:
    if node.float("alpha", 1.0) != 1.0 or node.float("beta", 1.0) != 1.0:
        return "alpha and beta must be 1 after preparation"
    if graph.constant(node, 1) is not None and (node.int("transA", 0) or not node.int("transB", 0)):
        return "constant weights must be (out, in) and the input untransposed after preparation"
    return None


OPS = {
    "Conv": Op(_conv, _refuse_conv),
    "ConvTranspose": Op(_conv_transpose, _refuse_conv),
    "Gemm": Op(_gemm, _refuse_gemm),
    "MatMul": Op(_matmul),
}
