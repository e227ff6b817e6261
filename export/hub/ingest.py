"""An .onnx file as it comes to one that the hub can take: the same function in plainer terms.

Model-local functions are inlined, operators newer than the hub's opset become what ONNX defines
them as, real numbers of other widths become float32, and dimensions below zero become unknown.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper, shape_inference

from edgeconv.export.hub.affine_grid import write_affine_grids
from edgeconv.export.hub.graphs import graphs_of, opset_of
from edgeconv.export.hub.late_windows import drop_late_windows
from edgeconv.export.hub.light import inferred
from edgeconv.export.hub.refused_forms import write_refused_forms
from edgeconv.export.hub.trace import HUB_OPSET
from edgeconv.export.qdq.qoperator import (
    as_qdq,
    is_qoperator,
    refuse_dynamic,
    use_standard_quantization,
    widen_four_bits,
)

WIDTHS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
"""Real numbers that no target computes in as such."""
COMPOSED = frozenset(["MeanVarianceNormalization"])
"""Functions of older opsets that no target has."""
TYPE_ATTRIBUTES = frozenset(["to", "dtype", "stash_type"])


def ingest(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """Return ``model`` in the hub's terms, and what the user should be told. The argument may change."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    write_refused_forms(model)
    refuse_dynamic(model)
    use_standard_quantization(model)
    narrow = widen_four_bits(model)
    if is_qoperator(model):
        model = as_qdq(model)
    write_affine_grids(model)
    _drop_unread_fills(model.graph)
    _say_onesided(model.graph)
    model = _without_claims(_without_newer_operators(model))
    notes = _widen(model)
    if narrow:
        notes.append(
            f"{narrow} of its weights have 4 bits: they are stored as the same integers of 8"
        )
    for value in _values(model.graph):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.Clear()
    return model, notes


def _without_claims(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every tensor the shape that its operator makes; declared ones may contradict it.

    What a file says stays where nothing can be inferred.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for graph in graphs_of(bare.graph):
        del graph.value_info[:]
        for value in graph.output:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    found = inferred(bare, data_prop=True)
    while drop_late_windows(bare.graph, _shapes(found)):
        found = inferred(bare, data_prop=True)
    del model.graph.node[:]
    model.graph.node.extend(bare.graph.node)
    known = {value.name: value for value in found.value_info}
    declared = [value for value in model.graph.value_info if value.name not in known]
    del model.graph.value_info[:]
    model.graph.value_info.extend([*found.value_info, *declared])
    for given, made in zip(model.graph.output, found.output, strict=True):
        if made.type.tensor_type.HasField("shape"):
            given.type.tensor_type.shape.CopyFrom(made.type.tensor_type.shape)
    return model


def _drop_unread_fills(graph: onnx.GraphProto) -> None:
    """Take the value from Pads that repeat the border: onnx's converter leaves it where none may be."""
    for node in graph.node:
        given = {item.name: item for item in node.attribute}
        borders = "mode" in given and given["mode"].s != b"constant"
        if node.op_type == "Pad" and borders and "value" in given:
            node.attribute.remove(given["value"])


def _say_onesided(graph: onnx.GraphProto) -> None:
    """Write the default of STFT's onesided down: onnx's shape inference takes it for 0."""
    for node in graph.node:
        if node.op_type == "STFT" and all(item.name != "onesided" for item in node.attribute):
            node.attribute.append(helper.make_attribute("onesided", 1))


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Return the known sizes of every tensor, 0 for a size that is not known."""
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in _values(graph)
        if value.type.tensor_type.HasField("shape")  # an input that is an output is listed twice
    }


def _without_newer_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write out the operators that onnx cannot convert back to the hub's opset, or defines as others."""
    opset = opset_of(model)
    used = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    newer = [("", op) for op in sorted(used) if _is_newer(op, opset) or op in COMPOSED]
    if not newer:
        return model
    _write_defaults(model.graph, {op for _, op in newer}, opset)
    typed = shape_inference.infer_shapes(model)  # the inliner wants the type of all that they read
    typed.graph.value_info.extend(
        helper.make_tensor_value_info(item.name, item.data_type, item.dims)
        for item in model.graph.initializer
    )
    return inliner.inline_selected_functions(typed, newer, inline_schema_functions=True)


def _write_defaults(graph: onnx.GraphProto, ops: set[str], opset: int) -> None:
    """Write the attributes down that some operators leave at their defaults: the inliner drops those."""
    for node in graph.node:
        if node.op_type not in ops:
            continue
        given = {item.name for item in node.attribute}
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        defaults = {name: item.default_value for name, item in schema.attributes.items()}
        node.attribute.extend(
            value for name, value in defaults.items() if value.name and name not in given
        )


def _is_newer(op: str, opset: int) -> bool:
    if opset <= HUB_OPSET:
        return False
    if op == "GroupNormalization":  # since 21 its scale and bias are one a channel
        return opset > 20
    try:
        onnx.defs.get_schema(op, HUB_OPSET, "")
    except onnx.defs.SchemaError:
        return True
    return False


def _widen(model: onnx.ModelProto) -> list[str]:
    """Turn every real number of the model into float32; say which widths there were."""
    found: set[int] = set()
    borders = []
    for graph in graphs_of(model.graph):
        for tensor in graph.initializer:
            _widen_tensor(tensor, found)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    _widen_tensor(attribute.t, found)
                elif attribute.name in TYPE_ATTRIBUTES and attribute.i in WIDTHS:
                    found.add(attribute.i)
                    attribute.i = TensorProto.FLOAT
        for value in _values(graph):
            kind = value.type.tensor_type.elem_type
            if kind in WIDTHS:
                found.add(kind)
                value.type.tensor_type.elem_type = TensorProto.FLOAT
                borders += (
                    [value.name] if value in (*model.graph.input, *model.graph.output) else []
                )
    if not found:
        return []
    names = " and ".join(WIDTHS[kind] for kind in sorted(found))
    outside = f", also at the borders ({', '.join(borders)})" if borders else ""
    return [f"its {names} values became float32{outside}"]


def _widen_tensor(tensor: onnx.TensorProto, found: set[int]) -> None:
    if tensor.data_type in WIDTHS:
        found.add(tensor.data_type)
        value = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.input, *graph.value_info, *graph.output]


