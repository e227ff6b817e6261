"""Operators that move values, said in PyTorch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgeconv.export.executorch.say import DELEGATE, EITHER, PORTABLE, Say
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import pad_amounts, slice_bounds
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within

if TYPE_CHECKING:
    import torch

    from edgeconv.recipe import Activation


def _reshape(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].reshape(graph.shape(node.output))


def _transpose(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].permute(node.ints("perm", list(reversed(range(x[0].ndim)))))


def _concat(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    return torch.cat(list(x), node.int("axis", 0))


def _split(
    graph: Graph, node: Node, x: "Sequence[torch.Tensor]"
) -> "Sequence[torch.Tensor | None]":
    axis, begin = node.int("axis", 0), 0
    total = x[0].shape[axis]
    known = {place: graph.shape(name)[axis] for place, name in enumerate(node.outputs) if name}
    sizes = graph.constant(node, 1)
    each = -(-total // len(node.outputs))
    made: list[torch.Tensor | None] = []
    for place, name in enumerate(node.outputs):
        size = int(sizes.ravel()[place]) if sizes is not None else known.get(place, each)
        made.append(x[0].narrow(axis, begin, size) if name else None)
        begin += size
    return made


def _shuffle(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    n, c, h, w = graph.shape(node.inputs[0])
    groups = node.int("group" if "group" in node.attrs else "groups", 1)
    return x[0].reshape(n, groups, c // groups, h * w).permute(0, 2, 1, 3).reshape(n, c, h, w)


def _depth_to_space(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    n, c, h, w = graph.shape(node.inputs[0])
    side = node.int("blocksize", 1)
    left = c // side**2
    if node.str("mode", "DCR") == "DCR":
        apart = x[0].reshape(n, side, side, left, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        apart = x[0].reshape(n, left, side, side, h, w).permute(0, 1, 4, 2, 5, 3)
    return apart.reshape(n, left, h * side, w * side)


def _space_to_depth(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    n, c, h, w = graph.shape(node.inputs[0])
    side = node.int("blocksize", 1)
    apart = x[0].reshape(n, c, h // side, side, w // side, side)
    order = (0, 3, 5, 1, 2, 4) if node.str("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return apart.permute(order).reshape(n, c * side**2, h // side, w // side)


def _expand(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].expand(graph.shape(node.output))


def _tile(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    return x[0].repeat([int(count) for count in graph.constants[node.inputs[1]].ravel()])


def _gather(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    axis = node.int("axis", 0)
    rows, size = x[1].reshape(-1), x[0].shape[axis]
    if node.inputs[1] not in graph.constants:  # those are written without negative ones
        rows = torch.where(rows < 0, rows + size, rows)
    return x[0].index_select(axis, rows).reshape(graph.shape(node.output))


def _pad(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    from torch.nn import functional

    amounts, data = pad_amounts(graph, node), x[0]
    for axis, (before, after) in enumerate(amounts):
        if before < 0 or after < 0:
            first = max(-before, 0)
            data = data.narrow(axis, first, data.shape[axis] - first - max(-after, 0))
    flat = [max(v, 0) for pair in reversed(amounts) for v in pair]
    fill = graph.constant(node, 2)
    value = 0 if fill is None else np.ravel(fill)[0].item()
    return functional.pad(data, flat, value=value) if any(flat) else data


def padded_alike(
    graph: Graph, node: Node, stored: "Mapping[str, Activation]"
) -> "Activation | None":
    """Return the integers of a tensor padded with zeros that is not stored and is made of one that is.

    XNNPACK's passes take such a tensor for stored, and its reader in float for one of integers.
    """
    if node.op != "Pad" or node.output in stored or node.output in graph.outputs:
        return None
    fill = graph.constant(node, 2)
    zeros = fill is None or not np.any(fill)
    return stored.get(node.inputs[0]) if zeros else None


def _slice(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    import torch

    found = x[0]
    for axis, (first, last, step) in slice_bounds(graph, node).items():
        taken = range(first, last, step)
        if taken == range(found.shape[axis]):
            continue
        low, high = min(taken), max(taken) + 1
        found = found.narrow(axis, low, high - low)
        found = found.flip(axis) if step < 0 else found
        if abs(step) > 1:
            found = torch.ops.aten.slice.Tensor(found, axis, 0, high - low, abs(step))
    return found


def _forwards(graph: Graph, node: Node) -> bool:
    return all(step == 1 for _, _, step in slice_bounds(graph, node).values())


def _resize(graph: Graph, node: Node, x: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Resize a picture by PyTorch's bilinear filter; other forms are written out."""
    from torch.nn import functional

    size = list(graph.shape(node.output)[2:])
    corners = node.str("coordinate_transformation_mode", "half_pixel") == "align_corners"
    return functional.interpolate(x[0], size=size, mode="bilinear", align_corners=corners)


def _cuts_and_mirrors(graph: Graph, node: Node) -> str | None:
    least = min((v for pair in pad_amounts(graph, node) for v in pair), default=0)
    mirrors = node.str("mode", "constant") != "constant" and least < 0
    return "it cuts and mirrors at once" if mirrors else None


def _whole(graph: Graph, node: Node) -> str | None:
    crops = node.str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return "it crops" if crops else None


_cuts = first_failing(
    *(
        needs_constant(place, what)
        for place, what in ((1, "start"), (2, "end"), (3, "axes"), (4, "step"))
    )
)
_pads = first_failing(
    *(needs_constant(place, what) for place, what in ((1, "padding"), (2, "value"), (3, "axes"))),
    _cuts_and_mirrors,
)
_sizes = first_failing(needs_constant(2, "scale"), needs_constant(3, "size"), _whole)
_same_shape = Entry[Say](_reshape, DELEGATE, int8=True)
_picture = rank_within(4, 4)

OPS: dict[str, Entry[Say]] = {
    "ChannelShuffle": Entry(_shuffle, DELEGATE, "a picture", _picture, int8=True),
    "Concat": Entry(_concat, DELEGATE, int8=True),
    "DepthToSpace": Entry(_depth_to_space, DELEGATE, "a picture", _picture, int8=True),
    "Expand": Entry(_expand, PORTABLE, "a constant shape", needs_constant(1, "shape"), int8=True),
    "Gather": Entry(_gather, EITHER, int8=True),
    "Identity": Entry(lambda graph, node, x: x[0], DELEGATE, int8=True),
    "Pad": Entry(_pad, EITHER, "constant amounts", _pads),
    "Resize": Entry(_resize, EITHER, "constant sizes", _sizes),
    "Slice": Entry(_slice, EITHER, "constant bounds", _cuts, int8=_forwards),
    "SpaceToDepth": Entry(_space_to_depth, DELEGATE, "a picture", _picture, int8=True),
    "Split": Entry(
        _split, DELEGATE, "constant sizes", needs_constant(1, "list of sizes"), int8=True
    ),
    "Tile": Entry(_tile, PORTABLE, "constant repeats", needs_constant(1, "count"), int8=True),
    "Transpose": Entry(_transpose, DELEGATE, int8=True),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _same_shape),
}
"""Operator -> entry."""
