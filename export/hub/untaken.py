"""Whether onnxruntime, which every file is compared in, takes a model, and which node it does not take."""

import onnx
from onnx import helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.graphs import names_read, opset_of
from edgeconv.export.hub.light import inferred
from edgeconv.export.hub.trace import HUB_OPSET
from edgeconv.runtimes.onnxrt import open_model


def refuse_untaken(model: onnx.ModelProto, named: str) -> None:
    """Raise EdgeconvError, naming the node and a way out, where onnxruntime cannot open ``model``."""
    if (reason := _why_untaken(model)) is None:
        return
    identity = helper.make_node("Identity", ["x"], ["y"])
    kind = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1])
    if _why_untaken(_alone(model, identity, {"x": kind})) is not None:
        raise EdgeconvError(
            f"{named} is of opset {opset_of(model)}, which is newer than the onnxruntime here: "
            f"export it at opset {HUB_OPSET}"
        )
    types = _types(model)
    for node in model.graph.node:
        read = set(node.input).union(*(names_read(given.g) for given in node.attribute))
        given = {name: types[name] for name in sorted(read & types.keys())}
        known = all(name in given for name in node.input if name)
        if known and _why_untaken(_alone(model, node, given)) is not None:
            raise EdgeconvError(_sentence(node, given, named))
    raise EdgeconvError(f"{named}: {reason}")


def _why_untaken(model: onnx.ModelProto) -> str | None:
    try:
        open_model(model.SerializeToString(), optimize=False).close()
    except EdgeconvError as error:
        return str(error)
    return None


def _alone(
    model: onnx.ModelProto, node: onnx.NodeProto, types: dict[str, onnx.TypeProto]
) -> onnx.ModelProto:
    """Return a model of one node, of the opsets of ``model``; the constants that it reads stay constants."""
    constants = [item for item in _constants(model) if item.name in types]
    held = {item.name for item in constants}
    inputs = [helper.make_value_info(name, types[name]) for name in types if name not in held]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "alone", inputs, outputs, constants)
    found = helper.make_model(graph, opset_imports=model.opset_import)
    found.ir_version = model.ir_version
    return found


def _constants(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return initializers and what Constant nodes hold: a Slice by steps of 0 is taken by nobody."""
    found = list(model.graph.initializer)
    for node in model.graph.node:
        for given in node.attribute:
            if node.op_type == "Constant" and given.name == "value":
                found.append(onnx.TensorProto())
                found[-1].CopyFrom(given.t)
                found[-1].name = node.output[0]
    return found


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    graph = inferred(model)
    types = {value.name: value.type for value in (*graph.input, *graph.value_info)}
    for item in model.graph.initializer:
        types[item.name] = helper.make_tensor_type_proto(item.data_type, item.dims)
    return types


def _sentence(node: onnx.NodeProto, types: dict[str, onnx.TypeProto], named: str) -> str:
    kinds = {
        onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()
        for kind in types.values()
        if kind.tensor_type.elem_type
    }
    where = f"{node.op_type} (node {node.name or node.output[0]})"
    if "string" in kinds:
        return (
            f"{named}: {where} holds texts, which no target has: end the model before them, "
            "and name classes with --labels"
        )
    cure = "let it compute on float32 there, with a Cast before and behind it"
    if kinds == {"float"}:
        cure = "write it with other operators there"
    said = f"does not take {where} of {' and '.join(sorted(kinds))}: {cure}"
    return f"{named}: onnxruntime, in which every file is compared, {said}"
