"""Control flow that nothing decides at run time: every If whose condition is known becomes its branch.

A condition is known where it comes from constants and from shapes, a branch's own Ifs included.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from edgeconv.errors import EdgeconvError, reading
from edgeconv.export.hub.ingest import opset_of


@dataclass(frozen=True)
class Known:
    """What is known of a model's tensors before it runs: their makers, the constants, whole shapes."""

    makers: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, onnx.TensorProto]
    shapes: Mapping[str, tuple[int, ...]]
    opset: int


def take_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with the branches of decided Ifs in their place. The argument stays as it is."""
    if not any(node.op_type == "If" for node in model.graph.node):
        return model
    taken = onnx.ModelProto()
    taken.CopyFrom(model)
    number, before = 0, -1
    while before < number:  # what one branch makes known decides the next
        before = number
        known = _known(taken)
        for place in reversed(range(len(taken.graph.node))):
            node = taken.graph.node[place]
            chosen = _value(node.input[0], known) if node.op_type == "If" else None
            if chosen is not None:
                _put_in_place(taken.graph, place, bool(chosen.reshape(-1)[0]), f"branch{number}_")
                number += 1
    return taken


def _known(model: onnx.ModelProto) -> Known:
    with reading("the model contradicts itself"):
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    return Known(
        {name: node for node in model.graph.node for name in node.output},
        {item.name: item for item in model.graph.initializer},
        dict(_shapes(inferred.graph)),
        opset_of(model),
    )


def refuse_subgraphs(model: onnx.ModelProto) -> None:
    """Raise EdgeconvError for the first node that still holds a graph, saying what decides it."""
    for number, node in enumerate(model.graph.node):
        if not any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute):
            continue
        said = f"node {node.name or number} ({node.op_type}) holds a subgraph"
        if node.op_type != "If":
            raise EdgeconvError(
                f"{said} that it repeats: no target has such loops, export the net with the loop written out"
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


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors whose shape is known, but for what it is made of."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            yield value.name, tuple(dim.dim_value for dim in kind.shape.dim)


def _value(name: str, known: Known) -> NDArray[np.generic] | None:
    """Return what ``name`` holds whatever the inputs are; None where that depends on them."""
    found: dict[str, onnx.TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    todo, seen = [name], set[str]()
    while todo:
        current = todo.pop()
        if not current or current in seen:
            continue
        seen.add(current)
        maker = known.makers.get(current)
        if current in known.constants:
            found[current] = known.constants[current]
        elif maker is None:
            return None
        elif maker.op_type == "Shape" and maker.input[0] in known.shapes and not maker.attribute:
            size = np.array(known.shapes[maker.input[0]], np.int64)
            found[current] = numpy_helper.from_array(size, current)
        elif maker.op_type in ("If", "Loop", "Scan") or maker.op_type.startswith("Random"):
            return None
        else:
            nodes.append(maker)
            todo += maker.input
    if not nodes:
        return numpy_helper.to_array(found[name])
    return _computed(name, nodes, found, known.opset)


def _computed(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    opset: int,
) -> NDArray[np.generic] | None:
    from onnx.reference import ReferenceEvaluator

    made = helper.make_empty_tensor_value_info(name)
    graph = helper.make_graph(_ordered(nodes), "condition", [], [made], list(constants.values()))
    try:
        results: Any = ReferenceEvaluator(graph, opsets={"": opset}).run(None, {})
    except Exception:  # an operator that the evaluator lacks: then it is simply not known
        return None
    return np.asarray(results[0])


def _ordered(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return ``nodes``, found from the last back, each once and after what it reads."""
    makers = {name: node for node in nodes for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}

    def add(node: onnx.NodeProto) -> None:
        if node.output[0] in ordered:
            return
        for name in node.input:
            if name in makers:
                add(makers[name])
        ordered[node.output[0]] = node

    for node in nodes:
        add(node)
    return list(ordered.values())


def _put_in_place(graph: onnx.GraphProto, place: int, chosen: bool, prefix: str) -> None:
    """Replace the If at ``place`` by the branch of ``chosen``, whose own names get ``prefix``."""
    node = graph.node[place]
    wanted = "then_branch" if chosen else "else_branch"
    body = next(a.g for a in node.attribute if a.name == wanted)
    inside = {name for item in body.node for name in item.output if name}
    inside |= {item.name for item in body.initializer}
    names = {name: f"{prefix}{name}" for name in inside}
    nodes = []
    for item in body.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(item)
        copied.name = f"{prefix}{item.name}" if item.name else ""
        _rename(copied, names)
        nodes.append(copied)
    for name, outside in zip((v.name for v in body.output), node.output, strict=True):
        nodes.append(helper.make_node("Identity", [names.get(name, name)], [outside]))
    for item in body.initializer:
        kept = onnx.TensorProto()
        kept.CopyFrom(item)
        kept.name = names[item.name]
        graph.initializer.append(kept)
    rest = [*graph.node[:place], *nodes, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(rest)


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename what a node reads and makes, its own graphs' reads of them included."""
    for values in (node.input, node.output):
        values[:] = [names.get(name, name) for name in values]
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            own = {name for inner in attribute.g.node for name in inner.output}
            own |= {item.name for item in attribute.g.initializer}
            outer = {name: new for name, new in names.items() if name not in own}
            for inner in attribute.g.node:
                _rename(inner, outer)
            for value in attribute.g.output:
                value.name = outer.get(value.name, value.name)
