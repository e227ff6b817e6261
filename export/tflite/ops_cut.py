"""Operators that cut, pad or pick: Slice, Split, Pad, Gather."""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.op_parameters import dropped_axes, pad_amounts, slice_bounds
from edgeconv.export.op_table import Entry, first_failing, needs_constant
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import (
    PLAIN,
    Rule,
    order,
    stored_axis,
    stored_shape,
    without_axes,
)

MAX_SPLIT = 4  # outputs of a SPLIT that XNNPACK takes


def split(em: Emission, node: Node) -> None:
    """Split: SPLIT into up to 4 equal parts of numbers, else a SLICE for each."""
    source, rank = node.inputs[0], len(em.graph.shape(node.inputs[0]))
    axis = node.int("axis", 0) % rank
    sizes = [em.graph.shape(out)[axis] for out in node.outputs]
    layout = em.layout(node.outputs[0])
    x = em.read(source, layout, scale=em.result(node))
    place, held = stored_axis(axis, rank, layout), em.builder.quantization(x)
    alike = all(em.quantization(out) == held for out in node.outputs)
    even = len(set(sizes)) == 1 and 1 < len(sizes) <= MAX_SPLIT and em.builder.dtype(x) != "bool"
    if even and alike and all(node.outputs):
        outs = []
        for out in node.outputs:
            shape, kind = stored_shape(em.graph.shape(out), layout), em.builder.dtype(x)
            outs.append(em.builder.tensor(em.file_name(out), shape, kind, held))
            em.stored[out] = outs[-1]
        dimension = em.builder.shared("axis", np.array(place, np.int32))
        em.builder.op("SPLIT", [dimension, x], outs, "SplitOptions", numSplits=len(outs))
        return
    begin = 0
    for number, (out, size) in enumerate(zip(node.outputs, sizes, strict=True)):
        starts = [begin if axis_ == place else 0 for axis_ in range(rank)]
        counts = [size if axis_ == place else n for axis_, n in enumerate(em.builder.shape(x))]
        begin += size
        if out:
            inputs = [x, em.ints(starts, "begin"), em.ints(counts, "size")]
            em.emit(node, "SLICE", inputs, "SliceOptions", out=number)


def slice_(em: Emission, node: Node) -> None:
    """Slice: SLICE, or STRIDED_SLICE where a step is not 1."""
    source, layout = node.inputs[0], em.layout(node.output)
    shape, bounds = em.graph.shape(source), slice_bounds(em.graph, node)
    x = em.read(source, layout, scale=em.result(node))
    axes = order(layout, len(shape))
    triples = [bounds.get(axis, (0, shape[axis], 1)) for axis in axes]
    begin = em.ints([first for first, _, _ in triples], "begin")
    if all(step == 1 for _, _, step in triples):
        size = em.ints(stored_shape(em.graph.shape(node.output), layout), "size")
        em.emit(node, "SLICE", [x, begin, size], "SliceOptions")
        return
    # a negative step that includes element 0 has no end to name: the mask says "to the end"
    mask = sum(1 << place for place, (_, last, _) in enumerate(triples) if last < 0)
    end = em.ints([last for _, last, _ in triples], "end")
    steps = em.ints([step for _, _, step in triples], "strides")
    em.emit(
        node,
        "STRIDED_SLICE",
        [x, begin, end, steps],
        "StridedSliceOptions",
        endMask=mask,
        beginMask=0,
        ellipsisMask=0,
        newAxisMask=0,
        shrinkAxisMask=0,
    )


def pad(em: Emission, node: Node) -> None:
    """Pad: PAD or PADV2, MIRROR_PAD for reflect, GATHER of repeated rows for edge and wrap."""
    layout = em.layout(node.output)
    x = em.read(node.inputs[0], layout, scale=em.result(node))
    rank = len(em.builder.shape(x))
    amounts = [pad_amounts(em.graph, node)[axis] for axis in order(layout, rank)]
    mode = node.str("mode", "constant")
    if mode == "constant" and min(min(pair) for pair in amounts) < 0:
        x = _cut(em, x, amounts)
        amounts = [(max(before, 0), max(after, 0)) for before, after in amounts]
    paddings = em.ints(amounts, "padding")
    if mode == "constant":
        value = em.graph.constant(node, 2)
        level = 0.0 if value is None else float(np.asarray(value, np.float64).ravel()[0])
        if level == 0.0:
            em.emit(node, "PAD", [x, paddings], "PadOptions")
            return
        filler = _filler(em, level, x)
        em.emit(node, "PADV2", [x, paddings, filler], "PadV2Options")
    elif mode == "reflect" and _mirrors(em.builder.shape(x), amounts):
        em.emit(node, "MIRROR_PAD", [x, paddings], "MirrorPadOptions", mode="REFLECT")
    else:
        _pad_by_rows(em, node, x, amounts, mode)


def _filler(em: Emission, level: float, x: int) -> int:
    held = em.builder.quantization(x)
    if held is not None:
        return em.real(level, held)
    return em.builder.shared("filler", np.array([level], em.builder.dtype(x)))


