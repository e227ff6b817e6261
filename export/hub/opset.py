"""A finished ONNX model at another opset."""

import onnx
from onnx import helper, version_converter

from edgeconv.errors import EdgeconvError
from edgeconv.export.op_traits import Is, operators

SAME_MEANING = operators(Is.SAME_SINCE_13)
"""Operators that since opset 13 gained only types and optional inputs or attributes: onnx's
converter has no adapters down for them, and its checker refuses them where the new parts are used."""
ASIDE = "edgeconv.same"  # a domain of its own: the converter passes such nodes by


def with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return ``model`` at another opset, metadata kept.

    Raises EdgeconvError where onnx's converter cannot express an operator there.
    """
    now = next(o.version for o in model.opset_import if o.domain == "")
    if now == opset:
        return model
    try:
        converted = version_converter.convert_version(_set_aside(model, now, opset), opset)
        del converted.opset_import[:]
        converted.opset_import.append(helper.make_opsetid("", opset))
        for node in converted.graph.node:
            node.domain = "" if node.domain == ASIDE else node.domain
        onnx.checker.check_model(converted, full_check=opset < now)
    except Exception as error:  # the converter raises what its C++ adapters throw
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].rpartition("failed: ")[2]  # without the place in onnx's source
        raise EdgeconvError(f"--opset {opset}: the graph needs opset {now} ({reason})") from error
    helper.set_model_props(converted, {entry.key: entry.value for entry in model.metadata_props})
    converted.producer_name, converted.ir_version = model.producer_name, model.ir_version
    return converted


def _set_aside(model: onnx.ModelProto, now: int, opset: int) -> onnx.ModelProto:
    if opset > now:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import.append(helper.make_opsetid(ASIDE, 1))
    for node in copy.graph.node:
        if node.op_type in SAME_MEANING:
            node.domain = ASIDE
    return copy
