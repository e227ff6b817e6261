"""``edgeconv models``: print what edgeconv.models.overview.list_nets knows."""

from typing import Any

import click

from edgeconv.terminal import echo_lines, print_json


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
    from edgeconv.tables import PIPED_WIDTH, print_sentences

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0), header_style="")
    table.add_column("net", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    table.add_column("options", no_wrap=True)
    table.add_column("top-1", no_wrap=True)
    for net in nets:
        table.add_row(
            Text(f"{net['name']}\narXiv {net['arxiv']}"),
            f"{net['parameters'] / 1e6:.3f} M",
            f"{net['multiply_adds'] / 1e6:.0f} M",
            Text("\n".join(_option(option) for option in net["options"])),
            Text("\n".join(_accuracy(known) for known in net["accuracies"])),
        )
    console = PlainConsole(highlight=False)
    needed = console.measure(table, options=console.options.update(width=PIPED_WIDTH)).maximum
    if not console.is_terminal:
        console.width = needed  # for a pager or a file: rows stay whole
    if needed <= console.width:
        with console.capture() as captured:
            console.print(table)
        echo_lines("\n".join(line.rstrip() for line in captured.get().splitlines()))
        return
    for net in nets:
        console.print(Text(f"{net['name']}  arXiv {net['arxiv']}"), soft_wrap=True)
        size = f"{net['parameters'] / 1e6:.3f} M parameters"
        said = [f"{size} · {net['multiply_adds'] / 1e6:.0f} M multiply-adds"]
        said += [_option(option) for option in net["options"]]
        said += [f"top-1 {_accuracy(known)}" for known in net["accuracies"]]
        print_sentences(console, [f"  {line}" for line in said])


def _accuracy(known: dict[str, Any]) -> str:
    return f"{known['top1']} % {known['dataset']}, {known['source']}"


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
