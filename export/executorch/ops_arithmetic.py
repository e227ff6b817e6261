"""Element-wise operators, said in PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.executorch.say import Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant

if TYPE_CHECKING:
    import torch


def _torch(name: str) -> Say:
    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        import torch

        found: torch.Tensor = getattr(torch, name)(*x)
        return found

    return say


def _functional(name: str) -> Say:
    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        found: torch.Tensor = getattr(functional, name)(x[0])
        return found

    return say


def _softmax(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].softmax(node.int("axis", -1))


def _leaky(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    return functional.leaky_relu(x[0], node.float("alpha", 0.01))


def _hard_sigmoid(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    slope, offset = node.float("alpha", 0.2), node.float("beta", 0.5)
    return (x[0] * slope + offset).clamp(0.0, 1.0)


def _clip(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    bounds = [graph.constant(node, place) for place in (1, 2)]
    low, high = (None if b is None else float(np.asarray(b).ravel()[0]) for b in bounds)
    return x[0].clamp(low, high)


OPS: dict[str, Entry[Say]] = {
    "Add": Entry(_torch("add")),
    "Clip": Entry(
        _clip, check=first_failing(needs_constant(1, "bound"), needs_constant(2, "bound"))
    ),
    "Div": Entry(_torch("div")),
    "Exp": Entry(_torch("exp")),
    "Gelu": Entry(_functional("gelu")),
    "HardSigmoid": Entry(_hard_sigmoid),
    "HardSwish": Entry(_functional("hardswish")),
    "LeakyRelu": Entry(_leaky),
    "MatMul": Entry(_torch("matmul")),
    "Mul": Entry(_torch("mul")),
    "Relu": Entry(_torch("relu")),
    "Sigmoid": Entry(_torch("sigmoid")),
    "Softmax": Entry(_softmax),
    "Sqrt": Entry(_torch("sqrt")),
    "Sub": Entry(_torch("sub")),
    "Tanh": Entry(_torch("tanh")),
}
"""Operator -> entry."""
