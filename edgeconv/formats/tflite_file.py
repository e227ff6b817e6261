"""Whether a .tflite file is whole, read with the standard library only.

The interpreters map a file and trust its offsets: one that was cut short can run, silently reading
zeros for the missing weights, or crash. The field numbers are those of TensorFlow's schema.fbs.
"""

import mmap
import os
import struct
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.foreign import open_file
from edgeconv.formats.flatbuffer import Data, Table, damage, read_number

FILE_IDENTIFIER = b"TFL3"

# field numbers in schema.fbs
MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_BUFFERS, MODEL_SIGNATURES = 1, 2, 4, 7
SUBGRAPH_TENSORS, SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS = 0, 1, 2, 3
SIGNATURE_INPUTS, SIGNATURE_OUTPUTS = 0, 1
MAPPED_NAME, MAPPED_TENSOR = 0, 1
BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
TENSOR_BUFFER, TENSOR_NAME = 2, 3


def check_whole(source: str | Path | bytes, name: str) -> None:
    """Raise EdgeconvError unless ``source`` is a .tflite model all of whose data is there."""
    if isinstance(source, bytes):
        _check(source, name)
        return
    with open_file(Path(source)) as file:
        if not os.fstat(file.fileno()).st_size:
            raise EdgeconvError(f"{name} is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check(data, name)


def _check(data: Data, name: str) -> None:
    if data[4:8] != FILE_IDENTIFIER:
        raise EdgeconvError(f"{name} is not a TFLite file")
    size = len(data)
    try:
        model = Table(data, read_number("<I", data, 0))
        buffers = [_buffer_end(buffer) for buffer in model.tables(MODEL_BUFFERS)]
        missing = max(buffers, default=0) - size
        if missing > 0:
            raise EdgeconvError(f"{name} is cut short: at least {missing} bytes are missing")
        if not any(True for _ in model.tables(MODEL_OPERATOR_CODES)):
            raise EdgeconvError(f"{name} holds no operators")
        for graph in model.tables(MODEL_SUBGRAPHS):
            for tensor in graph.tables(SUBGRAPH_TENSORS):
                if tensor.scalar(TENSOR_BUFFER, "<I") >= len(buffers):
                    raise EdgeconvError(f"{name} is damaged: a tensor without its buffer")
            for operator in graph.tables(SUBGRAPH_OPERATORS):
                operator.scalar(0, "<I")
    except (struct.error, IndexError) as error:
        raise EdgeconvError(f"{name} {damage(error, size)}") from error


def _buffer_end(buffer: Table) -> int:
    """Where a buffer's bytes end in the file; weights past 2 GB lie outside the flatbuffer."""
    start, length = buffer.vector(BUFFER_DATA)
    outside = buffer.scalar(BUFFER_OFFSET, "<Q")
    if outside > 1:
        return outside + buffer.scalar(BUFFER_SIZE, "<Q")
    return start + length


def border_names(data: bytes, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a model's inputs and outputs, in the order of its first graph.

    They are its one signature's where that covers them, else the tensors' own. Raises EdgeconvError
    naming ``name`` for a damaged file.
    """
    try:
        model = Table(data, read_number("<I", data, 0))
        graph = next(model.tables(MODEL_SUBGRAPHS))
        tensors = list(graph.tables(SUBGRAPH_TENSORS))
        signatures = list(model.tables(MODEL_SIGNATURES))
        found = []
        for numbers, side in (
            (SUBGRAPH_INPUTS, SIGNATURE_INPUTS),
            (SUBGRAPH_OUTPUTS, SIGNATURE_OUTPUTS),
        ):
            start, length = graph.vector(numbers)
            indices = [read_number("<i", data, start + 4 * place) for place in range(length)]
            called = {}
            if len(signatures) == 1:
                entries = list(signatures[0].tables(side))
                called = {e.scalar(MAPPED_TENSOR, "<I"): e.text(MAPPED_NAME) for e in entries}
            own = [tensors[index].text(TENSOR_NAME) for index in indices]
            whole = set(called) == set(indices)
            found.append(tuple(called[i] for i in indices) if whole else tuple(own))
    except (struct.error, IndexError, StopIteration, UnicodeDecodeError) as error:
        raise EdgeconvError(f"{name} {damage(error, len(data))}") from error
    return found[0], found[1]
