"""Which functions of a runtime executed an inference's instructions: what arm_instructions.c writes with blocks=FILE.

A function is a symbol where the library has them (ai-edge-litert), else the place where .eh_frame_hdr says that
one begins (onnxruntime's wheel is stripped).
"""

import bisect
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FUNCTION = 2
"""STT_FUNC of the ELF specification."""


@dataclass(frozen=True)
class Library:
    """The functions of a shared library: where each begins, in order, and its name."""

    starts: Sequence[int]
    names: Sequence[str]

    def name(self, address: int) -> str:
        """Return the function that holds an address of the file."""
        at = bisect.bisect_right(self.starts, address) - 1
        return self.names[at] if at >= 0 else f"{address:x}"


def read_library(path: Path) -> Library:
    """Read a 64-bit little-endian ELF file's functions."""
    data = path.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count, names_at = struct.unpack_from("<HHH", data, 58)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", data, offset + size * number) for number in range(count)
    ]
    labels = sections[names_at][4]
    by_name = {_text(data, labels + row[0]): row for row in sections}
    found: dict[int, str] = {}
    if ".eh_frame_hdr" in by_name:
        found |= dict.fromkeys(_unwound(data, by_name[".eh_frame_hdr"]), "")
        found = {start: f"at {start:x}" for start in found}
    if ".symtab" in by_name:
        table = by_name[".symtab"]
        texts = sections[table[6]][4]
        for at in range(table[4], table[4] + table[5], table[9]):
            name, kind, _, section, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            # handwritten assembly has labels of no type; mapping symbols ($x, $d) and .L are not functions
            text = _text(data, texts + name)
            if (
                section
                and value
                and (kind & 15 == FUNCTION or (kind & 15 == 0 and text[:1].isalpha()))
            ):
                found[value] = text
    starts = sorted(found)
    return Library(starts, [found[start] for start in starts])


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "replace")


def _unwound(data: bytes, section: tuple[int, ...]) -> list[int]:
    """Return the first addresses of .eh_frame_hdr's search table (signed, 4 bytes, from the section on)."""
    address, offset = section[3], section[4]
    (count,) = struct.unpack_from("<I", data, offset + 8)
    return [
        address + struct.unpack_from("<i", data, offset + 12 + 8 * number)[0]
        for number in range(count)
    ]


@dataclass(frozen=True)
class Place:
    """Where a file is mapped: its first address, the one behind its last, and its path."""

    start: int
    end: int
    path: str


def read_maps(text: str) -> list[Place]:
    """Return one place a mapped file, from a /proc/PID/maps."""
    places: dict[str, Place] = {}
    for line in text.splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            start, end = (int(part, 16) for part in parts[0].split("-"))
            known = places.get(parts[5])
            first = start if known is None else min(known.start, start)
            places[parts[5]] = Place(first, end if known is None else max(known.end, end), parts[5])
    return sorted(places.values(), key=lambda place: place.start)


def by_function(
    lines: Iterable[str], places: Sequence[Place], libraries: Mapping[str, Library]
) -> Counter[str]:
    """Return function -> instructions executed, from one mark's lines."""
    found: Counter[str] = Counter()
    for line in lines:
        address, instructions, executions = line.split()
        at = int(address, 16)
        place = next((p for p in places if p.start <= at < p.end), None)
        file = "elsewhere" if place is None else Path(place.path).name
        library = libraries.get(file)
        name = file if library is None or place is None else library.name(at - place.start)
        found[name] += int(instructions) * int(executions)
    return found
