"""Resize, matched by the coordinates it really reads instead of by the names of its modes."""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant, rank_within
from edgeconv.export.passes.resize_by_matrices import (
    Coordinates,
    onnx_coordinates,
    resize_by_matrices,
    why_no_matrices,
)
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.ops_cut import take

FORMS = ((False, True), (True, False), (False, False))  # (align_corners, half_pixel_centers)


def _rounded(coordinates: Coordinates, nearest: str) -> Coordinates:
    if nearest == "floor":
        return np.floor(coordinates)
    if nearest == "ceil":
        return np.ceil(coordinates)
    if nearest == "round_prefer_ceil":
        return np.floor(coordinates + 0.5)
    return np.ceil(coordinates - 0.5)


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


def _wanted(graph: Graph, node: Node) -> list[Coordinates]:
    """Return the clipped source coordinates of the two spatial axes."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    mode = node.str("coordinate_transformation_mode", "half_pixel")
    scales = graph.constant(node, 2)
    axes = [axis % 4 for axis in node.ints("axes", range(4))]
    found = []
    for axis in (2, 3):
        size, out = before[axis], after[axis]
        given = scales is not None and scales.size and axis in axes
        scale = (
            float(scales.ravel()[axes.index(axis)]) if given and scales is not None else out / size
        )
        at = onnx_coordinates(mode, size, out, scale)
        if node.str("mode", "nearest") == "nearest":
            at = _rounded(at, node.str("nearest_mode", "round_prefer_floor"))
        found.append(np.clip(at, 0, size - 1))
    return found


def _form(graph: Graph, node: Node) -> tuple[bool, bool] | None:
    """Return the (align_corners, half_pixel_centers) that reads the same pixels, or None."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    nearest, wanted = node.str("mode", "nearest") == "nearest", _wanted(graph, node)
    for align, half in FORMS:
        made = [tflite_coordinates(nearest, align, half, before[a], after[a]) for a in (2, 3)]
        if all(np.allclose(m, w, atol=1e-5) for m, w in zip(made, wanted, strict=True)):
            return align, half
    return None


def resize(em: Emission, node: Node) -> None:
    """Resize: RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR; GATHER for any other nearest choice.

    Filters that TFLite has not become BATCH_MATMUL.
    """
    if _foreign(em.graph, node) is not None:
        for piece in resize_by_matrices(em.graph, node):
            em.ops[piece.op].emit(em, piece)
        return
    nearest = node.str("mode", "nearest") == "nearest"
    form = _form(em.graph, node)
    scale = em.result(node) if nearest else None
    x = em.read(node.inputs[0], "last", scale=scale)
    if form is None:
        rows = {axis: at.astype(np.int32) for axis, at in enumerate(_wanted(em.graph, node), 1)}
        take(em, node, x, rows)
        return
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
    reason = _foreign(graph, node)
    return None if reason is None or why_no_matrices(graph, node) is None else reason


TABLE = {
    "Resize": Entry(
        resize,
        "RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR, BATCH_MATMUL",
        "mode nearest, linear or cubic over the last two axes",
        _refuse,
        lambda graph, node: "picture" if _foreign(graph, node) is None else "plain",
        int8=lambda graph, node: _foreign(graph, node) is None,
    ),
}
