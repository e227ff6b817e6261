"""Let a product of matrices read its right side untransposed: BATCH_MATMUL turns it as it reads.

Given:   k -> Transpose(last two axes) [-> Mul(one value)] -> right side of a MatMul, read by it alone
Result:  k [-> Mul(one value)] -> right side of the MatMul with transB
"""

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.movement import Step, movement, steps_of


def fold_transposes(graph: Graph) -> Graph:
    """Return the graph with every such product rewritten; the argument stays as it is."""
    makers = graph.producers()
    if not any(_transpose_before(graph, makers, node) for node in graph.of("MatMul")):
        return graph
    made = graph.clone()
    makers = made.producers()
    for node in made.of("MatMul"):
        found = _transpose_before(made, makers, node)
        if found is None:
            continue
        turn, scaled = found
        if scaled is None:
            node.inputs[1] = turn.inputs[0]
        else:
            scaled.inputs = [turn.inputs[0] if n == turn.output else n for n in scaled.inputs]
            made.shapes[scaled.output] = made.shape(turn.inputs[0])
        node.attrs["transB"] = 1
    made.prune()
    return made


def _transpose_before(
    graph: Graph, makers: dict[str, Node], node: Node
) -> tuple[Node, Node | None] | None:
    """Return the Transpose, and the Mul behind it if there is one, that make the right side."""
    if node.int("transB", 0) or min(len(graph.shape(name)) for name in node.inputs) < 2:
        return None
    turn, scaled = makers.get(node.inputs[1]), None
    if turn is not None and turn.op == "Mul" and turn.clamp is None:
        scaled, sources = turn, [name for name in turn.inputs if name not in graph.constants]
        single = all(graph.constants[n].size == 1 for n in turn.inputs if n in graph.constants)
        if len(sources) != 1 or not single or graph.sole_reader(turn.output) is not node:
            return None
        turn = makers.get(sources[0])
    if turn is None or turn.op != "Transpose" or turn.clamp is not None:
        return None
    if graph.sole_reader(turn.output) is not (node if scaled is None else scaled):
        return None
    shape = graph.shape(turn.inputs[0])
    *rest, rows, columns = shape
    plain = graph.shape(turn.output) == (*rest, columns, rows)
    perm = Step("perm", (*range(len(rest)), len(rest) + 1, len(rest)))
    same = plain and movement(shape, steps_of(graph, turn)) == movement(shape, [perm])
    return (turn, scaled) if same else None
