"""Comparisons, logic and choice between tensors."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lower, Lowering
from edgeconv.export.graph import Node
from edgeconv.export.op_table import Entry


def _operand(c: Lowering, tensor: str, name: str) -> Any:
    """Return a variable for a tensor or constant; truth values become 0 and 1 where numbers are due."""
    value = c.tensor(tensor)
    if isinstance(value, np.ndarray):
        stored = value.astype(np.int32) if value.dtype == np.bool_ else value
        return c.mb.const(val=stored, name=c.name(f"{name}_constant"))
    if c.graph.dtype(tensor) == np.bool_:
        return c.mb.cast(x=value, dtype="int32", name=c.name(f"{name}_number"))
    return value


def _truth(c: Lowering, tensor: str, name: str) -> Any:
    value = c.tensor(tensor)
    if isinstance(value, np.ndarray):
        return c.mb.const(val=value.astype(np.bool_), name=c.name(f"{name}_constant"))
    return value


def _binary(mil: str, read: Callable[[Lowering, str, str], Any]) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        x, y = (read(c, tensor, name) for tensor in node.inputs)
        return getattr(c.mb, mil)(x=x, y=y, name=name)

    return Entry(lower)


def _not(c: Lowering, node: Node, name: str) -> Any:
    return c.mb.logical_not(x=c.tensor(node.inputs[0]), name=name)


def _where(c: Lowering, node: Node, name: str) -> Any:
    shape = c.shape(node.output)
    condition = _truth(c, node.inputs[0], name)
    if tuple(condition.shape) != shape:  # MIL broadcasts the values only
        number = c.mb.cast(x=condition, dtype="int32", name=c.name(f"{name}_number"))
        zeros = c.mb.const(val=np.zeros(shape, np.int32), name=c.name(f"{name}_zeros"))
        spread = c.mb.add(x=number, y=zeros, name=c.name(f"{name}_spread"))
        condition = c.mb.cast(x=spread, dtype="bool", name=c.name(f"{name}_condition"))
    a, b = (c.tensor(tensor) for tensor in node.inputs[1:])
    if shape not in (c.shape(node.inputs[1]), c.shape(node.inputs[2])):
        kind = np.float32 if c.graph.dtype(node.output).kind == "f" else np.int32
        a = c.mb.add(x=a, y=np.zeros(shape, kind), name=c.name(f"{name}_spread_values"))
    return c.mb.select(cond=condition, a=a, b=b, name=name)


OPS = {
    "Equal": _binary("equal", _operand),
    "Greater": _binary("greater", _operand),
    "GreaterOrEqual": _binary("greater_equal", _operand),
    "Less": _binary("less", _operand),
    "LessOrEqual": _binary("less_equal", _operand),
    "And": _binary("logical_and", _truth),
    "Or": _binary("logical_or", _truth),
    "Not": Entry(_not),
    "Where": Entry(_where),
}
