"""``--html`` of the commands that write a page: what pages are made with is asked for before the work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeconv.commands.output_types import PagePath

Command = TypeVar("Command", bound=Callable[..., Any])


def page_option(
    name: str, text: str = "Write one self-contained page, over one of edgeconv's."
) -> Callable[[Command], Command]:
    """Return the decorator; the command's argument ``name`` is the page's Path or None."""
    return click.option("--html", name, type=PagePath(), help=text, callback=_ready)


def _ready(ctx: click.Context, option: click.Parameter, page: Path | None) -> Path | None:
    from edgeconv.deps import installed

    if page is not None:
        installed(("jinja2", "pages"))
    return page
