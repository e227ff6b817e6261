"""How pictures are prepared, for the commands that run files: what a manifest says, and in spite of it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeconv.commands.reading import reading
from edgeconv.preprocessing import NAMED, ORDERS, numbers, read_crop

Command = TypeVar("Command", bound=Callable[..., Any])

WISHED = ("preprocessing", "mean", "std", "crop", "channel_order")
"""The arguments that a command is given: fields of edgeconv.preprocessing.Wished."""


def picture_options(command: Command) -> Command:
    """Give a command the options of WISHED."""
    for option in reversed(
        (
            click.option(
                "--preprocessing",
                type=click.Choice(list(NAMED)),
                help="Instead of --mean and --std. Default: the manifest's.",
            ),
            *(
                click.option(
                    f"--{name}",
                    callback=reading(numbers),
                    metavar=f"{letter}[,{letter},{letter}]",
                    help="On the 0..1 scale, in the tensor's order.",
                )
                for name, letter in (("mean", "M"), ("std", "S"))
            ),
            click.option(
                "--crop",
                callback=reading(read_crop),
                metavar="FRACTION|letterbox",
                help="Centre crop, or all of the picture between bars. Default: the manifest's, else 0.875.",
            ),
            click.option(
                "--channel-order",
                type=click.Choice(ORDERS),
                help="Of the tensor. Default: the manifest's, else rgb.",
            ),
        )
    ):
        command = option(command)
    return command
