"""Activations, said in PyTorch."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.export.executorch.say import DELEGATE, EITHER, PORTABLE, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry

if TYPE_CHECKING:
    import torch


def _of(name: str, given: Callable[[Node], dict[str, Any]] = lambda node: {}) -> Say:
    """Return the saying of torch.nn.functional.NAME with what the node's attributes give it."""

    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        found: torch.Tensor = getattr(functional, name)(x[0], **given(node))
        return found

    return say


def _bent(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Elu, Celu, Selu: gamma * (max(x, 0) + alpha * (exp(min(x, 0) / slope) - 1))."""
    from torch.nn import functional

    alpha, gamma, slope = node.float("alpha", 1.0), 1.0, 1.0
    if node.op == "Selu":
        alpha, gamma = node.float("alpha", 1.67326319), node.float("gamma", 1.05070102)
    if node.op == "Celu":
        slope = alpha
    below = functional.relu(-x[0])
    below = (below if slope == 1.0 else below * (1.0 / slope)).neg().exp() - 1.0
    made = functional.relu(x[0]) + (below if alpha == 1.0 else below * alpha)
    return made if gamma == 1.0 else made * gamma


def _relu(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].relu() if x[0].is_floating_point() else x[0].clamp(min=0)


def _hard_sigmoid(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    slope, offset = node.float("alpha", 0.2), node.float("beta", 0.5)
    return (x[0] * slope + offset).clamp(0.0, 1.0)


def _prelu(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """max(x, 0) - slope * max(-x, 0): slopes of any shape, in float and on dequantized integers."""
    return x[0].relu() - x[1] * x[0].neg().relu()


def _tail(x: "torch.Tensor") -> "torch.Tensor":
    """Return log(1 + exp(-|x|)): with it softplus cannot overflow."""
    return (x.abs().neg().exp() + 1.0).log()


def _softplus(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].relu() + _tail(x[0])


def _mish(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0] * (x[0].relu() + _tail(x[0])).tanh()


def _softsign(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0] / (x[0].abs() + 1.0)


def _gelu(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Gelu; by tanh it is spelled out, as XNNPACK's delegate takes either for the exact one (up to 5e-4 off)."""
    from torch.nn import functional

    if node.str("approximate", "none") == "none":
        return functional.gelu(x[0])
    inner = (x[0] + x[0] * x[0] * x[0] * 0.044715) * math.sqrt(2.0 / math.pi)
    return x[0] * 0.5 * (inner.tanh() + 1.0)


OPS: dict[str, Entry[Say]] = {
    **dict.fromkeys(("Celu", "Elu", "Selu"), Entry(_bent, DELEGATE)),
    "Gelu": Entry(_gelu, DELEGATE),
    "HardSigmoid": Entry(_hard_sigmoid, DELEGATE),
    "HardSwish": Entry(_of("hardswish"), DELEGATE),
    "LeakyRelu": Entry(
        _of("leaky_relu", lambda node: {"negative_slope": node.float("alpha", 0.01)}), DELEGATE
    ),
    "LogSoftmax": Entry(_of("log_softmax", lambda node: {"dim": node.int("axis", -1)}), PORTABLE),
    "Mish": Entry(_mish, DELEGATE),
    "PRelu": Entry(_prelu, DELEGATE),
    "Relu": Entry(_relu, DELEGATE, int8=True),
    "Sigmoid": Entry(lambda graph, node, x: x[0].sigmoid(), DELEGATE),
    "Softmax": Entry(_of("softmax", lambda node: {"dim": node.int("axis", -1)}), EITHER),
    "Softplus": Entry(_softplus, DELEGATE),
    "Softsign": Entry(_softsign, DELEGATE),
    "Tanh": Entry(lambda graph, node, x: x[0].tanh(), DELEGATE),
}
"""Operator -> entry."""
