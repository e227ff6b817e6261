"""Element-wise operators, said in PyTorch."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeconv.export.executorch.say import DELEGATE, PORTABLE, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant

if TYPE_CHECKING:
    import torch


def _torch(name: str) -> Say:
    """Return the saying of torch.NAME of as many operands as it takes."""

    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        import torch

        call = getattr(torch, name)
        found: torch.Tensor = call(*x)
        return found

    return say


def _folded(name: str) -> Say:
    """Return the saying of torch.NAME of one operand or more; one alone is the result."""

    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        import torch

        return reduce(getattr(torch, name), x)

    return say


def _div(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    whole = not x[0].is_floating_point()
    return torch.div(x[0], x[1], rounding_mode="trunc") if whole else torch.div(x[0], x[1])


def _mean(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    return reduce(torch.add, x) * (1.0 / len(x))


def _pow(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    exponent = graph.constant(node, 1)
    if exponent is None or exponent.size != 1 or exponent.ndim > x[0].ndim:
        return torch.pow(x[0], x[1].to(x[0].dtype))
    value = float(exponent.ravel()[0])
    return torch.pow(x[0], int(value) if value.is_integer() else value)


def _mod(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    left = torch.fmod(x[0], x[1])
    if node.int("fmod", 0):
        return left
    # the divisor's sign; ExecuTorch 1.5.1's own remainder of whole numbers has the dividend's
    return torch.where((left != 0) & ((left < 0) != (x[1] < 0)), left + x[1], left)


def _clip(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    bounds = [graph.constant(node, place) for place in (1, 2)]
    kind: Any = float if x[0].is_floating_point() else int
    low, high = (None if b is None else kind(np.asarray(b).ravel()[0]) for b in bounds)
    return x[0] if low is None and high is None else x[0].clamp(low, high)


def _cast(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    return x[0].to(getattr(torch, graph.dtype(node.output).name))


def _delegated(name: str, *, int8: bool = False) -> Entry[Say]:
    return Entry(_torch(name), DELEGATE, int8=int8)


def _kernel(name: str) -> Entry[Say]:
    return Entry(_torch(name), PORTABLE)


OPS: dict[str, Entry[Say]] = {
    "Abs": _delegated("abs"),
    "Add": _delegated("add", int8=True),
    "And": _kernel("logical_and"),
    "Atan": _kernel("atan"),
    "Cast": Entry(_cast, PORTABLE),
    "Ceil": _delegated("ceil"),
    "Clip": Entry(
        _clip,
        DELEGATE,
        "constant bounds",
        first_failing(needs_constant(1, "bound"), needs_constant(2, "bound")),
        int8=True,
    ),
    "Cos": _delegated("cos"),
    "Div": Entry(_div, DELEGATE),
    "Equal": _kernel("eq"),
    "Erf": _kernel("erf"),
    "Exp": _delegated("exp"),
    "Floor": _delegated("floor"),
    "Greater": _kernel("gt"),
    "GreaterOrEqual": _kernel("ge"),
    "Less": _kernel("lt"),
    "LessOrEqual": _kernel("le"),
    "Log": _delegated("log"),
    "Max": Entry(_folded("maximum"), DELEGATE),
    "Mean": Entry(_mean, DELEGATE),
    "Min": Entry(_folded("minimum"), DELEGATE),
    "Mod": Entry(_mod, PORTABLE),
    "Mul": _delegated("mul", int8=True),
    "Neg": _delegated("neg"),
    "Not": _kernel("logical_not"),
    "Or": _kernel("logical_or"),
    "Pow": Entry(_pow, PORTABLE),
    "Round": _kernel("round"),
    "Sign": _kernel("sign"),
    "Sin": _delegated("sin"),
    "Sqrt": _delegated("sqrt"),
    "Sub": _delegated("sub", int8=True),
    "Sum": Entry(_folded("add"), DELEGATE),
    "Where": _kernel("where"),
}
"""Operator -> entry."""
