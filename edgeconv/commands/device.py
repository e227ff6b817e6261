"""``edgeconv device``: what a board is, and making it ready before the first bench."""

from typing import TYPE_CHECKING, Any

import click

from edgeconv.commands.complete import complete_hosts
from edgeconv.commands.grouped import PlainGroup
from edgeconv.terminal import echo, print_json

if TYPE_CHECKING:
    from edgeconv.device.board import Board


@click.group(cls=PlainGroup)
def command() -> None:
    """Ask or prepare a board over SSH (the system's own ssh: your keys, configuration, jump hosts)."""


@command.command()
@click.argument("device", metavar="ssh://USER@HOST|adb://SERIAL", shell_complete=complete_hosts)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(device: str, as_json: bool) -> None:
    """Say what a board is: processor, clocks, temperature, Python, free space. Nothing is copied."""
    from edgeconv.device.board import ask, describe
    from edgeconv.device.ssh import Connection, parse_host

    connection = Connection(parse_host(device, option=""))
    board = ask(connection)
    found = describe(connection)
    if as_json:
        about = {
            "architecture": board.platform.architecture,
            "python": board.platform.python,
            "system": board.system,
            "free_mib": board.free_mib,
            **found,
        }
        print_json(about)
        return
    for title, text in _lines(board, found):
        echo(f"{title:<12} {text}")


def _lines(board: "Board", found: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know of a board, a title and a text a line."""
    from edgeconv.sensors import throttle_reasons

    machine, clocks = found["machine"], [c for c in found["clocks"] if c["mhz"] is not None]
    lines = [
        ("board", machine["board"] or "unknown"),
        ("processor", f"{machine['processor']}, {machine['cpus_usable']:g} usable"),
        ("features", ", ".join(machine["features"]) or "none that matters"),
        ("system", f"{machine['system']}, {board.platform.architecture}, kernel {machine['kernel']}"),
        ("Python", board.platform.python),
        ("memory", f"{machine['memory_mib']} MiB"),
        ("disk", f"{board.free_mib} MiB free"),
    ]  # fmt: skip
    if clocks:
        now = max(clock["mhz"] for clock in clocks)
        limit = max((c["max_mhz"] for c in clocks if c["max_mhz"]), default=None)
        governors = sorted({c["governor"] for c in clocks if c["governor"]})
        text = f"{now:.0f} MHz" + (f" of {limit:.0f}" if limit else "")
        lines.append(("clock", ", ".join([text, *governors])))
    if found["temperature_c"] is not None:
        lines.append(("temperature", f"{found['temperature_c']:.0f} °C"))
    if found["throttled"] is not None:
        lines.append(("throttled", ", ".join(throttle_reasons(found["throttled"])) or "no"))
    if machine["emulated"]:
        lines.append(("note", "this board is emulated: no latency of it will be shown"))
    return lines


@command.command()
@click.argument("device", metavar="ssh://USER@HOST|adb://SERIAL", shell_complete=complete_hosts)
@click.option("--onnx", is_flag=True, help="onnxruntime, for .onnx.")
@click.option("--tflite", is_flag=True, help="LiteRT (32-bit: tflite-runtime), for .tflite.")
@click.option("--pte", is_flag=True, help="ExecuTorch with PyTorch (64-bit, 0.2 GB), for .pte.")
@click.option("--ncnn", is_flag=True, help="ncnn (64-bit), for .param.")
def setup(device: str, onnx: bool, tflite: bool, pte: bool, ncnn: bool) -> None:
    """Copy our code and the runtimes there, newer ones included; the board needs no network.

    Those for .onnx and .tflite, unless options ask for others."""
    from edgeconv.cache import cache_dir
    from edgeconv.device import board as boards
    from edgeconv.device import provision
    from edgeconv.device.ssh import Connection, parse_host
    from edgeconv.device.wheels import runtime_for

    wanted = ((".onnx", onnx), (".tflite", tflite), (".pte", pte), (".param", ncnn))
    suffixes = [s for s, on in wanted if on] or [".onnx", ".tflite"]
    connection = Connection(parse_host(device, option=""))
    board = boards.ask(connection)
    runtimes = runtime_for(suffixes, board.platform)

    def say(text: str) -> None:
        echo(text, err=True)

    provision.setup(connection, board, runtimes, cache_dir(), say, fresh=True)
    echo(f"{connection.host.target} is ready: {', '.join(runtimes)}")
