"""An option as data: a field of ExportOptions carries all that the command and the library say of it."""

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field
from typing import Any

Reader = Callable[[str], Any]
"""Reads what the user typed; raises ValueError saying what is wrong."""


@dataclass(frozen=True)
class Option:
    """How an option is given.

    ``section`` is its place in the help, ``kind`` the type of a value (bool: a flag), ``read`` reads
    one that has a form of its own (of ``kind`` str: several values). ``flag`` is its spelling where that is not the field's name,
    ``many``: it is repeated. ``open``: it takes a file too, beside its ``choices``. ``shown``: the help names its default. ``recipe``: it says something of a
    recipe, or of what is made from one.
    """

    section: str
    help: str
    kind: type = str
    choices: tuple[str, ...] = ()
    open: bool = False
    metavar: str | None = None
    read: Reader | None = None
    flag: str = ""
    many: bool = False
    shown: bool = False
    recipe: bool = False

    def flag_of(self, name: str) -> str:
        """Return how the command spells the field ``name``."""
        return f"--{self.flag or name.replace('_', '-')}"


def option(default: Any, section: str, text: str, **more: Any) -> Any:
    """Return a dataclass field with ``default`` that users give as ``Option(section, text, **more)`` says."""
    how = {"default_factory": dict} if default == {} else {"default": default}
    return field(**how, metadata={"option": Option(section, text, **more)})


def option_of(field: "Field[Any]") -> Option | None:
    """Return how a field is given; None where the command makes it of other options."""
    found: Option | None = field.metadata.get("option")
    return found


def default_of(field: "Field[Any]") -> Any:
    """Return a field's default; None where it has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def names(text: str) -> tuple[str, ...]:
    """Read NAME,NAME.

    >>> names("a, b,")
    ('a', 'b')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
