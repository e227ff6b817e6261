"""Options whose values have a form of their own."""

from collections.abc import Callable
from typing import Any

import click


def reading(
    read: Callable[[str], Any], otherwise: Any = None
) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return a callback of click that reads what was given, and gives ``otherwise`` where nothing was."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return otherwise
        try:
            return read(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return callback
