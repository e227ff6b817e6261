"""Stage lines and a progress bar that share one console, so that neither overwrites the other."""

import shutil
import sys
from typing import TYPE_CHECKING, Self

from edgeconv.closing import Closing
from edgeconv.log import shown
from edgeconv.terminal import echo, echo_lines, fold, one_line

if TYPE_CHECKING:
    from edgeconv.export.report import ExportReport, StageLine

HEAD = 11
"""Columns of a line's first word and the blank after it."""

WIDEST = 120
"""Columns that lines fill at most: the eye does not follow longer ones to their times."""

PIPED_TEXT = 70
"""Columns that a stage's text fills in a pipe, where lines are never folded."""


def lay_out(head: str, text: str, width: int | None, tail: str = "") -> str:
    """Return ``head`` and ``text`` within ``width`` columns, folded at `` · `` or between words.

    ``tail`` ends the last line. Without a ``width`` (a pipe) the line stays whole. A command to
    copy must not be laid out: a fold would break it.

    >>> print(lay_out("verify", "top-1 98.5 % · SQNR 21.9 dB · within budget", 40, "1.2 s"))
    verify     top-1 98.5 % · SQNR 21.9 dB
               within budget           1.2 s
    """
    text = one_line(text)
    if width is None:
        return f"{head:{HEAD}}{text:{PIPED_TEXT}} {tail}".rstrip()
    room = max(min(width, WIDEST) - HEAD, 20)
    lines = fold(text, room)
    if tail:
        if len(lines[-1]) + 1 + len(tail) > room:
            lines.append("")
        lines[-1] += tail.rjust(room - len(lines[-1]))
    return f"{head:{HEAD}}" + f"\n{'':{HEAD}}".join(lines)


def echo_line(head: str, text: str, tail: str = "") -> None:
    """Print one line of a report on standard output, folded on a terminal and whole in a pipe."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    echo_lines(lay_out(head, text, width, tail))


def echo_closing(report: "ExportReport", *, verbose: bool = False, quiet: bool = False) -> None:
    """Print what follows the stages; the next command stays on one line, to be copied."""
    from edgeconv.export.report import WARNING, closing_lines

    for head, text in closing_lines(report, verbose=verbose, quiet=quiet):
        if head == "next":
            echo(lay_out(head, text, None))
        elif quiet and head == WARNING:
            echo_lines(
                lay_out(head, text, None), err=True
            )  # whoever throws the figures away sees it
        else:
            echo_line(head, text)


class StageDisplay(Closing):
    """Follows an export: a line for each stage on stdout, and a bar below them while one runs.

    The bar is drawn on the terminal that the lines go to; on stderr's where there are none
    (``lines`` False). A pipe, a file and a dumb terminal get no bar: what reads the lines may
    write them to the same screen.
    """

    def __init__(self, *, lines: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from edgeconv.console import PlainConsole

        self._lines = lines
        stream = sys.stdout if lines else sys.stderr
        self._console = PlainConsole(file=stream, highlight=False)
        self._bar = Progress(
            TextColumn(f"{{task.description:{HEAD - 1}}}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not (stream.isatty() and self._console.is_interactive) or shown(),
        )
        self._task = self._bar.add_task("", total=1.0)

    def progress(self, stage: str, done: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, description=stage, completed=done)

    def on_line(self, line: "StageLine") -> None:
        """Print a finished stage."""
        if not self._lines:
            return
        tail = f"{line.seconds:6.1f} s"
        if self._bar.disable:
            echo_line(line.stage, line.text, tail)
            return
        for text in lay_out(line.stage, line.text, self._console.width, tail).splitlines():
            self._console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()
