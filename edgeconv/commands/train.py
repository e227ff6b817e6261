"""``edgeconv train``: parse, one library call, print."""

import shlex
from pathlib import Path
from typing import Any

import click

from edgeconv.accelerator import ACCELERATORS
from edgeconv.commands.complete import complete_nets
from edgeconv.commands.grouped import grouped
from edgeconv.commands.output_types import OutputPath
from edgeconv.preprocessing import NAMED
from edgeconv.terminal import echo, echo_folded, print_json

GROUPS = {
    "The net": ("weights", "width", "groups", "ratio", "activation", "resolution", "tune"),
    "Pictures": ("data", "held_out", "augment", "preprocessing"),
    "Training": (
        "epochs", "batch", "rate", "weight_decay", "label_smoothing", "patience", "qat", "seed", "threads", "accelerator",
    ),
    "What is written": ("output", "force", "as_json", "quiet"),
}  # fmt: skip


def _held_out(ctx: click.Context, param: click.Parameter, value: str) -> float | Path:
    """Read a share, or else the name of a folder."""
    try:
        return float(value)
    except ValueError:
        return Path(value)


@grouped(
    GROUPS,
    "edgeconv train mobilenet_v2 --width 0.5 --resolution 96 --data photos --epochs 60",
    "edgeconv train mobilenet_v2 --weights imagenet --tune head --data photos",
)
@click.argument("net", metavar="NET", shell_complete=complete_nets)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures, one folder a class.",
)
@click.option(
    "--held-out",
    default="0.2",
    show_default=True,
    callback=_held_out,
    metavar="SHARE|DIR",
    help="What is not learnt but measured: a share of each class, or a folder.",
)
@click.option(
    "--weights",
    metavar="bundled|imagenet|random|FILE",
    help="Where it starts. Default: bundled, for other options of the net random.",
)
@click.option("--width", type=float, help="Channel multiplier.")
@click.option("--groups", type=int, help="ShuffleNetV1's groups.")
@click.option("--ratio", type=int, help="GhostNet's ratio s.")
@click.option("--activation", help="MobileNets: relu6 or relu.")
@click.option(
    "--resolution", type=int, metavar="N", help="Height and width. Default: the weights' own."
)
@click.option(
    "--tune",
    type=click.Choice(["all", "head"]),
    default="all",
    show_default=True,
    help="Which layers learn.",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "crop", "flip", "full"]),
    default="full",
    show_default=True,
    help="Each does more: moved, mirrored too, brightness too.",
)
@click.option(
    "--preprocessing",
    type=click.Choice(list(NAMED)),
    help="Default: the weights' own, for random symmetric.",
)
@click.option("--epochs", type=int, default=20, show_default=True, help="At most so many.")
@click.option("--batch", type=int, default=32, show_default=True, help="Pictures a step.")
@click.option("--rate", type=float, default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--weight-decay", type=float, default=0.05, show_default=True, help="AdamW's.")
@click.option(
    "--label-smoothing",
    type=float,
    default=0.05,
    show_default=True,
    help="Share of the truth given to all classes.",
)
@click.option(
    "--patience",
    type=int,
    default=10,
    show_default=True,
    help="End after so many epochs without a better one; 0: never.",
)
@click.option(
    "--qat",
    type=int,
    default=0,
    metavar="EPOCHS",
    help="Then train the integers of INT8 too; the recipe is kept where it is better.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and crops.")
@click.option("--threads", type=int, help="Default: all processors.")
@click.option(
    "--accelerator",
    type=click.Choice(ACCELERATORS),
    default="cpu",
    show_default=True,
    help="cuda trains in mixed precision.",
)
@click.option(
    "--output",
    type=OutputPath(),
    metavar="FILE.safetensors",
    help="Default: NET_WIDTH_RESOLUTION.safetensors here.",
)
@click.option("--force", is_flag=True, help="Replace it; forget an unfinished training.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Show the result only.")
def command(net: str, *, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train NET on a folder of labelled pictures; export and sweep take the weights it writes.

    The file says its net, width, resolution, preprocessing and classes itself. Its batch norms fold
    exactly in half precision. Interrupted, the same command goes on after the last whole epoch.
    """
    from edgeconv.metrics import wilson_interval
    from edgeconv.train.options import TrainOptions

    asked = TrainOptions(net, **options)
    asked.check()  # before torch is imported
    from edgeconv.train.run import train

    def say(line: str) -> None:
        if not quiet:
            echo_folded(line, err=as_json)

    report = train(asked, say)
    if as_json:
        print_json(report.to_json())
        return
    low, high = wilson_interval(report.right, report.held_out)
    echo_folded(
        f"{report.path}: epoch {report.best_epoch}, top-1 {100 * report.right / report.held_out:.1f} % "
        f"[{100 * low:.1f}, {100 * high:.1f}] of {report.held_out} held-out pictures, as stored"
    )
    recipe = None if report.integers is None else report.integers.path
    words = ["edgeconv", "export", net, "--weights", str(report.path), "--int8"]
    words += ["--calib", str(options["data"])]
    words += [] if recipe is None else ["--recipe", str(recipe)]
    if not quiet:
        echo(f"next       {shlex.join(words)}")
