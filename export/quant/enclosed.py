"""Keep in float what lies between operators that compute in float anyway.

Given:   Pow (float) -> AveragePool -> Add -> Pow (float)
Result:  AveragePool and Add compute in float

Given:   LSTM (float) -> Reshape -> output
Result:  Reshape moves the real values

Given:   Conv -> Sigmoid -> Mul(9.9) -> Add(0.1) -> Reciprocal (float)
Result:  Sigmoid, Mul and Add compute in float

Given:   Mul -> ReduceSum -> ReduceL2, Div (float)
Result:  ReduceSum computes in float, of integers

Between them every value would be rounded to 8 bits and back, and nothing would be faster for it.
"""

from collections.abc import Mapping

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import data_inputs, moves_integers
from edgeconv.export.op_traits import RULES, TRAITS, WEIGHTED, Is, operators

APART = WEIGHTED | {"MatMul"}
"""These are what integers are for."""
VALUES = (operators(Is.CHANNELWISE) - operators(Is.HOMOGENEOUS)) | operators(Is.BROADCASTS) - APART
"""What computes value by value, as a float operator would that reads it."""
FOLDS = frozenset(op for op in TRAITS if op.startswith("Reduce"))
"""What makes one value of many: cheap where a float operator follows or comes before."""
CHEAP = VALUES | FOLDS


def enclosed(graph: Graph, floats: Mapping[str, str]) -> dict[str, str]:
    """Return the nodes that only such operators surround, with the reason; ``floats`` are in float."""
    cheap = {node.name for node in graph.nodes if node.op in RULES.keys() - APART}
    moving = {node.name for node in graph.nodes if node.name in cheap and moves_integers(node)}
    found = _surrounded(graph, cheap - floats.keys(), set(floats), set())
    found |= _surrounded(
        graph, moving - floats.keys() - found, {*floats, *found}, {*graph.inputs, *graph.outputs}
    )
    reason = "it lies between operators that compute in float"
    said = {node.name: reason for node in graph.nodes if node.name in found}
    feeding = _feeding(graph, {*floats, *found})
    return said | dict.fromkeys(feeding, "only operators that compute in float read it")


def _feeding(graph: Graph, floats: set[str]) -> list[str]:
    """Return what computes value by value, or folds values, for others of these kinds in ``floats`` alone."""
    readers = graph.consumers()
    inside, found = set(floats), list[str]()
    for node in reversed(graph.nodes):
        if node.name in inside or node.op not in CHEAP & RULES.keys() or moves_integers(node):
            continue
        following = readers.get(node.output, [])
        if not following or node.output in graph.outputs:
            continue
        if all(each.name in inside and each.op in CHEAP for each in following):
            found.append(node.name)
            if node.op in VALUES:  # what is folded is larger, and stays in integers
                inside.add(node.name)
    return found


def _surrounded(graph: Graph, inner: set[str], floats: set[str], borders: set[str]) -> set[str]:
    """Return those of ``inner`` that read and are read by each other, ``floats`` and ``borders`` alone."""
    makers, readers = graph.producers(), graph.consumers()

    def is_exposed(node: Node) -> bool:
        read = [name for name in data_inputs(graph, node) if name not in graph.constants]
        made = [name for name in node.outputs if name]
        around = [makers[name].name for name in read if name in makers]
        around += [reader.name for name in made for reader in readers.get(name, [])]
        unknown = {name for name in read if name not in makers}
        unknown |= {name for name in made if name in graph.outputs}
        return not read or not {*around} <= floats | inner or not unknown <= borders

    while True:
        exposed = {node.name for node in graph.nodes if node.name in inner and is_exposed(node)}
        if not exposed:
            return inner
        inner = inner - exposed
