"""Mutations of ncnn's pair of files: the lines of the .param, and the words and lengths of the .bin."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from fuzz.values import mutate_bytes

Lines = list[list[str]]

NUMBERS = (
    "0",
    "1",
    "-1",
    "-233",
    "-23300",
    "2147483647",
    "99999999999999999999",
    "1e9",
    "nan",
    "",
    "x",
    "3,1,2",
    "0x7",
)
KINDS = ("Convolution", "ConvolutionDepthWise", "InnerProduct", "BatchNorm", "MemoryData", "Input", "Split", "Reshape",
         "Softmax", "Pooling", "BinaryOp", "LSTM", "Mine", "PReLU", "Permute", "Interp", "\x1b[2J", "é")  # fmt: skip
HEADER = 2
"""Lines before the layers: the format's number, and how many layers and blobs follow."""


def pair_of(rng: Random, source: Path, target: Path) -> object:
    """Change the .param or the .bin, which lies beside it, or both; or take the .bin away."""
    weights, own = source.with_suffix(".bin"), target.with_suffix(".bin")
    own.unlink(missing_ok=True)
    place = rng.random()
    if place > 0.05:
        data = weights.read_bytes()
        own.write_bytes(data if 0.1 < place < 0.6 else _words(rng, data))
    if place > 0.7:
        return target.write_bytes(source.read_bytes())
    if rng.random() < 0.15:
        return target.write_bytes(mutate_bytes(rng, source.read_bytes()))
    lines = [line.split() for line in source.read_text(encoding="utf-8").splitlines()]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(STEPS)(rng, lines)
    if rng.random() < 0.5:  # the counts are right, so that readers go beyond them
        given = sum(int(words[3]) for words in lines[HEADER:] if _counted(words))
        lines[1:2] = [[str(len(lines) - HEADER), str(given)]]
    return target.write_text("".join(" ".join(words) + "\n" for words in lines), encoding="utf-8")


def _counted(words: list[str]) -> bool:
    return len(words) > 3 and words[3].isdecimal() and len(words[3]) < 9


def _words(rng: Random, data: bytes) -> bytes:
    """Return weights of another length, with the words that say a type in their place, or no numbers."""
    made = bytearray(data)
    match rng.randrange(5):
        case 0:
            return bytes(made[: rng.randrange(len(made))])
        case 1:
            return bytes(made + bytes(rng.choice((1, 4, 400))))
        case 2:  # the word before weights: INT8, float16, float32, a table, none of them
            word = rng.choice((0x000D4B38, 0x01306B47, 0x0002C056, 0x1, 0xFFFFFFFF))
            made[0:4] = word.to_bytes(4, "little")
            return bytes(made)
        case 3:
            place = 4 * rng.randrange(1, len(made) // 4)
            made[place : place + 4] = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\xff", b"\xff" * 4))
            return bytes(made)
        case _:
            return mutate_bytes(rng, data)


def _count(rng: Random, lines: Lines) -> None:
    lines[1][rng.randrange(len(lines[1])) :] = [rng.choice(NUMBERS)]


def _layer(rng: Random, lines: Lines) -> None:
    """Leave a layer out, double it, or lay it elsewhere."""
    place = rng.randrange(HEADER, len(lines))
    match rng.randrange(3):
        case 0 if len(lines) > HEADER + 1:
            del lines[place]
        case 1:
            lines.insert(rng.randrange(HEADER, len(lines)), list(lines[place]))
        case _:
            lines.insert(rng.randrange(HEADER, len(lines)), lines.pop(place))


def _kind(rng: Random, lines: Lines) -> None:
    words = rng.choice(lines[HEADER:])
    words[rng.randrange(min(2, len(words)))] = rng.choice(KINDS)


def _ends(rng: Random, lines: Lines) -> None:
    """Change how many blobs a layer reads and gives, or their names."""
    words = rng.choice(lines[HEADER:])
    names = [word for line in lines[HEADER:] for word in line[4:] if "=" not in word]
    if len(words) > 4 and names and rng.random() < 0.6:
        words[rng.randrange(4, len(words))] = rng.choice((*names, "gone", "\x1b[2J"))
    elif len(words) > 3:
        words[rng.choice((2, 3))] = rng.choice(NUMBERS)


def _parameter(rng: Random, lines: Lines) -> None:
    """Change a parameter's number or value, leave one out, or add one."""
    words = rng.choice(lines[HEADER:])
    places = [place for place, word in enumerate(words) if "=" in word]
    number = rng.choice((*range(25), -23300, -23303, -23399, 10**12))
    if not places or rng.random() < 0.3:
        words.append(f"{number}={rng.choice(NUMBERS)}")
        return
    place = rng.choice(places)
    known, _, value = words[place].partition("=")
    match rng.randrange(4):
        case 0:
            del words[place]
        case 1:
            words[place] = f"{number}={value}"
        case 2 if value.lstrip("-").isdecimal():
            words[place] = f"{known}={int(value) + rng.choice((-1, 1, 3, 1 << 20))}"
        case _:
            words[place] = f"{known}={rng.choice(NUMBERS)}"


STEPS: tuple[Callable[[Random, Lines], None], ...] = (
    _count, _layer, _kind, _ends, _ends, _parameter, _parameter, _parameter,
)  # fmt: skip
