"""Operators that move elements without computing: reshapes, slices, shuffles, padding."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lowering, integers_of, interleave
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry

MAX_RANK = 5


def _reshape(c: Lowering, node: Node, name: str) -> Any:
    x, shape = c.tensor(node.inputs[0]), list(c.shape(node.output))
    rank = len(c.shape(node.inputs[0]))
    if not shape and rank:  # MIL has no empty shape
        return c.mb.squeeze(x=x, axes=list(range(rank)), name=name)
    if not rank and shape:
        return c.mb.expand_dims(x=x, axes=list(range(len(shape))), name=name)
    return c.mb.reshape(x=x, shape=shape, name=name)


def _refuse_rank(graph: Graph, node: Node) -> str | None:
    rank = max(len(graph.shape(out)) for out in node.outputs)
    return f"rank {rank} exceeds Core ML's {MAX_RANK} axes" if rank > MAX_RANK else None


def _transpose(c: Lowering, node: Node, name: str) -> Any:
    rank = len(c.shape(node.inputs[0]))
    perm = node.ints("perm", range(rank)[::-1])
    return c.mb.transpose(x=c.tensor(node.inputs[0]), perm=perm, name=name)


def _concat(c: Lowering, node: Node, name: str) -> Any:
    values = [c.tensor(tensor) for tensor in node.inputs]
    return c.mb.concat(values=values, axis=node.int("axis", 0), name=name)


def _channel_shuffle(c: Lowering, node: Node, name: str) -> Any:
    n, channels, *rest = c.shape(node.inputs[0])
    groups = node.int("groups", 1)
    lead = [] if n == 1 else [n]  # four axes suit the Neural Engine better than five
    split = c.mb.reshape(
        x=c.tensor(node.inputs[0]),
        shape=[*lead, groups, channels // groups, *rest],
        name=c.name(f"{name}_groups"),
    )
    swap = [1, 0, 2, 3] if n == 1 else [0, 2, 1, 3, 4]
    swapped = c.mb.transpose(x=split, perm=swap, name=c.name(f"{name}_swapped"))
    return c.mb.reshape(x=swapped, shape=[n, channels, *rest], name=name)


def _slice_bounds(graph: Graph, node: Node) -> list[tuple[int, int, int, int]]:
    """Return (axis, begin, end, step) of a Slice, ends resolved against the shape."""
    shape = graph.shape(node.inputs[0])
    begins, ends = (integers_of(graph, node, i, "its bounds") for i in (1, 2))
    has = [len(node.inputs) > i and node.inputs[i] != "" for i in (3, 4)]
    axes = integers_of(graph, node, 3, "its axes") if has[0] else list(range(len(begins)))
    steps = integers_of(graph, node, 4, "its steps") if has[1] else [1] * len(begins)
    found = []
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        low, high, _ = slice(begin, end, step).indices(shape[axis])
        found.append((axis % len(shape), low, high, step))
    return found


def _slice(c: Lowering, node: Node, name: str) -> Any:
    shape = c.shape(node.inputs[0])
    begin, end, stride = [0] * len(shape), list(shape), [1] * len(shape)
    x, turned = c.tensor(node.inputs[0]), []
    for axis, low, high, step in _slice_bounds(c.graph, node):
        begin[axis], end[axis], stride[axis] = low, high, step
        if step < 0:  # forwards over the reversed axis
            last = shape[axis] - 1
            begin[axis], end[axis], stride[axis] = last - low, last - high, -step
            turned.append(axis)
    if turned:
        x = c.mb.reverse(x=x, axes=turned, name=c.name(f"{name}_reversed"))
    return c.mb.slice_by_index(x=x, begin=begin, end=end, stride=stride, name=name)


def _refuse_slice(graph: Graph, node: Node) -> str | None:
    if any(graph.constant(node, i) is None for i in range(1, len(node.inputs)) if node.inputs[i]):
        return "its bounds must be constant"
    return None


def _split(c: Lowering, node: Node, name: str) -> Any:
    axis = node.int("axis", 0)
    sizes = [c.shape(out)[axis] for out in node.outputs]
    made = c.mb.split(x=c.tensor(node.inputs[0]), split_sizes=sizes, axis=axis, name=name)
    return list(made) if isinstance(made, (list, tuple)) else [made]


def _gather(c: Lowering, node: Node, name: str) -> Any:
    axis = node.int("axis", 0)
    size = c.shape(node.inputs[0])[axis]
    known = c.graph.constant(node, 1)
    x = c.variable(node.inputs[0], name)
    if known is not None:
        indices: Any = np.asarray(known).astype(np.int32) % size
        return c.mb.gather(x=x, indices=indices, axis=axis, name=name)
    given = c.tensor(node.inputs[1])
    below = c.mb.less(x=given, y=np.int32(0), name=c.name(f"{name}_below"))
    turned = c.mb.add(x=given, y=np.int32(size), name=c.name(f"{name}_turned"))
    indices = c.mb.select(cond=below, a=turned, b=given, name=c.name(f"{name}_indices"))
    return c.mb.gather(x=x, indices=indices, axis=axis, name=name)


def _pad_widths(graph: Graph, node: Node) -> list[int]:
    """Return MIL's pairs for every axis."""
    rank = len(graph.shape(node.inputs[0]))
    pads = integers_of(graph, node, 1, "its widths")
    has_axes = len(node.inputs) > 3 and node.inputs[3] != ""
    axes = integers_of(graph, node, 3, "its axes") if has_axes else list(range(rank))
    full = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        full[axis % rank] = pads[place]
        full[axis % rank + rank] = pads[place + len(axes)]
    return interleave(full)


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def _pad(c: Lowering, node: Node, name: str) -> Any:
    mode, widths = node.str("mode", "constant"), _pad_widths(c.graph, node)
    whole = c.graph.dtype(node.output).kind != "f"
    if mode == "wrap" or (mode != "constant" and (whole or any(widths[:-4]))):
        return _pad_by_rows(c, node, name, mode, widths)
    value = c.graph.constant(node, 2)
    fill = 0 if value is None else np.asarray(value).reshape(-1)[0]
    return c.mb.pad(
        x=c.tensor(node.inputs[0]),
        pad=widths,
        mode=PAD_MODES[mode],
        constant_val=np.float32(fill),
        name=name,
    )


