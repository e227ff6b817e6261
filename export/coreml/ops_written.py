"""Operators that Core ML has none for and that are written out where they stand."""

from collections.abc import Callable
from typing import Any

from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.fourier import dft_by_product, stft_by_products, why_no_transform
from edgeconv.export.passes.scatter_by_hits import scatter_by_hits, why_no_hits


def _written(write: Callable[[Graph, Node], list[Node]]) -> Callable[[Lowering, Node, str], Any]:
    def emit(c: Lowering, node: Node, name: str) -> Any:
        del name
        for piece in write(c.graph, node):
            c.lower(piece, c.ops[piece.op])
        return c.values[node.output]

    return emit


_CONSTANT = "a constant length, axis, step and window"

OPS = {
    "DFT": Entry(_written(dft_by_product), nearest=_CONSTANT, check=why_no_transform),
    "STFT": Entry(_written(stft_by_products), nearest=_CONSTANT, check=why_no_transform),
    "ScatterElements": Entry(_written(scatter_by_hits), check=why_no_hits),
    "ScatterND": Entry(_written(scatter_by_hits), check=why_no_hits),
}
