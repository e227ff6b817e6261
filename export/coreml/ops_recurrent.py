"""LSTM by MIL's own operator; GRU and RNN as their steps, whose biases MIL's own place elsewhere."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.graph import Array, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.unroll_recurrence import (
    directions,
    is_usual,
    parameters,
    unroll,
    why_not_unrolled,
)


def _lstm(c: Lowering, node: Node, name: str) -> Any:
    """MIL reads (T, N, I) and gives (T, N, D*H), the last state and the last cell (N, D*H)."""
    if not is_usual(c.graph, node):
        return _steps(c, node, name)
    length, batch, _ = c.shape(node.inputs[0])
    ways, size = directions(node), int(c.shape(node.inputs[2])[2])
    backwards = node.str("direction", "forward") == "reverse"
    x = c.tensor(node.inputs[0])
    if backwards:  # MIL does not say in which order its own reverse gives the sequence
        x = c.mb.reverse(x=x, axes=[0], name=c.name(f"{name}_backwards"))
    arguments: dict[str, Any] = {}
    for way, suffix in zip(range(ways), ("", "_back"), strict=False):
        weights, recurrent, first, second = parameters(c.graph, node, way)
        arguments |= {
            f"weight_ih{suffix}": _ordered(weights, size),
            f"weight_hh{suffix}": _ordered(recurrent, size),
            f"bias{suffix}": _ordered(first + second, size),
        }
    sequence, state, cell = c.mb.lstm(
        x=x,
        initial_h=_state(c, node, 5, f"{name}_h"),
        initial_c=_state(c, node, 6, f"{name}_c"),
        direction="bidirectional" if ways == 2 else "forward",
        output_sequence=True,
        name=c.name(f"{name}_lstm"),
        **arguments,
    )
    if backwards:
        sequence = c.mb.reverse(x=sequence, axes=[0], name=c.name(f"{name}_forwards"))
    made = [_apart(c, sequence, [length, batch, ways, size], [0, 2, 1, 3], name)]
    for value, label in ((state, "state"), (cell, "cell")):
        made.append(_apart(c, value, [batch, ways, size], [1, 0, 2], f"{name}_{label}"))
    return [value for out, value in zip(node.outputs, made, strict=False) if out]


def _ordered(value: Array, size: int) -> Array:
    """Turn ONNX's gates i, o, f, c into MIL's i, f, o, z."""
    enter, leave, keep, fresh = (value[i * size : (i + 1) * size] for i in range(4))
    return np.ascontiguousarray(np.concatenate([enter, keep, leave, fresh]))


def _state(c: Lowering, node: Node, index: int, name: str) -> Any:
    """Return a starting state as (N, D*H)."""
    batch = c.shape(node.inputs[0])[1]
    ways, size = directions(node), int(c.shape(node.inputs[2])[2])
    if not c.has(node, index):
        return np.zeros((batch, ways * size), np.float32)
    known = c.graph.constant(node, index)
    if known is not None:
        return np.ascontiguousarray(known.transpose(1, 0, 2).reshape(batch, -1), np.float32)
    turned = c.mb.transpose(x=c.tensor(node.inputs[index]), perm=[1, 0, 2], name=c.name(name))
    return c.mb.reshape(x=turned, shape=[batch, ways * size], name=c.name(f"{name}_flat"))


def _apart(c: Lowering, value: Any, shape: list[int], perm: list[int], name: str) -> Any:
    """Give the directions an axis of their own, where ONNX has it."""
    split = c.mb.reshape(x=value, shape=shape, name=c.name(f"{name}_ways"))
    return c.mb.transpose(x=split, perm=perm, name=c.name(f"{name}_apart"))


def _steps(c: Lowering, node: Node, name: str) -> Any:
    del name
    for piece in unroll(c.graph, node):
        c.lower(piece, c.ops[piece.op])
    return [c.values[out] for out in node.outputs if out]


_NEAREST = "constant weights and sequences of static length"
OPS = {
    "LSTM": Entry(_lstm, "lstm", _NEAREST, why_not_unrolled),
    "GRU": Entry(_steps, "linear, slice_by_index, sigmoid, tanh", _NEAREST, why_not_unrolled),
    "RNN": Entry(_steps, "linear, slice_by_index, tanh, relu", _NEAREST, why_not_unrolled),
}
