"""TensorFlow Lite Micro beside LiteRT's reference kernels: ``python scripts/compare_micro.py [FILE.tflite ...]``.

Without files the four bundled nets are exported INT8 with integer borders, and 200 of the bundled pictures give 2,000
logits a net. Prints a row for each: which share of the integers is equal, and how many quanta the furthest is off.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgeconv import export_model
from edgeconv.adapt import adapt_inputs
from edgeconv.artifact import load_artifact
from edgeconv.demo_files import demo_folder
from edgeconv.runtimes.tflite_micro import open as open_micro
from edgeconv.samples import InputSpec, load_samples

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")


def compared(path: Path, pictures: Path, count: int) -> tuple[int, float, int]:
    """Return the number of output integers, the share that is equal and the most quanta that one is off.

    ``path`` is an INT8 file of edgeconv's with one picture as input and integer borders. Both read the same integers.
    """
    artifact = load_artifact(path)
    if artifact is None or artifact.inputs[0].quantization is None:
        raise click.ClickException(f"{path}: export it with edgeconv, --int8 --io int8")
    spec = artifact.inputs[0]
    _, height, width, channels = spec.shape
    asked = InputSpec({spec.name: (1, channels, height, width)}, artifact.preprocessing)
    reference = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    (given,), (made,) = reference.get_input_details(), reference.get_output_details()
    apart: list[NDArray[np.int64]] = []
    with open_micro(path) as micro:
        for sample in load_samples(str(pictures), asked)[:count]:
            fed = adapt_inputs(sample.load()[spec.name], "nchw", spec)
            reference.set_tensor(given["index"], fed)
            reference.invoke()
            wanted = reference.get_tensor(made["index"]).astype(np.int64)
            (got,) = micro.infer({spec.name: fed}).values()
            apart.append(np.abs(got.astype(np.int64) - wanted).ravel())
    steps = np.concatenate(apart)
    return len(steps), float((steps == 0).mean()), int(steps.max())


def exported(folder: Path) -> Iterator[Path]:
    """Export the four nets one after the other and yield their files."""
    for net in NETS:
        report = export_model(
            net, precision="int8", targets=["tflite"], io="int8", output=folder, verify_count=8
        )
        yield report.artifacts[0].path


@click.command(help=__doc__)
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pictures", type=click.Path(exists=True, path_type=Path), help="Default: the bundled ones."
)
@click.option("--count", default=200, show_default=True)
def main(files: tuple[Path, ...], pictures: Path | None, count: int) -> None:
    """Compare each file, print the table."""
    click.echo("| file | integers | equal % | most quanta off |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for path in files or exported(Path(folder)):
            seen, equal, most = compared(path, pictures or demo_folder("pictures") / "test", count)
            click.echo(f"| {path.name} | {seen} | {100 * equal:.2f} | {most} |")


if __name__ == "__main__":
    main()
