"""One recipe in every runtime: ``python scripts/make_runtime_matrix.py run --lines FILE``, then ``table``.

Each net is exported INT8 with integer borders to ONNX, TFLite and ExecuTorch, with float borders to
Core ML by the same recipe, and its outputs in every runtime are compared with LiteRT's (XNNPACK): which
share is equal to the bit, and how many quanta the furthest is off. A JSON line for each net and place
(this machine, an emulated board); what has one is not run again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from first_departure import departures_page, first_departures
from json_lines import read_lines
from make_results import Case, imagenet_cases
from numpy.typing import NDArray
from parity_kernels import compare_kernels

from edgeconv import export_model
from edgeconv.device.places import board_places
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.api import check_parity
from edgeconv.parity.matrix import Matrix
from edgeconv.parity.report import environment

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
JUDGE = "tflite · ai-edge-litert"
ALSO = ("tflite-micro", "openvino")
HERE = "here"
LEGEND = (
    "Share of INT8 outputs in the same quantum as LiteRT with XNNPACK, in percent, and the most quanta that "
    "any is off. mil-reference (our evaluator, not Core ML) and emulated boards on fewer pictures."
)
FLOATS = ("hub", "recipe")
"""The stages that stand beside the INT8 files: their real outputs, rounded to LiteRT's quantum."""


def bundled() -> list[Case]:
    """The four nets with bundled weights."""
    return [Case(f"{net}, bundled", net, {}, 0) for net in NETS]


def named(nets: Sequence[str], calib: str | None, shape: Sequence[int] = ()) -> list[Case]:
    """Nets by their files (FILE.onnx, file.py:factory), calibrated and compared on the pictures of ``calib``."""
    if nets and calib is None:
        raise click.UsageError("--net is calibrated on pictures of yours: give --calib DIR")
    options: dict[str, Any] = {"calib": calib}
    if shape:
        options["input_shapes"] = (tuple(shape),)
    titles = [net.rpartition(":")[2] if ".py:" in net else Path(net).stem for net in nets]
    return [Case(title, net, options, 0) for title, net in zip(titles, nets, strict=True)]


def exported(case: Case, folder: Path, pictures: int) -> list[Path]:
    """Export one net to every target, by one recipe; a folder that has all of it is taken as it is."""
    if not list((folder / "float").glob("*.mlpackage.json")):
        asked: dict[str, Any] = {"precision": "int8", "output": folder, "threads": 1}
        asked |= {"force": True, "verify_count": pictures, **case.options}
        export_model(case.net, targets=("onnx", "tflite", "executorch"), io="int8", **asked)
        (recipe,) = folder.glob("*.evidence/recipe.json")
        again = {**asked, "output": folder / "float"}
        export_model(case.net, targets=("coreml",), recipe=str(recipe), **again)
    found = sorted(folder.iterdir())
    return [path for path in found if path.suffix in (".onnx", ".tflite", ".pte")]


def compared(case: Case, folder: Path, place: str, pictures: int, slow: int) -> dict[str, Any]:
    """Run the files of one net in one place, and return its line: runtime -> equal (share), most (quanta).

    On a board ``slow`` pictures; here as many for mil-reference, and ``pictures`` for the others.
    """
    files = exported(case, folder, pictures)
    line: dict[str, Any] = {"net": case.title, "place": place, "slow": slow}
    if place != HERE:
        boards = board_places((place,))
        result = check_parity(files, count=slow, also=("openvino",), places=boards, threads=1)
        rows = told(result.matrix, result.matrix)
        return {**line, "rows": {k: v for k, v in rows.items() if f" on {place} " in k}}
    matrix = check_parity(files, count=pictures, also=ALSO, threads=1).matrix
    packages = check_parity(sorted((folder / "float").glob("*.mlpackage")), count=slow)
    rows = told(matrix, matrix) | told(packages.matrix, matrix)
    (onnx,), (tflite,) = folder.glob("*.onnx"), folder.glob("*.tflite")
    kernels = compare_kernels(onnx, tflite, [0, 1, 2, 3])
    alone = {op: [kernels.elements[op], n, kernels.most[op]] for op, n in kernels.differ.items()}
    first = {**first_departures(tflite), "onnxruntime": {"alone": alone}}
    line |= {"pictures": pictures, "rows": rows, "first": first}
    return {**line, "alike": alike(matrix)}


def alike(matrix: Matrix) -> list[list[str]]:
    """Return the INT8 runtimes that agree with one another in every value, the largest group first."""
    groups: list[tuple[NDArray[Any], list[str]]] = []
    for row in matrix.rows:
        if row.stage != "int8" or row.outputs is None:
            continue
        values = next(iter(row.outputs.arrays.values()))
        for known, names in groups:
            if np.array_equal(known, values):
                names.append(_runtime(row.label))
                break
        else:
            groups.append((values, [_runtime(row.label)]))
    return sorted((names for _, names in groups), key=len, reverse=True)


