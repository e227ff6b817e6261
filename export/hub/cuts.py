"""The parts that an output is put together from: the Concat before it."""

from edgeconv.export.graph import Graph, Node

MOST = 16
"""More pieces are one quantity, cut up by an operator of the net."""
SAME_PLACES = ("Identity", "Cast", "Dropout")
ELEMENTWISE = ("Mul", "Add", "Sub", "Div")


def output_cuts(graph: Graph) -> dict[str, list[int]]:
    """Return output -> axis and then where each piece begins, of outputs that a Concat ends in.

    Given: boxes, scores -> Concat(axis=1) -> Transpose(0, 2, 1) -> output. Result: axis 2, and the
    channels at which boxes and scores begin.
    """
    makers = graph.producers()
    found = {}
    for output in graph.outputs:
        axis, begins = _cuts(graph, makers, output)
        if axis > 0 and 1 < len(begins) <= MOST:
            found[output] = [axis, *begins]
    return found


def _cuts(graph: Graph, makers: dict[str, Node], tensor: str) -> tuple[int, list[int]]:
    """Return the axis of the Concat behind ``tensor``, as an axis of ``tensor``, and its cuts."""
    node = makers.get(tensor)
    if node is None:
        return 0, []
    rank = len(graph.shape(tensor))
    if node.op == "Concat":
        axis = node.int("axis", 0) % rank
        return axis, _begins(graph, makers, node, axis)
    source = node.inputs[0]
    if node.op in ELEMENTWISE:
        constants = [name for name in node.inputs if name in graph.constants]
        others = [name for name in node.inputs if name not in graph.constants]
        if len(constants) != 1 or graph.shape(others[0]) != graph.shape(tensor):
            return 0, []
        source = others[0]
    elif node.op == "Transpose":
        axis, begins = _cuts(graph, makers, source)
        order = node.ints("perm", list(reversed(range(rank))))
        return order.index(axis), begins
    elif node.op not in SAME_PLACES:
        return 0, []
    return _cuts(graph, makers, source)


def _begins(graph: Graph, makers: dict[str, Node], node: Node, axis: int) -> list[int]:
    begins, place = [], 0
    for name in node.inputs:
        inner, cuts = _cuts(graph, makers, name)
        begins += [place + cut for cut in cuts] if inner == axis and cuts else [place]
        place += graph.shape(name)[axis]
    return begins
