"""Make docs/parity_results.md: ``python scripts/make_parity_results.py [--shared DIR] [--boards] > FILE``.

Exports every net in every precision to every format, compares each file in each runtime with PyTorch
and with the hop before it, opens INT8 files of two kernel sets up layer by layer, and runs the bundled
nets on emulated boards. Needs the [all] extra; EDGECONV_TFLITE_RUNTIME_PYTHON names a Python with
tflite-runtime, whose rows are left out without it.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
from json_lines import read_lines
from make_results import Case, cifar_cases, imagenet_cases
from make_runtime_matrix import LEGEND, rows_of
from parity_kernels import Kernels, compare_kernels

from edgeconv import export_model
from edgeconv.artifact import load_artifact
from edgeconv.device.emulate import BOARDS
from edgeconv.device.places import board_places
from edgeconv.doctor import examine
from edgeconv.export.kinds import Precision
from edgeconv.judge.measures import show
from edgeconv.parity.api import check_parity
from edgeconv.parity.matrix import Matrix, Row
from edgeconv.parity.report import environment
from edgeconv.spread import places

ROOT = Path(__file__).resolve().parents[1]
NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
EXPORTS = (
    ("fp32", ("onnx", "tflite", "coreml")),
    ("fp16", ("tflite", "coreml")),
    ("int8", ("onnx", "tflite", "coreml")),
)
KERNEL_PICTURES = 20
HEADER = (
    "file · runtime", "rel. error", "SQNR dB", "floor dB", "agreement %", "KL", "top-1 %",
    "max quanta from the hop before", "verdict",
)  # fmt: skip


def export(case: Case, folder: Path, verify: int) -> None:
    """Export one net in every precision and format."""
    for precision, targets in EXPORTS:
        export_model(
            case.net,
            targets=targets,
            precision=cast(Precision, precision),
            verify_count=verify,
            output=folder,
            threads=1,
            **case.options,
        )


def cells_of(folder: Path, pictures: int, packages: int) -> tuple[list[list[str]], Matrix]:
    """Return the table of one net, Core ML's rows on fewer pictures, and the matrix of the others."""
    files = sorted([*folder.glob("*.onnx"), *folder.glob("*.tflite")])
    result = check_parity(files, count=pictures, layers=True)
    coreml = check_parity(sorted(folder.glob("*.mlpackage")), count=packages, layers=True)
    rows = [line(row) for row in result.matrix.rows]
    rows += [line(row) for row in coreml.matrix.rows if row.label.endswith("mil-reference")]
    for matrix in (result.matrix, coreml.matrix):
        if matrix.first_departure is not None:
            print(f"DEPARTS: {matrix.first_departure.label}", file=sys.stderr)
    return rows, result.matrix


def line(row: Row) -> list[str]:
    """Return one row of a net's table."""
    name, _, runtime = row.label.partition(" · ")
    label = (
        f"{Path(name).stem.rpartition('_')[2]}{Path(name).suffix} · {runtime}" if runtime else name
    )
    if row.verdict is None or row.error is not None:
        return [label, *[""] * 7, f"failed: {row.error}"]
    figures = next(iter(row.verdict.figures.values()))
    step = next(iter(row.step.figures.values()), {}) if row.step else {}

    def cell(key: str, source: dict[str, float] = figures, factor: float = 1.0) -> str:
        return show(key, factor * source[key]) if key in source else ""

    percent = [
        f"{100 * figures[k]:.1f}" if k in figures else "" for k in ("agreement_top1", "top1")
    ]
    return [
        label,
        cell("relative_error"),
        cell("sqnr_db"),
        cell("floor_sqnr_db"),
        percent[0],
        cell("kl"),
        percent[1],
        cell("quanta_max", step),
        "ok" if row.ok else "MISSED",
    ]


def table(header: Any, rows: Any) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows)])


