"""Recognise a normalization that is spelled out.

Given:   d = x - ReduceMean(x); y = d / Sqrt(ReduceMean(d * d) + epsilon) [* scale] [+ shift], the
         means over the last axes; d * Reciprocal(Sqrt(.)) and Pow(d, 2) too
Result:  x -> LayerNormalization -> y

Given:   the same over all axes behind the channel, scale and shift one a channel
Result:  x -> InstanceNormalization -> y

As one operator its variance is never rounded to 8 bits.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgeconv.export.graph import Array, Graph, Node


@dataclass(frozen=True)
class _Norm:
    """(x - mean) / sqrt(variance + epsilon), as the nodes up to ``last`` say it."""

    source: str
    axes: tuple[int, ...]
    epsilon: float
    last: Node


def fuse_norms(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("Div", "Mul"):
        norm = _norm(graph, node) if node in graph.nodes else None
        if norm is not None:
            changed |= _replace(graph, norm)
    return changed


def _norm(graph: Graph, node: Node) -> _Norm | None:
    """Read a division by a standard deviation backwards; None where something else is meant."""
    makers = graph.producers()
    if node.clamp is not None or len(node.inputs) != 2:
        return None
    for one, two in ((0, 1), (1, 0)) if node.op == "Mul" else ((0, 1),):
        away, spread = makers.get(node.inputs[one]), makers.get(node.inputs[two])
        if node.op == "Mul" and spread is not None:
            spread = makers.get(spread.inputs[0]) if spread.op == "Reciprocal" else None
        if away is None or spread is None or (away.op, spread.op) != ("Sub", "Sqrt"):
            continue
        shifted = makers.get(spread.inputs[0])
        parts = _with_number(graph, shifted)
        variance = None if parts is None else makers.get(parts[0])
        mean = makers.get(away.inputs[1])
        if parts is None or variance is None or mean is None:
            continue
        axes = _mean_axes(graph, variance)
        squares = makers.get(variance.inputs[0])
        same = mean.inputs[0] == away.inputs[0] and _mean_axes(graph, mean) == axes
        if axes and same and squares is not None and _is_square(graph, squares, away.output):
            return _Norm(away.inputs[0], axes, parts[1], node)
    return None


def _with_number(graph: Graph, node: Node | None) -> tuple[str, float] | None:
    """Return tensor and number of an Add of one."""
    if node is None or node.op != "Add":
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        value = graph.constants.get(other)
        if value is not None and value.size == 1 and name not in graph.constants:
            return name, float(value.reshape(-1)[0])
    return None


def _mean_axes(graph: Graph, node: Node) -> tuple[int, ...]:
    if node.op != "ReduceMean" or not node.int("keepdims", 1):
        return ()
    given, rank = graph.constant(node, 1), len(graph.shape(node.inputs[0]))
    named = node.ints("axes", []) if given is None else given.reshape(-1)
    return tuple(sorted(int(axis) % rank for axis in named))


def _is_square(graph: Graph, node: Node, tensor: str) -> bool:
    if node.op == "Mul":
        return node.inputs == [tensor, tensor]
    power = graph.constant(node, 1) if node.op == "Pow" else None
    return power is not None and power.size == 1 and power.flat[0] == 2 and node.inputs[0] == tensor


def _replace(graph: Graph, norm: _Norm) -> bool:
    shape = graph.shape(norm.source)
    rank, first = len(shape), norm.axes[0]
    if norm.axes != tuple(range(first, rank)) or graph.dtype(norm.source) != np.float32:
        return False
    readings = [
        _read_behind(graph, norm, way) for way in ([False, True] if first == 2 else [False])
    ]
    by_channel, factor, offset, last = max(readings, key=lambda found: found.applied)
    sizes = shape[1:2] if by_channel else shape[first:]
    values = [np.full(sizes, 1.0) if factor is None else factor]
    values.append(np.zeros(sizes) if offset is None else offset)
    names = [
        graph.add_constant(f"{last.name}.{part}", np.ascontiguousarray(value, np.float32))
        for part, value in zip(("scale", "shift"), values, strict=True)
    ]
    op = "InstanceNormalization" if by_channel else "LayerNormalization"
    made = Node(
        op, last.name, [norm.source, *names], [last.output], {"epsilon": norm.epsilon}, last.clamp
    )
    if not by_channel:
        made.attrs["axis"] = first
    graph.nodes[graph.nodes.index(last)] = made
    return True


class _Behind(NamedTuple):
    """The factor and the offset behind a norm, and the node that applies the last of them."""

    by_channel: bool
    factor: Array | None
    offset: Array | None
    last: Node

    @property
    def applied(self) -> int:
        return (self.factor is not None) + (self.offset is not None)


def _read_behind(graph: Graph, norm: _Norm, by_channel: bool) -> _Behind:
    """Read factor and offset as one a channel, or as one a place of the axes that the norm spans."""
    axes = (1,) if by_channel else norm.axes
    factor, last = _read_one(graph, norm.last, "Mul", axes)
    offset, last = _read_one(graph, last, "Add", axes)
    return _Behind(by_channel, factor, offset, last)


def _read_one(
    graph: Graph, before: Node, op: str, axes: tuple[int, ...]
) -> tuple[Array | None, Node]:
    """Return the constant and the node that applies it; (None, ``before``) where there is none."""
    node, shape = graph.sole_reader(before.output), graph.shape(before.output)
    if node is None or node.op != op or before.clamp is not None:
        return None, before
    names = [name for name in node.inputs if name in graph.constants]
    if len(names) != 1 or graph.shape(node.output) != shape:
        return None, before
    value = graph.constants[names[0]]
    wide = (1,) * (len(shape) - value.ndim) + value.shape
    if any(size != 1 for axis, size in enumerate(wide) if axis not in axes):
        return None, before
    own = value.reshape([wide[axis] for axis in axes])
    return np.broadcast_to(own, [shape[axis] for axis in axes]), node
