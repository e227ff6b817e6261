"""Stage lines on stdout, a progress bar on stderr while a stage runs."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from edgeconv.export.report import StageLine


class StageDisplay:
    """Follows an export. The bar is drawn on a terminal only, and is gone when the work is done."""

    def __init__(self, *, lines: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._lines = lines
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0)

    def progress(self, stage: str, done: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, description=stage, completed=done)

    def on_line(self, line: "StageLine") -> None:
        """Print a finished stage."""
        if self._lines:
            click.echo(f"{line.stage:10} {line.text:70} {line.seconds:6.1f} s")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
