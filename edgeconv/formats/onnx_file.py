"""The nodes of an .onnx file without the onnx package: a board that benches has only a runtime."""

from dataclasses import dataclass, field

from edgeconv.errors import EdgeconvError
from edgeconv.formats.protobuf import CorruptFileError, Message

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
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
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
    try:
        model = Message(memoryview(data))
        parts = model.children(MODEL_GRAPH)
        entries = model.children(MODEL_METADATA)
        graph = WireGraph(
            nodes=[_node(node) for part in parts for node in part.children(GRAPH_NODE)],
            constants=dict(_tensor(t) for part in parts for t in part.children(GRAPH_INITIALIZER)),
            inputs=[_text(v, 1) for part in parts for v in part.children(GRAPH_INPUT)],
            outputs=[_text(v, 1) for part in parts for v in part.children(GRAPH_OUTPUT)],
            metadata={_text(entry, 1): _text(entry, 2) for entry in entries},
        )
    except CorruptFileError as error:
        raise EdgeconvError(f"{name} is not a readable ONNX model: {error}") from error
    if not graph.nodes and not graph.outputs:
        raise EdgeconvError(f"{name} is not a readable ONNX model: it holds no graph")
    return graph


def _node(node: Message) -> WireNode:
    return WireNode(
        _text(node, NODE_OP),
        _text(node, NODE_NAME),
        _texts(node, NODE_INPUT),
        _texts(node, NODE_OUTPUT),
        _text(node, NODE_DOMAIN),
    )


def _tensor(tensor: Message) -> tuple[str, WireConstant]:
    kind = tensor.number(TENSOR_TYPE)
    dtype = ELEMENT_TYPES.get(kind, f"type {kind}") if kind else ""
    return _text(tensor, TENSOR_NAME), WireConstant(tuple(tensor.numbers(TENSOR_DIMS)), dtype)


def _text(message: Message, field: int) -> str:
    return next(iter(_texts(message, field)), "")


def _texts(message: Message, field: int) -> tuple[str, ...]:
    """Names as the runtimes take them: any bytes."""
    return tuple(bytes(raw).decode(errors="replace") for raw in message.all_bytes(field))
