"""What nothing decides at run time: known Ifs become their branch, known loops their rounds, lists their tensors.

A condition or a count is known where it comes from constants and from shapes, a body's own included.
"""

from collections.abc import Callable, Mapping

import onnx
from onnx import helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.bodies import replace_node, write_body
from edgeconv.export.hub.known import Known, known_of
from edgeconv.export.hub.loops import unroll_loop, unroll_scan
from edgeconv.export.hub.sequences import WRITTEN as SEQUENCES
from edgeconv.export.hub.sequences import write_sequences


def take_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with decided Ifs, loops and lists written out. The argument stays as it is."""
    if not any(node.op_type in {*WRITTEN, *SEQUENCES} for node in model.graph.node):
        return model
    taken = onnx.ModelProto()
    taken.CopyFrom(model)
    number, before = 0, -1
    while before < number:  # what one makes known decides the next
        before = number
        known = known_of(taken)
        for place in reversed(range(len(taken.graph.node))):
            write = WRITTEN.get(taken.graph.node[place].op_type)
            if write is not None and write(taken.graph, place, known, f"branch{number}_"):
                number += 1
        number += write_sequences(taken, known)
    if number:
        del taken.graph.value_info[:]  # exporters declare of both branches what one of them makes
    return taken


def _take_branch(graph: onnx.GraphProto, place: int, known: Known, prefix: str) -> bool:
    """Replace the If at ``place`` by the branch that is taken; False where that is not known."""
    node = graph.node[place]
    chosen = known.value(node.input[0])
    if chosen is None:
        return False
    wanted = "then_branch" if chosen.reshape(-1)[0] else "else_branch"
    written = write_body(next(a.g for a in node.attribute if a.name == wanted), (), prefix)
    ends = [
        helper.make_node("Identity", [name], [out])
        for name, out in zip(written.results, node.output, strict=True)
    ]
    replace_node(graph, place, [*written.nodes, *ends], written.initializers)
    return True


WRITTEN: dict[str, Callable[[onnx.GraphProto, int, Known, str], bool]] = {
    "If": _take_branch,
    "Loop": unroll_loop,
    "Scan": unroll_scan,
}
"""Operator -> what writes the node at a place out and says whether it could."""


def refuse_subgraphs(model: onnx.ModelProto) -> None:
    """Raise EdgeconvError for the first node that still holds a graph, saying what decides it."""
    for number, node in enumerate(model.graph.node):
        if not any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute):
            continue
        said = f"node {node.name or number} ({node.op_type}) holds a subgraph"
        if node.op_type != "If":
            raise EdgeconvError(
                f"{said} that it repeats a number of times that is not known beforehand: no target has "
                "such loops, export the net with the loop written out"
            )
        makers = {name: maker for maker in model.graph.node for name in maker.output}
        deciding = _inputs_behind(model.graph, makers, node.input[0])
        if not deciding:
            raise EdgeconvError(f"{said} whose condition cannot be computed beforehand")
        advice = (
            f"fix it with --freeze-input {deciding[0]}=VALUE"
            if len(deciding) == 1
            else "fix them with --freeze-input NAME=VALUE"
        )
        raise EdgeconvError(
            f"{said} that the values of {', '.join(deciding)} choose: {advice}; no target chooses at run time"
        )


def _inputs_behind(
    graph: onnx.GraphProto, makers: Mapping[str, onnx.NodeProto], name: str
) -> list[str]:
    """Return the graph's inputs that ``name`` is computed from, in their order."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current and current not in seen:
            seen.add(current)
            todo += makers[current].input if current in makers else []
    constants = {item.name for item in graph.initializer}
    return [v.name for v in graph.input if v.name in seen and v.name not in constants]
