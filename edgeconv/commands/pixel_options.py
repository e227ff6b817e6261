"""How pictures become numbers, as the commands ask for it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


def numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Read M or M,M,M of parity and eval."""
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a number or M,M,M") from error


def parse_values(text: str | None) -> tuple[float, ...] | None:
    """Read M or M,M,M."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a number or three, like 0.5 or 0.485,0.456,0.406"
        ) from None


def _values(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    return parse_values(value)


OPTIONS = (
    click.option(
        "--preprocessing",
        type=click.Choice(["imagenet", "unit", "symmetric", "raw", "auto"]),
        help="Instead of --mean and --std: ImageNet's, 0..1, -1..1, 0..255, or by the first batch norm.",
    ),
    click.option(
        "--mean",
        callback=_values,
        metavar="M[,M,M]",
        help="On the 0..1 scale. Default: the weights' own, else ImageNet's.",
    ),
    click.option(
        "--std",
        callback=_values,
        metavar="S[,S,S]",
        help="On the 0..1 scale. Default: the weights' own, else ImageNet's.",
    ),
    click.option(
        "--crop",
        type=float,
        metavar="FRACTION",
        help="Centre crop of the resized picture. Default: 0.875.",
    ),
)


def pixel_options(function: Function) -> Function:
    """Give a command --preprocessing, --mean, --std and --crop."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
