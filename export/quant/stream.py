"""Run the quantized net over many pictures a layer at a time, fixing each layer's integers on the way.

Every tensor lives as one uint8 array over all pictures from where it is made to its last reader.
Each piece of the graph runs as the QDQ model that the emitter writes, so that later layers see
what the artifact will really compute.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.quant.batching import batched, set_batch
from edgeconv.export.quant.observe import Feeds, stack
from edgeconv.export.quant.ops import is_pixel_shift
from edgeconv.export.quant.qdq import emit_qdq
from edgeconv.export.quant.recipe import Recipe, Weights, quantize_values
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session

Tensor = NDArray[Any]
Fit = Callable[[Node, Tensor], Weights]
"""Gives a weighted node its integers from its input over all pictures, uint8 (n, ...)."""

SLICE_BYTES = 16 << 20


@dataclass(frozen=True)
class _Piece:
    """Consecutive nodes that run as one model; a weighted node is always the first of its piece."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def run_quantized(
    graph: Graph,
    recipe: Recipe,
    feeds: Feeds,
    fit: Fit,
    *,
    threads: int = 1,
    inspect: Callable[[str, Tensor], None] = lambda _name, _stored: None,
    progress: Callable[[float], None] = lambda _: None,
) -> Recipe:
    """Return the recipe with the weights that ``fit`` gave.

    ``inspect`` is shown every tensor when it is made: its name and all pictures as stored.

    ``recipe`` has all activations and no weights yet; nodes it has weights for keep them.
    """
    wide = batched(graph)
    runner = wide if wide is not None else graph
    live = {name: _store(graph, recipe, name, stack(feeds, name)) for name in graph.inputs}
    for node in graph.nodes:
        if is_pixel_shift(graph, node) and node.output in recipe.activations:
            shifted = live[node.inputs[0]] - graph.constants[node.inputs[1]]
            live[node.output] = _store(graph, recipe, node.output, shifted)
    for name, stored in live.items():
        inspect(name, stored)
    weights = dict(recipe.weights)
    pieces = list(_pieces(runner, recipe, live))
    last = {name: i for i, piece in enumerate(pieces) for name in piece.inputs}
    for i, piece in enumerate(pieces):
        first = piece.nodes[0]
        if _fits(graph, recipe, first) and first.name not in weights:
            weights[first.name] = fit(first, live[first.inputs[0]])
        _run_piece(runner, replace(recipe, weights=weights), piece, live, wide is not None, threads)
        for name in piece.outputs:
            inspect(name, live[name])
        for name in piece.inputs:
            if last[name] == i and name not in graph.outputs:
                live.pop(name, None)
        progress((i + 1) / len(pieces))
    return replace(recipe, weights=weights)


def _fits(graph: Graph, recipe: Recipe, node: Node) -> bool:
    weighted = node.op in {"Conv", "ConvTranspose", "Gemm"}
    return weighted and node.name not in recipe.float_nodes and node.inputs[0] in recipe.activations


def _store(graph: Graph, recipe: Recipe, name: str, real: Tensor) -> Tensor:
    quantization = recipe.activations.get(name)
    if quantization is None:
        return real
    return (quantize_values(real, quantization).astype(np.int16) + 128).astype(np.uint8)


def _pieces(graph: Graph, recipe: Recipe, ready: dict[str, Tensor]) -> Iterator[_Piece]:
    """Cut the graph before every weighted node."""
    runs: list[list[Node]] = []
    for node in graph.nodes:
        if node.output in ready:
            continue
        if not runs or _fits(graph, recipe, node):
            runs.append([])
        runs[-1].append(node)
    for i, run in enumerate(runs):
        made = {out for node in run for out in node.outputs if out}
        later = {name for other in runs[i + 1 :] for node in other for name in node.inputs}
        read = dict.fromkeys(name for node in run for name in node.inputs if name)
        inputs = [n for n in read if n not in made and n not in graph.constants]
        kept = [
            out
            for node in run
            for out in node.outputs
            if out and (out in later or out in graph.outputs)
        ]
        yield _Piece(tuple(run), tuple(inputs), tuple(kept))


def _run_piece(
    graph: Graph,
    recipe: Recipe,
    piece: _Piece,
    live: dict[str, Tensor],
    wide: bool,
    threads: int,
) -> None:
    model = emit_qdq(_subgraph(graph, piece), recipe, io="uint8").model
    if wide:
        set_batch(model)
    running = session(model, threads=threads, optimize=integer_kernels_are_exact())
    pictures = len(live[piece.inputs[0]])
    for name in piece.outputs:
        kind = np.uint8 if name in recipe.activations else graph.dtype(name)
        live[name] = np.empty((pictures, *graph.shape(name)[1 if wide else 0 :]), kind)
    step = _step(piece, live, pictures) if wide else 1
    for start in range(0, pictures, step):
        here = slice(start, min(start + step, pictures))
        binding = running.io_binding()
        for name in piece.inputs:
            part = live[name][here] if wide else live[name][start].reshape(graph.shape(name))
            binding.bind_cpu_input(name, np.ascontiguousarray(part))
        for name in piece.outputs:
            part = live[name][here] if wide else live[name][start]
            binding.bind_output(name, "cpu", 0, part.dtype.type, part.shape, part.ctypes.data)
        running.run_with_iobinding(binding)


def _step(piece: _Piece, live: dict[str, Tensor], pictures: int) -> int:
    each = sum(live[name][0].nbytes for name in [*piece.inputs, *piece.outputs])
    return int(np.clip(SLICE_BYTES // max(each, 1), 1, pictures))


def _subgraph(graph: Graph, piece: _Piece) -> Graph:
    part = Graph("piece", graph.opset, list(piece.inputs), list(piece.outputs), list(piece.nodes))
    names = [name for node in piece.nodes for name in [*node.inputs, *node.outputs] if name]
    for name in names:
        if name in graph.constants:
            part.constants[name] = graph.constants[name]
        else:
            part.declare(name, graph.shape(name), graph.dtype(name))
    return part
