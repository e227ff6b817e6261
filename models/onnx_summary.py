"""Summarize an .onnx file node by node, from its inferred shapes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper, shape_inference

from edgeconv.errors import reading
from edgeconv.export.hub.inputs import settle_shapes
from edgeconv.export.hub.onnx_io import load_model
from edgeconv.export.hub.simplify import admit
from edgeconv.models.layer_cost import ConvShape, Layer, Summary, compare_with_standard

Shape = tuple[int, ...]
CONVOLUTIONS = {"Conv": 1, "QLinearConv": 3, "ConvInteger": 1, "ConvTranspose": 1}
MATRICES = {"Gemm": 1, "MatMul": 1, "QLinearMatMul": 3, "MatMulInteger": 1, "QGemm": 3}
"""Operator -> index of its second operand, the weights."""


def summarize_onnx(path: Path, shapes: Sequence[Shape] | Mapping[str, Shape] = ()) -> Summary:
    """Return the nodes of ``path`` in file order; ``shapes`` settle dynamic inputs.

    Raises EdgeconvError where the file cannot be read or an input stays dynamic.
    """
    with reading(f"{path} cannot be summarized"):
        return _summarized(path, shapes)


def _summarized(path: Path, shapes: Sequence[Shape] | Mapping[str, Shape]) -> Summary:
    if path.is_file():
        admit(path)
    model, _ = settle_shapes(load_model(path), shapes)
    model = shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    sizes = {item.name: (tuple(item.dims), _width(item.data_type)) for item in graph.initializer}
    constants = set(sizes)
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        dims = tuple(dim.dim_value for dim in tensor.shape.dim)
        sizes[value.name] = (dims, _width(tensor.elem_type))
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    convolutions = [
        (_name(node), shape) for node in nodes if (shape := _conv(node, sizes)) is not None
    ]
    compared = compare_with_standard(convolutions)
    layers = []
    for node in nodes:
        weights = [name for name in node.input if name in constants]
        constants.difference_update(weights)  # shared weights count at their first use
        layers.append(
            Layer(
                _name(node),
                _kind(node, sizes),
                sizes.get(node.output[0], ((), 0))[0],
                sum(math.prod(sizes[name][0]) for name in weights if _is_weight(node, name)),
                _multiply_adds(node, sizes),
                _bytes(node.output, sizes),
                _bytes([name for name in node.input if name not in weights], sizes),
                compared.get(_name(node)),
            )
        )
    initializers = {item.name for item in graph.initializer}
    inputs = [sizes[value.name][0] for value in graph.input if value.name not in initializers]
    return Summary(path.name, tuple(inputs), tuple(layers))


def _width(data_type: int) -> int:
    """Bytes of one element."""
    if data_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return 0
    return int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _bytes(names: Sequence[str], sizes: dict[str, tuple[Shape, int]]) -> int:
    known = [sizes[name] for name in names if name in sizes]
    return sum(math.prod(shape) * width for shape, width in known)


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}({node.output[0]})"


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else int(found.i)


def _is_weight(node: onnx.NodeProto, name: str) -> bool:
    """Tell whether a constant is learnt, not a shape, axis, scale or zero point."""
    place = list(node.input).index(name)
    if node.op_type in CONVOLUTIONS | MATRICES:
        where = (CONVOLUTIONS | MATRICES)[node.op_type]
        return place in ((where, 8) if where == 3 else (where, 2))
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return place == 0
    return node.op_type in ("BatchNormalization", "PRelu", "Add", "Mul", "Sub", "Div", "Gather")


def _conv(node: onnx.NodeProto, sizes: dict[str, tuple[Shape, int]]) -> ConvShape | None:
    """Return the convolution that ``node`` is, or None."""
    where = CONVOLUTIONS.get(node.op_type)
    if where is None or node.input[where] not in sizes:
        return None
    weights = sizes[node.input[where]][0]
    groups = _attribute(node, "group", 1)
    if node.op_type == "ConvTranspose":
        source = sizes.get(node.input[0], ((), 0))[0]
        inside, outside, positions = weights[0], weights[1] * groups, source
    else:
        inside, outside = weights[1] * groups, weights[0]
        positions = sizes.get(node.output[0], ((), 0))[0]
    pixels = math.prod(positions[:1] + positions[2:]) if positions else 0
    return ConvShape(inside, outside, weights[2:], groups, pixels)


def _multiply_adds(node: onnx.NodeProto, sizes: dict[str, tuple[Shape, int]]) -> int:
    conv = _conv(node, sizes)
    if conv is not None:
        return conv.multiply_adds
    if node.op_type not in MATRICES:
        return 0
    left = sizes.get(node.input[0], ((), 0))[0]
    output = sizes.get(node.output[0], ((), 0))[0]
    if not left or not output:
        return 0
    inner = left[0] if node.op_type == "Gemm" and _attribute(node, "transA", 0) else left[-1]
    return math.prod(output) * inner


def _kind(node: onnx.NodeProto, sizes: dict[str, tuple[Shape, int]]) -> str:
    conv = _conv(node, sizes)
    if conv is None:
        return node.op_type
    kind = f"{node.op_type} {'x'.join(map(str, conv.kernel))}"
    strides = next((a.ints for a in node.attribute if a.name == "strides"), [1])
    if max(strides) > 1:
        kind += f" /{strides[0]}"
    if conv.depthwise:
        return f"{kind} depthwise"
    return f"{kind} {conv.groups} groups" if conv.groups > 1 else kind
