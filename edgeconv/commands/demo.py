"""``edgeconv demo``: the whole job on what is bundled."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="Where files go; replaced where they are there.",
)
@click.pass_context
def command(ctx: click.Context, output: Path) -> None:
    """Run the README's job: MobileNetV2 to a verified INT8 .tflite, from what is bundled.

    The same as: edgeconv export mobilenet_v2 --int8 --target tflite.
    """
    from edgeconv.commands.export import command as export

    words = ["mobilenet_v2", "--int8", "--target", "tflite", "--output", str(output), "--force"]
    with export.make_context("export", words, parent=ctx) as made:
        export.invoke(made)
