"""FlatBuffers tables read with the standard library only ("FlatBuffers internals", flatbuffers.dev)."""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

Data = bytes | mmap.mmap


@dataclass(frozen=True)
class Table:
    """A FlatBuffers table at ``place`` of ``data``; every read stays inside the data or raises."""

    data: Data
    place: int

    def field(self, number: int) -> int | None:
        """Return where field ``number`` lies, or None where the table leaves it out."""
        vtable = self.place - read_number("<i", self.data, self.place)
        slot = 4 + 2 * number
        if slot + 2 > read_number("<H", self.data, vtable):
            return None
        offset = read_number("<H", self.data, vtable + slot)
        return self.place + offset if offset else None

    def vector(self, number: int) -> tuple[int, int]:
        """Return (start, length) of a vector field; (0, 0) where it is left out."""
        field = self.field(number)
        if field is None:
            return 0, 0
        start = field + read_number("<I", self.data, field)
        return start + 4, read_number("<I", self.data, start)

    def tables(self, number: int) -> Iterator["Table"]:
        """Yield the tables of a vector-of-tables field."""
        start, length = self.vector(number)
        for place in range(start, start + 4 * length, 4):
            yield Table(self.data, place + read_number("<I", self.data, place))

    def text(self, number: int) -> str:
        """Return a string field, "" where it is left out."""
        start, length = self.vector(number)
        if start + length > len(self.data):
            raise struct.error("a text beyond the end")
        return bytes(self.data[start : start + length]).decode()

    def scalar(self, number: int, kind: str) -> int:
        """Return an integer field, 0 where it is left out."""
        field = self.field(number)
        return 0 if field is None else read_number(kind, self.data, field)


def damage(error: Exception, size: int) -> str:
    """Say what is wrong with a file of ``size`` bytes whose reader raised ``error``, in words of ours.

    >>> damage(struct.error("unpack_from requires a buffer of at least 36 bytes"), 30)
    'is damaged or cut short: its tables point beyond its 30 bytes'
    """
    if isinstance(error, UnicodeDecodeError):
        return "is damaged: a name in it is no text"
    text = str(error)
    beyond = isinstance(error, struct.error | IndexError) or text.startswith(("buffer", "offset"))
    if beyond:
        return f"is damaged or cut short: its tables point beyond its {size} bytes"
    return "is damaged: what its tables say contradicts itself"


def read_number(kind: str, data: Data, place: int) -> int:
    """Return the integer at ``place``; raises struct.error where there is none."""
    if place < 0:
        raise struct.error("an offset before the start")
    return int(struct.unpack_from(kind, data, place)[0])
