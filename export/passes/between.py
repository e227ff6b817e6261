"""Put a node between Reshapes: what passes that give it other axes share."""

from collections.abc import Sequence

import numpy as np

from edgeconv.export.graph import Graph, Node


def between(
    graph: Graph, node: Node, inputs: Sequence[Sequence[int]], *outputs: Sequence[int]
) -> None:
    """Put a node between Reshapes to ``inputs`` and from ``outputs``; constants take their shape at once."""
    for index, shape in enumerate(inputs):
        name = node.inputs[index]
        if graph.shape(name) == tuple(shape):
            continue
        if name in graph.constants:
            value = graph.constants[name].reshape(shape)
            node.inputs[index] = graph.add_constant(f"{name}_merged", value)
        else:
            node.inputs[index] = _reshaped(graph, name, shape, graph.nodes.index(node))
    for index, shape in enumerate(outputs):
        made, kind = node.outputs[index], graph.dtype(node.outputs[index]).type
        inner = graph.declare(graph.fresh(f"{node.name}_merged"), shape, kind)
        wanted = graph.add_constant(f"{node.name}.shape", np.array(graph.shape(made), np.int64))
        back = Node("Reshape", graph.fresh(f"{node.name}_back"), [inner, wanted], [made])
        node.outputs[index] = inner
        graph.nodes.insert(graph.nodes.index(node) + 1, back)


def _reshaped(graph: Graph, name: str, shape: Sequence[int], place: int) -> str:
    made = graph.declare(graph.fresh(f"{name}_merged"), shape, graph.dtype(name).type)
    wanted = graph.add_constant(f"{name}.shape", np.array(shape, np.int64))
    graph.nodes.insert(place, Node("Reshape", graph.fresh(f"{name}_merge"), [name, wanted], [made]))
    return made
