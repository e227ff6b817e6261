"""Export nets that other people wrote, and write what came of each as a line of JSON and a table.

    python scripts/make_zoo.py run --nets FILE.py --pictures DIR --lines docs/zoo.jsonl [NAME ...]
    python scripts/make_zoo.py table --lines docs/zoo.jsonl > docs/zoo.md

FILE.py has a dictionary ZOO: name -> (factory, (height, width)); zoo_nets.py names trained files of
packages. Both are to be installed beside the project. ``run`` skips nets that have a line
(``--again`` takes them anew), gives each net a process of its own and appends its line at once.
quantize_static is onnxruntime's: QDQ, U8S8, per channel, min/max, on the same hub graph and pictures.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
import peers
import torch
import zoo_nets
from json_lines import Line, read_lines
from zoo_figures import departures, float_operators, integer_share
from zoo_table import table

from edgeconv import export_model
from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.onnx_io import from_onnx, load_model
from edgeconv.export.kinds import Precision
from edgeconv.export.report import ArtifactReport
from edgeconv.samples import InputSpec, Sample, load_function, load_samples

TARGETS = ("onnx", "tflite", "coreml")
MOST = 100_000
"""More samples than there are: the folders hold what is meant."""


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
    """Export the nets of a file and of packages, and append a line for each."""
    known = zoo_nets.nets(nets)
    done = set() if again else {line["net"] for line in last_lines(lines)}
    for name in names or known:
        if name in done:
            continue
        job = {
            "net": name,
            "file": str(nets),
            "pictures": str(pictures),
            "counts": [calib_count, verify_count],
        }
        line = _in_process(job, timeout) | {"commit": _commit()}
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        click.echo(f"{name}: {json.dumps(line.get('exits', line))}")


@main.command("table")
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def make_table(lines: Path) -> None:
    """Print the lines as Markdown."""
    click.echo(table(last_lines(lines)), nl=False)


@main.command("one", hidden=True)
@click.argument("job")
def one(job: str) -> None:
    """Export one net and print its line."""
    described = json.loads(job)
    click.echo(json.dumps(unbuilt(described) or examine(described)))


def last_lines(path: Path) -> list[Line]:
    """Return the lines of a file, the last of each net."""
    return list({line["net"]: line for line in read_lines(path)}.values())


def _commit() -> str:
    """Return the short name of the checkout's commit; nothing outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, capture_output=True, check=False, encoding="utf-8"
    ).stdout.strip()


