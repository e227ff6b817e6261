"""The options of ``export`` and ``quantize``, derived from the fields of ExportOptions."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.commands.complete import complete_files, complete_recipes
from edgeconv.commands.reading import reading
from edgeconv.export.option import Option, default_of, option_of
from edgeconv.export.options import ExportOptions

Command = TypeVar("Command", bound=Callable[..., Any])

FIELDS: Mapping[str, tuple["Field[Any]", Option]] = {
    field.name: (field, how)
    for field in fields(ExportOptions)
    if (how := option_of(field)) is not None
}
COMPLETE = {"recipe": complete_recipes}
"""Field -> what the shell offers for it."""


def section(title: str) -> tuple[str, ...]:
    """Return the names of a section's options, in order."""
    return tuple(name for name, (_, how) in FIELDS.items() if how.section == title)


class Listed(click.Choice[str]):
    """Words out of a choice, between commas; what is repeated, ``joined`` makes one list of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a tuple of the words."""
        choose = super().convert
        return tuple(choose(word.strip(), param, ctx) for word in str(value).split(","))


def joined(
    ctx: click.Context, parameter: click.Parameter, values: Sequence[tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the words of all ``values``, each once."""
    return tuple(dict.fromkeys(itertools.chain.from_iterable(values)))


def field_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the options of these fields."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _click_option(name)(command)
        return command

    return add


def _takes_files(how: Option, kind: Any) -> bool:
    """Whether the option's value may be a file although its type does not say so."""
    return kind is str and bool(set((how.metavar or "").split("|")) & {"DIR", "FILE", "FILE.csv"})


def _click_option(name: str) -> Callable[[Command], Command]:
    field, how = FIELDS[name]
    flag, default = how.flag_of(name), default_of(field)
    if how.kind is bool:
        return click.option(flag, name, is_flag=True, help=how.help)
    kind: Any = str if how.read else how.kind
    callback: Any = reading(how.read, default) if how.read else None
    if how.choices and not how.open:
        kind = Listed(list(how.choices)) if how.many else click.Choice(list(how.choices))
        callback = joined if how.many else callback
    elif how.kind is Path:
        kind = click.Path(path_type=Path)
    return click.option(
        flag,
        name,
        type=kind,
        default=None if how.read else default,
        show_default=how.shown,
        multiple=how.many,
        metavar=how.metavar,
        help=how.help,
        callback=callback,
        shell_complete=COMPLETE.get(name, complete_files if _takes_files(how, kind) else None),
    )
