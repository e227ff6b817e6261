"""``edgeconv recipe``: show, compare and check INT8 recipes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.commands.export import parse_shapes
from edgeconv.commands.grouped import PlainGroup
from edgeconv.commands.page_option import page_option
from edgeconv.errors import UsageError
from edgeconv.terminal import echo, echo_folded, echo_lines, print_json

if TYPE_CHECKING:
    from edgeconv.recipe import Recipe


@click.group(cls=PlainGroup)
def command() -> None:
    """Show, compare and check INT8 recipes.

    A recipe is a recipe.json, or an exported file that has its own in the evidence beside it.
    """


def _recipe(file: Path) -> "Recipe":
    """Read a recipe, or that of an exported file; raises EdgeconvError for one that was exported in float."""
    from edgeconv.artifact import load_artifact
    from edgeconv.recipe import load_recipe

    artifact = load_artifact(file)
    return load_recipe(file if artifact is None else artifact.evidence("recipe.json"))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@page_option("html", "Also write a page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def show(file: Path, html: Path | None, as_json: bool) -> None:
    """Print ranges, clipping, weight error and sensitivity a layer, worst first."""
    from edgeconv.export.quant.explain import explain, write_page
    from edgeconv.tables import open_console

    found = explain(_recipe(file))
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
    from edgeconv.export.quant.differences import differences

    lines = differences(_recipe(first), _recipe(second))
    if as_json:
        print_json({"equal": not lines, "differences": lines})
    else:
        for line in lines or ["the recipes hold the same integers and scales"]:
            echo_folded(line)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="The float .onnx it belongs to.")
@click.option(
    "--input-shape", "shapes", multiple=True, metavar="N,C,H,W", help="Of a model with open shapes."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, model: Path | None, shapes: tuple[str, ...], as_json: bool) -> None:
    """Check that a recipe holds only what every runtime can compute, and fits its model."""
    from edgeconv.errors import EdgeconvError
    from edgeconv.export.quant.check import check_against, problems

    if shapes and model is None:
        raise UsageError("--input-shape is for --model: name the .onnx file too")
    recipe = _recipe(file)
    found = problems(recipe)
    if model is not None:
        found += check_against(recipe, model, parse_shapes(shapes)[0])
    if found:
        raise EdgeconvError(f"{file}: " + "; ".join(found))
    tensors, layers = len(recipe.activations), len(recipe.weights)
    if as_json:
        print_json({"ok": True, "tensors": tensors, "layers": layers})
    else:
        echo(f"{file}: {tensors} tensors and {layers} layers, all within the rules")
