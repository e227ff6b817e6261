"""Read an ONNX file into a Graph and write a Graph as ONNX. Only this module and onnx_checks.py know protobuf."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper

from edgeconv.errors import EdgeconvError, reading
from edgeconv.export.graph import Array, Attribute, Graph, Node
from edgeconv.export.hub import light
from edgeconv.export.hub.onnx_checks import check_model
from edgeconv.export.hub.onnx_words import check_words
from edgeconv.export.hub.refused_forms import write_refused_forms
from edgeconv.export.hub.sparse import write_sparse
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.foreign import refuse_no_file

IR_VERSION = 10  # the newest that onnxruntime 1.18, our lower bound, reads


def load_model(path: Path) -> onnx.ModelProto:
    """Read and check an .onnx file, external data included.

    Raises EdgeconvError where the file is missing, is no ONNX model, or its external data is
    missing or outside the model's folder.
    """
    refuse_no_file(path)
    if path.stat().st_size == 0:
        raise EdgeconvError(f"{path} is not a readable ONNX model: it is empty")
    try:
        model = onnx.load(str(path), load_external_data=False)
        check_model(model, path)
        check_words(model, path)
        write_refused_forms(model)
        onnx.load_external_data_for_model(model, str(path.parent))
        write_sparse(model)
        if not all(o.type.tensor_type.HasField("shape") for o in model.graph.output):
            model = onnx.shape_inference.infer_shapes(model)
        _check(model)
    except EdgeconvError:
        raise
    except DecodeError as error:
        reason = "it is damaged, cut short or another format"
        raise EdgeconvError(f"{path} is not a readable ONNX model: {reason}") from error
    except (UnicodeError, TypeError) as error:  # protobuf hands bytes on where no text is
        reason = "it is damaged: what should be a name in it is no text"
        raise EdgeconvError(f"{path} is not a readable ONNX model: {reason}") from error
    except Exception as error:  # protobuf, checker and file errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EdgeconvError(f"{path} is not a readable ONNX model: {reason}") from error
    if not model.graph.node and not model.graph.output:
        raise EdgeconvError(f"{path} is not a readable ONNX model: it holds no graph")
    # onnx writes a newer IR version than onnxruntime reads, whatever the graph needs
    model.ir_version = min(model.ir_version, IR_VERSION)
    return model


_COUNTED = "how many there are depends on values, and files for devices have static shapes; "
BY_VALUES = {
    "NonZero": f"{_COUNTED}give the mask itself as output and look for places outside the model, or take a fixed number "
    "with TopK (x * mask instead of x[mask], torch.where of three arguments)",
    "Unique": f"{_COUNTED}give the values as output and sort them out outside the model",
    "Compress": f"{_COUNTED}give values and condition as outputs, or multiply by the condition",
}
"""Operators whose output is as long as values say, and what to do instead."""


def load_own(path: Path) -> Graph:
    """Read a file that this process wrote; raises EdgeconvError where it is another by now."""
    with reading(f"{path} is not what was written"):
        return from_onnx(onnx.load(str(path)))


def _check(model: onnx.ModelProto) -> None:
    """Let onnx check a model; that an output does not say its shape is no fault, although it asks for one."""
    silent = [o for o in model.graph.output if not o.type.tensor_type.HasField("shape")]
    for value in silent:
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(model)
    for value in silent:
        value.type.tensor_type.ClearField("shape")


def from_onnx(model: onnx.ModelProto) -> Graph:
    """Turn a model into a Graph; Constant nodes become constants, every shape is inferred.

    Raises EdgeconvError for a dynamic shape (offering --input-shape), for subgraphs, for operators
    outside the default domain, and for a model that contradicts itself.
    """
    with reading("the model contradicts itself"):
        return _graph(model)


def _graph(model: onnx.ModelProto) -> Graph:
    model = _first_outputs_named(model)
    source, typed = model.graph, light.inferred(model, data_prop=True)
    constants = {i.name: _array(i, f"the weight {i.name}") for i in source.initializer}
    nodes = []
    for number, proto in enumerate(source.node):
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant_value(proto)
        else:
            nodes.append(_node(proto, number))
    _name_apart(nodes)
    inputs = [v.name for v in source.input if v.name not in constants]
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    graph = Graph(
        source.name or "main", opset, inputs, [v.name for v in source.output], nodes, constants
    )
    for value in [*typed.input, *typed.value_info, *typed.output]:
        if value.name in constants:
            continue
        tensor_type = value.type.tensor_type
        if not tensor_type.HasField("shape") and value.name not in inputs:
            continue
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor_type.shape.dim]
        if any(size < 0 for size in shape) or not tensor_type.HasField("shape"):
            if value.name in inputs:
                raise EdgeconvError(
                    f"input {value.name} has a dynamic shape {describe_shape(value)}: "
                    "name one with --input-shape N,C,H,W"
                )
            continue
        graph.declare(value.name, shape, helper.tensor_dtype_to_np_dtype(tensor_type.elem_type))
    for node in graph.nodes:
        for out in node.outputs:
            if out and out not in graph.shapes:
                raise EdgeconvError(
                    f"the shape of {out}, made by {node.op} {node.name}, cannot be inferred: "
                    + BY_VALUES.get(node.op, "the graph must have static shapes")
                )
    return graph


def _first_outputs_named(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with a name for every first output: recurrent operators may leave it out."""
    if all(node.output and node.output[0] for node in model.graph.node):
        return model
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for number, node in enumerate(named.graph.node):
        if node.output and not node.output[0]:
            node.output[0] = f"{node.name or node.op_type}_{number}_unread"
    return named


