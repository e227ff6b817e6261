"""Export nets that other people wrote, and write what came of each as a line of JSON and a table.

    python scripts/make_zoo.py run --nets FILE.py --pictures DIR --lines docs/zoo.jsonl [NAME ...]
    python scripts/make_zoo.py table --lines docs/zoo.jsonl > docs/zoo.md

FILE.py has a dictionary ZOO: name -> (factory, (height, width)). ``run`` skips nets that have a line
(``--again`` takes them anew), gives each net a process of its own and appends its line at once.
quantize_static is onnxruntime's: QDQ, U8S8, per channel, min/max, on the same hub graph and pictures.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import click
import peers
from zoo_figures import float_operators, integer_share, sqnr_by_output
from zoo_table import table

from edgeconv import export_model
from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.kinds import Precision
from edgeconv.pictures import find_pictures
from edgeconv.samples import InputSpec, load_function, load_samples

TARGETS = ("onnx", "tflite", "coreml")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@click.group()
def main() -> None:
    """Make docs/zoo.jsonl and docs/zoo.md."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--nets", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--pictures", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--calib-count", default=32, show_default=True)
@click.option("--verify-count", default=50, show_default=True)
@click.option("--timeout", default=1200, show_default=True, help="seconds a net")
@click.option("--again", is_flag=True, help="also nets that have a line")
def run(
    names: tuple[str, ...],
    nets: Path,
    pictures: Path,
    lines: Path,
    calib_count: int,
    verify_count: int,
    timeout: int,
    again: bool,
) -> None:
    """Export the nets of a file and append a line for each."""
    sizes = {name: size for name, (_, size) in _zoo(nets).items()}
    done = set() if again else {line["net"] for line in read_lines(lines)}
    for name in names or sizes:
        if name in done:
            continue
        job = {
            "net": name,
            "file": str(nets),
            "size": list(sizes[name]),
            "pictures": str(pictures),
            "calib_count": calib_count,
            "verify_count": verify_count,
        }
        line = _in_process(job, timeout)
        with lines.open("a") as file:
            file.write(json.dumps(line) + "\n")
        click.echo(f"{name}: {json.dumps(line.get('exits', line))}")


@main.command("table")
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def make_table(lines: Path) -> None:
    """Print the lines as Markdown."""
    click.echo(table(read_lines(lines)), nl=False)


@main.command("one", hidden=True)
@click.argument("job")
def one(job: str) -> None:
    """Export one net and print its line."""
    click.echo(json.dumps(examine(json.loads(job))))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, the last of each net."""
    if not path.exists():
        return []
    found = {line["net"]: line for line in map(json.loads, path.read_text().splitlines())}
    return list(found.values())


def _zoo(path: Path) -> dict[str, Any]:
    zoo: dict[str, Any] = load_function(path, "net").__globals__["ZOO"]
    return zoo


def _in_process(job: dict[str, Any], timeout: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "one", json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"net": job["net"], "failed": f"more than {timeout} s"}
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode == 0 and last:
        line: dict[str, Any] = json.loads(last[0])
        return line
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return {"net": job["net"], "failed": said[0][:300]}


def examine(job: dict[str, Any]) -> dict[str, Any]:
    """Return the line of one net: both precisions to every target, and quantize_static beside."""
    line: dict[str, Any] = {"net": job["net"], "input": [1, 3, *job["size"]], "exits": {}}
    line["pictures"] = [job["calib_count"], job["verify_count"]]
    with tempfile.TemporaryDirectory() as folder:
        takes: tuple[str, ...] = TARGETS
        for precision in ("fp32", "int8"):
            start = time.monotonic()
            figures = _export(job, precision, takes, Path(folder))
            line[precision] = figures
            line["exits"][precision] = {t: f["exit"] for t, f in figures.items()}
            line[f"{precision}_seconds"] = round(time.monotonic() - start, 1)
            takes = tuple(t for t in TARGETS if figures[t]["exit"] in (0, 3))
        folders = sorted(Path(folder).glob("int8*/*.evidence"))
        if folders:
            line["share"] = integer_share(folders[0])
            line["float"] = float_operators(folders[0])
            line["quantize_static"] = _static(job, folders[0])
    return line


def _export(
    job: dict[str, Any], precision: str, targets: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """Return what each target made: all at once, or alone where one of them stops the others."""
    if not targets:
        return {t: {"exit": 1, "said": "no target takes it in float"} for t in TARGETS}
    found = _export_together(job, precision, targets, folder)
    if len(targets) > 1 and all(f["exit"] == 1 for f in found.values()):
        found = {t: _export_together(job, precision, (t,), folder)[t] for t in targets}
    refused = {t: {"exit": 1, "said": "refused in float"} for t in TARGETS if t not in targets}
    return {**found, **refused}


def _export_together(
    job: dict[str, Any], precision: str, targets: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    shown = find_pictures(Path(job["pictures"]))
    output = folder / "_".join([precision, *targets])
    parts = {"calib": shown[: job["calib_count"]], "verify": shown[job["calib_count"] :]}
    for part, files in parts.items():
        (folder / part).mkdir(exist_ok=True)
        for file in files[: job[f"{part}_count"]]:
            link = folder / part / file.name
            if not link.is_symlink():
                link.symlink_to(file.resolve())
    calibration: dict[str, Any] = {}
    if precision == "int8":
        calibration["calib"] = str(folder / "calib")
    try:
        report = export_model(
            f"{job['file']}:{job['net']}",
            targets=targets,
            precision=cast(Precision, precision),
            input_shapes=((1, 3, *job["size"]),),
            mean=MEAN,
            std=STD,
            verify=str(folder / "verify"),
            verify_count=job["verify_count"],
            output=output,
            force=True,
            threads=1,
            **calibration,
        )
    except EdgeconvError as error:
        return {t: {"exit": 1, "said": str(error).splitlines()[0][:300]} for t in targets}
    except Exception as error:  # a traceback is what the table is there to show
        text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return {t: {"exit": 1, "said": text, "traceback": True} for t in targets}
    return {
        made.target: {
            "exit": 0 if made.verdict else 3,
            "said": None if made.verdict else str(made.verdict.verdict),
            "sqnr": {n: _finite(f["sqnr_db"]) for n, f in made.verdict.figures.items() if f},
            "ops": made.stats["ops"],
            "transposes": made.stats["transposes"],
        }
        for made in report.artifacts
    }


def _finite(value: float) -> float:
    return round(min(value, 200.0), 1)


def _static(job: dict[str, Any], evidence: Path) -> dict[str, Any]:
    """Return what onnxruntime's quantizer makes of the same hub graph, samples and pictures."""
    files = map(load_artifact, evidence.parent.glob("*_int8.*"))
    artifact = next(file for file in files if file is not None)
    arrays = artifact.verification()
    feeds = {k[6:]: value for k, value in arrays.items() if k.startswith("input:")}
    wanted = {k[7:]: value for k, value in arrays.items() if k.startswith("output:")}
    shapes = {name: (1, *value.shape[1:]) for name, value in feeds.items()}
    spec = InputSpec(shapes, artifact.preprocessing)
    hub, target = evidence / "hub.onnx", evidence / "static.onnx"
    try:
        samples = load_samples(str(evidence.parents[1] / "calib"), spec)
        made = peers.quantize_static(peers.STATIC[0], hub, samples, target)
        return {"sqnr": sqnr_by_output(made.path, feeds, wanted)}
    except Exception as error:  # another project's tool: its failure is a figure of the table
        return {"said": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


if __name__ == "__main__":
    main()