def _mirrors(shape: Sequence[int], amounts: Sequence[tuple[int, int]]) -> bool:
    return len(shape) <= 4 and all(
        0 <= max(pair) < size and min(pair) >= 0 for pair, size in zip(amounts, shape, strict=True)
    )


def _cut(em: Emission, x: int, amounts: Sequence[tuple[int, int]]) -> int:
    starts = [max(-before, 0) for before, _ in amounts]
    ends = [
        size - max(-after, 0) for size, (_, after) in zip(em.builder.shape(x), amounts, strict=True)
    ]
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    return em.do(
        "SLICE",
        [x, em.ints(starts, "begin"), em.ints(sizes, "size")],
        "SliceOptions",
        shape=sizes,
        quantization=em.builder.quantization(x),
    )


def _pad_by_rows(
    em: Emission, node: Node, x: int, amounts: Sequence[tuple[int, int]], mode: str
) -> None:
    rows = {
        axis: np.pad(np.arange(size), pair, mode=mode)  # type: ignore[call-overload]
        for axis, (size, pair) in enumerate(zip(em.builder.shape(x), amounts, strict=True))
        if pair != (0, 0)
    }
    take(em, node, x, rows)


def take(em: Emission, node: Node, x: int, rows: dict[int, Array]) -> None:
    """Emit a node as one GATHER along each stored axis of ``rows`` (axis -> indices)."""
    for number, (axis, indices) in enumerate(rows.items()):
        inputs = [x, em.ints(indices, "rows")]
        if number == len(rows) - 1:
            em.emit(node, "GATHER", inputs, "GatherOptions", axis=axis)
            return
        shape = list(em.builder.shape(x))
        shape[axis] = len(indices)
        held = em.builder.quantization(x)
        x = em.do("GATHER", inputs, "GatherOptions", shape=shape, quantization=held, axis=axis)


def gather(em: Emission, node: Node) -> None:
    """Gather: GATHER; indices may be negative, which the kernel does not take."""
    source = node.inputs[0]
    rank, axis = len(em.graph.shape(source)), node.int("axis", 0)
    indices = em.graph.constant(node, 1)
    layout = made = PLAIN
    if indices is not None and indices.ndim == 0:
        layout, made = without_axes(rank, dropped_axes(em.graph, node), em.layout(source))
    elif _gather_keeps_rank(em.graph, node):
        layout = made = em.layout(node.output)
    x = em.read(source, layout, scale=em.result(node))
    size = em.graph.shape(source)[axis % rank]
    if indices is None:
        kind = em.graph.dtype(node.inputs[1])
        count = em.builder.shared("size", np.array([size], kind))
        rows = em.read(node.inputs[1], PLAIN)
        rows = em.do("FLOOR_MOD", [rows, count], "FloorModOptions")
    else:
        rows = em.builder.shared("rows", np.asarray(indices % size, np.int32))
    place = stored_axis(axis, rank, layout)
    em.emit(node, "GATHER", [x, rows], "GatherOptions", layout=made, axis=place)


def _gather_keeps_rank(graph: Graph, node: Node) -> bool:
    return len(graph.shape(node.inputs[1])) == 1 and node.inputs[1] in graph.constants


def _gather_rule(graph: Graph, node: Node) -> Rule:
    indices = graph.constant(node, 1)
    if indices is not None and indices.ndim == 0:
        return "loose"
    return "any" if _gather_keeps_rank(graph, node) else "plain"


def _check_slice(graph: Graph, node: Node) -> str | None:
    rank = len(graph.shape(node.inputs[0]))
    return f"it cuts a tensor of {rank} axes" if rank > 5 else None


def _check_pad(graph: Graph, node: Node) -> str | None:
    amounts = pad_amounts(graph, node)
    if node.str("mode", "constant") != "constant" and min(min(pair) for pair in amounts) < 0:
        return "it cuts and mirrors at once"
    return None


_slice_bounds = [
    needs_constant(n, w) for n, w in ((1, "start"), (2, "end"), (3, "axes"), (4, "step"))
]


TABLE = {
    "Split": Entry(
        split, "SPLIT, SLICE", "constant sizes", needs_constant(1, "list of sizes"), int8=True
    ),
    "Slice": Entry(
        slice_,
        "SLICE, STRIDED_SLICE",
        "constant starts, ends, axes and steps on up to 5 axes",
        first_failing(*_slice_bounds, _check_slice),
        int8=True,
    ),
    "Pad": Entry(
        pad,
        "PAD, PADV2, MIRROR_PAD, GATHER",
        "constant amounts, in mode constant, reflect, edge or wrap",
        first_failing(
            needs_constant(1, "padding"),
            needs_constant(2, "value"),
            needs_constant(3, "list of axes"),
            _check_pad,
        ),
        int8=True,
    ),
    "Gather": Entry(
        gather,
        "GATHER, FLOOR_MOD",
        "int32 or int64 indices",
        rule=_gather_rule,
        int8=True,
    ),
}
