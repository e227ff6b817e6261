"""The arena planner beside TensorFlow Lite Micro's recorder: ``python scripts/make_arena_results.py``.

Exports the four nets INT8 with integer borders at three sizes, plans each file's arena as ``edgeconv inspect
--mcu`` does, and runs it in tflite-micro's interpreter, whose recording allocator says what it took.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from edgeconv import export_model
from edgeconv.export.tflite.inspect import read_tflite
from edgeconv.mcu.arena import plan_arena

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
HOST_POINTER = 8
"""Bytes of a pointer where the recorder runs; a microcontroller has 4."""
RECORDER = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
detail = interpreter.get_input_details(0)
interpreter.set_input(np.zeros(detail["shape"], detail["dtype"]), 0)
interpreter.invoke()
interpreter.print_allocations()
"""


def recorded(path: Path) -> tuple[int, int]:
    """Return the head and the whole of the arena, in bytes, as TensorFlow Lite Micro's recorder counts them."""
    ran = subprocess.run(
        [sys.executable, "-c", RECORDER, str(path)],
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    return told(ran.stdout + ran.stderr)


def told(text: str) -> tuple[int, int]:
    """Read the recorder's words.

    >>> told("x] Arena allocation total 9 bytes\\nx] Arena allocation head 7 bytes")
    (7, 9)
    """
    head, total = (re.search(rf"allocation {part} (\d+)", text) for part in ("head", "total"))
    if head is None or total is None:
        raise click.ClickException(f"tflite-micro said no allocation: {text[-200:]}")
    return int(head[1]), int(total[1])


def row(title: str, size: str, path: Path) -> str:
    """Plan one file's arena, record it, and return the table's row."""
    planned = plan_arena(read_tflite(path.read_bytes()), pointer=HOST_POINTER)
    try:
        head, total = recorded(path)
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["it ends without a word"])[0]
        return f"| {title} | {size} | {planned.head / 1024:.1f} | not run: {why} | {planned.total / 1024:.1f} | | |"
    off = 100 * (planned.total / total - 1)
    kib = " | ".join(f"{n / 1024:.1f}" for n in (planned.head, head, planned.total, total))
    return f"| {title} | {size} | {kib} | {off:+.1f} % |"


def _input(path: Path) -> tuple[int, ...]:
    summary = read_tflite(path.read_bytes())
    return tuple(summary.tensors[summary.inputs[0]].shape)


def exported(net: str, size: int, folder: Path) -> Path:
    """Export one of the four nets and return the file."""
    report = export_model(
        net, targets=("tflite",), precision="int8", io="int8", recipe="fast", resolution=size,
        calib_count=4, verify_count=4, output=folder, threads=1,
    )  # fmt: skip
    return report.artifacts[0].path


@click.command(help=__doc__)
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--size", "sizes", type=int, multiple=True, default=(32, 48, 64), show_default=True)
def main(files: tuple[Path, ...], sizes: tuple[int, ...]) -> None:
    """Print the table, a row as it is made: of FILES (.tflite), else of the four nets."""
    click.echo(
        "| net | size | head planned, KiB | recorded | whole planned, KiB | recorded | off |"
    )
    click.echo("|---" * 7 + "|")
    for path in files:
        click.echo(row(path.stem, "x".join(map(str, _input(path)[1:3])), path))
    if files:
        return
    with tempfile.TemporaryDirectory() as scratch:
        for net in NETS:
            for size in sizes:
                path = exported(net, size, Path(scratch) / f"{net}{size}")
                click.echo(row(net, str(size), path))


if __name__ == "__main__":
    main()
