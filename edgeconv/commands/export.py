"""``edgeconv export``."""

from typing import Any

import click

from edgeconv.api import export_model, plan_export
from edgeconv.commands.complete import complete_nets
from edgeconv.commands.field_options import FIELDS, field_options, section
from edgeconv.commands.grouped import grouped
from edgeconv.commands.progress import HEAD, StageDisplay, echo_closing, echo_line
from edgeconv.commands.report import page_beside
from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.export.options import COREML, INTEGERS, NET, PICTURES, WRITE
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.terminal import print_json


def parse_shapes(texts: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
    """Read N,C,H,W in the inputs' order, or NAME=N,C,H,W[:TYPE] by name ("NAME=" is a scalar).

    Returns the shapes (a tuple, or a dict by name) and the types that were given.
    """
    named: dict[str, tuple[int, ...]] = {}
    types: dict[str, str] = {}
    shapes = []
    for text in texts:
        name, equals, rest = text.rpartition("=")
        sizes, colon, kind = rest.partition(":")
        try:
            shape = tuple(int(part) for part in sizes.split(",")) if sizes else ()
        except ValueError:
            raise click.BadParameter(f"{text!r} is not a shape like 1,3,224,224") from None
        if not equals and (colon or not sizes):
            raise click.BadParameter(
                f"{text!r}: name the input, NAME=1,3,224,224 or NAME=1,7:int64"
            )
        if equals:
            named[name] = shape
            types |= {name: kind} if colon else {}
        shapes.append(shape)
    if named and len(named) != len(texts):
        raise click.BadParameter("name every input, or none")
    return (named or tuple(shapes)), types


def parse_values(texts: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE by name.

    >>> parse_values(("sr=16000", "scale=0.5,2"))
    {'sr': '16000', 'scale': '0.5,2'}
    """
    pairs = [text.rpartition("=") for text in texts]
    for text, (name, _, value) in zip(texts, pairs, strict=True):
        if not name or not value:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


def read_named(options: dict[str, Any]) -> None:
    """Turn what was typed of inputs by name into fields of ExportOptions, in place."""
    if "input_shapes" in options:
        options["input_shapes"], options["input_types"] = parse_shapes(options["input_shapes"])
    if "freeze_inputs" in options:
        options["freeze_inputs"] = parse_values(options["freeze_inputs"])


def one_precision(options: dict[str, Any]) -> str:
    """Take the three flags out of ``options`` and return the one given, else fp32.

    >>> one_precision({"fp32": False, "fp16": False, "int8": True})
    'int8'
    """
    given = [name for name in PRECISIONS if options.pop(name)]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} are two precisions: give one of them")
    return given[0] if given else PRECISIONS[0]


FORMAT, *REST = section(WRITE)
GROUPS = {
    WRITE: (FORMAT, *PRECISIONS, *REST, "dry_run"),
    **{title: section(title) for title in (NET, PICTURES, INTEGERS, COREML)},
    "What is printed": ("html", "as_json", "verbose", "quiet"),
}


@grouped(
    GROUPS,
    "edgeconv export mobilenet_v2 --int8 --target tflite --target onnx --weights my.pth --calib photos --output out",
    "edgeconv export net.py:make --input-shape 1,3,32,32 --target tflite --target onnx",
    "edgeconv export model.onnx --int8 --calib photos --mean 0.5 --std 0.5 --target tflite --force",
)
@click.argument("net", metavar="NET_OR_FILE", shell_complete=complete_nets)
@field_options(*FIELDS)
@click.option("--fp32", is_flag=True, help="Float (default).")
@click.option("--fp16", is_flag=True, help="Half precision (TFLite, Core ML, ncnn).")
@click.option("--int8", is_flag=True, help="Full INT8.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--html", is_flag=True, help="Write a page about each file beside it.")
@click.option("-v", "--verbose", is_flag=True, help="Show every figure.")
@click.option("-q", "--quiet", is_flag=True, help="Show the verdict only.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    net: str,
    *,
    as_json: bool,
    dry_run: bool,
    html: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Convert NET_OR_FILE and verify every file from disk against the float model.

    NET_OR_FILE is mobilenet_v1, mobilenet_v2, shufflenet_v1 or ghostnet, your own module as
    path/to/file.py:factory or package.module:factory, a saved ExportedProgram (.pt2), a TorchScript
    file (.pt), or an .onnx file.
    """
    options["precision"] = one_precision(options)
    if verbose and (quiet or as_json):
        raise UsageError(f"-v shows more and {'-q' if quiet else '--json'} less: give one of them")
    read_named(options)
    if dry_run:
        lines = plan_export(net, **options)
        if as_json:
            print_json({"plan": lines})
            return
        for line in lines:
            echo_line(line[:HEAD].rstrip(), line[HEAD:])
        return
    if html:
        require("jinja2", "pages")  # before the work, not after it
    with StageDisplay(lines=not (quiet or as_json)) as display:
        report = export_model(net, progress=display.progress, on_line=display.on_line, **options)
    pages = [page_beside(artifact.path) for artifact in report.artifacts] if html else []
    if as_json:
        print_json(report.to_json())
    else:
        echo_closing(report, verbose=verbose, quiet=quiet)
        for page in pages:
            echo_line("page", str(page))
    ctx.exit(report.exit_code)
