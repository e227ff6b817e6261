"""What whole recipes reach on real pictures, every file in its own runtime.

    python scripts/recipe_figures.py run --lines L.jsonl --shared DIR --case "mobilenet_v1 0.25" --recipe best
    python scripts/recipe_figures.py table L.jsonl

The cases are those of make_results.py: calibrated on some pictures, measured on others. A line of L.jsonl is
one export; what is there already is not run again. p is McNemar's: how likely pure chance lets INT8 and
float err on so unequal numbers of pictures.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from json_lines import Line, read_lines
from make_results import Case, cifar_cases, imagenet_cases
from PIL import Image

from edgeconv import export_model

TARGETS = ("onnx", "tflite")
FIGURES = ("sqnr_db", "kl", "agreement_top1", "top1", "reference_top1", "mcnemar_p")
TRUTH = ("top1", "reference_top1", "mcnemar_p")
UPRIGHT = (60, 300)
"""Pictures that calibrate and that measure torchvision's weights."""


@click.group()
def main() -> None:
    """Measure recipes, or print what was measured."""


@main.command()
@click.option("--lines", required=True, type=click.Path(path_type=Path), help="Results go here.")
@click.option("--shared", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--case", "wanted", default="", help="Cases whose title begins so.")
@click.option(
    "--torchvision",
    type=click.Path(exists=True, path_type=Path),
    help="torchvision's mobilenet_v2-b0353104.pth: one more case, on upright pictures.",
)
@click.option("--recipe", default="std,best", show_default=True)
@click.option("--copies", type=float, help="As for export.")
@click.option("--minutes", type=float, help="As for export.")
@click.option("--threads", default=1, show_default=True)
def run(
    lines: Path,
    shared: Path,
    wanted: str,
    torchvision: Path | None,
    recipe: str,
    copies: float | None,
    minutes: float | None,
    threads: int,
) -> None:
    """Export every case that is asked for and append a line for each."""
    known = {_key(line) for line in read_lines(lines)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        cases = [*imagenet_cases(shared / "imagenet", scratch)]
        if (shared / "cifar10").is_dir():
            cases += cifar_cases(shared / "cifar10", scratch)
        if torchvision is not None:
            cases.append(torchvision_case(torchvision, shared / "imagenet", scratch))
        for case in cases:
            for name in recipe.split(","):
                line: Line = {"case": case.title, "recipe": name, "copies": copies}
                line["minutes"] = minutes
                if not case.title.startswith(wanted) or _key(line) in known:
                    continue
                more = {} if copies is None else {"copies": copies}
                more |= {} if minutes is None else {"minutes": minutes}
                line |= measured(case, scratch / "out", recipe=name, threads=threads, **more)
                with lines.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


def torchvision_case(weights: Path, folder: Path, scratch: Path) -> Case:
    """torchvision's MobileNetV2 on the pictures turned upright, with ImageNet's preprocessing."""
    pictures = sorted((folder / "images").glob("*.jpg"))
    made = []
    for name, count, first in zip(("upright", "upright-rest"), UPRIGHT, (True, False), strict=True):
        found = [path for path in pictures if (int(path.name[:4]) % 10 == 0) is first]
        into = scratch / name
        into.mkdir()
        for i in range(count):
            path = found[i * len(found) // count]
            Image.open(path).transpose(Image.Transpose.ROTATE_180).save(into / f"{path.stem}.png")
        made.append(into)
    rows = "".join(f"{path.name},{int(path.name[:4])}\n" for path in sorted(made[1].iterdir()))
    (scratch / "upright.csv").write_text(rows, encoding="utf-8")
    options = {"weights": str(weights), "resolution": 224, "truth": str(scratch / "upright.csv")}
    options |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "crop": 0.875}
    options["verify"] = str(made[1])
    return Case("torchvision's mobilenet_v2", "mobilenet_v2", options, UPRIGHT[1], str(made[0]))


def measured(case: Case, output: Path, **options: Any) -> Line:
    """Export a case and return the figures of each of its files, and the CPU seconds of all."""
    before = os.times()
    report = export_model(
        case.net,
        targets=TARGETS,
        precision="int8",
        calib_count=100,
        verify_count=case.verify_count,
        output=output,
        force=True,
        fresh=True,
        **{"calib": case.calibration, **case.options, **options},
    )
    after = os.times()
    files = {}
    for artifact in report.artifacts:
        (figures,) = artifact.verdict.figures.values()
        files[artifact.target] = {name: figures[name] for name in FIGURES if name in figures}
    said = next(line.text for line in report.stages if line.stage == "quantize")
    cpu = sum(after[:4]) - sum(before[:4])
    return {"files": files, "said": said, "cpu": cpu}


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("case", "recipe", "copies", "minutes"))


@main.command()
@click.argument("lines", type=click.Path(exists=True, path_type=Path))
def table(lines: Path) -> None:
    """Print a row for each file."""
    click.echo("\n".join(rows(read_lines(lines))))


def rows(lines: Iterable[Line]) -> list[str]:
    """Return the table: a row for each file of each line."""
    found = [
        "| net | recipe | file | SQNR dB | KL | agreement % | top-1 % (float) | p | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        for target, figures in line["files"].items():
            cells = [line["case"], line["said"].removeprefix("recipe "), target]
            cells += [f"{figures['sqnr_db']:.1f}", f"{figures['kl']:.4f}"]
            cells.append(f"{100 * figures['agreement_top1']:.1f}")
            truth = [figures[name] for name in TRUTH if name in figures]
            if len(truth) == len(TRUTH):
                cells += [f"{100 * truth[0]:.1f} ({100 * truth[1]:.1f})", f"{truth[2]:.2g}"]
            else:
                cells += ["", ""]
            found.append(f"| {' | '.join([*cells, format(line['cpu'], '.0f')])} |")
    return found


if __name__ == "__main__":
    main()
