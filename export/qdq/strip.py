"""Take QuantizeLinear and DequantizeLinear out of a graph and keep what they said.

Given:   x -> QuantizeLinear(s, z) -> q -> DequantizeLinear(s, z) -> d -> op
Result:  x -> op, and x: (s, z)

Given:   int8 constant -> DequantizeLinear(s, z) -> w -> Conv
Result:  the real w as a constant, and w: the integers and scales
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.fold_constants import fold_node

EIGHT_BIT = {np.dtype(np.int8): 0, np.dtype(np.uint8): 128}


@dataclass(frozen=True)
class StoredConstant:
    """Integers of a constant with zero point 0, their scales, and the axis these belong to."""

    values: NDArray[Any]
    scales: NDArray[np.float32]
    axis: int


@dataclass
class Stripped:
    """A float graph, the (scale, int8 zero point) of its tensors, and the integer constants."""

    graph: Graph
    scales: dict[str, tuple[float, int]] = field(default_factory=dict)
    constants: dict[str, StoredConstant] = field(default_factory=dict)


def strip_qdq(source: Graph) -> Stripped:
    """Return ``source`` without its quantization nodes.

    Raises UnsupportedOpError, naming node and reason, for anything but 8-bit per-tensor
    activations and symmetric 8-bit weights.
    """
    found = Stripped(source.clone())
    graph = found.graph
    _name_zero_points(graph)
    for node in list(graph.nodes):
        if node.op == "QuantizeLinear" and node.inputs[0] in graph.constants:
            _quantize_constant(graph, node)
        elif node.op == "DequantizeLinear" and node.inputs[0] in graph.constants:
            _dequantize_constant(found, node)
        elif node.op in {"QuantizeLinear", "DequantizeLinear"}:
            _bypass(found, node)
        elif node.op == "Clip" and _bounds_activation(graph, node):
            _clip_reals(found, node)
        elif node.inputs:
            fold_node(graph, node)  # scales as tools compute them: Cast, Abs, ReduceMax, Div
    _make_float(found)
    graph.prune()
    return found


def _name_zero_points(graph: Graph) -> None:
    """Give every node that leaves its zero point out the zero of its integers' type."""
    for node in graph.of("QuantizeLinear", "DequantizeLinear"):
        scale = graph.constant(node, 1)
        if scale is not None and not any(node.inputs[2:3]):
            kind = graph.dtype(node.output if node.op == "QuantizeLinear" else node.inputs[0])
            zero = graph.add_constant(f"{node.name}.zero", np.zeros(scale.shape, kind))
            node.inputs = [*node.inputs[:2], zero]


def _bounds_activation(graph: Graph, node: Node) -> bool:
    return graph.dtype(node.output) in EIGHT_BIT and node.inputs[0] not in graph.constants


def _parameters(graph: Graph, node: Node) -> tuple[NDArray[np.float32], NDArray[Any]]:
    scale, zero = graph.constant(node, 1), graph.constant(node, 2)
    if scale is None or zero is None:
        raise UnsupportedOpError(f"{node.op} {node.name} has a computed scale or zero point")
    if node.int("block_size", 0):
        raise UnsupportedOpError(f"{node.op} {node.name} is quantized in blocks, not a channel")
    return np.asarray(scale, np.float32), np.asarray(zero)


def _quantize_constant(graph: Graph, node: Node) -> None:
    """Round a float constant as the file's QuantizeLinear would."""
    scale, zero = _parameters(graph, node)
    real = np.asarray(graph.constants[node.inputs[0]], np.float32)
    shape = [1] * real.ndim
    if scale.size > 1:
        shape[node.int("axis", 1) % real.ndim] = -1
    limits = np.iinfo(zero.dtype)
    steps = np.rint(real / scale.reshape(shape)) + zero.astype(np.float32).reshape(shape)
    graph.constants[node.output] = np.clip(steps, limits.min, limits.max).astype(zero.dtype)
    graph.nodes.remove(node)


