"""Attributes of an .onnx file that name what no operator has, or layers whose sizes contradict each other.

onnxruntime reports both in words of its own source.
"""

from contextlib import suppress
from pathlib import Path

import onnx
from onnx import numpy_helper

from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.graphs import graphs_of
from edgeconv.export.hub.light import inferred
from edgeconv.export.hub.onnx_axes import Values, fault

WAYS = ("forward", "reverse", "bidirectional")
FOLDS = ("none", "add", "mul", "max", "min")
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "auto_pad": {"": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")},
    "direction": {"LSTM": WAYS, "GRU": WAYS, "RNN": WAYS, "BitShift": ("LEFT", "RIGHT")},
    "mode": {
        "Resize": ("nearest", "linear", "cubic"),
        "Upsample": ("nearest", "linear", "bilinear"),
        "Pad": ("constant", "reflect", "edge", "wrap"),
        "GridSample": ("linear", "bilinear", "nearest", "cubic", "bicubic"),
        "RoiAlign": ("avg", "max"),
        "DepthToSpace": ("DCR", "CRD"),
    },
    "padding_mode": {"GridSample": ("zeros", "border", "reflection")},
    "reduction": {"ScatterND": FOLDS, "ScatterElements": FOLDS},
}
"""Attribute -> operator ("": any) -> the words that it may be."""
LAYERS = ("Conv", "ConvTranspose")


def check_words(model: onnx.ModelProto, path: Path) -> None:
    """Raise EdgeconvError, naming node and attribute, for a word, a group or an axis that cannot be."""
    for graph in graphs_of(model.graph):
        weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        sizes = _sizes(model) | weights if graph is model.graph else weights
        values = _values(graph)
        for node in graph.node:
            if node.domain not in ("", "ai.onnx"):
                continue
            said = f"{path}: {node.op_type} {node.name or ', '.join(node.output)}"
            for attribute in node.attribute:
                known = WORDS.get(attribute.name, {})
                words = known.get(node.op_type, known.get("", ()))
                word = attribute.s.decode(errors="replace")
                if words and attribute.type == attribute.STRING and word not in words:
                    raise EdgeconvError(
                        f"{said} has {attribute.name} {word[:40]!r}; ONNX knows {', '.join(words)}"
                    )
            if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in weights:
                _check_layer(node, weights[node.input[1]], sizes.get(node.input[0]), said)
            if wrong := fault(node, sizes, values):
                raise EdgeconvError(f"{said} {wrong}")


def _values(graph: onnx.GraphProto) -> Values:
    """Return the short constants of whole numbers that lie in the file itself."""
    tensors = {
        item.name: item
        for item in graph.initializer
        if item.data_type == onnx.TensorProto.INT64
        and len(item.dims) == 1
        and not item.external_data
    }
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1:
            given = node.attribute[0].t
            if given.data_type == onnx.TensorProto.INT64 and len(given.dims) == 1:
                tensors[node.output[0]] = given
    found = {}
    for name, tensor in tensors.items():
        with suppress(ValueError, TypeError):  # bytes that do not fit are reported later
            found[name] = [int(value) for value in numpy_helper.to_array(tensor)]
    return found


def _sizes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors as far as they follow from the inputs', 0 for what is not known.

    What a file declares of others may be wrong without any harm; a size below 0 is an unknown one.
    """
    claims = list(model.graph.value_info)
    del model.graph.value_info[:]
    found = model.graph
    with suppress(
        Exception
    ):  # what contradicts itself or is too large to be asked is reported later
        found = inferred(model)
    model.graph.value_info.extend(claims)
    known = [*found.input, *(found.value_info if found is not model.graph else [])]
    return {
        value.name: tuple(max(dim.dim_value, 0) for dim in value.type.tensor_type.shape.dim)
        for value in known
        if value.type.tensor_type.HasField("shape")
    }


def _check_layer(
    node: onnx.NodeProto, weights: tuple[int, ...], read: tuple[int, ...] | None, said: str
) -> None:
    """Hold the weights of a layer against its group, its window and the channels that it reads."""
    given = {item.name: item for item in node.attribute}
    group = given["group"].i if "group" in given else 1
    transposed = node.op_type == "ConvTranspose"
    if len(weights) < 3 or group < 1:
        return
    if weights[0] % group:  # the channels that a Conv makes and a ConvTranspose reads
        raise EdgeconvError(
            f"{said} splits {weights[0]} channels into {group} groups of unequal size"
        )
    wanted = weights[0] if transposed else weights[1] * group
    if read and len(read) > 1 and read[1] not in (0, wanted):
        raise EdgeconvError(
            f"{said} reads {read[1]} channels; its weights {list(weights)} with group {group} "
            f"want {wanted}"
        )
    window = list(given["kernel_shape"].ints) if "kernel_shape" in given else []
    if window and window != list(weights[2:]):
        raise EdgeconvError(f"{said} has kernel_shape {window}, and weights of {list(weights[2:])}")
