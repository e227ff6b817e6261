"""Where a net sees one row of a tensor at a time, and in which order a Transpose gives it the rows.

A row is what the last axis holds: the values of a token. carry_rows.py moves such an order elsewhere.
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS, Is, operators, plain_gemm
from edgeconv.export.tflite.movement import Shape, Step, movement, steps_of

MOVES = ("Reshape", "Transpose")
ONE_BY_ONE = operators(Is.CHANNELWISE) | {"Cast", "Not"}
OF_A_ROW = frozenset(["LayerNormalization", "LogSoftmax", "Softmax"])


@dataclass(frozen=True)
class Order:
    """Rows as they come, with axes ``sizes``, that a Transpose reads in the order ``perm``."""

    sizes: Shape
    perm: Shape

    def there(self, width: int) -> list[Step]:
        """Bring rows of ``width`` values from the order in which they come to that of the Transpose."""
        return [Step("shape", (*self.sizes, width)), Step("perm", (*self.perm, len(self.perm)))]

    @property
    def inverse(self) -> "Order":
        """The order that undoes this one."""
        sizes = tuple(self.sizes[axis] for axis in self.perm)
        return Order(sizes, tuple(int(axis) for axis in np.argsort(self.perm)))

    def back(self, width: int) -> list[Step]:
        """Undo that."""
        return self.inverse.there(width)


@dataclass
class Region:
    """Tensors of the same rows, the nodes between them, and those at their borders."""

    order: Order
    tensors: set[str] = field(default_factory=set)
    inside: dict[str, Node] = field(default_factory=dict)
    moves: dict[str, Node] = field(default_factory=dict)
    leave: set[str] = field(default_factory=set)
    enter: set[str] = field(default_factory=set)


def order_of(graph: Graph, node: Node) -> Order | None:
    """Return how a Transpose moves whole rows of its result; None where it does something else."""
    width = (graph.shape(node.output) or (1,))[-1]
    moved = movement(graph.shape(node.inputs[0]), steps_of(graph, node))
    if node.clamp is not None or moved is None or len(moved.sizes) < 2 or width < 2:
        return None
    *rows, last = moved.perm
    longer, rest = divmod(moved.sizes[last], width)
    if rest or rows == sorted(rows) or (longer > 1 and last != len(moved.sizes) - 1):
        return None
    kept = sorted(rows)
    sizes = [moved.sizes[axis] for axis in kept]
    perm = [kept.index(axis) for axis in rows]
    if longer > 1:
        sizes, perm = [*sizes, longer], [*perm, len(perm)]
    return Order(tuple(sizes), tuple(perm))


def region_around(graph: Graph, begin: Node, start: str, order: Order) -> Region:
    """Return the region around ``start``, which ``begin`` makes or reads."""
    makers, readers = graph.producers(), graph.consumers()
    region, waiting = Region(order), [start]
    while waiting:
        name = waiting.pop()
        if name in region.tensors:
            continue
        region.tensors.add(name)
        if name in graph.outputs:
            region.leave.add(name)
        maker = makers.get(name)
        around = [*readers.get(name, []), *([] if maker is None else [maker])]
        if maker is None:
            region.enter.add(name)
        for node in around:
            if node.name in region.inside or node.name in region.moves:
                continue
            joined = None if node is begin else _joined(graph, node, name, prod(order.sizes))
            if joined is not None:
                region.inside[node.name] = node
                waiting += joined
            elif node.op in MOVES and node.clamp is None and node.inputs[0] not in graph.constants:
                region.moves[node.name] = node
            else:
                (region.enter if node is maker else region.leave).add(name)
    return region


def _joined(graph: Graph, node: Node, name: str, rows: int) -> list[str] | None:
    """Return the tensors of a node that sees one row at a time that hold the rows; None for any other."""
    shape, out = graph.shape(name), graph.shape(node.output)
    if not shape or not out or prod(shape[:-1]) != rows or prod(out[:-1]) != rows:
        return None
    data, outputs = node.inputs[:1], [out for out in node.outputs if out]
    last = len(out) - 1
    row = TRAITS.get(node.op)
    if node.op == "Reshape":
        fits = node.clamp is None and graph.shape(data[0])[-1:] == out[-1:]
    elif node.op == "Gemm":
        bias = graph.shape(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else ()
        fits = plain_gemm(node) and node.inputs[1] in graph.constants and prod(bias[:-1]) == 1
    elif node.op == "MatMul":
        weights = graph.constant(node, 1)
        fits = weights is not None and weights.ndim == 2
    elif node.op in OF_A_ROW:
        fits = node.int("axis", -1) % len(out) == last and len(outputs) == 1
    elif node.op == "Split":
        fits = node.int("axis", 0) % len(out) == last
    elif row is not None and Is.BROADCASTS in row.true:
        operands = _operands(graph, node, out)
        fits, data = operands is not None, operands or []
    else:
        same = graph.shape(data[0]) == out if data else False
        fits = node.op in ONE_BY_ONE and same and "kernel_shape" not in node.attrs
    if not fits or any(prod(graph.shape(n)[:-1]) != rows for n in (*data, *outputs)):
        return None
    if any(n in graph.constants for n in data):
        return None
    return [*data, *outputs] if name in (*data, *outputs) else None


def _operands(graph: Graph, node: Node, out: Shape) -> list[str] | None:
    """Return the operands that hold rows; None where one of them is neither that nor the same for all rows."""
    found = []
    for name in filter(None, node.inputs):
        shape = graph.shape(name)
        wide = (1,) * (len(out) - len(shape)) + shape
        if prod(wide[:-1]) == 1:
            continue
        if name in graph.constants:  # a value a row: stored in the other order
            continue
        if wide[:-1] != out[:-1]:
            return None
        found.append(name)
    return found
