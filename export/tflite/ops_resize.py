"""Resize, matched by the coordinates it really reads instead of by the names of its modes."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.passes.resize_by_axes import (
    Coordinates,
    keeps_scales,
    nearest_rows,
    places,
    resize_by_matrices,
    why_no_matrices,
    why_no_places,
)
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import Rule, order, stored_axis
from edgeconv.export.tflite.ops_cut import take
from edgeconv.export.tflite.ops_elementwise import identity

FORMS = ((False, True), (True, False), (False, False))  # (align_corners, half_pixel_centers)


def tflite_coordinates(nearest: bool, align: bool, half: bool, size: int, out: int) -> Coordinates:
    """Return the source coordinate (nearest: index) of each output position in TFLite's kernels."""
    x = np.arange(out, dtype=np.float64)
    scale = (size - 1) / (out - 1) if align and out > 1 else size / out
    if not nearest:
        return np.clip((x + 0.5) * scale - 0.5 if half else x * scale, 0, size - 1)
    moved = (x + (0.5 if half else 0.0)) * scale
    # TfLiteRound rounds half away from zero
    index = np.floor(moved + 0.5) if align else np.floor(moved)
    return np.clip(index, 0, size - 1)


def _is_nearest(node: Node) -> bool:
    return node.str("mode", "nearest") == "nearest"


def _form(graph: Graph, node: Node) -> tuple[bool, bool] | None:
    """Return the (align_corners, half_pixel_centers) that reads the same pixels, or None."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    nearest = _is_nearest(node)
    wanted = [places(graph, node, axis) for axis in (2, 3)]
    for align, half in FORMS:
        made = [tflite_coordinates(nearest, align, half, before[a], after[a]) for a in (2, 3)]
        tied = nearest and align and any(_is_tied(before[a], after[a]) for a in (2, 3))
        if not tied and all(
            np.allclose(m, w, atol=1e-5) for m, w in zip(made, wanted, strict=True)
        ):
            return align, half
    return None


def _is_tied(size: int, out: int) -> bool:
    """Whether a place lies between two pixels, so that the last bit of single precision chooses."""
    moved = np.arange(out) * (size - 1) / max(out - 1, 1)
    return bool(np.any(np.abs(moved % 1 - 0.5) < 1e-5))


def resize(em: Emission, node: Node) -> None:
    """Resize: RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR; GATHER for any other nearest choice.

    Filters that TFLite has not become BATCH_MATMUL.
    """
    nearest, foreign = _is_nearest(node), _foreign(em.graph, node) is not None
    if foreign and not nearest:
        stored = order(em.layout(node.output), len(em.graph.shape(node.output)))
        for piece in resize_by_matrices(em.graph, node, stored):
            em.ops[piece.op].emit(em, piece)
        return
    form = None if foreign else _form(em.graph, node)
    if form is None:
        _take_rows(em, node)
        return
    x = em.read(node.inputs[0], "last", scale=em.result(node) if nearest else None)
    code = "RESIZE_NEAREST_NEIGHBOR" if nearest else "RESIZE_BILINEAR"
    options = "ResizeNearestNeighborOptions" if nearest else "ResizeBilinearOptions"
    size = em.ints(em.graph.shape(node.output)[2:], "size")
    em.emit(
        node,
        code,
        [x, size],
        options,
        layout="last",
        # the int8 kernels interpolate integers: the result has the input's scale
        own=em.builder.quantization(x),
        alignCorners=form[0],
        halfPixelCenters=form[1],
    )


def _take_rows(em: Emission, node: Node) -> None:
    layout, rank = em.layout(node.output), len(em.graph.shape(node.output))
    x = em.read(node.inputs[0], layout, scale=em.result(node))
    rows = nearest_rows(em.graph, node)
    if rows:
        take(em, node, x, {stored_axis(axis, rank, layout): at for axis, at in rows.items()})
    else:
        identity(em, node)


def _check(graph: Graph, node: Node) -> str | None:
    mode = node.str("mode", "nearest")
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    if mode not in ("nearest", "linear"):
        return f"its mode is {mode}"
    if before[:2] != after[:2]:
        return "it resizes batch or channels"
    if node.int("antialias", 0) and any(a < b for a, b in zip(after, before, strict=True)):
        return "it antialiases"
    how = node.str("coordinate_transformation_mode", "half_pixel")
    if how == "tf_crop_and_resize":
        return "it crops"
    if keeps_scales(graph, node):
        return "it keeps the aspect ratio"
    if mode == "linear" and _form(graph, node) is None:
        return (
            f"its coordinates ({how}, scales that are not the ratio of the sizes) are not TFLite's"
        )
    return None


_foreign = first_failing(
    rank_within(4, 4), needs_constant(2, "scale"), needs_constant(3, "size"), _check
)
"""Why TFLite's own operators cannot do a Resize."""


def _refuse(graph: Graph, node: Node) -> str | None:
    other = why_no_places if _is_nearest(node) else why_no_matrices
    return None if other(graph, node) is None else _foreign(graph, node)


def _rule(graph: Graph, node: Node) -> Rule:
    return "picture" if _foreign(graph, node) is None else "any"


TABLE = {
    "Resize": Entry(
        resize,
        "RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR, GATHER, BATCH_MATMUL",
        "mode nearest, linear or cubic to constant sizes",
        _refuse,
        _rule,
        int8=lambda graph, node: _is_nearest(node) or _foreign(graph, node) is None,
    ),
}
