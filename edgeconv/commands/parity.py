"""``edgeconv parity``: parse, one library call, print."""

import sys
from pathlib import Path
from typing import Any

import click

from edgeconv.commands.complete import complete_hosts
from edgeconv.commands.grouped import grouped
from edgeconv.commands.output_types import OutputPath
from edgeconv.commands.page_option import page_option
from edgeconv.commands.picture_options import WISHED, picture_options
from edgeconv.errors import UsageError
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.terminal import print_json

FILE = click.Path(path_type=Path)


GROUPS = {
    "What is compared": (
        "reference", "weights", "precision", "input_layout", "class_offset", "scores", "threads",
        "timeout", "also", "emulate", "devices",
    ),
    "Pictures": ("data", "count", "truth", *WISHED),
    "Looking deeper": ("layers", "bisect", "latency"),
    "Limits": ("budget", "baseline", "update_baseline"),
    "What comes out": (
        "as_json", "html", "markdown", "junit", "save_outputs", "load_outputs",
    ),
}  # fmt: skip


@grouped(
    GROUPS,
    "edgeconv parity out/model_int8.tflite --count 20",
    "edgeconv parity out/model_int8.tflite out/model_int8.onnx --count 20 --html parity.html",
)
@click.argument("artifacts", nargs=-1, type=FILE)
@click.option(
    "--reference", help="The float model: a net, an .onnx or .tflite, or its outputs as .npz."
)
@click.option("--weights", help="Weights of a net as --reference (default: bundled).")
@click.option("--data", help="Pictures: a folder, an .npz, an .npy or file.py:function.")
@click.option(
    "--count",
    type=int,
    help="How many pictures, spread evenly. Default: all of the export's own, 100 of --data.",
)
@click.option(
    "--truth",
    metavar="folders|FILE.csv",
    help="Classes: a CSV (file, class). Default: the pictures' folders, where those are classes.",
)
@picture_options
@click.option(
    "--input-layout",
    type=click.Choice(["nchw", "nhwc"]),
    help="Where the channels are in files without a manifest (default: .onnx nchw, .tflite nhwc).",
)
@click.option(
    "--class-offset",
    default=0,
    show_default=True,
    help="Leading classes that files without a manifest have and the reference has not.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What files without a manifest are held to.",
)
@click.option(
    "--scores", multiple=True, help="Outputs that hold class scores (default: by shape and values)."
)
@click.option("--threads", default=1, show_default=True, help="Threads of every runtime.")
@click.option("--timeout", type=float, help="Seconds that one cell may take.")
@click.option("--layers", is_flag=True, help="Name the layer where a hop departs; rank them all.")
@click.option(
    "--bisect", type=FILE, help="Folder for a repro of the first layer that departs in each file."
)
@click.option(
    "--latency", is_flag=True, help="Median latency and its ratio to the float reference."
)
@click.option(
    "--emulate",
    multiple=True,
    type=click.Choice(["pi4", "pi5", "pi-32bit"]),
    help="Run the board's own wheels under qemu as well: kernels, never latency.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="openvino|tflite-micro|onnxruntime-newest",
    help="Run the files in this runtime too; repeat for several.",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="ssh://USER@HOST|adb://SERIAL",
    shell_complete=complete_hosts,
    help="Run the files on this board as well; several run side by side.",
)
@click.option("--budget", type=FILE, help="Limits as TOML or JSON; see docs/parity.md.")
@click.option("--baseline", type=FILE, help="Fail where a figure got worse than in this file.")
@click.option("--update-baseline", is_flag=True, help="Write --baseline from this run instead.")
@click.option(
    "--save-outputs", type=OutputPath(folder=True), help="Folder for every cell's outputs."
)
@click.option("--load-outputs", type=FILE, help="Compare outputs saved elsewhere as well.")
@click.option("--markdown", type=OutputPath(), help="Write the table as Markdown.")
@click.option("--junit", type=OutputPath(), help="Write JUnit XML.")
@page_option("html")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (schema: docs/parity.md)."
)
def command(artifacts: tuple[Path, ...], **options: Any) -> None:
    """Compare ARTIFACTS in every runtime here with their float reference, hop by hop.

    Exit codes: 0 within budget, 1 something failed to run or a picture could not be read, 2 usage, 3 a budget was missed.
    """
    from edgeconv.device.places import board_places
    from edgeconv.parity.api import check_parity
    from edgeconv.parity.report import to_json

    if options["update_baseline"] and not options["baseline"]:
        raise UsageError("--update-baseline needs --baseline FILE")
    as_json = options.pop("as_json")
    places = board_places(options.pop("emulate"), options.pop("devices"))
    result = check_parity(list(artifacts), places=places, **options)
    if as_json:
        print_json({**to_json(result.matrix), **result.extra})
    else:
        _print(result)
    sys.exit(result.exit_code)


def _print(result: Any) -> None:
    from edgeconv.parity.report import summary, table
    from edgeconv.tables import Column, open_console, print_sentences, print_table

    console = open_console()
    header, lines = table(result.matrix)
    columns = [Column(title, named=title not in ("hop", "verdict")) for title in header]
    failed = [line[-1] == "MISSED" or line[-1].startswith("failed") for line in lines]
    print_table(console, columns, lines, ["red" if bad else None for bad in failed])
    print_sentences(console, [*summary(result.matrix), *result.said])
