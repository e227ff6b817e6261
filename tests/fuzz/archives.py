"""Mutations of zip archives, alone or behind another file, and of flatbuffers by their tables alone."""

import contextlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzz.values import NUMBERS, mutate_bytes, mutate_json

Change = Callable[[Random, bytes], bytes]


class _Evil:
    """What would run a program where somebody unpickles it."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        import os

        return os.system, ("touch PWNED",)


NAMES = ("../PWNED", "/tmp/PWNED", " ", "x" * 300, "\x1b[2J", "a/" * 200, "labels.txt", "é\u202e")
CONTENTS = (
    b"",
    b"\xff\xfe\x00",
    b"[" * 50_000,
    b"\x1b[2J\n<img src=x>\n",
    bytes(1 << 16),
    pickle.dumps(_Evil()),
)


def archive_of(rng: Random, source: Path, target: Path) -> None:
    """Change the members of an archive (its end may follow another file): data, names, how many; or its bytes."""
    data = source.read_bytes()
    if rng.random() < 0.15:
        target.write_bytes(mutate_bytes(rng, data))
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        first = min(info.header_offset for info in infos)
        members = [(info.filename, archive.read(info)) for info in infos]
    for _ in range(rng.choice((1, 1, 2))):
        with contextlib.suppress(ValueError):  # JSON that an earlier change broke
            _change(rng, members)
    made = io.BytesIO()
    made.write(data[:first])
    stored = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "a", stored) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are meant
        for name, held in members:
            archive.writestr(name, held)
    target.write_bytes(made.getvalue())


def _change(rng: Random, members: list[tuple[str, bytes]]) -> None:
    if not members:
        return
    place = rng.randrange(len(members))
    name, held = members[place]
    match rng.randrange(9):
        case 0:
            del members[place]
        case 1:
            members.append((name, rng.choice((held, b""))))
        case 2:
            members[place] = (rng.choice(NAMES), held)
        case 3:
            members[place] = (name, rng.choice(CONTENTS))
        case 4:
            members.append((rng.choice(NAMES), rng.choice(CONTENTS)))
        case 5 | 6 if found := [n for n, (name, _) in enumerate(members) if name.endswith(".json")]:
            place = rng.choice(found)
            name, held = members[place]
            members[place] = (
                name,
                mutate_json(rng, json.loads(held)).encode(errors="surrogatepass"),
            )
        case _:
            members[place] = (name, mutate_bytes(rng, held))


def tables_of(rng: Random, source: Path, target: Path) -> None:
    """Change what the tables of a flatbuffer hold: fields, where they point, how long vectors are."""
    made = bytearray(source.read_bytes())
    found = sorted(_places(made))
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, width = rng.choice(found)
        value = rng.choice(
            (
                *NUMBERS,
                rng.randrange(len(made)),
                int.from_bytes(made[place : place + width], "little") + 1,
            )
        )
        made[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    target.write_bytes(bytes(made))


def _places(data: bytes | bytearray) -> set[tuple[int, int]]:
    """Return (place, bytes) of what may be a table's field, a vector's length, an offset or a vtable's entry.

    The format does not say which fields point: each that leads to a table is followed.
    """
    found: set[tuple[int, int]] = {(0, 4)}
    todo, seen = [_number(data, 0)], set[int]()
    while todo and len(seen) < 5000:
        place = todo.pop()
        if place in seen or not 4 <= place <= len(data) - 4:
            continue
        seen.add(place)
        vtable = place - struct.unpack_from("<i", data, place)[0]
        size = _number(data, vtable, 2) if 0 <= vtable <= len(data) - 4 else 1
        if size % 2 or not 4 <= size <= 200 or vtable + size > len(data):
            todo += _vector(data, place, found)
            continue
        found.add((place, 4))
        for slot in range(vtable, vtable + size, 2):
            found.add((slot, 2))
            field = place + _number(data, slot, 2)
            if slot >= vtable + 4 and place < field <= len(data) - 4:
                found |= {(field, 4), (field, 1)}
                todo.append(field + _number(data, field))
    return found


def _vector(data: bytes | bytearray, place: int, found: set[tuple[int, int]]) -> list[int]:
    """Note a vector's length and first items; return where these point."""
    length = _number(data, place)
    if not 0 < length < 10_000 or place + 4 + length > len(data):
        return []
    found.add((place, 4))
    items = range(place + 4, min(place + 4 + 4 * length, len(data) - 3), 4)[:64]
    found |= {(item, 4) for item in items}
    return [item + _number(data, item) for item in items]


def _number(data: bytes | bytearray, place: int, width: int = 4) -> int:
    return int.from_bytes(data[place : place + width], "little")
