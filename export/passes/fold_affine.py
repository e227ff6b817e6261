"""Fold a factor and an offset of each channel into the layer before or after them.

Given:   x -> Conv | ConvTranspose | Gemm (read once) -> Add | Sub | Mul | Div(constant a channel) -> y
Result:  x -> Conv (weights and bias changed) -> y

Given:   x -> Conv | Gemm -> Reshape | Transpose (each read once) -> Add | Sub | Mul | Div(constant a channel) -> y
Result:  x -> Conv (weights and bias changed) -> Reshape | Transpose -> y

Given:   x -> Mul | Div(constant a channel) (read once) -> Conv | Gemm -> y; so with Add and Sub where
         nothing is padded (padded zeros would have to be shifted as well)
Result:  x -> Conv (weights and bias changed) -> y

Given:   x -> Mul | Div(constant a channel) -> Add | Sub(constant) -> Conv with padding -> y
Result:  x -> Add(constant / factor) -> Conv (weights changed) -> y
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.fold_batchnorm import into_layer, takes_scale

OPERATORS = ("Add", "Sub", "Mul", "Div")
Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Affine:
    """y = x * scale + shift, one of each a channel of ``source``."""

    source: str
    scale: Values
    shift: Values


def fold_affine(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    while _fold_some(graph):  # what is between two of them comes first
        changed = True
    return changed


def _fold_some(graph: Graph) -> bool:
    changed = False
    for node in graph.of(*OPERATORS):
        if (
            _into_layer_before(graph, node)
            or _into_layer_after(graph, node)
            or _past_a_shift(graph, node)
        ):
            graph.nodes.remove(node)
            changed = True
    return changed


def _affine(graph: Graph, node: Node, axis: int = 1) -> _Affine | None:
    """Read an operator with one constant as factor and offset of each element of ``axis``."""
    constant = [i for i in (0, 1) if node.inputs[i] in graph.constants]
    if len(constant) != 1 or node.clamp is not None or graph.dtype(node.output) != np.float32:
        return None
    source = node.inputs[1 - constant[0]]
    shape = graph.shape(source)
    value = np.asarray(graph.constants[node.inputs[constant[0]]], np.float64)
    if graph.shape(node.output) != shape or len(shape) <= axis or value.ndim > len(shape):
        return None
    value = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if value.size not in (1, value.shape[axis]) or not np.isfinite(value).all():
        return None
    each = np.broadcast_to(value.reshape(-1), (shape[axis],))
    one, none = np.ones(shape[axis]), np.zeros(shape[axis])
    if node.op == "Add":
        return _Affine(source, one, each)
    if node.op == "Sub":
        return _Affine(source, one, -each) if constant[0] == 1 else _Affine(source, -one, each)
    if node.op == "Mul":
        return _Affine(source, each, none)
    if constant[0] == 0 or not each.all():
        return None
    return _Affine(source, 1 / each, none)


def _into_layer_before(graph: Graph, node: Node) -> bool:
    sources = [name for name in node.inputs if name not in graph.constants]
    if len(sources) != 1:
        return False
    found = _layer_before(graph, sources[0])
    if found is None:
        return False
    layer, axis = found
    affine = _affine(graph, node, axis)
    if affine is None:
        return False
    into_layer(graph, layer, affine.scale, affine.shift)
    graph.producers()[affine.source].outputs[0] = node.output
    return True


def _layer_before(graph: Graph, tensor: str) -> tuple[Node, int] | None:
    """Return the layer that makes ``tensor`` or what it moves there, and the axis of its channels then."""
    makers, moves, name = graph.producers(), list[Node](), tensor
    while (maker := makers.get(name)) is not None and graph.sole_reader(name) is not None:
        if maker.op not in ("Reshape", "Transpose"):
            break
        if maker.clamp is not None:
            return None
        moves.append(maker)
        name = maker.inputs[0]
    if maker is None or graph.sole_reader(name) is None or not takes_scale(graph, maker):
        return None
    axis: int | None = 1
    for move in reversed(moves):
        axis = None if axis is None else _moved_axis(graph, move, axis)
    return None if axis is None else (maker, axis)


def _moved_axis(graph: Graph, move: Node, axis: int) -> int | None:
    """Return where an axis is behind a Reshape or Transpose; None where it is none of its own there."""
    before, after = graph.shape(move.inputs[0]), graph.shape(move.output)
    if move.op == "Transpose":
        return move.ints("perm", list(reversed(range(len(before))))).index(axis)
    outer = prod(before[:axis])
    places = (i for i, n in enumerate(after) if n == before[axis] and prod(after[:i]) == outer)
    return next(places, None)


def _into_layer_after(graph: Graph, node: Node) -> bool:
    affine, layer = _affine(graph, node), _layer_after(graph, node)
    if affine is None or layer is None or (affine.shift.any() and _pads(layer)):
        return False
    _into_inputs(graph, layer, affine)
    layer.inputs[0] = affine.source
    return True


def _past_a_shift(graph: Graph, node: Node) -> bool:
    """Move a factor behind the shift that follows it, into a layer that cannot take the shift."""
    affine, shift = _affine(graph, node), graph.sole_reader(node.output)
    if affine is None or shift is None or affine.shift.any() or not affine.scale.all():
        return False
    second = _affine(graph, shift) if shift.op in OPERATORS else None
    layer = _layer_after(graph, shift)
    if second is None or layer is None or not second.shift.any() or not _pads(layer):
        return False
    scale = affine.scale * second.scale
    each = (second.shift / scale).astype(np.float32)
    each = each[:1] if (each == each[0]).all() else each
    shape = (1, -1, *(1,) * (len(graph.shape(node.output)) - 2))
    shift.op = "Add"
    shift.inputs = [affine.source, graph.add_constant(f"{shift.name}.shift", each.reshape(shape))]
    _into_inputs(graph, layer, _Affine(affine.source, scale, np.zeros(len(scale))))
    return True


def _layer_after(graph: Graph, node: Node) -> Node | None:
    """Return the layer that alone reads the node and can take factors."""
    layer = graph.sole_reader(node.output)
    if layer is None or layer.op not in ("Conv", "Gemm") or layer.inputs[0] != node.output:
        return None
    return layer if takes_scale(graph, layer, clamped=True) else None


def _pads(layer: Node) -> bool:
    return any(layer.ints("pads", ())) or layer.str("auto_pad", "NOTSET") != "NOTSET"


def _into_inputs(graph: Graph, layer: Node, affine: _Affine) -> None:
    """Change the weights and bias of a layer so that it reads what ``affine`` reads."""
    weights = np.asarray(graph.constants[layer.inputs[1]], np.float64)
    group = layer.int("group", 1) if layer.op == "Conv" else 1
    tail = (1,) * (weights.ndim - 2)
    columns = [
        np.repeat(part.reshape(group, -1), len(weights) // group, axis=0).reshape(
            *weights.shape[:2], *tail
        )
        for part in (affine.scale, affine.shift)
    ]
    bias = graph.constant(layer, 2)
    old = np.zeros(len(weights)) if bias is None else np.asarray(bias, np.float64).reshape(-1)
    moved = old + (weights * columns[1]).reshape(len(weights), -1).sum(axis=1)
    layer.inputs[1:] = [
        graph.add_constant(f"{layer.name}.weight", (weights * columns[0]).astype(np.float32)),
        graph.add_constant(f"{layer.name}.bias", moved.astype(np.float32)),
    ]
