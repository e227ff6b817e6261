"""Resize: bilinear by MIL's sampling modes, nearest by exact row and column indices."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.resize_by_axes import (
    keeps_scales,
    nearest_rows,
    resize_by_matrices,
    why_no_matrices,
    why_no_places,
)

SAMPLING = {
    "half_pixel": "UNALIGN_CORNERS",
    "pytorch_half_pixel": "UNALIGN_CORNERS",
    "align_corners": "STRICT_ALIGN_CORNERS",
    "asymmetric": "DEFAULT",
}
"""ONNX coordinate_transformation_mode -> MIL sampling_mode (resize_bilinear's documentation)."""


def _resize(c: Lowering, node: Node, name: str) -> Any:
    if node.str("mode", "nearest") == "nearest":
        return _nearest(c, node, name)
    if _foreign(c.graph, node) is not None:
        for piece in resize_by_matrices(c.graph, node):
            c.lower(piece, c.ops[piece.op])
        return c.values[node.output]
    made = c.shape(node.output)
    return c.mb.resize_bilinear(
        x=c.tensor(node.inputs[0]),
        target_size_height=made[2],
        target_size_width=made[3],
        sampling_mode=SAMPLING[_coordinates(node)],
        name=name,
    )


def _nearest(c: Lowering, node: Node, name: str) -> Any:
    """One upsampling where that reads the same, else a gather an axis."""
    rows, x = nearest_rows(c.graph, node), c.tensor(node.inputs[0])
    source = c.shape(node.inputs[0])
    factors = {axis: len(at) // source[axis] for axis, at in rows.items()}
    repeats = all(
        np.array_equal(at, np.arange(source[a]).repeat(factors[a])) for a, at in rows.items()
    )
    if len(source) == 4 and rows and rows.keys() <= {2, 3} and repeats:
        return c.mb.upsample_nearest_neighbor(
            x=x,
            scale_factor_height=np.int32(factors.get(2, 1)),
            scale_factor_width=np.int32(factors.get(3, 1)),
            name=name,
        )
    for number, (axis, at) in enumerate(rows.items(), start=1):
        made_name = name if number == len(rows) else c.name(f"{name}_axis")
        x = c.mb.gather(x=x, indices=at, axis=axis, name=made_name)
    return x if rows else c.mb.identity(x=x, name=name)


def _coordinates(node: Node) -> str:
    return node.str("coordinate_transformation_mode", "half_pixel")


def _refuse(graph: Graph, node: Node) -> str | None:
    if node.str("mode", "nearest") == "nearest":
        return why_no_places(graph, node)
    return None if why_no_matrices(graph, node) is None else _foreign(graph, node)


def _foreign(graph: Graph, node: Node) -> str | None:
    """Say why MIL's own operators cannot do a Resize."""
    mode, coordinates = node.str("mode", "nearest"), _coordinates(node)
    source, made = graph.shape(node.inputs[0]), graph.shape(node.output)
    if mode != "linear":
        return f"mode {mode} has no Core ML form; nearest and linear have"
    if coordinates not in SAMPLING:
        return f"coordinate_transformation_mode {coordinates} has no Core ML form; half_pixel has"
    if len(source) != 4 or source[:2] != made[:2]:
        return "only height and width of an NCHW tensor can be resized"
    if keeps_scales(graph, node):
        return "scales that keep the aspect ratio have no Core ML form; sizes have"
    if node.int("antialias", 0):
        return "antialiasing has no Core ML form; antialias=0 has"
    if coordinates == "pytorch_half_pixel" and 1 in made[2:]:
        return "pytorch_half_pixel to one row or column has no Core ML form; half_pixel has"
    if len(node.inputs) > 2 and node.inputs[2] and graph.constant(node, 2) is None:
        return "its scales are computed at run time"
    scales = graph.constant(node, 2)
    if scales is not None and scales.size == len(source) and coordinates != "align_corners":
        exact = np.asarray(scales, np.float64) * source
        if not np.allclose(exact, made, rtol=0, atol=1e-3):
            return "a scale that does not give a whole size has no Core ML form; give sizes"
    return None


OPS = {
    "Resize": Entry(_resize, check=_refuse),
    "Upsample": Entry(_resize, check=_refuse),
}