def _dequantize_constant(found: Stripped, node: Node) -> None:
    graph = found.graph
    stored = np.asarray(graph.constants[node.inputs[0]])
    scale, zero = _parameters(graph, node)
    axis = node.int("axis", 1) % max(stored.ndim, 1)
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[axis] = -1
    centred = stored.astype(np.int64) - zero.astype(np.int64).reshape(shape)
    if stored.dtype not in (np.int8, np.uint8, np.int32):
        raise UnsupportedOpError(
            f"{node.name} holds {stored.dtype} constants; targets take int8 or uint8 weights and int32 "
            "biases: quantize the float net anew, its weights to 8 bits"
        )
    real = centred.astype(np.float32) * scale.reshape(shape)
    graph.constants[node.output] = real.astype(np.float32)
    found.constants[node.output] = StoredConstant(centred, scale.ravel(), axis)
    graph.nodes.remove(node)


def _bypass(found: Stripped, node: Node) -> None:
    graph = found.graph
    scale, zero = _parameters(graph, node)
    if scale.size != 1:
        raise UnsupportedOpError(
            f"{node.op} {node.name} quantizes an activation by channel, which no INT8 runtime "
            "computes: quantize activations per tensor (NNCF: activations_quantization_params="
            "QuantizationParameters(per_channel=False))"
        )
    if zero.dtype not in EIGHT_BIT:
        raise UnsupportedOpError(
            f"{node.op} {node.name} quantizes an activation to {zero.dtype}: no target here takes more "
            "than 8 bits; quantize the float net anew, its activations to int8 or uint8"
        )
    pair = float(scale.ravel()[0]), int(zero.ravel()[0]) - EIGHT_BIT[zero.dtype]
    tensor = node.inputs[0]
    known = found.scales.get(tensor)
    graph.nodes.remove(node)
    if known is not None and known != pair:
        if node.op == "DequantizeLinear":
            raise UnsupportedOpError(
                f"{tensor} is quantized with one scale and dequantized by {node.name} with another"
            )
        _requantize(found, tensor, node, pair)
        return
    found.scales[tensor] = pair
    if node.output in graph.outputs and tensor in graph.inputs:
        graph.nodes.append(Node("LeakyRelu", node.name, [tensor], [node.output], {"alpha": 1.0}))
        found.scales[node.output] = pair
        return
    graph.redirect(node.output, tensor)
    if node.output in graph.outputs:
        found.scales[node.output] = found.scales.pop(tensor)


def _clip_reals(found: Stripped, node: Node) -> None:
    """Bound real values instead of their integers: fewer than 8 bits, as fake_quantize exports them."""
    graph, tensor = found.graph, node.inputs[0]
    if tensor not in found.scales:
        raise UnsupportedOpError(f"Clip {node.name} bounds integers whose scale is not known")
    scale, zero = found.scales[tensor]
    for index, name in enumerate(node.inputs[1:], start=1):
        bound = graph.constants.get(name)
        if bound is not None:
            steps = int(bound.ravel()[0]) - EIGHT_BIT[bound.dtype] - zero
            real = np.array(steps * scale, np.float32)
            node.inputs[index] = graph.add_constant(f"{node.name}.bound", real)


def _requantize(found: Stripped, tensor: str, node: Node, pair: tuple[float, int]) -> None:
    """Keep a second scale of one tensor: an identity operator between the two."""
    graph = found.graph
    graph.declare(node.output, graph.shape(tensor), np.float32)
    identity = Node("LeakyRelu", node.name, [tensor], [node.output], {"alpha": 1.0})
    maker = graph.producers().get(tensor)
    graph.nodes.insert(0 if maker is None else graph.nodes.index(maker) + 1, identity)
    found.scales[node.output] = pair


def _make_float(found: Stripped) -> None:
    """Give integer tensors between moved nodes their real type; fills of Pad become real."""
    graph = found.graph
    for node in graph.nodes:
        scale = found.scales.get(node.output)
        if node.op == "Pad" and scale is not None and len(node.inputs) > 2 and node.inputs[2]:
            fill = graph.constant(node, 2)
            if fill is not None and fill.dtype in EIGHT_BIT:
                steps = int(fill) - EIGHT_BIT[fill.dtype] - scale[1]
                name = graph.add_constant(
                    f"{node.name}.fill", np.array(steps * scale[0], np.float32)
                )
                node.inputs[2] = name
    for tensor, kind in list(graph.dtypes.items()):
        if kind in EIGHT_BIT:
            graph.dtypes[tensor] = np.dtype(np.float32)
