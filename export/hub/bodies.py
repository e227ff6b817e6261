"""The graph that a node of control flow holds, written where the node was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Written:
    """The nodes and initializers of a body under names of their own, and what its results are called."""

    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]
    results: list[str]


def write_body(body: onnx.GraphProto, given: Sequence[str], prefix: str) -> Written:
    """Return ``body`` reading ``given`` as its inputs; its own names get ``prefix``."""
    inside = {name for item in body.node for name in item.output if name}
    inside |= {item.name for item in body.initializer}
    names = {name: f"{prefix}{name}" for name in inside}
    names |= {value.name: name for value, name in zip(body.input, given, strict=True)}
    nodes = []
    for item in body.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(item)
        copied.name = f"{prefix}{item.name}" if item.name else ""
        _rename(copied, names)
        nodes.append(copied)
    initializers = []
    for tensor in body.initializer:
        kept = onnx.TensorProto()
        kept.CopyFrom(tensor)
        kept.name = names[tensor.name]
        initializers.append(kept)
    return Written(nodes, initializers, [names.get(v.name, v.name) for v in body.output])


def replace_node(
    graph: onnx.GraphProto,
    place: int,
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto],
) -> None:
    """Put ``nodes`` where the node at ``place`` is."""
    rest = [*graph.node[:place], *nodes, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(rest)
    graph.initializer.extend(initializers)


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename what a node reads and makes, its own graphs' reads of them included."""
    for values in (node.input, node.output):
        values[:] = [names.get(name, name) for name in values]
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            own = {name for inner in attribute.g.node for name in inner.output}
            own |= {item.name for item in attribute.g.initializer}
            own |= {value.name for value in attribute.g.input}
            outer = {name: new for name, new in names.items() if name not in own}
            for inner in attribute.g.node:
                _rename(inner, outer)
            for value in attribute.g.output:
                value.name = outer.get(value.name, value.name)
