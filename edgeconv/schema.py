"""Check data that we did not write: every reader of foreign JSON says what a field must be, here it is checked.

A check takes a value and the name of its field and returns the value, or raises Misfit. Checks are
made of checks: ``table({"scale": number(above=0.0)})``.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import read_bytes

EXACT = 1 << 53
"""A whole number beyond it is taken as a float, which arithmetic with arrays bears."""

Check = Callable[[Any, str], Any]


class Misfit(ValueError):  # noqa: N818 - it never leaves ``checked``
    """What a field holds and what it should; ``checked`` adds the file."""


def _misfit(value: Any, field: str, wanted: str) -> Misfit:
    shown = json.dumps(value, default=str)[:40]
    return Misfit(f"{field or 'it'} is {shown}, not {wanted}")


def checked(data: Any, check: Check, source: str) -> Any:
    """Return ``data`` if it is what ``check`` says; raise EdgeconvError naming ``source`` and the field.

    >>> checked({"scale": -1}, table({"scale": number(above=0.0)}), "recipe.json")
    Traceback (most recent call last):
        ...
    edgeconv.errors.EdgeconvError: recipe.json: scale is -1, not a number above 0
    """
    try:
        return check(data, "")
    except Misfit as error:
        raise EdgeconvError(f"{source}: {error}") from error


def read_json(path: Path, what: str, hint: str = "") -> Any:
    """Return the JSON data of a file. Raises EdgeconvError where it is not ``what``; ``hint`` ends it."""
    try:
        return parse_json(read_bytes(path), f"{path} is not {what}", hint)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist{hint}") from error
    except OSError as error:
        reason = error.strerror or error
        raise EdgeconvError(f"cannot read {path} as {what}: {reason}{hint}") from error


def parse_json(text: str | bytes, what: str, hint: str = "") -> Any:
    """Return the JSON data of a text; the EdgeconvError of one that is none starts with ``what``."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise EdgeconvError(f"{what}: it is nested too deeply{hint}") from error
    except UnicodeDecodeError as error:
        raise EdgeconvError(f"{what}: it is no text{hint}") from error
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
        early = "it ends too early, cut short or damaged: " if cut else ""
        raise EdgeconvError(f"{what}: {early}{error}{hint}") from error
    except ValueError as error:
        raise EdgeconvError(f"{what}: a number has too many digits{hint}") from error


def anything(value: Any, field: str) -> Any:
    """Take whatever it is."""
    return value


def text(value: Any, field: str) -> str:
    """Take a text."""
    if not isinstance(value, str):
        raise _misfit(value, field, "a text")
    return value


def flag(value: Any, field: str) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise _misfit(value, field, "true or false")
    return value


def number(
    *, above: float = -math.inf, low: float = -math.inf, high: float = math.inf, finite: bool = True
) -> Check:
    """Take a number within its bounds; with ``finite`` False NaN and the infinities too."""

    def check(value: Any, field: str) -> float | int:
        wanted = f"a number above {above:g}" if above > -math.inf else "a number"
        if (above == -math.inf and low > -math.inf) or high < math.inf:
            wanted = f"a number from {low:g} to {high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _misfit(value, field, wanted)
        try:
            real = float(value)
        except OverflowError:
            raise _misfit(value, field, wanted) from None
        if not finite and not math.isfinite(real):
            return value
        if not (math.isfinite(real) and real > above and low <= real <= high):
            raise _misfit(value, field, wanted)
        return real if abs(value) > EXACT else value

    return check


def whole(low: int = -(2**63), high: int = 2**63 - 1) -> Check:
    """Take an integer within its bounds."""

    def check(value: Any, field: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _misfit(value, field, f"a whole number from {low} to {high}")
        return value

    return check


def one_of(*choices: Any) -> Check:
    """Take one of some values."""

    def check(value: Any, field: str) -> Any:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise _misfit(value, field, "one of " + ", ".join(map(str, choices)))
        return value

    return check


def either(first: Check, second: Check) -> Check:
    """Take what one of two checks takes; the second's words are those of the error."""

    def check(value: Any, field: str) -> Any:
        try:
            return first(value, field)
        except Misfit:
            return second(value, field)

    return check


def maybe(inner: Check) -> Check:
    """Take null, or what ``inner`` takes."""
    return lambda value, field: None if value is None else inner(value, field)


def items(inner: Check, least: int = 0, most: int | None = None) -> Check:
    """Take a list whose items ``inner`` takes, of a length within bounds."""

    def check(value: Any, field: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise _misfit(value, field, "a list")
        if len(value) < least or (most is not None and len(value) > most):
            raise Misfit(f"{field or 'it'} has {len(value)} items, not {_range(least, most)}")
        return [inner(item, f"{field}[{index}]") for index, item in enumerate(value)]

    return check


def _range(least: int, most: int | None) -> str:
    return f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"


def as_long(inner: Check, *fields: str) -> Check:
    """Take what ``inner`` takes, if the lists of ``fields`` have as many items each."""

    def check(value: Any, field: str) -> Any:
        found = inner(value, field)
        if len({len(found[name]) for name in fields if name in found}) > 1:
            raise Misfit(f"{field or 'it'} has lists of different lengths: {', '.join(fields)}")
        return found

    return check


def mapping(inner: Check) -> Check:
    """Take a table of any keys whose values ``inner`` takes."""

    def check(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _misfit(value, field, "a table")
        return {key: inner(item, _inside(field, key)) for key, item in value.items()}

    return check


def table(
    needed: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    *,
    closed: bool = False,
) -> Check:
    """Take a table that has the ``needed`` fields; one without a check is kept, or refused if ``closed``."""
    known = {**needed, **(optional or {})}

    def check(value: Any, field: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _misfit(value, field, "a table")
        for key in needed:
            if key not in value:
                raise Misfit(f"{_inside(field, key)} is missing")
        for key in value if closed else ():
            if key not in known:
                raise Misfit(f"{_inside(field, key)} is no field that is known")
        return {
            key: known.get(key, anything)(item, _inside(field, key)) for key, item in value.items()
        }

    return check


def _inside(field: str, key: object) -> str:
    return f"{field}.{key}" if field else str(key)