OLD_SAMPLING = {"coordinate_transformation_mode": "asymmetric"}


def keep_old_resizes(model: onnx.ModelProto) -> None:
    """Give Resizes that onnx converted from opset 10 or older the sampling that those had, in place.

    That is at x_out / scale; nearest takes the floor where the picture grows and the ceiling where
    it shrinks, axis by axis: one that does both is two here. onnx's converter leaves the defaults
    of opset 11, which sample elsewhere.
    """
    constants = {item.name: item for item in model.graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"
    }
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "Resize":
            continue
        given = constants.get(node.input[2]) if len(node.input) > 2 else None
        scales = np.ones(1) if given is None else numpy_helper.to_array(given)
        shrinks = float(scales.min()) < 1
        if shrinks and float(scales.max()) > 1:
            model.graph.node.insert(place, _grow_first(model, node, scales))
        sampling = {**OLD_SAMPLING, "nearest_mode": "ceil" if shrinks else "floor"}
        node.attribute.extend(_attributes(sampling))


def _grow_first(
    model: onnx.ModelProto, node: onnx.NodeProto, scales: "np.typing.NDArray[np.generic]"
) -> onnx.NodeProto:
    """Return a Resize of the axes that grow; ``node`` keeps those that shrink."""
    names = [f"{node.output[0]}_{part}" for part in ("grown", "grow", "shrink")]
    for name, part in zip(names[1:], (np.maximum(scales, 1), np.minimum(scales, 1)), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(part.astype(np.float32), name))
    grow = onnx.NodeProto()
    grow.CopyFrom(node)
    grow.name, grow.output[0], grow.input[2] = names[0], names[0], names[1]
    grow.attribute.extend(_attributes({**OLD_SAMPLING, "nearest_mode": "floor"}))
    node.input[0], node.input[2] = names[0], names[2]
    return grow


def flatten_old_hardmaxes(model: onnx.ModelProto) -> None:
    """Let Hardmaxes that onnx converted from opset 12 or older see two axes, in place.

    Until opset 13 the axes from ``axis`` (1 unless given) on were one. onnx's converter flattens so
    for Softmax and LogSoftmax, and leaves Hardmax as it is.
    """
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "Hardmax":
            continue
        axis = next((given.i for given in node.attribute if given.name == "axis"), 1)
        source, made = node.input[0], node.output[0]
        flat, chosen, shape = (f"{made}_{part}" for part in ("flat", "chosen", "shape"))
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", 1))
        node.input[0], node.output[0] = flat, chosen
        model.graph.node.insert(place, helper.make_node("Flatten", [source], [flat], axis=axis))
        model.graph.node.insert(place + 2, helper.make_node("Shape", [source], [shape]))
        model.graph.node.insert(place + 3, helper.make_node("Reshape", [chosen, shape], [made]))


def _attributes(values: dict[str, str]) -> list[onnx.AttributeProto]:
    return [helper.make_attribute(key, value) for key, value in values.items()]
