"""``edgeconv device``: what a board is, and making it ready before the first bench."""

import json

import click

from edgeconv.errors import UsageError


@click.group()
def command() -> None:
    """Ask or prepare a board over SSH (the system's own ssh: your keys, configuration, jump hosts)."""


@command.command()
@click.argument("device", metavar="ssh://USER@HOST")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(device: str, as_json: bool) -> None:
    """Say what a board has: processor, Python, free space. Nothing is copied."""
    from edgeconv.device.board import ask
    from edgeconv.device.ssh import Connection, parse_host

    board = ask(Connection(parse_host(device)))
    if as_json:
        about = {
            "architecture": board.platform.architecture,
            "python": board.platform.python,
            "system": board.system,
            "free_mib": board.free_mib,
        }
        click.echo(json.dumps(about, indent=1))
        return
    click.echo(f"{board.platform.architecture}, Python {board.platform.python}, {board.system}")
    click.echo(f"{board.free_mib} MiB free")


@command.command()
@click.argument("device", metavar="ssh://USER@HOST")
@click.option("--onnx", is_flag=True, help="onnxruntime, for .onnx.")
@click.option("--tflite", is_flag=True, help="LiteRT (32-bit: tflite-runtime), for .tflite.")
def setup(device: str, onnx: bool, tflite: bool) -> None:
    """Copy our code and the runtimes there; the board itself needs no network."""
    from edgeconv.cache import cache_dir
    from edgeconv.device import board as boards
    from edgeconv.device.ssh import Connection, parse_host
    from edgeconv.device.wheels import runtime_for

    suffixes = [s for s, on in ((".onnx", onnx), (".tflite", tflite)) if on]
    if not suffixes:
        raise UsageError("say what for: --onnx, --tflite or both")
    connection = Connection(parse_host(device))
    board = boards.ask(connection)
    runtimes = runtime_for(suffixes, board.platform)
    boards.setup(connection, board, runtimes, cache_dir(), lambda text: click.echo(text, err=True))
    click.echo(f"{connection.host.target} is ready: {', '.join(runtimes)}")
