"""Mutations that know no format: of bytes, and of JSON data."""

import copy
import json
from random import Random
from typing import Any

from json_kit import WRONG, Place, at, places

NUMBERS = (0, 1, 2, 7, 8, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)

ODD: tuple[Any, ...] = (
    *WRONG, 0, 128, 10**400, 2**64, "\ud800", "a\nb", -0.0, 1e308, float("inf"), "", "x" * 30, "\x1b[31m", "\u202egnp", "é\n",
    "/etc/passwd", "../..", "<img src=x>", [1],
)  # fmt: skip


def mutate_bytes(rng: Random, data: bytes) -> bytes:
    """Return ``data`` with some bytes changed, a piece cut out, doubled or appended, or cut short."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not made:
            break
        place = rng.randrange(len(made))
        match rng.randrange(7):
            case 0:
                made[place] ^= 1 << rng.randrange(8)
            case 1:
                made[place] = rng.randrange(256)
            case 2:
                width = rng.choice((2, 4, 8))
                place -= place % width  # flatbuffers and tensors align their numbers
                made[place : place + width] = rng.choice(NUMBERS).to_bytes(8, "little")[:width]
            case 3:
                del made[place : place + rng.randrange(1, 64)]
            case 4:
                made[place:place] = made[place : place + rng.randrange(1, 64)]
            case 5:
                del made[place:]
            case _:
                made += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 64)))
    return bytes(made)


def _descend(rng: Random, data: Any) -> Place:
    """Return a place found from the top: what few stand beside is likelier than an item of a long list."""
    keys = list(data) if isinstance(data, dict) else range(len(data))
    key = rng.choice(keys)
    inside = data[key]
    if isinstance(inside, dict | list) and inside and rng.random() < 0.7:
        return (key, *_descend(rng, inside))
    return (key,)


def mutate_json(rng: Random, data: Any) -> str:
    """Return the text of ``data`` with values replaced, removed, added or nested, or no JSON at all."""
    made = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = list(places(made))
        if not found:
            break
        *path, last = _descend(rng, made) if rng.random() < 0.6 else rng.choice(found)
        inside = at(made, tuple(path))
        match rng.randrange(6):
            case 0 | 1 | 2:
                inside[last] = rng.choice(ODD)
            case 3:
                del inside[last]
            case 4 if isinstance(inside, dict):
                inside[rng.choice(("added", "", "\x1b[2J", str(last) + " "))] = rng.choice(ODD)
            case _:
                inside[last] = [inside[last]]
    text = json.dumps(made)
    match rng.randrange(16):
        case 0:
            return rng.choice("[{") * 50_000
        case 1:
            return text[: rng.randrange(len(text))]
        case 2:
            return json.dumps(rng.choice(ODD))
        case 3:
            return text.replace(":", ': 1e999, "a":', 1)
    return text
