"""``edgeconv sweep``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeconv.commands.page_option import page_option
from edgeconv.commands.reading import reading
from edgeconv.errors import BudgetMissedError, EdgeconvError, UsageError
from edgeconv.preprocessing import NAMED, ORDERS, read_crop
from edgeconv.terminal import counted, echo, finite, notice, print_json, rewrite

if TYPE_CHECKING:
    from edgeconv.sweep.job import Job
    from edgeconv.sweep.results import SweepReport

AXIS = "[,..]"


@click.command(
    epilog="Example: edgeconv sweep mobilenet_v2 ghostnet --resolution 48,64 --target tflite --budget-ms 10"
)
@click.argument("nets", nargs=-1, metavar="NET_OR_FILE...|JOB.toml")
@click.option("--width", multiple=True, metavar=f"W{AXIS}", help="Channel multipliers.")
@click.option("--groups", multiple=True, metavar=f"G{AXIS}", help="ShuffleNetV1's groups.")
@click.option("--ratio", multiple=True, metavar=f"S{AXIS}", help="GhostNet's ratios.")
@click.option(
    "--resolution", multiple=True, metavar=f"N{AXIS}", help="Heights and widths of inputs."
)
@click.option("--precision", multiple=True, metavar=f"P{AXIS}", help="fp32, fp16, int8.  [default: fp32,int8]")  # fmt: skip
@click.option("--recipe", multiple=True, metavar=f"R{AXIS}", help="fast, std, best, a .json.  [default: std]")  # fmt: skip
@click.option(
    "--target", multiple=True, metavar=f"T{AXIS}", help="Formats.  [default: onnx,tflite]"
)
@click.option(
    "--cpu", multiple=True, metavar=f"C{AXIS}", help="Processors INT8 ONNX is written for."
)
@click.option("--io", multiple=True, metavar=f"I{AXIS}", help="INT8's borders: float, int8, uint8.")
@click.option("--threads", multiple=True, metavar=f"N{AXIS}", help="Threads to time with.  [default: 1]")  # fmt: skip
@click.option("--device", multiple=True, metavar="ssh://USER@HOST|adb://SERIAL", help="Time there; repeat for several.")  # fmt: skip
@click.option("--weights", metavar="WORD|FILE|PATTERN", help="May hold {net} {width} {groups} {ratio} {resolution}.")  # fmt: skip
@click.option("--classes", type=int, help="Classes, for random weights.")
@click.option("--input-shape", metavar="N,C,H,W", help="Input of a module or an .onnx file.")
@click.option("--calib", metavar="DIR|FILE.npz", help="Samples that calibrate INT8.")
@click.option("--calib-count", type=int, help="At most so many.  [default: 128]")
@click.option("--data", metavar="DIR|FILE.npz", help="Samples on which every form is evaluated.")
@click.option("--truth", metavar="FILE.csv|folders", help="What they show; class folders say it themselves.")  # fmt: skip
@click.option("--labels", metavar="NAMES.txt", help="Class names, a line each.")
@click.option(
    "--preprocessing", type=click.Choice(list(NAMED)), help="Instead of --mean and --std."
)
@click.option("--mean", metavar="M[,M,M]", help="On the 0..1 scale.")
@click.option("--std", metavar="S[,S,S]", help="On the 0..1 scale.")
@click.option("--crop", callback=reading(read_crop), metavar="FRACTION|letterbox", help="Centre crop of the resized picture, or all of it between bars.")  # fmt: skip
@click.option("--channel-order", type=click.Choice(ORDERS), help="Of the tensor.")
@click.option("--count", type=int, help="Evaluate on at most so many samples.")
@click.option("--shard", type=int, help="Samples a task of an evaluation.  [default: 1000]")
@click.option("--seconds", type=float, help="Seconds to time each cell.  [default: 2]")
@click.option("--bench/--no-bench", default=None, help="Time every file.  [default: bench]")
@click.option("--adaptive", is_flag=True, default=None, help="Drop early what is surely dominated.")
@click.option("--budget-ms", type=float, help="Latency at most.")
@click.option("--budget-mb", type=float, help="Size at most.")
@click.option("--budget-arena", metavar="BYTES", help="Arena at most: 524288, 512K, 2M.")
@click.option("--min-top1", type=float, metavar="PERCENT", help="Accuracy at least.")
@click.option("--workers", type=int, help="Processes here, by dask.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="A dask cluster that runs already.")
@click.option("--output", metavar="DIR", help="Where results are kept.  [default: sweep]")
@page_option("html")
@click.option("--csv", type=click.Path(path_type=Path), help="Write a line a cell.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--force", is_flag=True, default=None, help="Forget what an earlier sweep kept there."
)
@click.option("--dry-run", is_flag=True, help="List the cells.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    nets: tuple[str, ...], as_json: bool, dry_run: bool, quiet: bool, **options: Any
) -> None:
    """Make, verify, evaluate and time every form asked for, and say which are worth shipping.

    Every result is kept as it is done: the same command again goes on where it stopped. The last
    table and results.json stand in the output folder.
    """
    from edgeconv.sweep.job import job_from
    from edgeconv.sweep.said import naming

    file, there, here = _given(nets, options)
    with naming(file, there.keys() - here.keys(), here):
        job = job_from(there | here)
        if dry_run:
            _plan(job, as_json)
        else:
            _run(job, as_json, quiet)


def _run(job: "Job", as_json: bool, quiet: bool) -> None:
    from edgeconv.deps import installed
    from edgeconv.sweep.inputs import Inputs
    from edgeconv.sweep.open import open_engine
    from edgeconv.sweep.run import check_output, sweep
    from edgeconv.sweep.store import Store

    check_output(job.output)
    if job.html is not None:  # a job file's, which no option has checked
        installed(("jinja2", "pages"))
    store = Store(job.output.absolute() / "cells")
    with store.held():
        if job.force:
            store.clear()
        store.sweep_parts()
        inputs = Inputs()
        engine = open_engine(store, inputs, job.workers, job.scheduler, job.device, notice)
        report = sweep(job, inputs, engine, _say(quiet))
        _write(report, as_json)
    _exit(report)


def _given(
    nets: tuple[str, ...], options: dict[str, Any]
) -> tuple[Path | None, dict[str, Any], dict[str, Any]]:
    """Return the job file, what stands in it, and what the command line says, which wins."""
    from edgeconv.sweep.job import read_job

    named = [net for net in nets if not net.endswith(".toml")]
    files = [Path(net) for net in nets if net.endswith(".toml")]
    if len(files) > 1:
        raise UsageError(f"one job file at a time, not {len(files)}")
    here = {name: value for name, value in options.items() if value not in (None, ())}
    if named:
        here["nets"] = named
    file = files[0] if files else None
    return file, {} if file is None else read_job(file), here


def _plan(job: "Job", as_json: bool) -> None:
    from edgeconv.sweep.forms import expand
    from edgeconv.sweep.inputs import Inputs
    from edgeconv.sweep.run import check_output, evaluated_on, refuse_nothing

    check_output(job.output)
    forms, impossible = expand(job)
    if forms:
        evaluated_on(job, Inputs(), forms)
    if as_json:
        data = {
            "forms": [form.label for form in forms],
            "impossible": [{"form": i.form.label, "reason": i.reason} for i in impossible],
            "cells": len(forms) * len(job.threads) * max(1, len(job.device)),
        }
        print_json(data)
        refuse_nothing(job, forms, impossible, listed=True)
        return
    for form in forms:
        echo(f"make       {form.label}")
    for item in impossible:
        echo(f"impossible {item.form.label}: {item.reason}")
    cells = len(forms) * len(job.threads) * max(1, len(job.device))
    made = f"{counted(len(forms), 'form')}, {counted(cells, 'cell')}"
    echo(f"{made}, {len(impossible)} impossible")
    refuse_nothing(job, forms, impossible, listed=True)


def _say(quiet: bool) -> Any:
    import sys

    live = sys.stderr.isatty()

    def say(text: str) -> None:
        if quiet:
            return
        if live:
            rewrite(text)
        else:
            echo(text, err=True)

    return say


def _write(report: "SweepReport", as_json: bool) -> None:
    import sys

    from edgeconv.files import write_text
    from edgeconv.sweep.text import print_sweep
    from edgeconv.tables import open_console

    if sys.stderr.isatty():
        rewrite()
    data = finite(report.to_json())
    job = report.job
    if report.partial or not report.unusable():  # wrong usage replaces nothing
        write_text(job.output / "results.json", json.dumps(data, indent=1) + "\n")
        if job.csv is not None:
            write_text(job.csv, report.to_csv())
        if job.html is not None:
            from edgeconv.sweep.page import page

            write_text(job.html, page(report))
    if as_json:
        print_json(data)
        return
    print_sweep(report, open_console())


def _exit(report: "SweepReport") -> None:
    from edgeconv.sweep.results import NONE_KEEPS

    if report.partial:
        raise SystemExit(130)
    if report.failed():
        raise SystemExit(UsageError.exit_code if report.unusable() else EdgeconvError.exit_code)
    if report.budgets and report.answer is None:
        raise BudgetMissedError(NONE_KEEPS)  # what is nearest stands below the table