def _pad_by_rows(c: Lowering, node: Node, name: str, mode: Any, widths: list[int]) -> Any:
    """Gather along each axis: MIL wraps nowhere, and reflects and repeats on the last two axes only."""
    x = c.variable(node.inputs[0], name)
    axes = sorted({place // 2 for place, width in enumerate(widths) if width})
    for axis in axes:
        size, pair = c.shape(node.inputs[0])[axis], tuple(widths[2 * axis : 2 * axis + 2])
        rows = np.pad(np.arange(size, dtype=np.int32), pair, mode=mode)
        made = name if axis == axes[-1] else c.name(f"{name}_{axis}")
        x = c.mb.gather(x=x, indices=rows, axis=axis, name=made)
    return x


def _refuse_pad(graph: Graph, node: Node) -> str | None:
    if any(graph.constant(node, i) is None for i in range(1, len(node.inputs)) if node.inputs[i]):
        return "its widths and value must be constant"
    if any(width < 0 for width in _pad_widths(graph, node)):
        return "negative widths have no Core ML form; a Slice has"
    if node.str("mode", "constant") == "constant" and graph.dtype(node.output).kind != "f":
        return "it pads whole numbers; a Cast to float has a form"
    return None


def _depth_to_space(c: Lowering, node: Node, name: str) -> Any:
    x, block = c.tensor(node.inputs[0]), node.int("blocksize", 1)
    if node.str("mode", "DCR") == "CRD":
        return c.mb.pixel_shuffle(x=x, upscale_factor=block, name=name)
    return c.mb.depth_to_space(x=x, block_size=block, name=name)


def _space_to_depth(c: Lowering, node: Node, name: str) -> Any:
    x, block = c.tensor(node.inputs[0]), node.int("blocksize", 1)
    if node.str("mode", "DCR") == "CRD":
        return c.mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(block), name=name)
    return c.mb.space_to_depth(x=x, block_size=block, name=name)


def _tile(c: Lowering, node: Node, name: str) -> Any:
    source, made = c.shape(node.inputs[0]), c.shape(node.output)
    padded = (1,) * (len(made) - len(source)) + source
    x = c.tensor(node.inputs[0])
    if padded != source:
        x = c.mb.reshape(x=x, shape=list(padded), name=c.name(f"{name}_rank"))
    reps = [new // old for new, old in zip(made, padded, strict=True)]
    return c.mb.tile(x=x, reps=reps, name=name)


OPS = {
    "Reshape": Entry(_reshape, check=_refuse_rank),
    "Flatten": Entry(_reshape, check=_refuse_rank),
    "Squeeze": Entry(_reshape, check=_refuse_rank),
    "Unsqueeze": Entry(_reshape, check=_refuse_rank),
    "Transpose": Entry(_transpose, check=_refuse_rank),
    "Concat": Entry(_concat),
    "ChannelShuffle": Entry(_channel_shuffle),
    "Slice": Entry(_slice, check=_refuse_slice),
    "Split": Entry(_split),
    "Gather": Entry(_gather),
    "Pad": Entry(_pad, check=_refuse_pad),
    "DepthToSpace": Entry(_depth_to_space),
    "SpaceToDepth": Entry(_space_to_depth),
    "Tile": Entry(_tile, check=_refuse_rank),
    "Expand": Entry(_tile, check=_refuse_rank),
}
