"""Resize as Interp where ncnn reads the same places, else as cuts (nearest) or matrix products (filters)."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.axes import around
from edgeconv.export.ncnn.ops_layers import OPS as LAYERS
from edgeconv.export.ncnn.ops_move import OPS as MOVES
from edgeconv.export.ncnn.ops_move import PIECES, take
from edgeconv.export.ncnn.ops_windows import Say, one_picture
from edgeconv.export.ncnn.say import Emission
from edgeconv.export.op_parameters import runs
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.resize_by_axes import (
    Coordinates,
    nearest_rows,
    places,
    resize_by_matrices,
    why_no_places,
)

NEAREST, BILINEAR = 1, 2


def ncnn_coordinates(nearest: bool, corners: bool, size: int, out: int) -> Coordinates:
    """Return the place (nearest: the index) that Interp reads for each output, as interp.cpp computes it.

    >>> ncnn_coordinates(True, False, 2, 4).tolist(), ncnn_coordinates(False, False, 2, 4).tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.25, 0.75, 1.0])
    """
    x = np.arange(out, dtype=np.float64)
    if nearest:
        ratio = np.float32(size) / np.float32(out)
        return np.minimum((x.astype(np.float32) * ratio).astype(np.int64), size - 1) * 1.0
    moved = x * ((size - 1) / (out - 1)) if corners else (x + 0.5) * (size / out) - 0.5
    return np.clip(moved, 0, size - 1)


def _form(graph: Graph, node: Node) -> tuple[int, int] | None:
    """Return (resize type, align_corners) of the Interp that reads the same places; None where there is none."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    mode = node.str("mode", "nearest")
    if one_picture(graph, node) or before[:2] != after[:2] or mode not in ("nearest", "linear"):
        return None
    if before[2:] == (1, 1):
        return NEAREST, 0  # whatever the mode, every output is the one pixel
    if mode == "linear" and 1 in before[2:]:
        return None  # Interp reads a pixel beside the picture then
    if node.int("antialias", 0) and any(a < b for a, b in zip(after, before, strict=True)):
        return None
    wanted = [places(graph, node, axis) for axis in (2, 3)]
    for corners in (0,) if mode == "nearest" else (0, 1):
        if corners and 1 in after[2:]:
            continue
        made = [
            ncnn_coordinates(mode == "nearest", bool(corners), before[a], after[a]) for a in (2, 3)
        ]
        if all(np.allclose(m, w, atol=1e-5) for m, w in zip(made, wanted, strict=True)):
            return (NEAREST if mode == "nearest" else BILINEAR), corners
    return None


def _resize(em: Emission, node: Node) -> None:
    form = _form(em.graph, node)
    if form is not None:
        height, width = em.graph.shape(node.output)[2:]
        parameters = {0: form[0], 3: height, 4: width, 6: form[1]}
        made = em.add("Interp", node, [em.read(node.inputs[0])], parameters)
        em.write(node, made, em.own(node.output))
    elif node.str("mode", "nearest") == "nearest":
        _take_rows(em, node)
    else:
        for piece in resize_by_matrices(em.graph, node):
            (LAYERS.get(piece.op) or MOVES[piece.op]).emit(em, piece)


def _take_rows(em: Emission, node: Node) -> None:
    full, blob = em.graph.shape(node.inputs[0]), em.read(node.inputs[0])
    shape = em.own(node.inputs[0])
    for axis, rows in nearest_rows(em.graph, node).items():
        outer, _, inner = seen = around(full, axis)
        blob = em.reshaped(node.name, blob, shape, seen)
        blob = take(em, node, blob, seen, 1, rows.tolist())
        shape = outer, len(rows), inner
        full = (*full[:axis], len(rows), *full[axis + 1 :])
    em.write(node, blob, shape)


def _check(graph: Graph, node: Node) -> str | None:
    if (said := why_no_places(graph, node)) is not None:
        return said
    if node.str("mode", "nearest") == "nearest" and _form(graph, node) is None:
        many = max((len(runs(r.tolist())) for r in nearest_rows(graph, node).values()), default=0)
        if many > PIECES:
            return f"it takes {many} pieces of an axis that ncnn would round otherwise, more than {PIECES}"
    return None


OPS: dict[str, Entry[Say]] = {"Resize": Entry(_resize, "Interp, Crop, MatMul", check=_check)}
"""Operator -> entry."""