def told(matrix: Matrix, judge: Matrix) -> dict[str, dict[str, Any]]:
    """Return how each INT8 row of ``matrix`` compares with LiteRT's row of ``judge``, by runtime.

    The float reference and the graphs in FLOATS stand there too, by their titles.
    """
    wanted = next(
        row.outputs for row in judge.rows if row.stage == "int8" and _runtime(row.label) == JUDGE
    )
    assert wanted is not None
    name, step = next(iter(wanted.scales.items()))
    place = {picture: row for row, picture in enumerate(judge.samples.names)}
    shared = [row for row, picture in enumerate(matrix.samples.names) if picture in place]
    same = [place[matrix.samples.names[row]] for row in shared]
    sides: list[tuple[str, Outputs | None, str]] = []
    sides.append((f"float · {_reference(matrix)}", matrix.reference, ""))
    for row in matrix.rows:
        if row.stage == "int8" or row.stage in FLOATS:
            label = _runtime(row.label) if row.stage == "int8" else f"float · {row.title}"
            sides.append((label, row.outputs, row.error or "no outputs"))
    found: dict[str, dict[str, Any]] = {}
    for label, outputs, error in sides:
        if outputs is None:
            found.setdefault(label, {"error": error})
        else:
            values = next(iter(outputs.arrays.values()))
            found.setdefault(label, distance(values[shared], wanted.arrays[name][same], step))
    return found


def _reference(matrix: Matrix) -> str:
    """Return what the float reference of a matrix ran in."""
    return str(matrix.reference.about.get("runtime", "reference"))


def _runtime(label: str) -> str:
    """Return "format · runtime" of a row's label, "file · runtime"."""
    file, _, runtime = label.partition(" · ")
    return f"{Path(file).suffix[1:]} · {runtime}"


def distance(values: NDArray[Any], wanted: NDArray[Any], step: float) -> dict[str, float]:
    """Return the share of values in the same quantum of ``step``, the most quanta off, and how many.

    >>> distance(np.array([[0.1, 0.29]]), np.array([[0.1, 0.2]]), 0.1)
    {'equal': 0.5, 'most': 1, 'values': 2}
    """
    quanta = np.abs(np.rint((values - wanted) / step))
    return {"equal": float((quanta == 0).mean()), "most": int(quanta.max()), "values": quanta.size}


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown table and what its figures are."""
    packages = ", ".join(f"{k} {v}" for k, v in environment()["packages"].items())
    return f"{rows_of(lines)}\n\n{LEGEND} {packages}.\n"


def rows_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown table: a row a net, a column a runtime."""
    nets: dict[str, dict[str, Any]] = {}
    for line in lines:
        nets.setdefault(line["net"], {}).update(line["rows"])
    runtimes = list(dict.fromkeys(name for rows in nets.values() for name in rows))
    head = ["net", *runtimes]
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for net, rows in nets.items():
        text.append("| " + " | ".join([net, *(cell(rows.get(name)) for name in runtimes)]) + " |")
    return "\n".join(text)


def cell(found: Mapping[str, Any] | None) -> str:
    """Return one cell of the table.

    >>> cell({"equal": 0.98765, "most": 2, "values": 9}), cell({"error": "x"}), cell(None)
    ('98.77, 2', 'failed', '')
    """
    if found is None:
        return ""
    return "failed" if "error" in found else f"{100 * found['equal']:.2f}, {found['most']:.0f}"


@click.group(help=__doc__)
def main() -> None:
    """Two commands: run and table."""


@main.command()
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--files", type=click.Path(path_type=Path), required=True, help="The exports; kept.")
@click.option("--shared", type=click.Path(path_type=Path), help="Test data with imagenet/.")
@click.option("--pictures", default=200, show_default=True)
@click.option("--slow", default=8, show_default=True, help="Pictures for mil-reference and boards.")
@click.option("--place", "places", multiple=True, help="here (default) or a board; repeat.")
@click.option("--net", "nets", multiple=True, metavar="FILE", help="FILE.onnx or file.py:net.")
@click.option("--calib", help="Pictures for --net.")
@click.option("--input-shape", "shape", default="", metavar="N,C,H,W", help="Of every --net.")
@click.option("--bundled/--no-bundled", "ours", default=True, help="The four bundled nets.")
def run(
    lines: Path,
    files: Path,
    shared: Path | None,
    pictures: int,
    slow: int,
    places: tuple[str, ...],
    nets: tuple[str, ...],
    calib: str | None,
    shape: str,
    ours: bool,
) -> None:
    """Compare every net that has no line of a place yet."""
    done = {(line["net"], line["place"]) for line in read_lines(lines)}
    cases = (bundled() if ours else []) + named(
        nets, calib, [int(n) for n in shape.split(",") if n]
    )
    if shared is not None:
        cases += imagenet_cases(shared / "imagenet", files)
    for place in places or (HERE,):
        for case in cases:
            if (case.title, place) not in done:
                folder = files / re.sub(r"\W+", "_", case.title)
                line = compared(case, folder, place, pictures, slow)
                with lines.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                click.echo(f"{case.title}, {place}", err=True)


@main.command()
@click.option("--lines", type=click.Path(path_type=Path), required=True)
def table(lines: Path) -> None:
    """Print the table of all lines, and that of where runtimes part."""
    told_of = read_lines(lines)
    click.echo("\n".join(filter(None, (page(told_of), departures_page(told_of)))), nl=False)


if __name__ == "__main__":
    main()
