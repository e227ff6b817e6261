"""What is asked of any ONNX model: its opset, and all its graphs."""

from collections.abc import Iterator

import onnx


def opset_of(model: onnx.ModelProto) -> int:
    """Return the opset of the standard operators; 1 where the file names none."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the bodies of its If and Loop nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs_of(attribute.g)


def names_read(graph: onnx.GraphProto) -> set[str]:
    """Return the names that the nodes and outputs of a graph and of its bodies read."""
    read = {value.name for value in graph.output}
    for node in graph.node:
        read.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    read |= names_read(inner)
    return read
