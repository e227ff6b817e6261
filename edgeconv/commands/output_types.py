"""Files and folders that a command writes at its end: that they can be written is asked before the work."""

from pathlib import Path
from typing import Any

import click

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
