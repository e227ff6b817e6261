"""``edgeconv bench``: parse, measure, print, write."""

from typing import TYPE_CHECKING, Any

import click

from edgeconv.commands.complete import complete_hosts, complete_nets
from edgeconv.commands.grouped import grouped
from edgeconv.commands.output_types import OutputPath
from edgeconv.commands.page_option import page_option
from edgeconv.errors import BudgetMissedError, EdgeconvError, UsageError
from edgeconv.runtimes.choose import listed
from edgeconv.terminal import one_line, print_json, rewrite

if TYPE_CHECKING:
    from edgeconv.bench.options import BenchOptions

GROUPS = {
    "What to measure": (
        "against", "reference", "runtime", "xnnpack", "threads", "affinity", "shapes", "devices",
    ),
    "How long": ("runs", "seconds", "warmup", "sustained", "mlperf"),
    "A named net": ("width", "groups", "ratio", "resolution"),
    "What comes out": (
        "profile", "strict", "history", "as_json", "csv_file", "html_file", "quiet",
    ),
}  # fmt: skip


@grouped(
    GROUPS,
    "edgeconv bench out/model_int8.tflite --seconds 1",
    "edgeconv bench out/model_int8.tflite --against out/model_int8.onnx --runs 20 --html bench.html",
)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL_OR_NET...", shell_complete=complete_nets
)
@click.option("--against", metavar="MODEL", help="Measure this one too and give ratios to it.")
@click.option("--threads", default="1", metavar="N[,N..]", help="Threads; several make a row each.")
@click.option("--runs", type=int, help="Recorded runs of each row.")
@click.option("--seconds", type=float, help="Seconds of recorded runs of each row.  [default: 5]")
@click.option("--warmup", type=int, help="Runs before.  [default: half a second, at least 3]")
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]N,C,H,W", help="Settle a dynamic input.")  # fmt: skip
@click.option("--runtime", help=f"{listed(timed=True)}.")
@click.option("--xnnpack/--no-xnnpack", default=True, help="TFLite: builtin kernels without it.")
@click.option("--width", type=float, help="Width of a named net.")
@click.option("--groups", type=int, help="Groups of shufflenet_v1.")
@click.option("--ratio", type=int, help="Ratio of ghostnet.")
@click.option("--resolution", type=int, help="Picture size of a named net.")
@click.option("--reference/--no-reference", default=True, help="Add the float reference as a row.")
@click.option("--affinity", metavar="CPUS", help="Run on these processors only, such as 0-3.")
@click.option("--profile", is_flag=True, help="A table of operators for each row.")
@click.option("--sustained", metavar="TIME", help="Also run this long without a pause: 10m.")
@click.option("--mlperf", is_flag=True, help="MLPerf's single-stream minimum: 1024 runs and 60 s.")
@click.option("--strict", is_flag=True, help="Exit 3 where a row is marked as not to be trusted.")
@click.option("--history", type=OutputPath(folder=True), metavar="DIR", help="Keep results there; exit 3 on a regression.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "csv_file", type=OutputPath(), help="Write a line a row.")
@page_option("html_file")
@click.option("--device", "devices", multiple=True, metavar="ssh://USER@HOST|adb://SERIAL", shell_complete=complete_hosts, help="Run there; several run side by side.")  # fmt: skip
@click.option("--emulate", hidden=True, expose_value=False, callback=lambda *given: _no_emulation(given[-1]))  # fmt: skip
@click.option("--progress", is_flag=True, hidden=True, help="Progress as plain lines.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(models: tuple[str, ...], **options: Any) -> None:
    """Measure latency: of exported files, ours and anyone's, and of nets themselves in PyTorch.

    Rows take turns, so that what slows the machine slows them all. Every row that cannot be
    trusted is marked with the reason.
    """
    from edgeconv.bench.api import bench_models
    from edgeconv.bench.options import settle

    typed = _typed(options)
    if options["devices"]:
        from edgeconv.commands.bench_devices import on_devices

        settle(models, typed)  # what cannot be right is refused before anything is copied
        on_devices(models, options)
        return
    follow = None if options["quiet"] else _progress(options["progress"])
    report = bench_models(models, progress=follow, **typed)
    if options["history"] is not None:
        from edgeconv.bench.history import keep

        report = keep(report, options["history"])
    _write(report, options)
    _exit(report, options["strict"])


def _no_emulation(board: str | None) -> None:
    if board is not None:
        raise UsageError(
            f"--emulate {board}: an emulated board says nothing about time, so bench has no such option; "
            "parity --emulate compares its outputs, run --emulate shows them, and bench --device ssh://USER@HOST "
            "measures a real board"
        )


def _typed(options: dict[str, Any]) -> "BenchOptions":
    """Return what the library takes: numbers instead of texts, nothing about output."""
    from edgeconv.bench import plan as plans

    cpus, sustained = options["affinity"], options["sustained"]
    return {
        "against": options["against"],
        "threads": plans.parse_threads(options["threads"]),
        "runs": options["runs"],
        "seconds": options["seconds"],
        "warmup": options["warmup"],
        "shapes": plans.parse_shapes(options["shapes"]),
        "runtime": options["runtime"],
        "xnnpack": options["xnnpack"],
        "width": options["width"],
        "groups": options["groups"],
        "ratio": options["ratio"],
        "resolution": options["resolution"],
        "reference": options["reference"],
        "affinity": plans.parse_cpus(cpus) if cpus else (),
        "profile": options["profile"],
        "sustained_s": plans.parse_duration(sustained) if sustained else None,
        "mlperf": options["mlperf"],
    }


def _progress(as_lines: bool) -> Any:
    """One line on standard error that rewrites itself, on a terminal only; or plain lines."""
    import sys
    import time

    last = 0.0

    def tell(text: str, share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            sys.stderr.write(f"{100 * share:3.0f} %  {one_line(text)}\n")
            sys.stderr.flush()

    if as_lines:
        return tell
    if not sys.stderr.isatty():
        return None

    def say(text: str, share: float) -> None:
        rewrite(f"{100 * share:3.0f} %  {text}" if share < 1 else "")

    return say


def _write(report: Any, options: dict[str, Any]) -> None:
    import sys

    from edgeconv.bench.text import print_report, to_csv
    from edgeconv.files import write_text
    from edgeconv.tables import open_console

    if sys.stderr.isatty() and not options["quiet"]:
        rewrite()
    if options["csv_file"] is not None:
        write_text(options["csv_file"], to_csv(report))
    if options["html_file"] is not None:
        from edgeconv.bench.html import page

        write_text(options["html_file"], page(report))
    if options["as_json"]:
        print_json(report.to_json())
        return
    if len(report.rows) == 1 and report.rows[0].error is not None and not report.partial:
        return  # its sentence is the error that ends the command
    print_report(report, open_console())


def _exit(report: Any, strict: bool) -> None:
    if report.partial:
        raise SystemExit(130)
    regressed = [item["sentence"] for item in report.regressions if item["regressed"]]
    if regressed:
        raise BudgetMissedError(regressed[0])
    if all(row.error is not None for row in report.rows):
        raise EdgeconvError(report.rows[0].error) if len(report.rows) == 1 else SystemExit(1)
    if strict and not report.trusted:
        raise BudgetMissedError("--strict: not every row can be trusted, see its marks")
    if any(row.error is not None for row in report.rows):
        raise SystemExit(1)