def describe_shape(value: onnx.ValueInfoProto) -> str:
    """Return an input's shape in words, symbols by name."""
    if not value.type.tensor_type.HasField("shape"):
        return "of unknown rank"
    dims = [
        d.dim_param or (str(d.dim_value) if d.dim_value else "?")
        for d in value.type.tensor_type.shape.dim
    ]
    return "[" + ", ".join(dims) + "]"


def _array(tensor: onnx.TensorProto, what: str) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise EdgeconvError(
            f"the bytes of {what} do not fit its shape {list(tensor.dims)} and element type: "
            "the file is damaged, export or download it again"
        ) from error


def _constant_value(node: onnx.NodeProto) -> Array:
    if len(node.attribute) != 1:
        raise EdgeconvError(
            f"the Constant that makes {node.output[0]} has {len(node.attribute)} values, not one"
        )
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return _array(value, f"the Constant {node.output[0]}")
    kind = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.asarray(value, kind)


def _name_apart(nodes: Sequence[Node]) -> None:
    """Give every node a name of its own: recipes know nodes by name, ONNX lets them repeat."""
    taken: set[str] = set()
    for node in nodes:
        stem, number = node.name, 1
        while node.name in taken:
            node.name, number = f"{stem}_{number}", number + 1
        taken.add(node.name)


def _node(node: onnx.NodeProto, number: int) -> Node:
    if node.domain not in ("", "ai.onnx"):
        raise EdgeconvError(
            f"node {node.name or number} uses {node.op_type} of the domain {node.domain}, "
            "which is not standard ONNX"
        )
    attrs: dict[str, Attribute] = {}
    for attribute in node.attribute:
        value: Any = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.GraphProto):
            raise EdgeconvError(f"node {node.name or number} ({node.op_type}) holds a subgraph")
        if isinstance(value, onnx.TensorProto):
            value = _array(value, f"{attribute.name} of {node.name or number}")
        elif isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, (list, tuple)) or hasattr(value, "extend"):
            value = [item.decode() if isinstance(item, bytes) else item for item in value]
        attrs[attribute.name] = value
    name = node.name or f"{node.op_type}_{number}"
    return Node(node.op_type, name, list(node.input), list(node.output), attrs)


def to_onnx(graph: Graph, metadata: dict[str, str] | None = None) -> onnx.ModelProto:
    """Write a Graph as a checked ONNX model; fused clamps and shuffles become plain ONNX again.

    ``metadata`` goes into the file's metadata_props.
    """
    if any(node.op == "ChannelShuffle" for node in graph.nodes):
        graph = graph.clone()
        expand_shuffles(graph)
    protos = []
    extra: dict[str, Array] = {}
    for node in graph.nodes:
        outputs = list(node.outputs)
        if node.clamp is not None:
            outputs[0] = f"{node.output}_before_clamp"
        attrs = _attributes(node)
        protos.append(helper.make_node(node.op, node.inputs, outputs, name=node.name, **attrs))
        if node.clamp is not None:
            protos.append(_clamp(node, outputs[0], extra))
    initializers = [
        numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), name)
        for name, a in [*graph.constants.items(), *extra.items()]
    ]
    proto = helper.make_graph(
        protos,
        graph.name,
        [_value_info(graph, name) for name in graph.inputs],
        [_value_info(graph, name) for name in graph.outputs],
        initializers,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", graph.opset)])
    model.ir_version = IR_VERSION
    model.producer_name = "edgeconv"
    helper.set_model_props(model, dict(sorted((metadata or {}).items())))
    light.check(model)
    return model


def _attributes(node: Node) -> dict[str, Any]:
    """Return what make_node takes; an empty list has no type and always is the default."""
    return {
        key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in node.attrs.items()
        if not (isinstance(value, list) and not value)
    }


def _clamp(node: Node, source: str, constants: dict[str, Array]) -> onnx.NodeProto:
    assert node.clamp is not None
    low, high = node.clamp
    name = f"{node.name}_clamp"
    if (low, high) == (0.0, float("inf")):
        return helper.make_node("Relu", [source], [node.output], name=name)
    bounds = []
    for label, bound in (("low", low), ("high", high)):
        if np.isinf(bound):
            bounds.append("")
            continue
        key = f"clamp_{label}_{float(np.float32(bound))!r}"
        constants[key] = np.array(bound, np.float32)
        bounds.append(key)
    return helper.make_node("Clip", [source, *bounds], [node.output], name=name)


def _value_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(graph.dtype(name))
    return helper.make_tensor_value_info(name, kind, graph.shape(name))


def save_model(model: onnx.ModelProto) -> bytes:
    """Return the model's bytes, the same for the same model every time."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data
