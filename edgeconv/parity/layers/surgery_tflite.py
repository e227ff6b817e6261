"""Open a TFLite model up at chosen tensors; see surgery_onnx.py for exposed and severed."""

import copy
from collections.abc import Sequence
from typing import Any

from edgeconv.errors import EdgeconvError

FED = "fed"
OUT = "out"


def read_model(data: bytes) -> Any:
    """Return the flatbuffer as the schema's object tree.

    Raises EdgeconvError where it holds several subgraphs: layers of those are not followed.
    """
    from edgeconv.export.tflite.builder import schema

    model = schema().ModelT.InitFromPackedBuf(data, 0)
    if len(model.subgraphs) != 1:
        raise EdgeconvError(f"the file holds {len(model.subgraphs)} subgraphs; layers need one")
    return model


def write_model(model: Any) -> bytes:
    """Return the bytes of an object tree."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_indices(model: Any) -> dict[str, int]:
    """Map names to indices of tensors that operators make, in their order; the first of a name wins."""
    graph = model.subgraphs[0]
    found: dict[str, int] = {}
    for operator in graph.operators:
        for index in operator.outputs:
            name = graph.tensors[index].name.decode()
            found.setdefault(name, int(index))
    return found


def rewire(model: Any, tensors: Sequence[int], *, sever: bool) -> bytes:
    """Return the bytes of a copy with outputs ``out<index>`` and, severed, inputs ``fed<index>``."""
    other = copy.deepcopy(model)
    graph = other.subgraphs[0]
    other.signatureDefs = None  # they name the old outputs
    graph.outputs = list(tensors)
    inputs = [int(i) for i in graph.inputs]
    for index in tensors:
        if sever:
            fed = copy.deepcopy(graph.tensors[index])
            fed.name = f"{FED}{index}".encode()
            fed.buffer = 0
            graph.tensors.append(fed)
            new = len(graph.tensors) - 1
            inputs.append(new)
            for operator in graph.operators:
                operator.inputs = [new if i == index else int(i) for i in operator.inputs]
        graph.tensors[index].name = f"{OUT}{index}".encode()
    graph.inputs = inputs
    return write_model(other)
