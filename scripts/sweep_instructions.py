"""What a sweep's files cost an emulated board, in instructions: ``python scripts/sweep_instructions.py DIR --board pi5``.

An emulated board has no latency, so a sweep has none for it. This counts the instructions of one inference of every
file that DIR's results.json holds within its budget (see docs/arm_kernels.md: counts, not times), and says which
is the most accurate of those with the fewest.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from make_arm_results import PI, build_plugin, count, find_qemu, millions

from edgeconv.errors import EdgeconvError


@dataclass(frozen=True)
class Counted:
    """A form of a sweep: its accuracy (None: not known) and the instructions of one inference."""

    label: str
    accuracy: float | None
    instructions: int


def files_of(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the cells of a sweep whose files are sound, by file: forms that a Pi runs, each file once."""
    cells = json.loads((folder / "results.json").read_bytes())["cells"]
    sound = [cell for cell in cells if cell["status"] in ("front", "dominated")]
    return {c["file"]: c for c in sound if c["file"].endswith((".onnx", ".tflite"))}


def pick(rows: Sequence[Counted], most: float) -> Counted | None:
    """Return the most accurate of those with at most so many instructions, of equals the one with the fewest."""
    fitting = [row for row in rows if row.instructions <= most]
    return min(fitting, key=lambda row: (-(row.accuracy or 0.0), row.instructions), default=None)


def table(rows: Sequence[Counted], board: str) -> list[str]:
    """Return the Markdown table, fewest instructions first."""
    lines = [f"| form | M instructions of a {PI[board]} | top-1 % |", "|---|---|---|"]
    for row in sorted(rows, key=lambda row: row.instructions):
        right = "" if row.accuracy is None else f"{100 * row.accuracy:.1f}"
        lines.append(f"| {row.label} | {millions(row.instructions)} | {right} |")
    return lines


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--board", type=click.Choice(list(PI)), default="pi5", show_default=True)
@click.option("--most", type=float, help="Millions of instructions to stay below.")
@click.option("--qemu", type=click.Path(exists=True, dir_okay=False), help="One with plugins.")
def main(folder: Path, board: str, most: float | None, qemu: str | None) -> None:
    """Count, print, or say in one sentence why it cannot be counted here."""
    cells = files_of(folder)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            paths = [folder.absolute() / name for name in cells]
            plugin = build_plugin(Path(scratch))
            counts = count(board, find_qemu(qemu), plugin, paths, Path(scratch))
    except EdgeconvError as error:
        click.echo(f"skipped: {error}")
        return
    rows = [
        Counted(cell["label"], cell["accuracy"], one.total)
        for cell, one in zip(cells.values(), counts, strict=True)
    ]
    click.echo("\n".join(table(rows, board)))
    if most is not None:
        best = pick(rows, most * 1e6)
        said = "none" if best is None else f"{best.label}, {millions(best.instructions)} M"
        click.echo(f"\nmost accurate within {most:g} M instructions (a count, no latency): {said}")


if __name__ == "__main__":
    main()
