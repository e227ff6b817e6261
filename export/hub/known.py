"""What is known of a model's tensors before it runs: what constants and shapes alone decide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeconv.errors import reading
from edgeconv.export.hub.graphs import opset_of
from edgeconv.export.hub.light import inferred


@dataclass(frozen=True)
class Known:
    """The makers of a model's tensors, its constants and whole shapes."""

    makers: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, onnx.TensorProto]
    shapes: Mapping[str, tuple[int, ...]]
    opset: int

    def value(self, name: str) -> NDArray[np.generic] | None:
        """Return what ``name`` holds whatever the inputs are; None where that depends on them."""
        found: dict[str, onnx.TensorProto] = {}
        nodes: list[onnx.NodeProto] = []
        todo, seen = [name], set[str]()
        while todo:
            current = todo.pop()
            if not current or current in seen:
                continue
            seen.add(current)
            maker = self.makers.get(current)
            if current in self.constants:
                found[current] = self.constants[current]
            elif maker is None:
                return None
            elif maker.op_type == "Shape" and maker.input[0] in self.shapes and not maker.attribute:
                size = np.array(self.shapes[maker.input[0]], np.int64)
                found[current] = numpy_helper.from_array(size, current)
            elif maker.op_type in ("If", "Loop", "Scan") or maker.op_type.startswith("Random"):
                return None
            else:
                nodes.append(maker)
                todo += maker.input
        if not nodes:
            return numpy_helper.to_array(found[name])
        return _computed(name, nodes, found, self.opset)


def known_of(model: onnx.ModelProto) -> Known:
    """Return what is known of ``model``; raises EdgeconvError where it contradicts itself."""
    with reading("the model contradicts itself"):
        found = inferred(model, data_prop=True)
    return Known(
        {name: node for node in model.graph.node for name in node.output},
        {item.name: item for item in model.graph.initializer},
        dict(_shapes(found)),
        opset_of(model),
    )


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors whose shape is known, but for what it is made of."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            yield value.name, tuple(dim.dim_value for dim in kind.shape.dim)


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
