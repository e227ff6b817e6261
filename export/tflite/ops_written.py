"""Operators that TFLite has none for and that are written out where they stand, in float."""

from collections.abc import Callable

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.align_regions import align_regions
from edgeconv.export.passes.fourier import dft_by_product, stft_by_products, why_no_transform
from edgeconv.export.passes.sample_by_rows import sample_by_rows, why_no_rows
from edgeconv.export.passes.scatter_by_hits import scatter_by_hits, why_no_hits
from edgeconv.export.tflite.emission import Emission, Emit


def written(write: Callable[[Graph, Node], list[Node]]) -> Emit:
    """Return the emitter of an operator that ``write`` takes apart."""

    def emit(em: Emission, node: Node) -> None:
        for piece in write(em.graph, node):
            em.ops[piece.op].emit(em, piece)

    return emit


_HITS = "EQUAL, CAST, BATCH_MATMUL, SELECT_V2, REDUCE_MAX, ADD"
_PRODUCTS = "TRANSPOSE, GATHER, BATCH_MATMUL, RESHAPE"
_GATHERS = "FLOOR, ROUND, MUL, ADD, CAST, GATHER"
_SIDES = "sampling of signals, pictures and volumes"
_REGIONS = "ABS, CAST, BATCH_MATMUL, SUM, GATHER, REDUCE_MAX"
_INSIDE = "regions that are no larger than the picture"
_CONSTANT = "a constant length, axis, step and window"

TABLE = {
    op: Entry(written(scatter_by_hits), _HITS, "Concat of slices", why_no_hits, "plain")
    for op in ("ScatterElements", "ScatterND")
} | {
    "GridSample": Entry(written(sample_by_rows), _GATHERS, _SIDES, why_no_rows, "picture"),
    "RoiAlign": Entry(written(align_regions), _REGIONS, _INSIDE, rule="plain"),
    "DFT": Entry(written(dft_by_product), _PRODUCTS, _CONSTANT, why_no_transform, "plain"),
    "STFT": Entry(written(stft_by_products), _PRODUCTS, _CONSTANT, why_no_transform, "plain"),
}
