"""One recipe in every runtime: ``python scripts/make_runtime_matrix.py run --lines FILE``, then ``table``.

Each net is exported INT8 with integer borders to ONNX, TFLite and ExecuTorch, with float borders to
Core ML by the same recipe, and its outputs in every runtime are compared with LiteRT's (XNNPACK): which
share is equal to the bit, and how many quanta the furthest is off. A JSON line a net; done ones are kept.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from make_results import Case, imagenet_cases
from numpy.typing import NDArray

from edgeconv import export_model
from edgeconv.device.emulate import BOARDS
from edgeconv.device.places import board_places
from edgeconv.parity.api import check_parity
from edgeconv.parity.matrix import Matrix
from edgeconv.parity.report import environment

NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
JUDGE = "tflite · ai-edge-litert"
ALSO = ("tflite-micro", "openvino")


def bundled() -> list[Case]:
    """The four nets with bundled weights."""
    return [Case(f"{net}, bundled", net, {}, 0) for net in NETS]


def named(nets: Sequence[str], calib: str | None) -> list[Case]:
    """Nets by their files, calibrated and compared on the pictures of ``calib``."""
    if nets and calib is None:
        raise click.UsageError("--net is calibrated on pictures of yours: give --calib DIR")
    return [Case(Path(net).stem, net, {"calib": calib}, 0) for net in nets]


def compared(
    case: Case, folder: Path, pictures: int, slow: int, places: Sequence[Any]
) -> dict[str, Any]:
    """Export one net, run it everywhere, and return its line: runtime -> equal (share), most (quanta)."""
    asked: dict[str, Any] = {"precision": "int8", "output": folder, "threads": 1, **case.options}
    asked["verify_count"] = pictures
    export_model(case.net, targets=("onnx", "tflite", "executorch"), io="int8", **asked)
    (recipe,) = folder.glob("*.evidence/recipe.json")
    again = {**asked, "output": folder / "float"}
    export_model(case.net, targets=("coreml",), recipe=str(recipe), **again)
    files = [
        path for path in sorted(folder.iterdir()) if path.suffix in (".onnx", ".tflite", ".pte")
    ]
    result = check_parity(files, count=pictures, also=ALSO, places=places, threads=1)
    packages = check_parity(sorted((folder / "float").glob("*.mlpackage")), count=slow)
    rows = told(result.matrix, result.matrix) | told(packages.matrix, result.matrix)
    return {"net": case.title, "pictures": pictures, "slow": slow, "rows": rows}


def told(matrix: Matrix, judge: Matrix) -> dict[str, dict[str, Any]]:
    """Return how each INT8 row of ``matrix`` compares with LiteRT's row of ``judge``, by runtime."""
    wanted = next(
        row.outputs for row in judge.rows if row.stage == "int8" and _runtime(row.label) == JUDGE
    )
    assert wanted is not None
    name, step = next(iter(wanted.scales.items()))
    place = {picture: row for row, picture in enumerate(judge.samples.names)}
    shared = [row for row, picture in enumerate(matrix.samples.names) if picture in place]
    same = [place[matrix.samples.names[row]] for row in shared]
    found: dict[str, dict[str, Any]] = {}
    for row in matrix.rows:
        if row.stage == "int8" and row.outputs is not None:
            values = next(iter(row.outputs.arrays.values()))
            found[_runtime(row.label)] = distance(values[shared], wanted.arrays[name][same], step)
        elif row.stage == "int8":
            found[_runtime(row.label)] = {"error": row.error or "no outputs"}
    return found


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
    """Return the Markdown table: a row a net, a column a runtime."""
    runtimes = list(dict.fromkeys(name for line in lines for name in line["rows"]))
    head = ["net", *runtimes]
    rows = [[line["net"], *(cell(line["rows"].get(name)) for name in runtimes)] for line in lines]
    packages = ", ".join(f"{k} {v}" for k, v in environment()["packages"].items())
    text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    text += ["| " + " | ".join(row) + " |" for row in rows]
    said = (
        f"Share of INT8 outputs in the same quantum as LiteRT with XNNPACK, in percent, and the most "
        f"quanta that any is off. mil-reference (our evaluator, not Core ML) and emulated boards on fewer "
        f"pictures. {packages}."
    )
    return "\n".join([*text, "", said]) + "\n"


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
@click.option("--shared", type=click.Path(path_type=Path), help="Test data with imagenet/.")
@click.option("--pictures", default=200, show_default=True)
@click.option("--slow", default=8, show_default=True, help="Pictures for mil-reference.")
@click.option("--boards", is_flag=True, help="The emulated boards too.")
@click.option("--net", "nets", multiple=True, metavar="FILE.onnx", help="More nets; repeat.")
@click.option("--calib", help="Pictures for --net.")
@click.option("--bundled/--no-bundled", "ours", default=True, help="The four bundled nets.")
def run(
    lines: Path,
    shared: Path | None,
    pictures: int,
    slow: int,
    boards: bool,
    nets: tuple[str, ...],
    calib: str | None,
    ours: bool,
) -> None:
    """Compare every net that has no line yet."""
    done = (
        {json.loads(line)["net"] for line in lines.read_text(encoding="utf-8").splitlines()}
        if lines.exists()
        else set()
    )
    with tempfile.TemporaryDirectory() as scratch:
        cases = (bundled() if ours else []) + named(nets, calib)
        if shared is not None:
            cases += imagenet_cases(shared / "imagenet", Path(scratch))
        places = board_places(tuple(BOARDS)) if boards else ()
        for number, case in enumerate(cases):
            if case.title not in done:
                folder = Path(scratch) / f"net{number}"
                line = compared(case, folder, pictures, slow, places)
                with lines.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                click.echo(case.title, err=True)


@main.command()
@click.option("--lines", type=click.Path(path_type=Path), required=True)
def table(lines: Path) -> None:
    """Print the table of all lines."""
    click.echo(
        page([json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]),
        nl=False,
    )


if __name__ == "__main__":
    main()