def bits(matrix: Matrix) -> tuple[list[str], list[int]]:
    """Return how the INT8 outputs of onnxruntime and XNNPACK compare in XNNPACK's quanta, and the pictures that differ.

    The cells are: equal values, equal pictures, most quanta.
    """
    ours = {r.label.partition(" · ")[2]: r for r in matrix.rows if r.stage == "int8"}
    a, b = ours["onnxruntime"].outputs, ours["ai-edge-litert"].outputs
    assert a is not None
    assert b is not None
    name = next(iter(a.arrays))
    step = {**a.scales, **b.scales}[name]  # an .onnx may give what it does not round
    steps = np.abs(np.rint((a.arrays[name] - b.arrays[name]) / step))
    whole = (steps == 0).all(axis=1)
    equal = f"{int((steps == 0).sum())} of {steps.size}"
    cells = [equal, f"{int(whole.sum())} of {len(steps)}", f"{int(steps.max())}"]
    return cells, [int(row) for row in np.flatnonzero(~whole)]


def boards(folders: dict[str, Path], pictures: int) -> list[list[str]]:
    """Return the rows of every bundled net on every emulated board."""
    rows = []
    for title, folder in folders.items():
        files = sorted([*folder.glob("*fp32.*"), *folder.glob("*int8.*")])
        files = [path for path in files if path.suffix in (".onnx", ".tflite")]
        result = check_parity(files, places=board_places(tuple(BOARDS)), count=pictures)
        native = {row.label: row for row in result.matrix.rows}
        for row in result.matrix.rows:
            if "(emulated)" not in row.label:
                continue
            found = line(row)
            before = native.get(str(row.before))
            same = "" if before is None or row.outputs is None else share_equal(row, before)
            rows.append([title, found[0], *found[1:3], found[4], found[7], same, found[8]])
    return rows


def share_equal(row: Row, before: Row) -> str:
    """Return the share of outputs that equal those of the hop before to the bit."""
    assert row.outputs is not None
    assert before.outputs is not None
    pairs = zip(row.outputs.arrays.values(), before.outputs.arrays.values(), strict=True)
    return f"{100 * float(np.mean([np.mean(a == b) for a, b in pairs])):.1f}"


def kernel_text(title: str, kernels: Kernels) -> list[list[str]]:
    """Return the rows of one net in the table of operators."""
    return [[title, *kernels.row(op)] for op in kernels.elements]


def told(folder: Path, rows: list[int], pictures: int) -> Kernels:
    """Compare the kernels of one net on pictures whose outputs differ, filled up with others."""
    (file,) = folder.glob("*int8.onnx")
    artifact = load_artifact(file)
    assert artifact is not None
    total = len(artifact.verification()["names"])
    chosen = places(total, pictures)
    first = [chosen[row] for row in rows]
    order = [*first, *(index for index in chosen if index not in first)]
    return compare_kernels(file, file.with_suffix(".tflite"), order[:KERNEL_PICTURES])


def summary(tables: dict[str, Any]) -> str:
    """Return how many rows are within budget, and which are not."""
    rows = [[title, *row] for title, rows in tables["nets"].items() for row in rows]
    rows += tables["boards"]
    missed = [f"{row[0]}: {row[1]} ({row[-1]})" for row in rows if row[-1] != "ok"]
    within = f"{len(rows) - len(missed)} of {len(rows)} rows are within budget (docs/parity.md)"
    return f"{within}; not: {'; '.join(missed)}." if missed else f"{within}."


