"""Open an ONNX model up at chosen tensors.

    Given:    x -> A -> t -> B -> y
    Exposed:  x -> A -> t -> B -> y, outputs t and y
    Severed:  x -> A -> t;  t__fed -> B -> y, outputs t and y

A severed model runs every piece on inputs of the caller's choice, in one call.
"""

import copy
import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from edgeconv.tensors import Quantization

FED = "__fed"
"""Suffix of the new inputs of a severed model."""


def rewire(model: onnx.ModelProto, tensors: Sequence[str], *, sever: bool) -> onnx.ModelProto:
    """Return a copy whose outputs are ``tensors``; ``sever`` makes their readers read new inputs.

    A tensor whose type and shape cannot be inferred is exposed but not severed.
    """
    typed = {value.name: value for value in inferred(model)}
    other = copy.deepcopy(model)
    graph = other.graph
    del graph.output[:]
    for name in tensors:
        value = typed.get(name)
        graph.output.append(value if value is not None else onnx.ValueInfoProto(name=name))
        if sever and value is not None:
            fed = copy.deepcopy(value)
            fed.name = name + FED
            graph.input.append(fed)
            _reread(graph, name, fed.name)
    return other


def _reread(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == old:
                node.input[place] = new


def inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return every computed tensor whose static shape and type are known."""
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    made = {out for node in graph.node for out in node.output}
    return [
        value
        for value in [*graph.value_info, *graph.output]
        if value.name in made and all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim)
    ]


def made_by(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Map each tensor to the node that makes it."""
    return {out: node for node in model.graph.node for out in node.output if out}


def quantizations(model: onnx.ModelProto) -> dict[str, Quantization]:
    """Return per-tensor quantization of integer tensors: of the writer, else of a reader."""
    constants = {i.name: i for i in model.graph.initializer}
    found: dict[str, Quantization] = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        name = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if name in found and node.op_type == "DequantizeLinear":
            continue
        scale = constants.get(node.input[1])
        zero = constants.get(node.input[2]) if len(node.input) > 2 else None
        if scale is None or numpy_helper.to_array(scale).size != 1:
            continue
        point = 0 if zero is None else int(np.asarray(numpy_helper.to_array(zero)).reshape(()))
        step = float(np.asarray(numpy_helper.to_array(scale)).reshape(()))
        found[name] = Quantization(step, point)
    return found


def match_layers(first: onnx.ModelProto, second: onnx.ModelProto) -> dict[str, str]:
    """Map tensors of ``first`` to those of ``second``: by name, else by position, op and shape.

    Names count where at least half of the smaller model's tensors share one.
    """
    own, other = _keys(first), _keys(second)
    shared = [name for name in own if name in other and own[name][1] == other[name][1]]
    if 2 * len(shared) >= min(len(own), len(other)):
        return {name: name for name in shared}
    a, b = list(own), list(other)
    matcher = difflib.SequenceMatcher(
        None, [own[n] for n in a], [other[n] for n in b], autojunk=False
    )
    pairs: dict[str, str] = {}
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            pairs[a[block.a + step]] = b[block.b + step]
    return pairs


def _keys(model: onnx.ModelProto) -> dict[str, tuple[str, tuple[int, ...]]]:
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inferred(model)
    }
    return {
        name: (node.op_type, shapes[name])
        for name, node in made_by(model).items()
        if name in shapes and node.op_type not in ("Constant", "QuantizeLinear", "DequantizeLinear")
    }


def cut(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the part of ``model`` between tensors ``inputs`` and ``outputs``, its weights included."""
    makers, constants = made_by(model), {i.name: i for i in model.graph.initializer}
    typed: dict[str, Any] = {v.name: v for v in [*inferred(model), *model.graph.input]}
    needed, waiting, nodes = set(inputs), list(outputs), []
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name in needed or node is None:
            continue
        needed.update(node.output)
        if node not in nodes:
            nodes.append(node)
        waiting.extend(n for n in node.input if n)
    kept = [node for node in model.graph.node if node in nodes]
    used = {name for node in kept for name in node.input}
    graph = helper.make_graph(
        kept,
        model.graph.name or "cut",
        [typed[name] for name in inputs if name in used or name in outputs],
        [typed[name] for name in outputs],
        [item for name, item in constants.items() if name in used],
    )
    smaller = helper.make_model(graph, opset_imports=list(model.opset_import))
    smaller.ir_version = model.ir_version
    return smaller