def _in_process(job: dict[str, Any], timeout: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "one", json.dumps(job)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout, check=False, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return {"net": job["net"], "failed": f"more than {timeout} s"}
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode == 0 and last:
        line: dict[str, Any] = json.loads(last[0])
        return line
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return {"net": job["net"], "failed": said[0][:300]}


def unbuilt(job: dict[str, Any]) -> dict[str, Any] | None:
    """Return the line of a net that its own code or torch does not run here; None where it runs."""
    net = zoo_nets.nets(Path(job["file"]))[job["net"]]
    if net.package is not None:
        return None
    size = zoo_nets.built(Path(job["file"]))[job["net"]]
    try:
        built = load_function(Path(job["file"]), job["net"])()
        with torch.no_grad():
            built(torch.zeros(1, 3, *size))
    except Exception as error:  # the net's own code, which may raise anything
        return {
            "net": job["net"],
            "failed": f"{type(error).__name__}: {error}".splitlines()[0][:200],
        }
    return None


def examine(job: dict[str, Any]) -> dict[str, Any]:
    """Return the line of one net: both precisions to every target, and quantize_static beside."""
    net = zoo_nets.nets(Path(job["file"]))[job["net"]]
    line: dict[str, Any] = {"net": job["net"], "exits": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shown = zoo_nets.lay_out(net, Path(job["pictures"]), job["counts"], folder)
        takes: tuple[str, ...] = TARGETS
        for precision in ("fp32", "int8"):
            start = time.monotonic()
            figures = _export(net, precision, takes, shown, folder)
            line[precision] = figures
            line["exits"][precision] = {t: f["exit"] for t, f in figures.items()}
            line[f"{precision}_seconds"] = round(time.monotonic() - start, 1)
            takes = tuple(t for t in TARGETS if figures[t]["exit"] in (0, 3))
        line["mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        folders = sorted(folder.glob("int8*/*.evidence"))
        if folders:
            line |= _beside(folders[0], shown)
    return line


def _beside(evidence: Path, shown: tuple[str, str]) -> dict[str, Any]:
    """Return the input, the counts, the shares and quantize_static's figures of an INT8 export."""
    files = map(load_artifact, evidence.parent.glob("*_int8.*"))
    artifact = next(file for file in files if file is not None)
    hub = from_onnx(load_model(evidence / "hub.onnx"))
    shapes = {name: hub.shape(name) for name in hub.inputs}
    kinds = {name: hub.dtype(name).name for name in hub.inputs}
    calib, verify = (
        load_samples(p, InputSpec(shapes, artifact.preprocessing, kinds)) for p in shown
    )
    return {
        "input": "; ".join("x".join(map(str, s)) or "scalar" for s in shapes.values()),
        "pictures": [len(calib), len(verify)],
        "share": integer_share(evidence),
        "float": float_operators(evidence),
        "quantize_static": _static(evidence, calib, verify),
    }


def _export(
    net: zoo_nets.Net,
    precision: str,
    targets: tuple[str, ...],
    shown: tuple[str, str],
    folder: Path,
) -> dict[str, Any]:
    """Return what each target made: all at once, or alone where one of them stops the others."""
    if not targets:
        return {t: {"exit": 1, "said": "no target takes it in float"} for t in TARGETS}
    found = _export_together(net, precision, targets, shown, folder)
    if len(targets) > 1 and all(f["exit"] == 1 for f in found.values()):
        found = {t: _export_together(net, precision, (t,), shown, folder)[t] for t in targets}
    refused = {t: {"exit": 1, "said": "refused in float"} for t in TARGETS if t not in targets}
    return {**found, **refused}


def _export_together(
    net: zoo_nets.Net,
    precision: str,
    targets: tuple[str, ...],
    shown: tuple[str, str],
    folder: Path,
) -> dict[str, Any]:
    settings: dict[str, Any] = (
        {"calib": shown[0], "calib_count": MOST} if precision == "int8" else {}
    )
    if not net.values:
        settings |= {"mean": net.scale[0], "std": net.scale[1]}
    try:
        report = export_model(
            zoo_nets.located(net),
            targets=targets,
            precision=cast(Precision, precision),
            input_shapes=net.shapes,
            freeze_inputs=net.frozen,
            verify=shown[1],
            verify_count=MOST,
            output=folder / "_".join([precision, *targets]),
            force=True,
            threads=1,
            **settings,
        )
    except EdgeconvError as error:
        return {t: {"exit": 1, "said": str(error).splitlines()[0][:300]} for t in targets}
    except Exception as error:  # a traceback is what the table is there to show
        text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return {t: {"exit": 1, "said": text, "traceback": True} for t in targets}
    refused = {t: {"exit": 1, "said": why[:300]} for t, why in report.refused.items()}
    return {made.target: _figures(made) for made in report.artifacts} | refused


def _figures(made: ArtifactReport) -> dict[str, Any]:
    """Return what the line says of a file that was written."""
    outputs = {name: figures for name, figures in made.verdict.figures.items() if figures}
    return {
        "exit": 0 if made.verdict else 3,
        "said": None if made.verdict else str(made.verdict.verdict),
        "sqnr": {n: _finite(f["sqnr_db"]) for n, f in outputs.items() if "sqnr_db" in f},
        "agreement": {
            n: round(f["agreement_top1"], 3) for n, f in outputs.items() if "agreement_top1" in f
        },
        "ops": made.stats["ops"],
        "transposes": made.stats["transposes"],
    }


def _finite(value: float) -> float:
    return round(min(value, 200.0), 1)


def _static(evidence: Path, calib: Sequence[Sample], verify: Sequence[Sample]) -> dict[str, Any]:
    """Return what onnxruntime's quantizer makes of the same hub graph, samples and pictures."""
    hub, target = evidence / "hub.onnx", evidence / "static.onnx"
    try:
        made = peers.quantize_static(peers.STATIC[0], hub, calib, target)
        return departures(hub, made.path, verify)
    except Exception as error:  # another project's tool: its failure is a figure of the table
        return {"said": f"{type(error).__name__}: {error}".splitlines()[0][:200]}


if __name__ == "__main__":
    main()
