"""``edgeconv quantize``: the INT8 stage of ``edgeconv export`` for an .onnx file."""

from typing import Any

import click

from edgeconv.api import export_model
from edgeconv.commands.field_options import field_options, section
from edgeconv.commands.grouped import grouped
from edgeconv.commands.progress import StageDisplay, echo_closing
from edgeconv.export.options import INTEGERS, PICTURES
from edgeconv.terminal import print_json

SHOWN = ("calib", "calib_count", "preprocessing", "mean", "std", "crop", "channel_order")
INTEGER = (*section(INTEGERS), "io")


@grouped(
    {PICTURES: SHOWN, INTEGERS: INTEGER},
    "edgeconv quantize model.onnx --calib photos --recipe fast --output quantized",
)
@click.argument("file", metavar="FILE.onnx")
@field_options(*SHOWN, *INTEGER, "output", "threads", "force", "fresh")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def command(ctx: click.Context, /, file: str, *, as_json: bool, **options: Any) -> None:
    """Quantize a float FILE.onnx to INT8 ONNX (QDQ) and verify it against the float model.

    The recipe lies beside the file, in its .evidence folder; edgeconv recipe show explains it.
    The same as: edgeconv export FILE.onnx --int8.
    """
    with StageDisplay(lines=not as_json) as display:
        report = export_model(
            file,
            progress=display.progress,
            on_line=display.on_line,
            precision="int8",
            targets=("onnx",),
            **options,
        )
    if as_json:
        print_json(report.to_json())
    else:
        echo_closing(report)
    ctx.exit(0 if report else 3)
