"""Convolutions, fully connected layers and matrix products."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lowering, interleave
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry


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
    if _is_linear(c.graph, node):
        outputs = c.shape(node.inputs[1])[0]
        return c.mb.linear(x=c.read(node), name=name, **_weights(c, node, outputs))
    value = c.mb.matmul(
        x=c.variable(node.inputs[0], name) if c.integers is None else c.read(node),
        y=c.variable(node.inputs[1], name),
        transpose_x=bool(node.int("transA", 0)),
        transpose_y=bool(node.int("transB", 0)),
        name=c.name(f"{name}_product"),
    )
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    if alpha != 1.0:
        value = c.mb.mul(x=value, y=np.float32(alpha), name=c.name(f"{name}_alpha"))
    if not c.has(node, 2):
        return c.mb.identity(x=value, name=name)
    bias = c.variable(node.inputs[2], name)
    if beta != 1.0:
        bias = c.mb.mul(x=bias, y=np.float32(beta), name=c.name(f"{name}_beta"))
    return c.mb.add(x=value, y=bias, name=name)


def _is_linear(graph: Graph, node: Node) -> bool:
    """Say whether a Gemm is MIL's linear: constant (out, in) weights and a bias by output."""
    weights, plain = graph.constant(node, 1), (1.0, 1.0, 0, 1)
    forms = (
        node.float("alpha", 1.0),
        node.float("beta", 1.0),
        node.int("transA", 0),
        node.int("transB", 0),
    )
    if weights is None or forms != plain:
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = graph.constant(node, 2)
    return bias is not None and bias.size in (1, bias.shape[-1] if bias.ndim else 1)


def _matmul(c: Lowering, node: Node, name: str) -> Any:
    """A vector gets the second axis that MIL needs, and the product loses it again."""
    x, y = (c.variable(tensor, name) for tensor in node.inputs)
    ranks = [len(c.shape(tensor)) for tensor in node.inputs]
    if min(ranks) > 1:
        return c.mb.matmul(x=x, y=y, name=name)
    if ranks[0] == 1:
        x = c.mb.expand_dims(x=x, axes=[0], name=c.name(f"{name}_row"))
    if ranks[1] == 1:
        y = c.mb.expand_dims(x=y, axes=[1], name=c.name(f"{name}_column"))
    product = c.mb.matmul(x=x, y=y, name=c.name(f"{name}_product"))
    axes = [axis for axis, rank in zip((-2, -1), ranks, strict=True) if rank == 1]
    return c.mb.squeeze(x=product, axes=axes, name=name)


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


OPS = {
    "Conv": Entry(_conv, check=_refuse_conv),
    "ConvTranspose": Entry(_conv_transpose, check=_refuse_conv),
    "Gemm": Entry(_gemm),
    "MatMul": Entry(_matmul),
}
