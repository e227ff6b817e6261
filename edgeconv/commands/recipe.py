"""``edgeconv recipe``: show, compare and check INT8 recipes."""

from pathlib import Path

import click

from edgeconv.commands.grouped import PlainGroup
from edgeconv.commands.page_option import page_option
from edgeconv.terminal import echo, echo_lines, print_json


@click.group(cls=PlainGroup)
def command() -> None:
    """Show, compare and check INT8 recipes (recipe.json beside an exported file)."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@page_option("html", "Also write a page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def show(file: Path, html: Path | None, as_json: bool) -> None:
    """Print ranges, clipping, weight error and sensitivity a layer, worst first."""
    from edgeconv.export.quant.explain import explain, write_page
    from edgeconv.recipe import load_recipe
    from edgeconv.tables import open_console

    found = explain(load_recipe(file))
    if html is not None:
        write_page(found, html)
    if as_json:
        print_json(found.to_json())
    else:
        echo_lines(found.text(open_console().width))


@command.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Print what differs between two recipes: form, scales, zero points, integers."""
    from edgeconv.export.quant.explain import differences
    from edgeconv.recipe import load_recipe

    lines = differences(load_recipe(first), load_recipe(second))
    if as_json:
        print_json({"equal": not lines, "differences": lines})
    else:
        for line in lines or ["the recipes hold the same integers and scales"]:
            echo(line)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="The float .onnx it belongs to.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, model: Path | None, as_json: bool) -> None:
    """Check that a recipe holds only what every runtime can compute, and fits its model."""
    from edgeconv.errors import EdgeconvError
    from edgeconv.export.quant.check import check_against, problems
    from edgeconv.recipe import load_recipe

    recipe = load_recipe(file)
    found = problems(recipe)
    if model is not None:
        found += check_against(recipe, model)
    if found:
        raise EdgeconvError(f"{file}: " + "; ".join(found))
    tensors, layers = len(recipe.activations), len(recipe.weights)
    if as_json:
        print_json({"ok": True, "tensors": tensors, "layers": layers})
    else:
        echo(f"{file}: {tensors} tensors and {layers} layers, all within the rules")
