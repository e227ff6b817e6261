"""Resize: bilinear by MIL's sampling modes, nearest by exact row and column indices."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.resize_by_matrices import resize_by_matrices, why_no_matrices

SAMPLING = {
    "half_pixel": "UNALIGN_CORNERS",
    "pytorch_half_pixel": "UNALIGN_CORNERS",
    "align_corners": "STRICT_ALIGN_CORNERS",
    "asymmetric": "DEFAULT",
}
"""ONNX coordinate_transformation_mode -> MIL sampling_mode (resize_bilinear's documentation)."""

ROUNDING: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _resize(c: Lowering, node: Node, name: str) -> Any:
    if _foreign(c.graph, node) is not None:
        for piece in resize_by_matrices(c.graph, node):
            c.lower(piece, c.ops[piece.op])
        return c.values[node.output]
    source, made = c.shape(node.inputs[0]), c.shape(node.output)
    x = c.tensor(node.inputs[0])
    if node.str("mode", "nearest") == "linear":
        return c.mb.resize_bilinear(
            x=x,
            target_size_height=made[2],
            target_size_width=made[3],
            sampling_mode=SAMPLING[_coordinates(node)],
            name=name,
        )
    factors = [new // old for new, old in zip(made[2:], source[2:], strict=True)]
    rows = [_nearest(node, source[axis], made[axis]) for axis in (2, 3)]
    if all(
        np.array_equal(index, np.arange(made[axis]) // factor)
        for index, axis, factor in zip(rows, (2, 3), factors, strict=True)
        if factor
    ) and all(new == old * f for new, old, f in zip(made[2:], source[2:], factors, strict=True)):
        return c.mb.upsample_nearest_neighbor(
            x=x,
            scale_factor_height=np.int32(factors[0]),
            scale_factor_width=np.int32(factors[1]),
            name=name,
        )
    tall = c.mb.gather(x=x, indices=rows[0], axis=2, name=c.name(f"{name}_rows"))
    return c.mb.gather(x=tall, indices=rows[1], axis=3, name=name)


def _coordinates(node: Node) -> str:
    return node.str("coordinate_transformation_mode", "half_pixel")


def _nearest(node: Node, size: int, made: int) -> NDArray[np.int32]:
    """Return the source index of every output index along one axis (ONNX Resize, nearest)."""
    out, scale = np.arange(made, dtype=np.float64), made / size
    mode = _coordinates(node)
    if mode == "align_corners":
        where = out * ((size - 1) / (made - 1)) if made > 1 else np.zeros(1)
    elif mode == "asymmetric":
        where = out / scale
    else:
        where = (out + 0.5) / scale - 0.5
    rounded = ROUNDING[node.str("nearest_mode", "round_prefer_floor")](where)
    index: NDArray[np.int32] = np.clip(rounded, 0, size - 1).astype(np.int32)
    return index


def _refuse(graph: Graph, node: Node) -> str | None:
    reason = _foreign(graph, node)
    return None if reason is None or why_no_matrices(graph, node) is None else reason


def _foreign(graph: Graph, node: Node) -> str | None:
    """Say why MIL's own operators cannot do a Resize."""
    mode, coordinates = node.str("mode", "nearest"), _coordinates(node)
    source, made = graph.shape(node.inputs[0]), graph.shape(node.output)
    if mode not in ("nearest", "linear"):
        return f"mode {mode} has no Core ML form; nearest and linear have"
    if coordinates not in SAMPLING:
        return f"coordinate_transformation_mode {coordinates} has no Core ML form; half_pixel has"
    if len(source) != 4 or source[:2] != made[:2]:
        return "only height and width of an NCHW tensor can be resized"
    if node.int("antialias", 0):
        return "antialiasing has no Core ML form; antialias=0 has"
    if mode == "linear" and coordinates == "pytorch_half_pixel" and 1 in made[2:]:
        return "pytorch_half_pixel to one row or column has no Core ML form; half_pixel has"
    scales = graph.constant(node, 2)
    if scales is not None and scales.size == len(source) and coordinates != "align_corners":
        exact = np.asarray(scales, np.float64) * source
        if not np.allclose(exact, made, rtol=0, atol=1e-3):
            return "a scale that does not give a whole size has no Core ML form; give sizes"
    return None


OPS = {"Resize": Entry(_resize, check=_refuse), "Upsample": Entry(_resize, check=_refuse)}
