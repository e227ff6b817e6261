"""Everything that leaves for the terminal: text without control characters, and one JSON object."""

import contextlib
import json
import math
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import click

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls but tab and line feed, marks that reorder or break a line, and halves of a surrogate pair."""


HANGING = "  "
"""What stands before the second line and those that follow."""


def plain(text: str) -> str:
    r"""Return ``text`` with what could command a terminal written as an escape.

    >>> plain("conv\x1b[2J")
    'conv\\x1b[2J'
    """
    return UNSAFE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    r"""Return ``text``, which may hold a foreign name, so that it stays one line: a name begins none.

    >>> one_line("conv\nverdict    all within budget")
    'conv\\nverdict    all within budget'
    """
    return plain(text).replace("\n", "\\n")


def echo(text: str = "", *, err: bool = False) -> None:
    """Print ``text`` as one line, on standard error where ``err``; a lost stderr is no failure."""
    echo_lines(one_line(text), err=err)


def echo_lines(text: str, *, err: bool = False) -> None:
    """Print ``text``, whose line feeds are ours, as ``echo`` does."""
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():
        click.echo(plain(text), err=err)


def echo_folded(text: str, *, err: bool = False) -> None:
    """Print one line: on a terminal folded between words under its own indent, whole in a pipe."""
    stream = sys.stderr if err else sys.stdout
    whole = stream is None or not stream.isatty()
    for line in hanging(text, None if whole else shutil.get_terminal_size().columns):
        echo(line, err=err)


def hanging(text: str, width: int | None, *, apart: bool = True) -> list[str]:
    """Return a sentence in lines of ``width`` columns, those after the first further in; None is a pipe's.

    ``apart`` as in ``fold``.

    >>> hanging("  net.onnx: as its recipe promises", 20)
    ['  net.onnx: as its', '    recipe promises']
    """
    if width is None:
        return [text]
    body = text.lstrip()
    indent = " " * (len(text) - len(body))
    first, *others = fold(body, width - len(indent) - len(HANGING), apart=apart)
    return [indent + first, *(indent + HANGING + other for other in others)]


def counted(number: int, what: str) -> str:
    """Return how many there are of something that English calls by adding s or, to an s, es.

    >>> counted(1, "name"), counted(0, "class"), counted(2, "form")
    ('1 name', '0 classes', '2 forms')
    """
    return f"{number} {what}" + ("" if number == 1 else "es" if what.endswith("s") else "s")


def reasons_text(floats: Mapping[str, Mapping[str, int]]) -> str:
    """Return the operators that compute in float, by reason and kind, as text.

    >>> reasons_text({"it has no INT8 form": {"Erf": 2, "Div": 1}, "Equal asks for all digits": {"Mul": 1}})
    '2 Erf, 1 Div (it has no INT8 form); 1 Mul (Equal asks for all digits)'
    """
    kinds = (
        (reason, ", ".join(f"{n} {op}" for op, n in ops.items())) for reason, ops in floats.items()
    )
    return "; ".join(f"{said} ({reason})" for reason, said in kinds)


def unlike(figure: float, bound: float, form: str) -> str:
    """Return ``figure`` in ``form``, or with so many digits that it does not read as ``bound``.

    >>> unlike(10.004, 10, ".3g"), unlike(9.1234, 10, ".3g")
    ('10.004', '9.12')
    """
    forms = (form, *(f".{digits}g" for digits in range(3, 17)))
    return next((s for f in forms if float(s := f"{figure:{f}}") != bound), str(figure))


def fold(text: str, room: int, *, apart: bool = True) -> list[str]:
    """Return lines of at most ``room`` columns, folded at `` · `` (where that sets facts ``apart``) or between words.

    A word that is longer stays whole: a name that is broken cannot be copied. A number stays with what
    it counts.

    >>> fold("net.onnx · 3 outputs", 10), fold("of all 98.5 % agree", 11)
    (['net.onnx', '3 outputs'], ['of all', '98.5 %', 'agree'])
    """
    lines = [""]
    for number, part in enumerate(text.split(" · ") if apart else [text]):
        joined = f"{lines[-1]} · {part}" if number else part
        if len(joined) <= room:
            lines[-1] = joined
            continue
        for first, word in enumerate(_words(part, room)):
            start = first == 0 and number > 0
            if start or len(f"{lines[-1]} {word}") > room:
                lines.append(word)
            else:
                lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines if lines[0] else lines[1:] or [""]


COUNTED = re.compile(r"(?<!\d) | (?!%|[^\W\d_])")
"""Blanks but those between a number and a word, or its unit."""


def _words(part: str, room: int) -> Iterator[str]:
    for words in COUNTED.split(part):
        yield from [words] if len(words) <= room else words.split(" ")


def rewrite(text: str = "") -> None:
    """Replace the last line of standard error, a terminal, by what of ``text`` fits on it."""
    width = shutil.get_terminal_size().columns - 1
    with contextlib.suppress(OSError):
        sys.stderr.write(f"\r\x1b[K{one_line(text)[:width]}")
        sys.stderr.flush()


def notice(text: str) -> None:
    """Say on standard error, on lines of its own, what a command waits for; -q leaves out progress, not this."""
    if sys.stderr is not None and sys.stderr.isatty():
        rewrite()
    echo_folded(text, err=True)


@dataclass
class Answer:
    """Whether a command has printed its JSON object: a failure after it prints no second one.

    ``stream`` is where it goes: what a net prints while it runs goes elsewhere.
    """

    given: bool = False
    stream: TextIO | None = None


def finite(data: Any) -> Any:
    """Return JSON data with null for NaN and the infinities, which JSON has not.

    >>> finite({"sqnr_db": [math.inf, 21.5]})
    {'sqnr_db': [None, 21.5]}
    """
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data


def print_json(data: Any) -> None:
    """Print the one JSON value of a ``--json`` command."""
    context = click.get_current_context(silent=True)
    answer = None if context is None else context.find_object(Answer)
    if answer is not None:
        answer.given = True
    stream = None if answer is None else answer.stream
    click.echo(json.dumps(finite(data), indent=1, allow_nan=False), file=stream)
