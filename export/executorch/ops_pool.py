"""Pools, said in PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.export.executorch.ops_layers import flat_pads
from edgeconv.export.executorch.say import DELEGATE, EITHER, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, rank_within

if TYPE_CHECKING:
    import torch


def window_pads(graph: Graph, node: Node) -> list[int]:
    """Return what is padded before and after each axis, so that every window of a pool is whole."""
    size = node.ints("kernel_shape", [])
    spatial = len(size)
    pads = node.ints("pads", [0] * (2 * spatial))
    strides, dilations = (node.ints(key, [1] * spatial) for key in ("strides", "dilations"))
    shape, made = graph.shape(node.inputs[0])[2:], graph.shape(node.output)[2:]
    reach = [
        (made[a] - 1) * strides[a] + (size[a] - 1) * dilations[a] + 1 - shape[a] - pads[a]
        for a in range(spatial)
    ]
    after = [max(0, pads[spatial + a], reach[a]) for a in range(spatial)]
    return pads[:spatial] + after


def _flat(node: Node, x: "torch.Tensor") -> "tuple[torch.Tensor, bool]":
    """Return a picture, and whether it was a line: one row then."""
    line = len(node.ints("kernel_shape", [])) == 1
    return (x.unsqueeze(2), True) if line else (x, False)


def _two(values: Sequence[int], usual: int) -> list[int]:
    return [usual, *values] if len(values) == 1 else list(values)


def _max(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    size, ones = node.ints("kernel_shape", []), [1] * len(node.ints("kernel_shape", []))
    data, pads = x[0], window_pads(graph, node)
    even = pads[: len(size)]
    if not _even(graph, node):
        data, even = functional.pad(data, flat_pads(pads), value=float("-inf")), [0] * len(size)
    data, line = _flat(node, data)
    made: torch.Tensor = functional.max_pool2d(
        data,
        _two(size, 1),
        _two(node.ints("strides", ones), 1),
        _two(even, 0),
        _two(node.ints("dilations", ones), 1),
    )
    return made.squeeze(2) if line else made


def _average(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    size = node.ints("kernel_shape", [])
    data, line = _flat(node, x[0])
    made: torch.Tensor = functional.avg_pool2d(
        data,
        _two(size, 1),
        _two(node.ints("strides", [1] * len(size)), 1),
        _two(node.ints("pads", [0] * 2 * len(size))[: len(size)], 0),
        count_include_pad=False,
    )
    return made.squeeze(2) if line else made


def _global_mean(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True)


def _global_max(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    picture = x[0].unsqueeze(2) if x[0].ndim == 3 else x[0]
    made: torch.Tensor = functional.max_pool2d(picture, list(picture.shape[2:]))
    return made.squeeze(2) if x[0].ndim == 3 else made


def _undilated(graph: Graph, node: Node) -> str | None:
    return "its window is dilated" if any(d != 1 for d in node.ints("dilations", [1])) else None


def _no_places(graph: Graph, node: Node) -> str | None:
    more = len([name for name in node.outputs if name]) > 1
    return "it also returns the places of the maxima" if more else None


def few_pads(size: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether PyTorch's pools pad so themselves: the same on both sides, half a window at most."""
    half = len(size)
    alike = list(pads[:half]) == list(pads[half:])
    return alike and all(pad <= side // 2 for side, pad in zip(size, pads, strict=False))


def _even(graph: Graph, node: Node) -> bool:
    return few_pads(node.ints("kernel_shape", []), window_pads(graph, node))


def _picture(graph: Graph, node: Node) -> bool:
    return len(graph.shape(node.inputs[0])) == 4


_planes = rank_within(3, 4)

OPS: dict[str, Entry[Say]] = {
    "AveragePool": Entry(
        _average, EITHER, "a 1-D or 2-D window", first_failing(_planes, _undilated)
    ),
    "GlobalAveragePool": Entry(_global_mean, EITHER, int8=_picture),
    "GlobalMaxPool": Entry(_global_max, DELEGATE, "one or two spatial axes", _planes, int8=True),
    "MaxPool": Entry(
        _max, EITHER, "a 1-D or 2-D window", first_failing(_planes, _no_places), int8=_even
    ),
}
"""Operator -> entry."""
