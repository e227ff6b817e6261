"""Mutations of any protobuf message by its wire format alone: fields changed, moved, doubled, nested."""

from dataclasses import dataclass
from random import Random

from fuzz.values import NUMBERS

TEXTS = (
    b"", b"x", b"\xff\xfe", b"\x1b[2J", "\u202eabc".encode(), b"<img src=x>", b"../../etc/passwd",
    b"[" * 20_000, b"a" * 70_000, bytes(64),
)  # fmt: skip
DEEP = 3000
"""Messages inside each other: more than a recursive reader bears."""


@dataclass
class Field:
    """One field: its number, its wire type, and an integer, bytes, or the fields of a message."""

    number: int
    wire: int
    value: "int | bytes | list[Field]"


def mutate_message(rng: Random, data: bytes) -> bytes:
    """Return the message ``data`` with one to three of its fields changed, at any depth."""
    fields = parse(data)
    if not fields:
        return data
    for _ in range(rng.choice((1, 1, 2, 3))):
        _step(rng, *rng.choice(list(_places(fields))))
        if not fields:
            break
    return encode(fields)


def _places(fields: list[Field], depth: int = 50) -> "list[tuple[list[Field], int]]":
    """Return every field, down to a depth, as (the list it is in, its place there)."""
    found = []
    for place, field in enumerate(fields):
        found.append((fields, place))
        if isinstance(field.value, list) and depth:
            found += _places(field.value, depth - 1)
    return found


def _step(rng: Random, siblings: list[Field], place: int) -> None:
    field = siblings[place]
    match rng.randrange(8):
        case 0:
            del siblings[place]
        case 1:
            siblings[place:place] = [field] * rng.choice((1, 1, 300))
        case 2:
            siblings.insert(rng.randrange(len(siblings)), siblings.pop(place))
        case 3:
            field.number = rng.choice((1, 2, 3, field.number + 1, 19_000))
        case 4 if isinstance(field.value, list):
            for _ in range(rng.choice((1, 40, DEEP))):
                field.value = [*field.value[:2], Field(field.number, 2, field.value[2:])]
        case 5 if isinstance(field.value, list):
            field.value = rng.choice(TEXTS)
        case _ if isinstance(field.value, list) and field.value:
            _step(rng, field.value, rng.randrange(len(field.value)))
        case _ if isinstance(field.value, int):
            field.value = rng.choice((2**64 - 1, 2**64 - 2, *NUMBERS))
        case _ if isinstance(field.value, bytes) and field.value:
            cut = rng.randrange(len(field.value))
            field.value = rng.choice((field.value[:cut], field.value * 2, *TEXTS))


def parse(data: bytes) -> list[Field] | None:
    """Return the fields of a message, those that look like messages in turn; None where it is none."""
    fields, place = [], 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if place < 0 or not 1 <= number < 20_000:
            return None
        value: int | bytes | list[Field]
        match wire:
            case 0:
                value, place = _varint(data, place)
            case 1 | 5:
                width = 8 if wire == 1 else 4
                value = int.from_bytes(data[place : place + width], "little")
                place += width
            case 2:
                length, place = _varint(data, place)
                piece = data[place : place + length]
                place += length
                text = piece.isascii() and piece.decode().isprintable()
                value = piece if text else parse(piece) or piece
            case _:
                return None
        if not 0 <= place <= len(data):
            return None
        fields.append(Field(number, wire, value))
    return fields


def encode(fields: list[Field]) -> bytes:
    """Return the message of ``fields``; from the inside out, for they may lie deeper than the stack."""
    order, waiting = [], [fields]
    while waiting:
        order.append(waiting.pop())
        waiting += [field.value for field in order[-1] if isinstance(field.value, list)]
    done: dict[int, bytes] = {}
    for inside in reversed(order):
        if id(inside) not in done:
            done[id(inside)] = b"".join(_field(field, done) for field in inside)
    return done[id(fields)]


def _field(field: Field, done: dict[int, bytes]) -> bytes:
    wire, value = field.wire, field.value
    if isinstance(value, int):
        width = {1: 8, 5: 4}.get(wire)
        low = (value & (2 ** (8 * width) - 1)).to_bytes(width, "little") if width else b""
        return _bytes(field.number << 3 | wire) + (low or _bytes(value))
    piece = done[id(value)] if isinstance(value, list) else value
    return _bytes(field.number << 3 | 2) + _bytes(len(piece)) + piece


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return (the number, the place behind it); place -1 where the data end."""
    value = shift = 0
    while 0 <= place < len(data) and shift < 64:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        shift += 7
        if byte < 0x80:
            return value, place
    return 0, -1


def _bytes(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])
