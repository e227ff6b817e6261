"""mAP and box parity of detectors in every runtime: ``python scripts/box_figures.py FOLDER ... > FILE``.

FOLDER is what train_detector.py made. detector.onnx is exported in FP32 and INT8 to every format, and each file
is asked in every runtime here as ``edgeconv eval`` asks it: with the labels of test.json for mAP, and for the share of the float
.onnx file's boxes that it finds too. A FOLDER without test.json is anyone's detector and pictures: box parity alone.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edgeconv import export_model
from edgeconv.doctor import examine
from edgeconv.evaluate import MIN_SCORE
from edgeconv.evaluate.report import Wish, evaluate
from edgeconv.evaluate.result import Report
from edgeconv.evaluate.run import Asked
from edgeconv.export.kinds import Precision
from edgeconv.judge.text import judgement
from edgeconv.parity.report import environment
from edgeconv.runtimes.choose import fitting

TARGETS = ("onnx", "tflite", "coreml", "executorch")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
HEAD = (
    "| net | file | runtime | mAP % | at IoU 0.5 % | the float model's boxes kept % | missed, invented | export's verdict |\n"
    "|---|---|---|---|---|---|---|---|"
)


def rows(
    folder: Path, targets: Sequence[str], without: Sequence[str], recipe: str, min_score: float
) -> Iterator[str]:
    """Yield a row of each file that is made of the float .onnx, in each runtime."""
    net, truth = folder / "detector.onnx", folder / "test.json"
    wish = Wish(truth=str(truth) if truth.exists() else None, reference=net, min_score=min_score)
    with tempfile.TemporaryDirectory() as scratch:
        for precision in PRECISIONS:
            made = export_model(
                net, precision=precision, targets=targets, calib=str(folder / "calib"), recipe=recipe,
                preprocessing="unit", crop=1.0, output=Path(scratch), threads=1,
            )  # fmt: skip
            for refused, why in made.refused.items():
                yield f"| {folder.name} | {precision} | {refused}: {why} | | | | | |"
            for artifact in made.artifacts:
                said = judgement(artifact.verdict.verdict, integer=artifact.verdict.integer)
                for runtime in fitting(artifact.path):
                    left_out = runtime.apart or runtime.name in without
                    if runtime.installed() and not left_out:
                        asked = Asked(runtime=runtime.name)
                        (found,) = evaluate([artifact.path], str(folder / "test"), wish, asked)
                        kind = f"{precision} {artifact.path.suffix}"
                        yield row(folder.name, kind, found, said.split(":")[0])


def row(name: str, kind: str, found: Report, said: str) -> str:
    """Return what was measured of one file as a row of the table."""
    own, kept = found.precision, found.parity
    assert kept is not None
    wholly = ["", ""]
    if own is not None:
        wholly = [
            f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            for value, (low, high) in ((own.mean, own.interval), (own.at_half, own.half_interval))
        ]
    share = f"{kept.matched} of {kept.matched.count}"
    cells = [name, kind, found.runtime, *wholly, share, f"{kept.missed}, {kept.invented}", said]
    return f"| {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--target", "targets", multiple=True, default=TARGETS, show_default=True)
@click.option("--without", multiple=True, help="A runtime, such as one that takes too long.")
@click.option("--recipe", default="std", show_default=True)
@click.option("--min-score", default=MIN_SCORE, show_default=True)
def main(
    folders: tuple[Path, ...],
    targets: tuple[str, ...],
    without: tuple[str, ...],
    recipe: str,
    min_score: float,
) -> None:
    """Print the machine, the versions, and a table."""
    machine = examine().machine
    packages = ", ".join(f"{name} {version}" for name, version in environment()["packages"].items())
    click.echo(f"{machine.processor}, Python {machine.python}, {packages}\n\n{HEAD}")
    for folder in folders:
        for line in rows(folder, targets, without, recipe, min_score):
            click.echo(line)


if __name__ == "__main__":
    main()
