"""``edgeconv report``: one page about an exported file."""

from pathlib import Path

import click

from edgeconv.commands.grouped import examples
from edgeconv.commands.output_types import PagePath, refuse_other_file
from edgeconv.terminal import echo, print_json


@click.command(
    epilog=examples("edgeconv report out/model_int8.tflite --html model.html"),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=PagePath(),
    metavar="PAGE",
    help="Where the page goes, over one of edgeconv's too.  [default: FILE.html]",
)
@click.option(
    "--bench",
    type=click.Path(path_type=Path),
    metavar="RESULT.json",
    help="What edgeconv bench --json printed of the file: its latency is shown too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, html: Path | None, bench: Path | None, as_json: bool) -> None:
    """Write one self-contained page about FILE, to send to somebody who was not there.

    The verdict in words, accuracy, size, what was assumed, the worst pictures, the noisiest layers
    and how to use the file, from its manifest and its evidence.
    """
    page = str(page_beside(file, html, bench))
    if as_json:
        print_json({"page": page})
    else:
        echo(page)


def page_beside(file: Path, page: Path | None = None, bench: Path | None = None) -> Path:
    """Write the page of ``file`` to ``page``, else beside it under its name; return where."""
    from edgeconv.export_page import write_report
    from edgeconv.files import write_text

    page = file.parent / f"{file.name}.html" if page is None else page
    refuse_other_file(page)
    write_text(page, write_report(file, bench))
    return page
