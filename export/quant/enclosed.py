"""Keep in float what lies between operators that compute in float anyway.

Given:   Pow (float) -> AveragePool -> Add -> Pow (float)
Result:  AveragePool and Add compute in float

Between them every value would be rounded to 8 bits and back, and nothing would be faster for it.
"""

from collections.abc import Mapping

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import data_inputs
from edgeconv.export.op_traits import RULES, WEIGHTED

APART = WEIGHTED | {"MatMul"}
"""These are what integers are for."""


def enclosed(graph: Graph, floats: Mapping[str, str]) -> dict[str, str]:
    """Return the nodes that only such operators surround, with the reason; ``floats`` are in float."""
    makers, readers = graph.producers(), graph.consumers()
    outputs = set(graph.outputs)
    inner = {node.name for node in graph.nodes if node.op in RULES.keys() - APART} - floats.keys()

    def is_real(node: Node | None) -> bool:
        return node is not None and (node.name in floats or node.name in inner)

    def is_exposed(node: Node) -> bool:
        read = [name for name in data_inputs(graph, node) if name not in graph.constants]
        made = [name for name in node.outputs if name]
        return (
            not read
            or not all(is_real(makers.get(name)) for name in read)
            or not outputs.isdisjoint(made)
            or not all(is_real(reader) for name in made for reader in readers.get(name, []))
        )

    while True:
        exposed = {node.name for node in graph.nodes if node.name in inner and is_exposed(node)}
        if not exposed:
            break
        inner -= exposed
    reason = "it lies between operators that compute in float"
    return {node.name: reason for node in graph.nodes if node.name in inner}
