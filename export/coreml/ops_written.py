"""Operators that Core ML has none for and that are written out where they stand."""

from collections.abc import Callable
from typing import Any

from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.align_regions import align_regions
from edgeconv.export.passes.fourier import dft_by_product, stft_by_products, why_no_transform
from edgeconv.export.passes.sample_by_rows import sample_by_rows, why_no_rows
from edgeconv.export.passes.scatter_by_hits import scatter_by_hits, why_no_hits


def _written(write: Callable[[Graph, Node], list[Node]]) -> Callable[[Lowering, Node, str], Any]:
    def emit(c: Lowering, node: Node, name: str) -> Any:
        del name
        for piece in write(c.graph, node):
            c.lower(piece, c.ops[piece.op])
        return c.values[node.output]

    return emit


def _sampled(write: Callable[[Graph, Node], list[Node]]) -> Callable[[Lowering, Node, str], Any]:
    """Return the lowering of a sampling of its first input: the places in float32."""

    def emit(c: Lowering, node: Node, name: str) -> Any:
        del name
        read = {node.inputs[0]}
        for piece in write(c.graph, node):
            if read.isdisjoint(piece.inputs):
                with c.exactly():
                    c.lower(piece, c.ops[piece.op])
            else:
                read.update(piece.outputs)
                c.lower(piece, c.ops[piece.op])
        return c.values[node.output]

    return emit


_INSIDE = "regions that are no larger than the picture"
_CONSTANT = "a constant length, axis, step and window"

OPS = {
    "DFT": Entry(_written(dft_by_product), nearest=_CONSTANT, check=why_no_transform),
    "STFT": Entry(_written(stft_by_products), nearest=_CONSTANT, check=why_no_transform),
    "GridSample": Entry(_sampled(sample_by_rows), check=why_no_rows),
    "RoiAlign": Entry(_sampled(align_regions), nearest=_INSIDE),
    "ScatterElements": Entry(_written(scatter_by_hits), check=why_no_hits),
    "ScatterND": Entry(_written(scatter_by_hits), check=why_no_hits),
}
