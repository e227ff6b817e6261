"""``edgeconv run``."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.commands.grouped import examples
from edgeconv.commands.output_types import OutputPath
from edgeconv.commands.picture_options import picture_options
from edgeconv.errors import UsageError
from edgeconv.evaluate import HEADS, MIN_SCORE
from edgeconv.runtimes.choose import listed
from edgeconv.terminal import echo, print_json

if TYPE_CHECKING:
    from edgeconv.evaluate.look import Looking
    from edgeconv.evaluate.run import Subject


def each_picture(given: Sequence[Path]) -> list[Path]:
    """Return the files that are meant: of a folder every picture in it, of a pattern what fits it."""
    from edgeconv.pictures import find_pictures

    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += find_pictures(path)
        elif path.exists() or not any(mark in str(path) for mark in "*?["):
            found.append(path)
        elif fitting := sorted(map(Path, glob(str(path)))):
            found += each_picture(fitting)
        else:
            raise UsageError(f"{path} fits no picture")
    return found


@click.command(
    epilog=examples(
        "edgeconv run out/model_int8.tflite photo.png --top 3",
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument(
    "pictures", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PICTURE..."
)
@click.option(
    "--top", default=5, show_default=True, type=click.IntRange(1), help="Classes to print."
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024))
@click.option("--runtime", help=f"{listed()}; default: the first installed.")
@click.option(
    "--emulate",
    type=click.Choice(["pi4", "pi5"]),
    help="Run the board's own wheel under qemu: its kernels, never its speed.",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    metavar="HEAD",
    help=f"Detectors: how outputs hold boxes, {', '.join(HEADS)}. Default: by their shapes.",
)
@click.option(
    "--min-score",
    default=MIN_SCORE,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="Detectors: boxes below it are left out.",
)
@click.option(
    "--draw",
    type=OutputPath(folder=True),
    metavar="DIR",
    help="Write each picture with its boxes or its mask, as a PNG.",
)
@picture_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    file: Path,
    pictures: tuple[Path, ...],
    top: int,
    emulate: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Print what any exported FILE sees in pictures: the most probable classes, boxes, or masks.

    A PICTURE is a file, a folder of pictures, or a pattern such as 'photos/*.png'. With --draw boxes
    and masks are painted over the pictures.
    """
    from edgeconv.evaluate.look import Looking
    from edgeconv.evaluate.run import Asked, open_subject

    chosen = each_picture(pictures)
    looking = Looking(**{f.name: options.pop(f.name) for f in fields(Looking)})
    subject = open_subject(file, Asked(**options))
    if emulate is not None:
        from edgeconv.evaluate.emulated import on_emulated

        subject = on_emulated(subject, emulate)
    known = looking.head or subject.head
    if known or subject.task != "classes":
        _seen(subject, chosen, looking, as_json)
    elif looking.draw is not None:
        raise UsageError(f"--draw paints boxes and masks: {file} gives neither")
    else:
        _classes(subject, chosen, top, as_json)


def _classes(subject: "Subject", pictures: Sequence[Path], top: int, as_json: bool) -> None:
    """Print the most probable classes of pictures."""
    from edgeconv.predict import predict
    from edgeconv.tables import open_console, print_sentences

    results = predict(subject, pictures, top)
    if as_json:
        data = [{**asdict(r), "picture": str(r.picture)} for r in results]
        print_json({"file": str(subject.path), "predictions": data})
        return
    print_sentences(open_console(), [f"pictures: {subject.prepared}"])
    for result in results:
        echo(f"{result.picture}  ({result.runtime})")
        for ranked in result.classes:
            share = ranked.probability
            sure = "" if share is None else f"{100 * share:5.1f} %  "
            echo(f"  {sure}{_named(ranked.name, ranked.index)}")


def _named(name: str, index: int) -> str:
    """Return a class's name with its number, once where it has no other name."""
    number = f"class {index}"
    return number if name == number else f"{name}  ({number})"


def _seen(subject: "Subject", pictures: Sequence[Path], looking: "Looking", as_json: bool) -> None:
    """Print the boxes or the masks of pictures."""
    from edgeconv.evaluate.look import look
    from edgeconv.tables import open_console, print_sentences

    found = look(subject, pictures, looking)
    if as_json:
        print_json({"file": str(subject.path), "predictions": [seen.to_json() for seen in found]})
        return
    print_sentences(open_console(), [f"pictures: {subject.prepared}"])
    for seen in found:
        echo(f"{seen.picture}  ({seen.runtime})" + (f"  -> {seen.drawn}" if seen.drawn else ""))
        for row in seen.rows:
            share = row["score"] if "score" in row else row["share"]
            place = "  " + " ".join(f"{x:g}" for x in row["box"]) if "box" in row else ""
            of = "" if "score" in row else " of the pixels"
            echo(f"  {100 * share:5.1f} %{of}  {_named(row['name'], row['class'])}{place}")
        if not seen.rows:
            echo(f"  no box with a score of {looking.min_score:g} or more")
