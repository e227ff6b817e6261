"""Convolutions, products and norms, said in PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeconv.export.executorch.say import DELEGATE, EITHER, PORTABLE, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, rank_within
from edgeconv.export.op_traits import plain_gemm

if TYPE_CHECKING:
    import torch


def flat_pads(pads: Sequence[int]) -> list[int]:
    """Return ONNX's pads, first those before each axis, as PyTorch takes them: the last axis first.

    >>> flat_pads([1, 2, 3, 4])
    [2, 4, 1, 3]
    """
    half = len(pads) // 2
    return [v for axis in reversed(range(half)) for v in (pads[axis], pads[half + axis])]


def _padded(data: "torch.Tensor", pads: Sequence[int]) -> "tuple[torch.Tensor, list[int]]":
    """Return data and symmetric paddings: what is not symmetric is padded before the operator."""
    from torch.nn import functional

    half = len(pads) // 2
    if list(pads[:half]) == list(pads[half:]):
        return data, list(pads[:half])
    return functional.pad(data, flat_pads(pads)), [0] * half


def _conv(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    data, pads = _padded(x[0], node.ints("pads", [0] * (2 * (x[0].ndim - 2))))
    spatial = x[0].ndim - 2
    call = {1: functional.conv1d, 2: functional.conv2d}[spatial]
    ones = [1] * spatial
    found: torch.Tensor = call(
        data, x[1], x[2] if len(x) > 2 else None, node.ints("strides", ones), pads,
        node.ints("dilations", ones), node.int("group", 1),
    )  # fmt: skip
    return found


def _conv_transpose(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    spatial = x[0].ndim - 2
    call = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}[spatial]
    ones, zeros = [1] * spatial, [0] * spatial
    found: torch.Tensor = call(
        x[0], x[1], x[2] if len(x) > 2 else None, node.ints("strides", ones),
        node.ints("pads", zeros * 2)[:spatial], node.ints("output_padding", zeros),
        node.int("group", 1), node.ints("dilations", ones),
    )  # fmt: skip
    return found


def _narrow_rest(graph: Graph, node: Node) -> str | None:
    spatial = len(graph.shape(node.output)) - 2
    more, ones = node.ints("output_padding", [0] * spatial), [1] * spatial
    most = zip(node.ints("strides", ones), node.ints("dilations", ones), strict=True)
    wide = any(value >= max(pair) for value, pair in zip(more, most, strict=True))
    return "its output padding is not below its stride" if wide else None


def _one_group(graph: Graph, node: Node) -> bool:
    return node.int("group", 1) == 1


def _gemm(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    plain = plain_gemm(node) and node.inputs[1] in graph.constants
    if plain and (len(x) < 3 or tuple(x[2].shape) == (x[1].shape[0],)):
        return functional.linear(x[0], x[1], x[2] if len(x) > 2 else None)
    left, right = (
        x[place].t() if node.int(turned, 0) else x[place]
        for place, turned in ((0, "transA"), (1, "transB"))
    )
    made = _product(left, right).reshape(graph.shape(node.output)) * node.float("alpha", 1.0)
    return made if len(x) < 3 else made + x[2] * node.float("beta", 1.0)


def _product(left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    """Return a product of batches.

    One of two matrices that are both dequantized comes out wrong in ExecuTorch 1.5.1: XNNPACK's partitioner
    marks both dequantizations as the product's own and then leaves it.
    """
    right = right.unsqueeze(1) if right.ndim == 1 else right
    left, right = (
        x.reshape(1, *[1] * (2 - x.ndim), *x.shape) if x.ndim < 3 else x for x in (left, right)
    )
    return left.matmul(right)


def _matmul(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    if node.inputs[1] in graph.constants and x[1].ndim == 2:  # written.py sets quantized ones apart
        return x[0].matmul(x[1])
    return _product(x[0], x[1]).reshape(graph.shape(node.output))


def _layer_norm(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    shape = list(x[0].shape[node.int("axis", -1) % x[0].ndim :])
    inside = [list(value.shape) == shape for value in x[1:]]
    epsilon = node.float("epsilon", 1e-5)
    if all(inside):
        return functional.layer_norm(x[0], shape, x[1], x[2] if len(x) > 2 else None, epsilon)
    made = functional.layer_norm(x[0], shape, eps=epsilon) * x[1]
    return made if len(x) < 3 else made + x[2]


def _one_output(graph: Graph, node: Node) -> str | None:
    return "it also returns its statistics" if any(node.outputs[1:]) else None


def _local_response(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """x / (bias + alpha / size * the sum of squares of ``size`` neighbouring channels) ** beta."""
    from torch.nn import functional

    size, channels = node.int("size", 1), x[0].shape[1]
    before = (size - 1) // 2
    outside = [0, 0] * (x[0].ndim - 2) + [before, size - 1 - before]
    squares = functional.pad(x[0] * x[0], outside)
    total = squares.narrow(1, 0, channels)
    for place in range(1, size):
        total = total + squares.narrow(1, place, channels)
    below = total * (node.float("alpha", 1e-4) / size) + node.float("bias", 1.0)
    return x[0] / below.pow(node.float("beta", 0.75))


_planes = rank_within(3, 4)

OPS: dict[str, Entry[Say]] = {
    "Conv": Entry(_conv, DELEGATE, "a 1-D or 2-D convolution", _planes, int8=True),
    "ConvTranspose": Entry(
        _conv_transpose,
        DELEGATE,
        "a 1-D or 2-D transposed convolution",
        first_failing(_planes, _narrow_rest),
        int8=_one_group,
    ),
    "Gemm": Entry(_gemm, DELEGATE, int8=True),
    "LRN": Entry(_local_response, PORTABLE),
    "LayerNormalization": Entry(_layer_norm, PORTABLE, "one output", _one_output),
    "MatMul": Entry(_matmul, EITHER),
}
"""Operator -> entry."""
