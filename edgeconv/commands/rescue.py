"""``edgeconv rescue``: parse, one library call, print."""

import shlex
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeconv.commands.complete import complete_nets
from edgeconv.commands.export import read_named
from edgeconv.commands.field_options import FIELDS, field_options, section
from edgeconv.commands.grouped import grouped
from edgeconv.export.options import INTEGERS, NET, PICTURES
from edgeconv.terminal import echo, print_json

if TYPE_CHECKING:
    from edgeconv.rescue.attempts import Attempt

INTEGER = tuple(name for name in section(INTEGERS) if name != "minutes")
"""Rescue's own --minutes are those of all attempts together."""
OWN = (*section(NET), *section(PICTURES), "targets", *INTEGER, "threads")
GROUPS = {
    "Trying": ("minutes", "targets", "threads", "as_json"),
    **{title: section(title) for title in (NET, PICTURES)},
    INTEGERS: INTEGER,
}


@grouped(GROUPS, "edgeconv rescue out/model_int8.tflite --calib photos --minutes 10")
@click.argument("net", metavar="FILE_OR_NET", shell_complete=complete_nets)
@field_options(*OWN)
@click.option(
    "--minutes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="An attempt that would end later is not begun; the file as it is always is.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def command(
    ctx: click.Context, /, net: str, *, minutes: float, as_json: bool, **options: Any
) -> None:
    """Try what may mend an INT8 file whose verdict was missed, and say which is worth it.

    FILE is an exported .onnx, .tflite or .mlpackage with its evidence; anything else is what edgeconv
    export takes: edgeconv rescue out/model_int8.tflite --calib photos. Each attempt is exported, verified and timed; the front of accuracy against latency
    and size is marked, and the command to take is printed.
    """
    from edgeconv.api import make_options
    from edgeconv.artifact import load_artifact
    from edgeconv.rescue.attempts import AS_IT_IS
    from edgeconv.rescue.run import rescue
    from edgeconv.rescue.source import as_calibrated, options_of, other_pictures, refuse_not_ours

    given = {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) != ParameterSource.DEFAULT
    }
    typed = {name: _flags(name, value) for name, value in given.items()}
    read_named(given)
    artifact = load_artifact(Path(net)) if Path(net).exists() else None
    other = None if artifact is None else other_pictures(artifact, given)
    if artifact is None:
        refuse_not_ours(net)
    else:
        if other is not None:
            given = as_calibrated(artifact, given)
            typed.pop("calib")
        given = options_of(artifact, given)
        net = given.pop("net")
        typed |= _remade(given, typed)
    made = make_options(net, **{**given, "precision": "int8"})
    found = rescue(made, minutes, lambda said: echo(said, err=True), other)
    command_line = _command(net, typed, AS_IT_IS if found.taken is None else found.taken.attempt)
    if as_json:
        print_json({**found.to_json(), "command": command_line})
    else:
        from edgeconv.rescue.text import print_rescue
        from edgeconv.tables import open_console

        print_rescue(found, command_line, open_console())
    ctx.exit(0 if found else 3)


def _flags(name: str, value: Any) -> list[str]:
    """Return a field as it is typed."""
    _, how = FIELDS[name]
    flag = how.flag_of(name)
    if how.kind is bool:
        return [flag] if value else []
    if how.many:
        return [part for one in value for part in (flag, str(one))]
    if isinstance(value, tuple):
        return [flag, ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)]
    return [flag, str(value)]


def _command(net: str, typed: Mapping[str, Sequence[str]], attempt: "Attempt") -> str:
    """Return the line that makes what ``attempt`` made: what was ``typed``, but for the fields that it changes."""
    whole = [] if "precision" in attempt.fields else ["--int8"]
    kept = [part for name, parts in typed.items() if name not in attempt.fields for part in parts]
    return shlex.join(["edgeconv", "export", net, *whole, *kept, *attempt.flags])


def _remade(fields: dict[str, Any], typed: Container[str]) -> dict[str, list[str]]:
    """Return the flags that make an exported file again, but for what was typed already."""
    known = (
        "targets", "calib", "mean", "std", "crop", "channel_order", "embed_preprocessing", "softmax", "io", "recipe",
        "verify", "labels",
    )  # fmt: skip
    return {
        name: _flags(name, fields[name])
        for name in known
        if fields.get(name) is not None and name not in typed
    }
