"""``edgeconv run``."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from edgeconv.api import run_model
from edgeconv.artifact import load_artifact
from edgeconv.commands.grouped import examples
from edgeconv.errors import UsageError
from edgeconv.preprocessing import sentence
from edgeconv.runtimes.choose import listed
from edgeconv.terminal import echo, print_json


def each_picture(given: Sequence[Path]) -> list[Path]:
    """Return the files that are meant: of a folder every picture in it, of a pattern what fits it."""
    from edgeconv.pictures import find_pictures

    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += find_pictures(path)
        elif path.exists() or not any(mark in path.name for mark in "*?["):
            found.append(path)
        else:
            found += sorted(path.parent.glob(path.name))
    if not found:
        raise UsageError(f"{given[0]} fits no picture")
    return found


@click.command(epilog=examples("edgeconv run out/model_int8.tflite photos/0_t-shirt.png --top 3"))
@click.argument("file", type=click.Path(path_type=Path))
@click.argument(
    "pictures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PICTURE..."
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(1), help="Classes to print."
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024))
@click.option("--runtime", help=f"{listed()}; default: the first installed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    file: Path,
    pictures: tuple[Path, ...],
    top: int,
    threads: int,
    runtime: str | None,
    as_json: bool,
) -> None:
    """Print the most probable classes of pictures, with names, from any exported FILE.

    A PICTURE is a file, a folder of pictures, or a pattern such as 'photos/*.png'.
    """
    results = run_model(file, each_picture(pictures), top=top, threads=threads, runtime=runtime)
    if as_json:
        data = [{**dataclasses.asdict(r), "picture": str(r.picture)} for r in results]
        print_json({"file": str(file), "predictions": data})
        return
    artifact = load_artifact(file)
    if artifact is not None and artifact.preprocessing is not None:
        echo(f"pictures: {sentence(artifact.preprocessing, 'manifest', artifact.layout)}")
    for result in results:
        echo(f"{result.picture}  ({result.runtime})")
        for ranked in result.classes:
            echo(f"  {100 * ranked.probability:5.1f} %  {ranked.name}  (class {ranked.index})")
