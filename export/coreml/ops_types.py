"""Types in Core ML: casts, and whole numbers of 8 bits, which it has as int32."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lower, Lowering
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry

LEAST = {"uint8": 0, "int8": -128}
"""Types of 256 values -> the first."""
CASTS = {"float32": "fp32", "int32": "int32", "int64": "int32", "uint8": "int32", "int8": "int32"}
"""Whole numbers of every width are int32 in Core ML."""


def _cast(c: Lowering, node: Node, name: str) -> Any:
    if c.graph.dtype(node.output) == np.bool_:  # how MIL rounds to truth values is not documented
        x = c.tensor(node.inputs[0])
        zero = np.zeros((), x.dtype if isinstance(x, np.ndarray) else number_of(c, node))
        return c.mb.not_equal(x=x, y=zero, name=name)
    kind = c.graph.dtype(node.output).name
    if kind in LEAST and c.graph.dtype(node.inputs[0]).kind in "iu":
        return wrapped(c, c.tensor(node.inputs[0]), name, LEAST[kind])
    return c.mb.cast(x=c.tensor(node.inputs[0]), dtype=CASTS[kind], name=name)


def wrapped(c: Lowering, x: Any, name: str, least: int) -> Any:
    """Bring whole numbers into the 256 values from ``least`` on, as a cast to bytes does."""
    raised = c.mb.sub(x=x, y=np.int32(least), name=c.name(f"{name}_raised"))
    times = c.mb.floor_div(x=raised, y=np.int32(256), name=c.name(f"{name}_times"))
    whole = c.mb.mul(x=times, y=np.int32(256), name=c.name(f"{name}_whole"))
    return c.mb.sub(x=x, y=whole, name=name)


def number_of(c: Lowering, node: Node) -> Any:
    """Return the type that Core ML reads a node's first input in."""
    return np.float32 if c.graph.dtype(node.inputs[0]).kind == "f" else np.int32


def _refuse_cast(graph: Graph, node: Node) -> str | None:
    wanted = graph.dtype(node.output)
    if wanted == np.bool_:
        return None
    return None if wanted.name in CASTS else f"a cast to {wanted} has no Core ML form; float32 has"


OPS: dict[str, Entry[Lower]] = {"Cast": Entry(_cast, check=_refuse_cast)}
