"""``edgeconv summary``: print what edgeconv.models.summary.summarize returns."""

from typing import TYPE_CHECKING

import click

from edgeconv.commands.complete import complete_nets
from edgeconv.commands.grouped import examples
from edgeconv.errors import UsageError
from edgeconv.terminal import print_json

if TYPE_CHECKING:
    from edgeconv.models.layer_cost import Layer, Summary


def parse_shapes(
    ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[int, ...], ...] | dict[str, tuple[int, ...]]:
    """Read each ``N,C,H,W`` as a tuple of positive numbers, for click; by name where they are NAME=N,C,H,W."""
    shapes, names = [], []
    for text in texts:
        name, equals, rest = text.rpartition("=")
        names += [name] if equals else []
        sizes = [part.strip() for part in rest.split(",")]
        if not all(part.isdecimal() and int(part) > 0 for part in sizes):
            raise click.BadParameter(f"{text!r} is not a shape like 1,3,224,224", ctx, param)
        shapes.append(tuple(int(part) for part in sizes))
    if names and len(names) != len(texts):
        raise click.BadParameter("name every input, or none", ctx, param)
    return dict(zip(names, shapes, strict=True)) if names else tuple(shapes)


@click.command(
    epilog=examples("edgeconv summary mobilenet_v1 --width 0.5", "edgeconv summary model.onnx")
)
@click.argument("source", metavar="NET_OR_FILE", shell_complete=complete_nets)
@click.option("--width", type=float, help="Channel multiplier.")
@click.option("--groups", type=int, help="shufflenet_v1: groups of the 1x1 convolutions.")
@click.option("--ratio", type=int, help="ghostnet: channels made for each one convolved.")
@click.option("--activation", help="mobilenet_v1, mobilenet_v2: relu6 or relu.")
@click.option(
    "--classes", type=click.IntRange(1), default=1000, show_default=True, help="Of the four nets."
)
@click.option("--resolution", type=click.IntRange(1), help="Picture size in pixels, else 224.")
@click.option(
    "--input-shape",
    "shapes",
    multiple=True,
    callback=parse_shapes,
    metavar="[NAME=]N,C,H,W",
    help="One for each input; names are for .onnx files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def command(
    source: str,
    width: float | None,
    groups: int | None,
    ratio: int | None,
    activation: str | None,
    classes: int,
    resolution: int | None,
    shapes: tuple[tuple[int, ...], ...] | dict[str, tuple[int, ...]],
    as_json: bool,
) -> None:
    """Print an architecture layer by layer.

    NET_OR_FILE is a net's name, path/to/file.py:factory, or an .onnx file. For each layer: output
    shape, parameters, multiply-adds, bytes of its output, and for grouped and depthwise-separable
    convolutions the multiply-adds as a share of the standard convolution's.
    """
    from edgeconv.models.summary import summarize

    if resolution is not None and shapes:
        raise UsageError("--resolution and --input-shape say the same thing: give one of them")
    found = summarize(
        source,
        options={"width": width, "groups": groups, "ratio": ratio, "activation": activation},
        classes=classes,
        resolution=resolution,
        input_shapes=shapes,
    )
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)


def _show(summary: "Summary") -> None:
    from edgeconv.tables import Column, open_console, print_sentences, print_table

    console = open_console()
    sizes = " and ".join("x".join(map(str, shape)) for shape in summary.inputs)
    rows = [
        [
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
            _size(layer.activation_bytes),
            _share(layer),
        ]
        for layer in summary.layers
    ]
    figures = ("parameters", "multiply-adds", "memory", "of standard")
    columns = [
        Column("layer"),
        Column("kind", named=False),
        Column("output"),
        *(Column(title, right=True) for title in figures),
    ]
    print_sentences(console, [f"{summary.title} on {sizes}"])
    print_table(console, columns, rows)
    outputs = "its layers are not seen one by one, nor their outputs"
    if summary.activation_bytes:
        outputs = (
            f"outputs {_size(summary.activation_bytes)} in all, largest input and output together "
            f"{_size(summary.peak_bytes)}"
        )
    sentences = [
        f"{summary.parameters:,} parameters · {summary.multiply_adds:,} multiply-adds · {outputs}"
    ]
    if any(layer.against_standard for layer in summary.layers):
        sentences.append(
            "of standard: multiply-adds as a share of the same convolution without groups; "
            "+dw: together with the depthwise layer before it, of one standard convolution"
        )
    print_sentences(console, sentences)


def _share(layer: "Layer") -> str:
    """Return the share of the standard convolution, marked where it is a pair's."""
    if layer.against_standard is None:
        return ""
    pair = "+dw " if len(layer.against_standard.layers) > 1 else ""
    return f"{pair}{100 * layer.against_standard.ratio:.1f} %"


def _size(count: int) -> str:
    """Write bytes readably.

    >>> _size(512), _size(2048), _size(3 << 20)
    ('512 B', '2.0 KiB', '3.0 MiB')
    """
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"
