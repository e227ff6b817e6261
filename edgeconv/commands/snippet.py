"""``edgeconv snippet``: print or write a small program for one exported file."""

from pathlib import Path

import click

from edgeconv.commands.grouped import examples
from edgeconv.commands.output_types import OutputPath
from edgeconv.terminal import echo_lines, print_json


@click.command(
    epilog=examples(
        "edgeconv snippet out/model_int8.tflite",
        "edgeconv snippet out/model_int8.tflite --lang cpp --output app",
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--lang",
    "language",
    default="python",
    show_default=True,
    type=click.Choice(["python", "cpp", "c", "kotlin", "swift"]),
    help="python, cpp: .tflite and .onnx; kotlin: .tflite; c: borders alone; swift: .mlpackage.",
)
@click.option(
    "--output", type=OutputPath(folder=True), metavar="DIR", help="Write it there instead."
)
@click.option("--force", is_flag=True, help="Replace a program that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, language: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Print a small program that runs FILE, with its preprocessing, scales and labels.

    FILE is an exported file; its manifest lies beside it. Classifiers print their five most
    probable classes, others the ranges of their outputs.
    """
    from edgeconv.errors import UsageError
    from edgeconv.files import write_text
    from edgeconv.snippet import write_snippet

    name, text = write_snippet(file, language, Path() if output is None else output)
    written = None if output is None else output / name
    if written is not None:
        if written.exists() and not force:
            raise UsageError(f"{written} exists; --force replaces it")
        write_text(written, text)
    if as_json:
        path = None if written is None else str(written)
        print_json({"name": name, "language": language, "path": path, "text": text})
    else:
        echo_lines(text.removesuffix("\n") if written is None else str(written))
