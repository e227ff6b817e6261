"""Run the quantized net over many pictures a layer at a time, fixing each layer's integers on the way.

Every tensor lives as one uint8 array over all pictures from where it is made to its last reader.
Each piece of the graph runs as the QDQ model that the emitter writes, so that later layers see
what the artifact will really compute.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from edgeconv.export.graph import Graph, Node
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.quant.batching import batched, channels_last_io, set_batch
from edgeconv.export.quant.fit import few_pictures, has_integers
from edgeconv.export.quant.sessions import integer_kernels_are_exact, session
from edgeconv.export.quant.workspace import Tensor, Workspace, channels_last
from edgeconv.recipe import Recipe, Weights

Fit = Callable[[Node, Tensor], Weights]
"""Gives a weighted node its integers from its input over all pictures, uint8 (n, ...)."""
Refine = Callable[[Node, Weights, Tensor], Weights | None]
"""Improves a node's integers from the output they gave, uint8 (n, ...); None leaves them."""

SLICE_BYTES = 4 << 20


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
    progress: Callable[[float], None] = lambda _: None,
) -> Recipe:
    """Return the recipe with the weights that ``fit`` gave on the workspace's first ``pictures``.

    ``recipe`` has all activations and no weights yet; nodes it has weights for keep them.
    """
    wide = batched(graph)
    runner = wide if wide is not None else graph
    live = workspace.pictures(graph, recipe, pictures)
    kept = {*live, *graph.outputs}
    weights = dict(recipe.weights)
    pieces = list(_pieces(runner, recipe, live))
    last = {name: i for i, piece in enumerate(pieces) for name in piece.inputs}
    for i, piece in enumerate(pieces):
        first = piece.nodes[0]
        fitted = has_integers(recipe, first) and first.name not in weights
        if fitted:
            weights[first.name] = fit(first, live[first.inputs[0]])
        for name in piece.outputs:
            live[name] = _memory(workspace, runner, recipe, name, pictures, wide is not None)
        opened = _open(runner, replace(recipe, weights=weights), piece, wide is not None, threads)
        if refine is not None and fitted and first.output in piece.outputs:
            few = min(few_pictures(graph.shape(first.output)), pictures)
            _run(runner, opened, weights.get(first.name), live, few)
            better = refine(first, weights[first.name], live[first.output][:few])
            if better is not None:
                weights[first.name] = better
        _run(runner, opened, weights.get(first.name), live, pictures)
        for name in piece.inputs:
            if last[name] == i and name not in kept:
                workspace.give(live.pop(name))
        progress((i + 1) / len(pieces))
    return replace(recipe, weights=weights)


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
        if not runs or has_integers(recipe, node):
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


@dataclass(frozen=True)
class _Opened:
    """A piece as a session; ``names`` are the session's of its tensors.

    ``bias`` is the input that takes the int32 bias of its weighted node: a refined bias needs no
    new session.
    """

    piece: _Piece
    session: Any
    names: dict[str, str]
    bias: str | None
    wide: bool


def _open(graph: Graph, recipe: Recipe, piece: _Piece, wide: bool, threads: int) -> _Opened:
    model = emit_qdq(_subgraph(graph, piece), recipe, io="uint8").model
    names = {name: name for name in [*piece.inputs, *piece.outputs]}
    if wide:
        names = channels_last_io(set_batch(model))
    bias = _feed_bias(model, piece.nodes[0]) if piece.nodes[0].name in recipe.weights else None
    exact = integer_kernels_are_exact()
    running = session(model, threads=threads, integers=exact)
    return _Opened(piece, running, names, bias, wide)


def _feed_bias(model: onnx.ModelProto, node: Node) -> str | None:
    """Turn the int32 bias of ``node`` from a constant into an input, in place; return its name."""
    name = f"{node.name}_bias_quantized"
    held = next((item for item in model.graph.initializer if item.name == name), None)
    if held is None:
        return None
    value = onnx.helper.make_tensor_value_info(name, held.data_type, list(held.dims))
    model.graph.input.append(value)
    model.graph.initializer.remove(held)
    return name


def _run(
    graph: Graph, opened: _Opened, weights: Weights | None, live: dict[str, Tensor], pictures: int
) -> None:
    """Run a piece over the first ``pictures`` of ``live``."""
    piece, wide = opened.piece, opened.wide
    step = _step(piece, live, pictures) if wide else 1
    for start in range(0, pictures, step):
        here = slice(start, min(start + step, pictures))
        binding = opened.session.io_binding()
        if opened.bias is not None and weights is not None:
            binding.bind_cpu_input(opened.bias, weights.bias)
        for name in piece.inputs:
            given = _as_run(graph, name, live[name][here], wide)
            binding.bind_cpu_input(opened.names[name], np.require(given, requirements="C"))
        for name in piece.outputs:
            part = live[name][here]
            shape = _as_run(graph, name, part, wide).shape
            kind = part.dtype.type
            binding.bind_output(opened.names[name], "cpu", 0, kind, shape, part.ctypes.data)
        opened.session.run_with_iobinding(binding)


def _as_run(graph: Graph, name: str, part: Tensor, wide: bool) -> Tensor:
    """Return pictures of a tensor as the model takes them: wide ones with channels last."""
    shape = graph.shape(name)
    if wide and shape[0] == 1:
        return channels_last(part)
    return part.reshape(len(part) * shape[0], *shape[1:]) if wide else part.reshape(shape)


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
