"""Whether a .tflite file is whole, read with the standard library only.

The interpreters map a file and trust its offsets: one that was cut short can run, silently reading
zeros for the missing weights, or crash. The layout is FlatBuffers' own ("FlatBuffers internals",
flatbuffers.dev) with the field numbers of TensorFlow's schema.fbs.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeconv.errors import EdgeconvError

FILE_IDENTIFIER = b"TFL3"

# field numbers in schema.fbs
MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_BUFFERS = 1, 2, 4
SUBGRAPH_TENSORS, SUBGRAPH_OPERATORS = 0, 3
BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
TENSOR_BUFFER = 2

Data = bytes | mmap.mmap


@dataclass(frozen=True)
class Table:
    """A FlatBuffers table at ``place`` of ``data``; every read stays inside the data or raises."""

    data: Data
    place: int

    def field(self, number: int) -> int | None:
        """Return where field ``number`` lies, or None where the table leaves it out."""
        vtable = self.place - _read("<i", self.data, self.place)
        slot = 4 + 2 * number
        if slot + 2 > _read("<H", self.data, vtable):
            return None
        offset = _read("<H", self.data, vtable + slot)
        return self.place + offset if offset else None

    def vector(self, number: int) -> tuple[int, int]:
        """Return (start, length) of a vector field; (0, 0) where it is left out."""
        field = self.field(number)
        if field is None:
            return 0, 0
        start = field + _read("<I", self.data, field)
        return start + 4, _read("<I", self.data, start)

    def tables(self, number: int) -> Iterator["Table"]:
        """Yield the tables of a vector-of-tables field."""
        start, length = self.vector(number)
        for place in range(start, start + 4 * length, 4):
            yield Table(self.data, place + _read("<I", self.data, place))

    def scalar(self, number: int, kind: str) -> int:
        """Return an integer field, 0 where it is left out."""
        field = self.field(number)
        return 0 if field is None else _read(kind, self.data, field)


def _read(kind: str, data: Data, place: int) -> int:
    if place < 0:
        raise struct.error("an offset before the start")
    return int(struct.unpack_from(kind, data, place)[0])


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
        model = Table(data, _read("<I", data, 0))
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
