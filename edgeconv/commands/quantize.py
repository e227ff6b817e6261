"""``edgeconv quantize``: the INT8 stage of ``edgeconv export`` for an .onnx file."""

from pathlib import Path
from typing import Any

import click

from edgeconv.api import run_with
from edgeconv.commands.grouped import grouped
from edgeconv.commands.integer_options import INTEGER, integer_options
from edgeconv.commands.pixel_options import pixel_options
from edgeconv.commands.progress import StageDisplay, echo_closing
from edgeconv.terminal import print_json

GROUPS = {
    "Pictures": ("calib", "calib_count", "preprocessing", "mean", "std", "crop"),
    "INT8": (*INTEGER, "io"),
}


@grouped(GROUPS, "edgeconv quantize model.onnx --calib photos --recipe fast --output quantized")
@click.argument("file", metavar="FILE.onnx")
@click.option(
    "--calib",
    metavar="DIR|FILE.npz|FILE.npy|file.py:function",
    help="Samples that calibrate; some are kept for verification.",
)
@click.option("--calib-count", type=int, default=128, show_default=True, help="At most so many.")
@pixel_options
@integer_options
@click.option("--io", type=click.Choice(["float", "int8", "uint8"]), help="Type of the borders.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("exported"),
    show_default=True,
    metavar="DIR",
    help="Where files go.",
)
@click.option("--threads", type=int, help="Default: all processors.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.pass_context
def command(ctx: click.Context, /, file: str, *, as_json: bool, **options: Any) -> None:
    """Quantize a float FILE.onnx to INT8 ONNX (QDQ) and verify it against the float model.

    The recipe lies beside the file, in its .evidence folder; edgeconv recipe show explains it.
    The same as: edgeconv export FILE.onnx --int8.
    """
    with StageDisplay(lines=not as_json) as display:
        report = run_with(
            file,
            display.progress,
            display.on_line,
            precision="int8",
            targets=("onnx",),
            **options,
        )
    if as_json:
        print_json(report.to_json())
    else:
        echo_closing(report)
    ctx.exit(0 if report else 3)
