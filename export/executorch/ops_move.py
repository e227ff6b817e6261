"""Operators that move values, said in PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.executorch.say import Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry

if TYPE_CHECKING:
    import torch


def _reshape(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].reshape(graph.shape(node.output))


def _transpose(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].permute(node.ints("perm", list(reversed(range(x[0].ndim)))))


def _concat(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    return torch.cat(list(x), node.int("axis", 0))


def _shuffle(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    n, c, h, w = graph.shape(node.inputs[0])
    groups = node.int("group" if "group" in node.attrs else "groups", 1)
    return x[0].reshape(n, groups, c // groups, h * w).permute(0, 2, 1, 3).reshape(n, c, h, w)


def _pad(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    pads = graph.constants[node.inputs[1]].ravel()
    half = len(pads) // 2
    flat = [int(v) for axis in reversed(range(half)) for v in (pads[axis], pads[half + axis])]
    fill = graph.constant(node, 2)
    return functional.pad(
        x[0], flat, value=0.0 if fill is None else float(np.asarray(fill).ravel()[0])
    )


def _plain_pad(graph: Graph, node: Node) -> str | None:
    if node.str("mode", "constant") != "constant":
        return "it reflects or repeats the border"
    if graph.constant(node, 1) is None or (
        len(node.inputs) > 2 and node.inputs[2] and graph.constant(node, 2) is None
    ):
        return "what it pads by is computed at run time"
    return "it names axes" if len(node.inputs) > 3 and node.inputs[3] else None


def _slice(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    starts, ends = (graph.constants[node.inputs[i]].ravel() for i in (1, 2))
    axes = graph.constant(node, 3)
    found = x[0]
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = i if axes is None else int(axes.ravel()[i])
        size = found.shape[axis]
        first = max(int(start) + (size if start < 0 else 0), 0)
        last = min(max(int(end) + (size if end < 0 else 0), first), size)
        found = found.narrow(axis, first, last - first)
    return found


def _steps_of_one(graph: Graph, node: Node) -> str | None:
    if graph.constant(node, 1) is None or graph.constant(node, 2) is None:
        return "what it cuts is computed at run time"
    steps = graph.constant(node, 4)
    return None if steps is None or bool((steps == 1).all()) else "it takes steps"


def _resize(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    size = list(graph.shape(node.output)[2:])
    if node.str("mode", "nearest") == "nearest":
        return functional.interpolate(x[0], size=size, mode="nearest")
    corners = node.str("coordinate_transformation_mode", "half_pixel") == "align_corners"
    return functional.interpolate(x[0], size=size, mode="bilinear", align_corners=corners)


def _plain_resize(graph: Graph, node: Node) -> str | None:
    mode = node.str("mode", "nearest")
    how = node.str("coordinate_transformation_mode", "half_pixel")
    if len(graph.shape(node.output)) != 4:
        return "it resizes no picture"
    if mode == "linear" and how in ("half_pixel", "align_corners", "pytorch_half_pixel"):
        return None
    if mode == "nearest" and how == "asymmetric" and node.str("nearest_mode", "") == "floor":
        return None
    return f"{mode} with {how} coordinates is none of PyTorch's"


OPS: dict[str, Entry[Say]] = {
    "ChannelShuffle": Entry(_shuffle),
    "Concat": Entry(_concat),
    "Flatten": Entry(_reshape),
    "Identity": Entry(lambda graph, node, x: x[0]),
    "Pad": Entry(_pad, check=_plain_pad),
    "Reshape": Entry(_reshape),
    "Resize": Entry(_resize, check=_plain_resize),
    "Slice": Entry(_slice, check=_steps_of_one),
    "Squeeze": Entry(_reshape),
    "Transpose": Entry(_transpose),
    "Unsqueeze": Entry(_reshape),
}
"""Operator -> entry."""
