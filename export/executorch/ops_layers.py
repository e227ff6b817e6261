"""Convolutions, products, pools and means, said in PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.export.executorch.say import Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, needs_constant, needs_plain_gemm

if TYPE_CHECKING:
    import torch


def _conv(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    data, pads = _padded(x[0], node.ints("pads", [0] * (2 * (x[0].ndim - 2))), 0.0)
    spatial = x[0].ndim - 2
    call = {1: functional.conv1d, 2: functional.conv2d}[spatial]
    ones = [1] * spatial
    found: torch.Tensor = call(
        data, x[1], x[2] if len(x) > 2 else None, node.ints("strides", ones), pads,
        node.ints("dilations", ones), node.int("group", 1),
    )  # fmt: skip
    return found


def _plain_conv(graph: Graph, node: Node) -> str | None:
    if len(graph.shape(node.inputs[0])) not in (3, 4):
        return "it is neither 1-D nor 2-D"
    pads = node.ints("pads", [])
    half = len(pads) // 2
    if len(graph.shape(node.inputs[0])) == 3 and pads[:half] != pads[half:]:
        return "its 1-D padding is not symmetric"
    return None


def _padded(
    data: "torch.Tensor", pads: Sequence[int], fill: float
) -> "tuple[torch.Tensor, list[int]]":
    """Return data and symmetric paddings: what is not symmetric is padded before the operator."""
    from torch.nn import functional

    half = len(pads) // 2
    if list(pads[:half]) == list(pads[half:]):
        return data, list(pads[:half])
    flat = [v for axis in reversed(range(half)) for v in (pads[axis], pads[half + axis])]
    return functional.pad(data, flat, value=fill), [0] * half


def _gemm(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    return functional.linear(x[0], x[1], x[2] if len(x) > 2 else None)


def _pool(kind: str) -> Say:
    def say(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
        from torch.nn import functional

        size = node.ints("kernel_shape", [])
        pads = node.ints("pads", [0] * (2 * len(size)))
        strides = node.ints("strides", [1] * len(size))
        found: torch.Tensor
        if kind == "max":
            data, even = _padded(x[0], pads, float("-inf"))
            dilations = node.ints("dilations", [1] * len(size))
            found = functional.max_pool2d(data, size, strides, even, dilations)
            return found
        counted = bool(node.int("count_include_pad", 0))
        found = functional.avg_pool2d(
            x[0], size, strides, pads[: len(size)], count_include_pad=counted
        )
        return found

    return say


def _plain_pool(graph: Graph, node: Node) -> str | None:
    size = node.ints("kernel_shape", [])
    pads = node.ints("pads", [0] * (2 * len(size)))
    if len(size) != 2:
        return "its window is not 2-D"
    if node.int("ceil_mode", 0) or len([o for o in node.outputs if o]) > 1:
        return "it rounds sizes up or gives indices"
    if node.op == "AveragePool" and pads[:2] != pads[2:]:
        return "its padding is not symmetric"
    return None


def _mean(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True)


def _reduce_mean(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    axes = graph.constant(node, 1)
    given = node.ints("axes", range(x[0].ndim)) if axes is None else [int(v) for v in axes.ravel()]
    return x[0].mean(tuple(given), keepdim=bool(node.int("keepdims", 1)))


OPS: dict[str, Entry[Say]] = {
    "AveragePool": Entry(_pool("average"), check=_plain_pool),
    "Conv": Entry(_conv, check=_plain_conv),
    "Gemm": Entry(_gemm, check=needs_plain_gemm),
    "GlobalAveragePool": Entry(_mean),
    "MaxPool": Entry(_pool("max"), check=_plain_pool),
    "ReduceMean": Entry(_reduce_mean, check=needs_constant(1, "axes")),
}
"""Operator -> entry."""
