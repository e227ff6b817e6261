"""The options that ``export`` and ``quantize`` both have for INT8."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeconv.commands.complete import complete_recipes

Command = TypeVar("Command", bound=Callable[..., Any])


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()


INTEGER = (
    "recipe",
    "max_drop",
    "keep_float",
    "copies",
    "allow_poor_calibration",
    "prefer",
    "cpu",
    "reduce_range",
)
"""Their names, for the section of a command's help."""

OPTIONS = (
    click.option(
        "--recipe",
        default="std",
        show_default=True,
        shell_complete=complete_recipes,
        help="INT8 recipe: fast, std, best or FILE.json.",
    ),
    click.option(
        "--max-drop", type=float, metavar="POINTS", help="Keep layers in float to lose no more."
    ),
    click.option(
        "--keep-float", callback=_names, metavar="NODE,...", help="Nodes that stay in float."
    ),
    click.option(
        "--copies",
        type=float,
        metavar="SHARE",
        help="Multiply-adds to add for noisy channels; best 0.1.",
    ),
    click.option("--allow-poor-calibration", is_flag=True, help="Take pictures that look unfit."),
    click.option(
        "--prefer",
        type=click.Choice(["speed", "size"]),
        default="speed",
        show_default=True,
        help="Rewrite INT8 files for speed, or keep them small; the same bits.",
    ),
    click.option(
        "--cpu",
        type=click.Choice(["any", "x86", "arm"]),
        default="any",
        show_default=True,
        help="Processor that INT8 ONNX is rewritten for; the same bits.",
    ),
    click.option("--reduce-range", is_flag=True, help="7-bit weights, for x86 without VNNI."),
)


def integer_options(command: Command) -> Command:
    """Add the options to a command, in this order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
