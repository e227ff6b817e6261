"""``edgeconv eval``: parse, one library call, print."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.commands.grouped import grouped
from edgeconv.commands.output_types import OutputPath
from edgeconv.commands.picture_options import WISHED, picture_options
from edgeconv.evaluate import HEADS, MIN_SCORE
from edgeconv.terminal import echo_folded, notice, print_json

if TYPE_CHECKING:
    from edgeconv.evaluate.report import Wish
    from edgeconv.evaluate.result import Report
    from edgeconv.evaluate.run import Asked

GROUPS = {
    "Pictures": (
        "data",
        "count",
        "truth",
        *WISHED,
        "layout",
    ),
    "Boxes": ("head", "min_score", "reference"),
    "Running": ("runtime", "threads", "workers", "scheduler"),
    "What is shown": ("draw", "as_json"),
}


@grouped(
    GROUPS,
    "edgeconv eval out/model_int8.tflite --data photos --truth folders",
    "edgeconv eval model.onnx --data photos --truth folders --preprocessing imagenet",
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option("--data", required=True, metavar="DIR", help="A folder of pictures.")
@click.option("--count", type=click.IntRange(1), help="How many, spread evenly. Default: all.")
@click.option(
    "--truth",
    metavar="folders|FILE.csv|COCO.json|DIR",
    help="What they show; DIR holds .png masks, or YOLO's .txt boxes. Default: their folders, where those are classes.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Detectors: float file whose boxes they are held against. Default: the export's own graph.",
)
@picture_options
@click.option(
    "--input-layout",
    "layout",
    type=click.Choice(["nchw", "nhwc"]),
    help="Where channels are. Default: .onnx nchw, .tflite nhwc.",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    metavar="HEAD",
    help=f"How outputs hold boxes, {', '.join(HEADS)}. Default: by their shapes.",
)
@click.option(
    "--min-score",
    default=MIN_SCORE,
    show_default=True,
    type=click.FloatRange(0.0, 1.0),
    help="Boxes below it are not compared with the reference's; mAP counts all from 0.001.",
)
@click.option(
    "--draw",
    type=OutputPath(folder=True),
    metavar="DIR",
    help="Write the pictures whose boxes differ most, with both sets of boxes.",
)
@click.option("--runtime", help="Default: the first installed.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024))
@click.option(
    "--workers", type=int, metavar="N", help="Share the pictures out among N processes, by dask."
)
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    help="Share them out on a dask cluster that runs already.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(files: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Measure FILEs at their own task: accuracy class by class, or boxes, on labelled pictures.

    Ours and anyone's .onnx, .tflite, .mlpackage, .pte and .param. Intervals, at 95 %, are Wilson's;
    those of mAP and mIoU come of drawing the pictures again.
    """
    from edgeconv.sweep.address import check_workers

    data, workers, scheduler = (options.pop(k) for k in ("data", "workers", "scheduler"))
    check_workers(workers, scheduler)
    if workers is not None:  # it imports what workers need while this process imports its own
        from edgeconv.sweep.forking import starting

        starting()
    from edgeconv.evaluate.report import Wish
    from edgeconv.evaluate.run import Asked
    from edgeconv.evaluate.text import lines

    asked = Asked(**{f.name: options.pop(f.name) for f in fields(Asked)})
    reports = _reports(files, data, Wish(**options), asked, workers, scheduler)
    if as_json:
        print_json({"files": [report.to_json() for report in reports]})
    else:
        for line in (line for report in reports for line in lines(report)):
            echo_folded(line)


def _reports(
    files: tuple[Path, ...],
    data: str,
    wish: "Wish",
    asked: "Asked",
    workers: int | None,
    scheduler: str | None,
) -> "list[Report]":
    from edgeconv.evaluate.report import evaluate

    if workers is None and scheduler is None:
        return evaluate(files, data, wish, asked)
    from edgeconv.sweep.measure import sharing

    with sharing(workers, scheduler, notice) as measure:
        return evaluate(files, data, wish, asked, measure)
