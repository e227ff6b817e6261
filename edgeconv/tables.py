"""Tables that stay readable in any width: a row that does not fit becomes a block of its figures.

A narrow terminal makes rich drop columns or fold inside numbers; which file a line is about, and
what its figures are, must survive. Cells are plain text: nothing in them is read as markup.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from edgeconv.console import PlainConsole
from edgeconv.terminal import fold, hanging, one_line

GAP = "  "
PIPED_WIDTH = 400


@dataclass(frozen=True)
class Column:
    """One column; ``named`` says that its figure needs its title beside it where rows are blocks."""

    title: str
    right: bool = False
    named: bool = True


def open_console() -> Console:
    """Return the console of standard output.

    A pipe has no width of its own and a guess would fold: it is wide, unless COLUMNS says.
    """
    console = PlainConsole(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return PlainConsole(highlight=False, width=PIPED_WIDTH)


def print_table(
    console: Console,
    columns: Sequence[Column],
    lines: Sequence[Sequence[str]],
    styles: Sequence[str | None] = (),
    keys: int = 1,
) -> None:
    """Print ``lines``, a cell a column; the first ``keys`` columns identify a row.

    Where the table is wider than the console, each row is its keys on a line and its figures below
    them, broken between figures, a longer one between words. ``styles`` colours whole rows.
    """
    rendered = table_lines(columns, lines, console.width, keys)
    for number, block in enumerate(rendered):
        style = styles[number - 1] if 0 < number <= len(styles) else None
        for line in block:
            console.print(Text(line, style=style or ""), soft_wrap=True)


def table_lines(
    columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int, keys: int = 1
) -> list[list[str]]:
    """Return the header's lines and those of every row, for a console of ``width`` characters.

    >>> columns = (Column("file"), Column("ms", right=True), Column("verdict", named=False))
    >>> table_lines(columns, [["net.onnx", "12.3", "ok"]], 40)
    [['file        ms  verdict'], ['net.onnx  12.3  ok']]
    >>> table_lines(columns, [["net.onnx", "12.3", "ok"]], 16)
    [[], ['net.onnx', '  ms 12.3 · ok']]
    >>> table_lines(columns, [["net.onnx", "12.3", "not within its budget"]], 16)[1]
    ['net.onnx', '  ms 12.3', '  not within its', '  budget']
    """
    titles = [column.title for column in columns]
    lines = [[one_line(cell) for cell in cells] for cells in lines]
    widths = [max(map(cell_len, cells)) for cells in zip(titles, *lines, strict=True)]
    if sum(widths) + len(GAP) * (len(widths) - 1) <= width:
        return [[_aligned(columns, cells, widths)] for cells in (titles, *lines)]
    return [[], *(_block(columns, cells, width, keys) for cells in lines)]


def _aligned(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        blank = " " * (width - cell_len(cell))
        padded.append(blank + cell if column.right else cell + blank)
    return GAP.join(padded).rstrip()


def _block(columns: Sequence[Column], cells: Sequence[str], width: int, keys: int) -> list[str]:
    figures = [
        f"{column.title} {cell}" if column.named else cell
        for column, cell in zip(columns[keys:], cells[keys:], strict=True)
        if cell
    ]
    below: list[str] = []
    for figure in figures:
        longer = f"{below[-1]} · {figure}" if below else GAP + figure
        if below and cell_len(longer) <= width:
            below[-1] = longer
        else:
            below.append(GAP + figure)
    head = GAP.join(cell for cell in cells[:keys] if cell)
    return [head, *(line for long in below for line in _within(long, width))]


def _within(line: str, width: int) -> list[str]:
    """Return an indented ``line`` folded between words where it is wider than ``width``."""
    if cell_len(line) <= width:
        return [line]
    return [GAP + part for part in fold(line.strip(), width - len(GAP))]


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Print names and what they are, a line each, folded between words under the text."""
    indent = max((cell_len(name) for name, _ in facts), default=0) + len(GAP)
    for name, text in facts:
        for number, line in enumerate(fold(text, max(20, console.width - indent))):
            head = "" if number else name
            whole = head + " " * (indent - cell_len(head)) + line
            console.print(Text(whole.rstrip()), soft_wrap=True)


def print_sentences(console: Console, sentences: Sequence[str]) -> None:
    """Print plain sentences, folded between words on a terminal and whole in a pipe."""
    for sentence in sentences:
        print_headed(console, "", sentence)


def print_headed(console: Console, head: str, text: str, style: str = "") -> None:
    """Print a sentence behind a coloured ``head``, folded as ``print_sentences`` does."""
    width = console.width if console.is_terminal else None
    for line in hanging(one_line(head + text), width, apart=False):  # a dot is part of a name
        shown = Text(line)
        if line.startswith(head):
            shown.stylize(style, 0, len(head))
        console.print(shown, soft_wrap=True)