def report(tables: dict[str, Any], asked: str, options: dict[str, int]) -> str:
    """Return the page."""
    found = examine()
    packages = environment()["packages"].items()
    versions = ", ".join(f"{name} {version}" for name, version in packages)
    head = (
        f"{found.machine.processor}, {found.machine.cpus} processors, Python {found.machine.python}"
    )
    parts = [
        "# Parity results",
        f"`python scripts/make_parity_results.py {asked} > docs/parity_results.md` makes this page: "
        f"{options['pictures']} pictures a net that calibration did not see (of large ones as many as an export keeps; "
        f"{options['packages']} for Core ML, {options['board_pictures']} on emulated boards), 1 thread. {head}. "
        f"{versions}.",
        "The reference is PyTorch. A file's *hop before* is the stage it was made from; INT8's is the recipe in float.",
        summary(tables),
        "## One recipe in every runtime",
        f"[What it says](runtimes.md), and how `scripts/make_runtime_matrix.py` makes it. {LEGEND}",
        rows_of(read_lines(ROOT / "docs" / "runtimes.jsonl")),
    ]
    for title, rows in tables["nets"].items():
        parts += [f"## {title}", table(HEADER, rows)]
    parts += [
        "## The same integers in two kernel sets",
        "INT8 outputs of onnxruntime and of ai-edge-litert with XNNPACK from the same recipe; what an .onnx gives unrounded is rounded to the .tflite's quantum:",
        table(
            ("net", "values in the same quantum", "pictures equal", "most quanta", "cause"),
            tables["bits"],
        ),
        f"The cause on up to {KERNEL_PICTURES} pictures, those that differ first: each layer of both files is fed the "
        "integers of onnxruntime's own run, so that a difference is that layer's doing. "
        "*From a tie* is the largest distance, in quanta, of a differing value from the middle between two integers "
        "before it is rounded: where it is that of float32 arithmetic, both kernels compute the same and round a tie "
        "to different sides.",
        table(
            ("net", "operator", "values", "differ", "most quanta", "from a tie", "where"),
            tables["ops"],
        ),
    ]
    if tables["boards"]:
        header = ("net", "file · runtime on board", "rel. error", "SQNR dB", "agreement %", "max quanta from here",
                  "equal to this machine's, %", "verdict")  # fmt: skip
        parts += [
            "## Emulated boards",
            "The bundled nets with the boards' own wheels under qemu: their kernels, never their latency, so none is shown. Against the "
            "same file in the same runtime on this machine (tflite-runtime, where this machine has none: against ai-edge-litert).",
            table(header, tables["boards"]),
        ]
    return "\n\n".join(parts) + "\n"


@click.command()
@click.option("--shared", type=click.Path(exists=True, path_type=Path))
@click.option("--only", help="Part of a case's title.")
@click.option("--pictures", default=60, show_default=True)
@click.option("--packages", default=4, show_default=True)
@click.option("--board-pictures", default=4, show_default=True)
@click.option(
    "--work", type=click.Path(path_type=Path), help="Keep the exports here and use them again."
)
@click.option("--boards", "with_boards", is_flag=True, help="Run the bundled nets on every board.")
def main(
    shared: Path | None, only: str | None, work: Path | None, with_boards: bool, **options: int
) -> None:
    """Print the page as Markdown."""
    tables: dict[str, Any] = {"nets": {}, "bits": [], "ops": [], "boards": []}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        cases = [Case(f"{net}, bundled", net, {}, 0) for net in NETS]
        if shared is not None:
            cases += imagenet_cases(shared / "imagenet", scratch)
            cases += cifar_cases(shared / "cifar10", scratch)
        folders = {}
        for number, case in enumerate(cases):
            if only and only not in case.title:
                continue
            started = time.perf_counter()
            folder = (work or scratch) / f"out{number}"
            if not folder.is_dir():
                export(case, folder, options["pictures"])
            rows, matrix = cells_of(folder, options["pictures"], options["packages"])
            tables["nets"][case.title] = rows
            equal, differing = bits(matrix)
            kernels = told(folder, differing, options["pictures"])
            tables["bits"].append([case.title, *equal, kernels.cause])
            tables["ops"] += kernel_text(case.title, kernels)
            if case.title.endswith("bundled"):
                folders[case.title] = folder
            print(f"{case.title}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        if with_boards:
            tables["boards"] = boards(folders, options["board_pictures"])
        asked = ["--shared DIR"] * (shared is not None) + ["--boards"] * with_boards
        asked += [f"--only {only!r}"] if only else []
        click.echo(report(tables, " ".join(asked), options), nl=False)


if __name__ == "__main__":
    main()
