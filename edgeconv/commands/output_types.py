"""Files and folders that a command writes at its end: that they can be written is asked before the work."""

from pathlib import Path
from typing import Any

import click

from edgeconv.errors import UsageError
from edgeconv.files import check_writable


class OutputPath(click.Path):
    """A Path to be; click names the option, ``check_writable`` says what stands in the way."""

    def __init__(self, *, folder: bool = False) -> None:
        super().__init__(dir_okay=folder, file_okay=not folder, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the Path; raises where a file or a folder cannot be made there."""
        path = super().convert(value, param, ctx)
        if not isinstance(path, Path):
            return path
        check_writable(path, "" if param is None else param.opts[0], folder=not self.file_okay)
        return path


MARK = b'<meta name="generator" content="edgeconv">'
"""In every page that edgeconv writes, near its beginning."""


class PagePath(OutputPath):
    """A page to be. One of edgeconv's is replaced, as it can be made again; no other file is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the Path; raises where a page cannot be made there."""
        path = super().convert(value, param, ctx)
        if isinstance(path, Path):
            refuse_other_file(path)
        return path


def refuse_other_file(page: Path) -> None:
    """Raise UsageError where ``page`` is a file that is no page of edgeconv's."""
    if not page.is_file():
        return
    with page.open("rb") as file:
        ours = MARK in file.read(400)
    if not ours:
        raise UsageError(f"{page} exists and is no page of edgeconv's: name another file")
