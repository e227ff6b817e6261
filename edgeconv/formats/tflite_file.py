"""Whether a .tflite file is whole, read with the standard library only.

The interpreters map a file and trust its offsets: one that was cut short can run, silently reading
zeros for the missing weights, or crash. The field numbers are those of TensorFlow's schema.fbs.
"""

import mmap
import struct
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.formats.flatbuffer import Data, Table, read_number

FILE_IDENTIFIER = b"TFL3"

# field numbers in schema.fbs
MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_BUFFERS = 1, 2, 4
SUBGRAPH_TENSORS, SUBGRAPH_OPERATORS = 0, 3
BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
TENSOR_BUFFER = 2


def check_whole(source: str | Path | bytes, name: str) -> None:
    """Raise EdgeconvError unless ``source`` is a .tflite model all of whose data is there."""
    if isinstance(source, bytes):
        _check(source, name)
        return
    with (
        Path(source).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
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
        raise EdgeconvError(f"{name} is damaged or cut short") from error


def _buffer_end(buffer: Table) -> int:
    """Where a buffer's bytes end in the file; weights past 2 GB lie outside the flatbuffer."""
    start, length = buffer.vector(BUFFER_DATA)
    outside = buffer.scalar(BUFFER_OFFSET, "<Q")
    if outside > 1:
        return outside + buffer.scalar(BUFFER_SIZE, "<Q")
    return start + length
