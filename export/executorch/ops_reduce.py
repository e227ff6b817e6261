"""Reductions, places of extremes and sums along an axis, said in PyTorch."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeconv.export.executorch.say import EITHER, PORTABLE, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import reduced_axes
from edgeconv.export.op_table import Check, Entry, first_failing, needs_constant

if TYPE_CHECKING:
    import torch

Over = Callable[["torch.Tensor", list[int], bool], "torch.Tensor"]
"""A reduction: values, axes and whether these stay."""


def _reduction(over: Over) -> Say:
    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        axes = reduced_axes(graph, node)
        return over(x[0], axes, bool(node.int("keepdims", 1)))

    return say


def _sum(x: "torch.Tensor", axes: list[int], keep: bool) -> "torch.Tensor":
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _prod(x: "torch.Tensor", axes: list[int], keep: bool) -> "torch.Tensor":
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _log_sum_exp(x: "torch.Tensor", axes: list[int], keep: bool) -> "torch.Tensor":
    most = x.amax(axes, keepdim=True)
    total = _sum((x - most).exp(), axes, True).log() + most
    return total if keep else total.squeeze(tuple(axes))


def _argument(name: str) -> Say:
    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        import torch

        found: torch.Tensor = getattr(torch, name)(
            x[0], dim=node.int("axis", 0), keepdim=bool(node.int("keepdims", 1))
        )
        return found

    return say


def _first(graph: Graph, node: Node) -> str | None:
    return "it takes the last of equal values" if node.int("select_last_index", 0) else None


def _cumulated(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    axis = int(graph.constants[node.inputs[1]].ravel()[0])
    back = bool(node.int("reverse", 0))
    value = x[0].flip(axis) if back else x[0]
    total = value.cumsum(axis, dtype=x[0].dtype)
    total = total - value if node.int("exclusive", 0) else total
    return total.flip(axis) if back else total


def _top(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "Sequence[torch.Tensor | None]":
    count = int(graph.constants[node.inputs[1]].ravel()[0])
    made = x[0].topk(count, node.int("axis", -1), bool(node.int("largest", 1)))
    return [value if name else None for name, value in zip(node.outputs, made, strict=False)]


def _some_axis(graph: Graph, node: Node) -> str | None:
    return None if reduced_axes(graph, node) else "it reduces no axis"


_axes: Check = first_failing(needs_constant(1, "list of axes"), _some_axis)


def _row(over: Over, where: str = PORTABLE, **more: Any) -> Entry[Say]:
    return Entry(_reduction(over), where, "constant axes", _axes, **more)


def mean_on_integers(graph: Graph, node: Node) -> bool:
    """Whether XNNPACK averages it: both axes of a picture, which stay."""
    spatial = len(graph.shape(node.inputs[0])) == 4 and reduced_axes(graph, node) == [2, 3]
    return spatial and bool(node.int("keepdims", 1))


OPS: dict[str, Entry[Say]] = {
    "ArgMax": Entry(_argument("argmax"), PORTABLE, "the first of equal values", _first),
    "ArgMin": Entry(_argument("argmin"), PORTABLE, "the first of equal values", _first),
    "CumSum": Entry(_cumulated, PORTABLE, "a constant axis", needs_constant(1, "axis")),
    "ReduceL1": _row(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": _row(lambda x, axes, keep: _sum(x * x, axes, keep).sqrt()),
    "ReduceLogSum": _row(lambda x, axes, keep: _sum(x, axes, keep).log()),
    "ReduceLogSumExp": _row(_log_sum_exp),
    "ReduceMax": _row(lambda x, axes, keep: x.amax(axes, keepdim=keep), int8=True),
    "ReduceMean": _row(
        lambda x, axes, keep: x.mean(axes, keepdim=keep), EITHER, int8=mean_on_integers
    ),
    "ReduceMin": _row(lambda x, axes, keep: x.amin(axes, keepdim=keep), int8=True),
    "ReduceProd": _row(_prod),
    "ReduceSum": _row(_sum),
    "ReduceSumSquare": _row(lambda x, axes, keep: _sum(x * x, axes, keep)),
    "TopK": Entry(
        _top, PORTABLE, "a constant number of values", needs_constant(1, "number of values")
    ),
}
"""Operator -> entry."""
