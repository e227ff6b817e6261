"""Fold a factor and an offset of each channel into the layer before or after them.

Given:   x -> Conv | ConvTranspose | Gemm (read once) -> Add | Sub | Mul | Div(constant a channel) -> y
Result:  x -> Conv (weights and bias changed) -> y

Given:   x -> Mul | Div(constant a channel) (read once) -> Conv | Gemm -> y; so with Add and Sub where
         nothing is padded (padded zeros would have to be shifted as well)
Result:  x -> Conv (weights and bias changed) -> y
"""

from dataclasses import dataclass

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
        affine = _affine(graph, node)
        if affine is None:
            continue
        if _into_layer_before(graph, node, affine) or _into_layer_after(graph, node, affine):
            graph.nodes.remove(node)
            changed = True
    return changed


def _affine(graph: Graph, node: Node) -> _Affine | None:
    """Read an operator with one constant as factor and offset of each channel (axis 1)."""
    constant = [i for i in (0, 1) if node.inputs[i] in graph.constants]
    if len(constant) != 1 or node.clamp is not None or graph.dtype(node.output) != np.float32:
        return None
    source = node.inputs[1 - constant[0]]
    shape = graph.shape(source)
    value = np.asarray(graph.constants[node.inputs[constant[0]]], np.float64)
    if graph.shape(node.output) != shape or len(shape) < 2 or value.ndim > len(shape):
        return None
    value = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if value.size not in (1, value.shape[1]) or not np.isfinite(value).all():
        return None
    each = np.broadcast_to(value.reshape(-1), (shape[1],))
    one, none = np.ones(shape[1]), np.zeros(shape[1])
    if node.op == "Add":
        return _Affine(source, one, each)
    if node.op == "Sub":
        return _Affine(source, one, -each) if constant[0] == 1 else _Affine(source, -one, each)
    if node.op == "Mul":
        return _Affine(source, each, none)
    if constant[0] == 0 or not each.all():
        return None
    return _Affine(source, 1 / each, none)


def _into_layer_before(graph: Graph, node: Node, affine: _Affine) -> bool:
    layer = graph.producers().get(affine.source)
    if layer is None or graph.sole_reader(affine.source) is None or not takes_scale(graph, layer):
        return False
    into_layer(graph, layer, affine.scale, affine.shift)
    layer.outputs[0] = node.output
    return True


def _into_layer_after(graph: Graph, node: Node, affine: _Affine) -> bool:
    layer = graph.sole_reader(node.output)
    if layer is None or layer.op not in ("Conv", "Gemm") or layer.inputs[0] != node.output:
        return False
    plain = takes_scale(graph, layer, clamped=True)
    shifted = bool(affine.shift.any())
    padded = any(layer.ints("pads", ())) or layer.str("auto_pad", "NOTSET") != "NOTSET"
    if not plain or (shifted and padded):
        return False
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
    layer.inputs = [
        affine.source,
        graph.add_constant(f"{layer.name}.weight", (weights * columns[0]).astype(np.float32)),
        graph.add_constant(f"{layer.name}.bias", moved.astype(np.float32)),
    ]
    return True
