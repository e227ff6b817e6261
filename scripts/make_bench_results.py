"""Make docs/bench_results.md: ``python scripts/make_bench_results.py`` (about ten minutes, idle machine).

Other clocks beside ours, the four nets in every runtime at 224 and at 64, ten repeats of one bench,
the coverage of its intervals, and two files whose slowness it has to explain. Needs the [all] extra.
``--seconds`` is of each row: a twentieth of the default shows that everything runs. ``--keep DIR``
keeps the exported files, and takes them from there again.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_checks as checks
import click

from edgeconv import export_model, system
from edgeconv.bench.plan import Plan
from edgeconv.bench.results import Row
from edgeconv.bench.run import Request, bench
from edgeconv.bench.subjects import Choice
from edgeconv.bench.text import accuracy, ms, ranked
from edgeconv.files import write_text
from edgeconv.machine import describe

HERE = Path(__file__).resolve().parent
NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
FORMS = (("fp32", ".onnx"), ("int8", ".onnx"), ("fp32", ".tflite"), ("int8", ".tflite"))
ISLANDS = 3


@dataclass(frozen=True)
class Job:
    """Where exported files are kept, the seconds of each row, and the recipe of the files at 64."""

    folder: Path
    seconds: float
    recipe: str


def files(net: str, resolution: int, job: Job) -> list[Path]:
    """Export a net in FORMS into the job's folder where it is not there; return them in that order.

    At 224 weights are random and the ten-class pictures only calibrate: latency needs no more.
    """
    fields: dict[str, Any] = {}
    if resolution == 224:
        fields = {
            "weights": "random",
            "classes": 1000,
            "resolution": 224,
            "mean": (0.5,),
            "std": (0.5,),
        }
        fields |= {"calib": str(HERE.parent / "calib_data" / "calibration"), "recipe": "fast"}
        fields |= {"calib_count": 16, "verify_count": 4, "allow_poor_calibration": True}
    there = job.folder / f"{net}_{resolution}"
    for precision in ("fp32", "int8"):
        if list(there.glob(f"*_{precision}.tflite")):
            continue
        more = {"recipe": job.recipe, **fields}
        if precision == "fp32":
            del more["recipe"]
        export_model(
            net,
            targets=("onnx", "tflite"),
            precision=precision,
            output=there,
            force=True,
            threads=1,
            **more,
        )
    return [next(there.glob(f"*_{precision}{suffix}")) for precision, suffix in FORMS]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def nets(resolution: int, job: Job) -> str:
    """One bench a net: PyTorch, FP32 and INT8 in both runtimes, 1 and 2 threads, taking turns."""
    parts = []
    for net in NETS:
        paths = files(net, resolution, job)
        choice = Choice(threads=(1, 2))
        report = bench(
            Request(tuple(map(str, paths)), choice=choice, plan=Plan(seconds=job.seconds))
        )
        parts.append(f"\n**{net}, {resolution} x {resolution}**\n\n")
        titles = ("what", "threads", "median ms", "p90", "mean ± 95 %", "ratio to PyTorch", "accuracy",
                  "MB", "peak MiB", "arena MiB", "marks")  # fmt: skip
        parts.append(table(titles, [net_row(row) for row in ranked(report)]))
        for item in report.diagnosis:
            causes = "; ".join(f"{c['code']}: {c['sentence']}" for c in item["causes"])
            parts.append(f"\n{item['verdict']}" + (f" ({causes})" if causes else "") + ".\n")
    return "".join(parts)


def net_row(row: Row) -> list[str]:
    """Return the cells of one row."""
    name = f"{row.about.get('precision', '')} {row.runtime}"
    if row.summary is None:
        return [name, str(row.threads), f"failed: {row.error}", *[""] * 8]
    s, ratio = row.summary, "1"
    if row.ratio is not None:
        ratio = f"{row.ratio.value:.3f}"
        if row.ratio.interval is not None:
            ratio += f" [{row.ratio.interval.low:.3f}, {row.ratio.interval.high:.3f}]"
    width = "" if s.interval is None else f" ± {100 * s.interval.half_width / s.mean:.1f} %"
    size = row.about.get("bytes")
    return [
        name, str(row.threads), ms(s.median), ms(s.p90), ms(s.mean) + width, ratio, accuracy(row),
        "-" if size is None else f"{size / 1e6:.2f}",
        "-" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        "-" if row.arena_mib is None else f"{row.arena_mib:.1f}",
        ", ".join(mark.code for mark in row.marks) or "-",
    ]  # fmt: skip


def clocks(job: Job) -> str:
    """Our median beside a bare loop's and litert-benchmark's."""
    paths = files("mobilenet_v2", 64, job)
    rows = checks.other_clocks(paths[1:], 2 * job.seconds, 4)
    titles = (
        "file",
        "ours ms",
        "bare loop ms",
        "ours / loop [of 4]",
        "litert-benchmark ms",
        "ours / it [of 4]",
    )
    return (
        "Medians, one thread, the three taking turns. `benchmark_model`, the C++ tool, is in no package of"
        " apt or PyPI (litert-cli fetches it from the web, out of reach here); the"
        " `litert-benchmark` of the ai-edge-litert wheel stands in: Google's clock around the C++"
        " CompiledModel, which copies inputs and outputs in each run.\n\n"
    ) + table(titles, rows)


def repeats(job: Job) -> str:
    """Ten times the same bench."""
    paths = files("mobilenet_v2", 64, job)
    rows, said = checks.repeated([paths[1], paths[3]], job.seconds, 10)
    titles = ("repeat", "file", "median ms", "95 %", "mean ms", "95 %", "marks")
    return "\n".join(f"- {sentence}" for sentence in said) + "\n\n" + table(titles, rows)


def simulated(job: Job) -> str:
    """Synthetic latencies whose mean is known."""
    times = max(50, round(1000 * job.seconds))
    rows = checks.coverage(times)
    titles = ("latencies", "autocorrelation", "ours holds the mean", "textbook's does")
    return f"2000 runs of known mean, {times} times.\n\n" + table(titles, rows)


def diagnosis(job: Job) -> str:
    """Two slow INT8 files, each with what the bench says of it."""
    paths = files("mobilenet_v2", 224, job)
    dynamic = job.folder / "mobilenet_v2_dynamic.onnx"
    if not dynamic.is_file():
        checks.dynamic_range(paths[0], dynamic)
    there = job.folder / "mobilenet_v2_islands"
    if not there.is_dir():
        layers = tuple(middle_layers(paths[1]))
        export_model("mobilenet_v2", targets=("onnx",), precision="int8", output=there,
                     keep_float=layers, recipe="fast", threads=1)  # fmt: skip
    islands = next(there.glob("*.onnx"))
    parts = []
    for title, model, against in (
        ("dynamic range INT8 (onnxruntime's quantize_dynamic), 224", dynamic, paths[0]),
        (
            f"QDQ with {ISLANDS} layers kept in float, 64",
            islands,
            files("mobilenet_v2", 64, job)[0],
        ),
    ):
        said = checks.diagnosed(model, against, job.seconds)
        parts.append(f"**{title}**\n\n" + "\n".join(f"- {line}" for line in said) + "\n\n")
    return "".join(parts)


def middle_layers(model: Path) -> list[str]:
    """Return ISLANDS convolutions of a quantized file, apart from each other, by the names in its recipe."""
    import json

    recipe = json.loads(
        (model.parent / f"{model.stem}.evidence" / "recipe.json").read_text(encoding="utf-8")
    )
    names = list(recipe["weights"])
    return [names[len(names) * part // (ISLANDS + 1)] for part in range(1, ISLANDS + 1)]


Section = Callable[[Job], str]
SECTIONS: dict[str, tuple[str, Section]] = {
    "clocks": ("Beside other clocks", clocks),
    "224": ("The four nets at 224, random weights", lambda job: nets(224, job)),
    "64": ("The four nets at 64, bundled weights", lambda job: nets(64, job)),
    "repeats": ("Ten repeats of the same bench", repeats),
    "coverage": ("Do the intervals hold?", simulated),
    "diagnosis": ("Did INT8 pay, and why not?", diagnosis),
}


def head() -> str:
    """Say what made the page, and where."""
    machine, load = describe(), system.load_average()
    return (
        "# What the bench measures here\n\n"
        "Made by `python scripts/make_bench_results.py`; what the marks mean is in"
        " [bench.md](bench.md).\n\n"
        f"{machine.processor}, {machine.cpus_usable:g} processors usable, {machine.system}, Python"
        f" {machine.python}; load before: {'unknown' if load is None else f'{load:.2f}'}. Features: {', '.join(machine.features)}.\n"
    )


@click.command()
@click.option("--seconds", default=1.0, show_default=True, help="Of recorded runs, each row.")
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="These sections.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep exported files there.")
@click.option("--recipe", default="std", show_default=True, help="Of the files at 64.")
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "bench_results.md")
def main(
    seconds: float, only: tuple[str, ...], keep: Path | None, recipe: str, output: Path
) -> None:
    """Measure and write the page; what a section took goes to standard error."""
    parts = [head()]
    with tempfile.TemporaryDirectory(prefix="edgeconv-bench-") as scratch:
        job = Job(keep or Path(scratch), seconds, recipe)
        job.folder.mkdir(parents=True, exist_ok=True)
        for name, (title, make) in SECTIONS.items():
            if only and name not in only:
                continue
            start = time.monotonic()
            parts.append(f"\n## {title}\n\n{make(job)}")
            click.echo(f"{name}: {time.monotonic() - start:.0f} s", err=True)
    write_text(output, "".join(parts))


if __name__ == "__main__":
    main()
