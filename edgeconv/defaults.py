"""Defaults of options from edgeconv.toml, or [tool.edgeconv] of pyproject.toml, in the current folder.

A table for each command, its options as on the command line::

    [export]                      # in pyproject.toml: [tool.edgeconv.export]
    calib = "photos"
    mean = "0.5"
    target = ["tflite", "onnx"]

The folder may be somebody else's: what would run Python code is refused here.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeconv.errors import EdgeconvError, UsageError, nearest
from edgeconv.foreign import read_text

CODE = re.compile(r"\.py:|^\w+(\.\w+)*:[A-Za-z_]\w*$")
"""file.py:function, package.module:function."""

FILES = (("edgeconv.toml", ()), ("pyproject.toml", ("tool", "edgeconv")))


def find_defaults(folder: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the first file of ``folder`` that holds defaults, and its tables; None where none does.

    Raises EdgeconvError for an edgeconv.toml that cannot be read.
    """
    for name, keys in FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            found: Any = tomllib.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            if keys:
                continue  # another tool's file, which it will complain about
            raise EdgeconvError(f"{path} cannot be read: {error}") from error
        for key in keys:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        if isinstance(found, dict) and found:
            return path, found
    return None


def defaults_of(
    command: click.Command, name: str, folder: Path, commands: Collection[str] = ()
) -> dict[str, Any]:
    """Return what the file of ``folder`` sets of ``command``, by the names that click uses.

    Raises UsageError for a table of none of ``commands``, where they are given, and for what is no table,
    no option, no text, number, truth value or list, or code.
    """
    found = find_defaults(folder)
    if found is None:
        return {}
    path, tables = found
    for given in tables if commands else ():
        if given not in commands:
            hint = nearest(given, commands, "options stand in a table such as [export]")
            raise UsageError(f"{path}: {given} is no command: {hint}")
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} is no table of options")
    known = {
        option.lstrip("-"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    values: dict[str, Any] = {}
    for key, value in table.items():
        parameter = known.get(key)
        if parameter is None or parameter.name is None:
            hint = nearest(key, known, f"edgeconv {name} --help lists them")
            raise UsageError(f"{path}: edgeconv {name} has no option --{key}: {hint}")
        values[parameter.name] = _value(parameter, value, f"{path}: {name}.{key}")
    return values


@contextmanager
def naming_file(folder: Path) -> Iterator[None]:
    """Let a refused value of the file of ``folder`` name it: the command line does not show it."""
    try:
        yield
    except click.BadParameter as error:
        if error.ctx is not None and error.param is not None and error.param.name is not None:
            source = error.ctx.get_parameter_source(error.param.name)
            if source is ParameterSource.DEFAULT_MAP and (found := find_defaults(folder)):
                said = f"{found[0]}: {error.message}"
                raise click.BadParameter(said, error.ctx, error.param) from None
        raise


def _value(option: click.Option, value: Any, said: str) -> Any:
    """Return a value as click takes it from a command line; raises UsageError that begins with ``said``."""
    items: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        raise UsageError(f"{said} is written as on the command line")
    texts = [item for item in items if isinstance(item, str)]
    if any(map(CODE.search, texts)):
        raise UsageError(
            f"{said} names Python code, which runs only where the command line names it"
        )
    if "" in texts:
        raise UsageError(f"{said} is empty")
    if any(isinstance(item, bool) for item in items):
        if option.is_flag and not isinstance(value, list):
            return value
        raise UsageError(f"{said} takes a value, not {str(items[0]).lower()}")
    # text, which click reads and refuses as it does on the command line: infinity is no whole number
    return items if option.multiple else ",".join(map(str, items))
