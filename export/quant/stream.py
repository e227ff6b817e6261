"""Run the quantized net over many pictures a layer at a time, fixing each layer's integers on the way.

Every tensor lives as one uint8 array over all pictures from where it is made to its last reader.
Each piece of the graph runs as the QDQ model that the emitter writes, so that later layers see
what the artifact will really compute.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.batching import batched, channels_last_io, set_batch
from edgeconv.export.quant.observe import AVERAGED
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session
from edgeconv.export.quant.workspace import Tensor, Workspace, channels_last
from edgeconv.recipe import Recipe, Weights

Fit = Callable[[Node, Tensor], Weights]
"""Gives a weighted node its integers from its input over all pictures, uint8 (n, ...)."""
Refine = Callable[[Node, Weights, Tensor], Weights | None]
"""Improves a node's integers from the output they gave, uint8 (n, ...); None leaves them."""

ROUNDS = 2
"""Refinements of a node: saturated values follow the second time; four measured no better."""

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
    pictures: int,
    fit: Fit,
    workspace: Workspace,
    *,
    refine: Refine | None = None,
    threads: int = 1,
    inspect: Callable[[str, Tensor], None] = lambda _name, _stored: None,
    progress: Callable[[float], None] = lambda _: None,
) -> Recipe:
    """Return the recipe with the weights that ``fit`` gave on the workspace's first ``pictures``.

    ``inspect`` is shown every tensor when it is made: its name and all pictures as stored.

    ``recipe`` has all activations and no weights yet; nodes it has weights for keep them.
    """
    wide = batched(graph)
    runner = wide if wide is not None else graph
    live = workspace.pictures(graph, recipe, pictures)
    kept = {*live, *graph.outputs}
    for name, stored in live.items():
        inspect(name, stored)
    weights = dict(recipe.weights)
    pieces = list(_pieces(runner, recipe, live))
    last = {name: i for i, piece in enumerate(pieces) for name in piece.inputs}
    for i, piece in enumerate(pieces):
        first = piece.nodes[0]
        fitted = _fits(graph, recipe, first) and first.name not in weights
        if fitted:
            weights[first.name] = fit(first, live[first.inputs[0]])
        for name in piece.outputs:
            live[name] = _memory(workspace, runner, recipe, name, pictures, wide is not None)

        def run(
            piece: _Piece = piece, count: int = pictures, weights: dict[str, Weights] = weights
        ) -> None:
            here = replace(recipe, weights=weights)
            _run_piece(runner, here, piece, live, count, wide is not None, threads)

        if refine is not None and fitted and first.output in piece.outputs:
            few = min(AVERAGED, pictures)
            for _ in range(ROUNDS):
                run(count=few)
                better = refine(first, weights[first.name], live[first.output][:few])
                if better is None:
                    break
                weights[first.name] = better
        run()
        for name in piece.outputs:
            inspect(name, live[name])
        for name in piece.inputs:
            if last[name] == i and name not in kept:
                workspace.give(live.pop(name))
        progress((i + 1) / len(pieces))
    return replace(recipe, weights=weights)


def _fits(graph: Graph, recipe: Recipe, node: Node) -> bool:
    return (
        node.op in WEIGHTED
        and node.name not in recipe.float_nodes
        and node.inputs[0] in recipe.activations
    )


def _memory(
    workspace: Workspace, graph: Graph, recipe: Recipe, name: str, pictures: int, wide: bool
) -> Tensor:
    kind = np.dtype(np.uint8) if name in recipe.activations else graph.dtype(name)
    shape = graph.shape(name)
    single = shape[:1] == (1,)
    return workspace.take((pictures, *(shape[1:] if single else shape)), kind, turn=wide and single)


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
    pictures: int,
    wide: bool,
    threads: int,
) -> None:
    model = emit_qdq(_subgraph(graph, piece), recipe, io="uint8").model
    fed = {name: name for name in [*piece.inputs, *piece.outputs]}
    if wide:
        fed = channels_last_io(set_batch(model))
    running = session(model, threads=threads, optimize=integer_kernels_are_exact())
    step = _step(piece, live, pictures) if wide else 1
    for start in range(0, pictures, step):
        here = slice(start, min(start + step, pictures))
        binding = running.io_binding()
        for name in piece.inputs:
            given = _as_run(graph, name, live[name][here], wide)
            binding.bind_cpu_input(fed[name], np.require(given, requirements="C"))
        for name in piece.outputs:
            part = live[name][here]
            shape = _as_run(graph, name, part, wide).shape
            kind = part.dtype.type
            binding.bind_output(fed[name], "cpu", 0, kind, shape, part.ctypes.data)
        running.run_with_iobinding(binding)


def _as_run(graph: Graph, name: str, part: Tensor, wide: bool) -> Tensor:
    """Return pictures of a tensor as the model takes them: wide ones with channels last."""
    shape = graph.shape(name)
    if wide and shape[0] == 1:
        return channels_last(part)
    return part.reshape(-1, *shape[1:]) if wide else part.reshape(shape)


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
