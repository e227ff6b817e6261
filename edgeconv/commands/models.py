"""``edgeconv models``: print what edgeconv.models.overview.list_nets knows."""

from typing import Any

import click

from edgeconv.terminal import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array instead of the table.")
def command(as_json: bool) -> None:
    """List the nets with their options, parameters, multiply-adds and accuracies.

    Parameters and multiply-adds are for the default options, 1000 classes, 224x224 pixels.
    """
    from edgeconv.models.overview import list_nets

    nets = list_nets()
    if as_json:
        print_json(nets)
    else:
        _show(nets)


def _show(nets: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from edgeconv.console import PlainConsole

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("net", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    table.add_column("options")
    table.add_column("top-1", overflow="fold")
    for net in nets:
        table.add_row(
            Text(f"{net['name']}\narXiv {net['arxiv']}"),
            f"{net['parameters'] / 1e6:.3f} M",
            f"{net['multiply_adds'] / 1e6:.0f} M",
            Text("\n".join(_option(option) for option in net["options"])),
            Text(
                "\n".join(f"{a['top1']} % {a['dataset']}, {a['source']}" for a in net["accuracies"])
            ),
        )
    console = PlainConsole(highlight=False)
    if not console.is_terminal:
        console.width = 160  # for a pager or a file: rows stay whole
    console.print(table)


def _option(option: dict[str, Any]) -> str:
    """Write an option as its values with the default first named.

    >>> _option({"name": "groups", "choices": [1, 2], "default": 1, "minimum": None, "flag": True})
    'groups 1|2 (default 1)'
    """
    choices = "|".join(str(choice) for choice in option["choices"])
    if option["minimum"] is not None:
        choices = f"{option['minimum']}..{option['maximum']}, say {choices.replace('|', ', ')}"
    where = "" if option["flag"] else ", in Python"
    return f"{option['name']} {choices} (default {option['default']}{where})"
