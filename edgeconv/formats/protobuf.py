"""Read protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) by hand.

Core ML's and ONNX's messages are read with it, so that a machine without coremltools, onnx or
protobuf can look into a file. Every length is checked against the bytes that are there.
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class CorruptFileError(EdgeconvError):
    """A file that cannot be what a converter wrote: names the part and what is wrong."""


class Message:
    """One encoded message: its fields, read once, by number.

    Scalar fields keep their raw integer, length-delimited ones a view of their bytes.
    """

    __slots__ = ("fields",)

    def __init__(self, data: memoryview) -> None:
        fields: dict[int, list[int | memoryview]] = {}
        for number, value in _fields(data):
            fields.setdefault(number, []).append(value)
        self.fields = fields

    def number(self, field: int, default: int = 0) -> int:
        """Return an integer, enum or bool field; the last one counts."""
        values = self.fields.get(field)
        if not values:
            return default
        value = values[-1]
        if not isinstance(value, int):
            raise CorruptFileError(f"field {field} should be a number and holds bytes")
        return value - (1 << 64) if value >= 1 << 63 else value

    def numbers(self, field: int) -> list[int]:
        """Return a repeated integer field, packed or not."""
        found: list[int] = []
        for value in self.fields.get(field, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            offset = 0
            while offset < len(value):
                number, offset = _varint(value, offset)
                found.append(number)
        return [value - (1 << 64) if value >= 1 << 63 else value for value in found]

    def packed(self, field: int, dtype: str) -> NDArray[np.generic]:
        """Return a repeated fixed-width field ("<f4", "<f8") as an array."""
        parts = []
        for value in self.fields.get(field, ()):
            raw = (
                value.to_bytes(np.dtype(dtype).itemsize, "little")
                if isinstance(value, int)
                else value
            )
            if len(raw) % np.dtype(dtype).itemsize:
                raise CorruptFileError(f"field {field} is cut in the middle of a number")
            parts.append(np.frombuffer(raw, dtype))
        return np.concatenate(parts) if parts else np.zeros(0, dtype)

    def bytes(self, field: int) -> memoryview | None:
        """Return a length-delimited field; None where it is absent."""
        values = self.fields.get(field)
        if not values:
            return None
        value = values[-1]
        if isinstance(value, int):
            raise CorruptFileError(f"field {field} should hold bytes and is a number")
        return value

    def all_bytes(self, field: int) -> list[memoryview]:
        """Return every occurrence of a length-delimited field."""
        found = self.fields.get(field, [])
        if any(isinstance(value, int) for value in found):
            raise CorruptFileError(f"field {field} should hold bytes and is a number")
        return [value for value in found if not isinstance(value, int)]

    def text(self, field: int) -> str:
        """Return a string field, "" where it is absent."""
        raw = self.bytes(field)
        return "" if raw is None else decode_text(raw)

    def child(self, field: int) -> "Message | None":
        """Return a message field; None where it is absent."""
        raw = self.bytes(field)
        return None if raw is None else Message(raw)

    def children(self, field: int) -> list["Message"]:
        """Return a repeated message field."""
        return [Message(raw) for raw in self.all_bytes(field)]

    def mapping(self, field: int) -> dict[str, "Message"]:
        """Return a map<string, message> field; a key given twice is refused."""
        found: dict[str, Message] = {}
        for entry in self.children(field):
            key = entry.text(1)
            if key in found:
                raise CorruptFileError(f"the key {key} is there twice")
            found[key] = entry.child(2) or Message(memoryview(b""))
        return found


def decode_text(raw: memoryview) -> str:
    """Return UTF-8 text; raises CorruptFileError where it is none."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFileError("a name is not UTF-8 text") from error


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    offset = 0
    while offset < len(data):
        key, offset = _varint(data, offset)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise CorruptFileError("a message holds a field without a number")
        if kind == VARINT:
            value, offset = _varint(data, offset)
            yield number, value
            continue
        if kind == BYTES:
            length, offset = _varint(data, offset)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise CorruptFileError(f"field {number} has the unknown wire type {kind}")
        if length > len(data) - offset:
            raise CorruptFileError(
                f"field {number} reaches past the end of its message: damaged or cut short"
            )
        raw = data[offset : offset + length]
        offset += length
        if kind == BYTES:
            yield number, raw
        else:
            yield number, struct.unpack("<Q" if kind == FIXED64 else "<I", raw)[0]


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if offset >= len(data):
            raise CorruptFileError("a number is cut off at the end of a message")
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, offset
        shift += 7
    raise CorruptFileError("a number is longer than 64 bits")
