"""The nodes of an .onnx file without the onnx package: a board that benches has only a runtime.

Reads protobuf's wire format ("Encoding", protobuf.dev) with the field numbers of onnx.proto.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeconv.errors import EdgeconvError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# onnx.proto: ModelProto.graph; GraphProto.node, initializer, input, output; NodeProto; TensorProto
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_DOMAIN = 1, 2, 3, 4, 7
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME = 1, 2, 8

ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""TensorProto.DataType -> numpy's name, for the types that models hold."""


@dataclass(frozen=True)
class WireNode:
    """A node: operator (contrib ones keep their bare name), name, tensors it reads and writes."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""


@dataclass(frozen=True)
class WireConstant:
    """An initializer's shape and element type."""

    shape: tuple[int, ...]
    dtype: str


@dataclass
class WireGraph:
    """The main graph of a model."""

    nodes: list[WireNode] = field(default_factory=list)
    constants: dict[str, WireConstant] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def read_onnx(data: bytes, name: str = "the model") -> WireGraph:
    """Read a model's main graph. Raises EdgeconvError where the bytes are no ONNX model."""
    graph = WireGraph()
    try:
        for number, value in _fields(memoryview(data)):
            if number == MODEL_GRAPH and isinstance(value, memoryview):
                _read_graph(value, graph)
            elif number == MODEL_METADATA and isinstance(value, memoryview):
                entry = {k: _text(v) for k, v in _fields(value)}
                graph.metadata[entry.get(1, "")] = entry.get(2, "")
    except (struct.error, IndexError, ValueError) as error:
        raise EdgeconvError(f"{name} is not a readable ONNX model: {error}") from error
    if not graph.nodes and not graph.outputs:
        raise EdgeconvError(f"{name} is not a readable ONNX model: it holds no graph")
    return graph


def _read_graph(data: memoryview, graph: WireGraph) -> None:
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == GRAPH_NODE:
            graph.nodes.append(_read_node(value))
        elif number == GRAPH_INITIALIZER:
            name, constant = _read_tensor(value)
            graph.constants[name] = constant
        elif number in (GRAPH_INPUT, GRAPH_OUTPUT):
            side = graph.inputs if number == GRAPH_INPUT else graph.outputs
            side.extend(_text(v) for n, v in _fields(value) if n == 1)


def _read_node(data: memoryview) -> WireNode:
    texts: dict[int, list[str]] = {}
    for number, value in _fields(data):
        if number in (NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_DOMAIN):
            texts.setdefault(number, []).append(_text(value))
    return WireNode(
        (texts.get(NODE_OP) or [""])[0],
        (texts.get(NODE_NAME) or [""])[0],
        tuple(texts.get(NODE_INPUT, ())),
        tuple(texts.get(NODE_OUTPUT, ())),
        (texts.get(NODE_DOMAIN) or [""])[0],
    )


def _read_tensor(data: memoryview) -> tuple[str, WireConstant]:
    dims: list[int] = []
    name, dtype = "", ""
    for number, value in _fields(data):
        if number == TENSOR_DIMS:
            dims.extend([value] if isinstance(value, int) else _packed(value))
        elif number == TENSOR_TYPE and isinstance(value, int):
            dtype = ELEMENT_TYPES.get(value, f"type {value}")
        elif number == TENSOR_NAME:
            name = _text(value)
    return name, WireConstant(tuple(dims), dtype)


def _text(value: "int | memoryview") -> str:
    return "" if isinstance(value, int) else bytes(value).decode(errors="replace")


def _fields(data: memoryview) -> Iterator[tuple[int, "int | memoryview"]]:
    """Yield (field number, value) of a message; lengths that overrun it raise IndexError."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(data, place)
            yield number, value
        elif kind == BYTES:
            length, place = _varint(data, place)
            if place + length > len(data):
                raise IndexError("it is cut short")
            yield number, data[place : place + length]
            place += length
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            if place + size > len(data):
                raise IndexError("it is cut short")
            yield number, int.from_bytes(data[place : place + size], "little")
            place += size
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")


def _packed(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value
