"""Print docs/arm_kernels.md's tables: ``python scripts/make_arm_results.py [--resolution 224]``.

Exports the four nets, writes each INT8 ONNX file with every exact rewrite alone and with the sets of --cpu
and --prefer, runs the files in onnxruntime's and ai-edge-litert's aarch64 wheels under qemu's user mode as a
Raspberry Pi 4 and 5, and counts the instructions executed by kind (arm_instructions.c). These are counts,
not times. Needs the [all] extra, a C compiler and Debian's qemu-user (qemu-user-static loads no plugin);
the emulated boards are those of ``edgeconv parity --emulate``.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import click

from edgeconv import export_model
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.device.emulate import BOARDS, prepare_board
from edgeconv.errors import EdgeconvError
from edgeconv.export.kinds import Cpu, Precision
from edgeconv.parity.layers.evidence import emitted_graph

HERE = Path(__file__).resolve().parent
NETS = ("mobilenet_v1", "mobilenet_v2", "shufflenet_v1", "ghostnet")
KINDS = (
    "dot products", "widening multiplies", "other multiplies", "float multiply-adds", "other vector",
    "vector loads, stores", "other loads, stores", "branches", "other",
)  # fmt: skip
MULTIPLY = 4
"""So many kinds, the first, multiply."""
PLAIN, SIGNED = "INT8, no rewrite", "the same, int8 activations"
COUNTED: tuple[Cpu, ...] = ("any", "x86", "pi4", "pi5")
DETAILED = (PLAIN, *(f"--cpu {cpu}" for cpu in COUNTED), "TFLite INT8")
RUNS = 5
"""Of each file, after two that count nothing; the median of them is printed."""


@dataclass(frozen=True)
class Count:
    """Instructions of one inference by kind, and a checksum of what it computed."""

    kinds: tuple[int, ...]
    checksum: str

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.kinds)


def exported(net: str, precision: str, resolution: int, folder: Path) -> dict[str, Path]:
    """Export a net to ONNX and TFLite: target -> file. Other sizes than 64 have random weights."""
    fields: dict[str, Any] = {"recipe": "fast"} if precision == "int8" else {}
    if resolution != 64:
        fields |= {"weights": "random", "resolution": resolution, "mean": (0.5,), "std": (0.5,)}
        fields |= {"calib": str(HERE.parent / "calib_data" / "calibration"), "calib_count": 16}
    report = export_model(
        net,
        targets=("onnx", "tflite"),
        precision=cast(Precision, precision),
        verify_count=8,
        output=folder,
        threads=1,
        cpu="any",
        **fields,
    )
    return {artifact.target: Path(artifact.path) for artifact in report.artifacts}


def tflite_size(artifact: Artifact, path: Path) -> Path:
    """Write an export's INT8 TFLite file as --prefer size does."""
    from edgeconv.export.tflite.emit import emit_tflite
    from edgeconv.export.tflite.rewrites import BY_PREFER
    from edgeconv.recipe import load_recipe

    recipe = load_recipe(artifact.evidence("recipe.json"))
    made = emit_tflite(
        emitted_graph(artifact), recipe, precision="int8", rewrites=BY_PREFER["size"]
    )
    path.write_bytes(made.data)
    return path


def onnx_variants(artifact: Artifact, folder: Path) -> dict[str, Path]:
    """Write an export's INT8 ONNX file in every form: title -> file, equal files once."""
    from edgeconv.export.qdq.emit import emit_qdq
    from edgeconv.export.rewrites.table import BY_CPU, INT8_ACTIVATIONS, NONE, ORDERED, Rewrites
    from edgeconv.recipe import load_recipe

    graph, recipe = emitted_graph(artifact), load_recipe(artifact.evidence("recipe.json"))
    forms: dict[str, tuple[Rewrites, bool]] = {PLAIN: (NONE, False), SIGNED: (NONE, True)}
    forms |= {row.id: (Rewrites(**{row.id: True}), False) for row in ORDERED}
    forms["--prefer size"] = (BY_CPU["any"]["size"], False)
    forms |= {f"--cpu {cpu}": (BY_CPU[cpu]["speed"], cpu in INT8_ACTIVATIONS) for cpu in COUNTED}
    titles: dict[bytes, str] = {}
    for title, (rewrites, signed) in forms.items():
        data = emit_qdq(graph, recipe, rewrites=rewrites, signed=signed).model.SerializeToString()
        known = titles.get(data)
        if known != PLAIN:
            titles[data] = title if known is None else f"{known}, {title}"
    files = {}
    for number, (data, title) in enumerate(titles.items()):
        files[title] = folder / f"variant{number}.onnx"
        files[title].write_bytes(data)
    return files


def make_files(net: str, resolution: int, folder: Path) -> dict[str, Path]:
    """Return title -> file of everything that is counted for a net."""
    real = exported(net, "fp32", resolution, folder)
    integer = exported(net, "int8", resolution, folder)
    artifact = load_artifact(integer["onnx"])
    assert artifact is not None
    files = {"FP32": real["onnx"], **onnx_variants(artifact, folder)}
    size = tflite_size(artifact, folder / "size.tflite")
    files |= {"TFLite FP32": real["tflite"], "TFLite INT8 --prefer size": size}
    return {**files, "TFLite INT8": integer["tflite"]}


def empty_model(path: Path) -> Path:
    """Write a model of one Identity: what the call from Python costs."""
    from onnx import TensorProto, helper, save

    borders = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    made = helper.make_graph([node], "empty", borders[:1], borders[1:])
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def count(board: str, qemu: str, plugin: Path, paths: list[Path], folder: Path) -> list[Count]:
    """Run files on an emulated board; return the median inference of each."""
    out = folder / f"{board}.txt"
    said = run_guest(board, qemu, f"{plugin},out={out}", RUNS, paths, [out])
    lines = [
        [int(part) for part in line.split()]
        for line in out.read_text(encoding="utf-8").splitlines()
    ]
    groups = [lines[at : at + RUNS + 1] for at in range(0, len(lines), RUNS + 1)]
    return [Count(median_run(g), c) for g, c in zip(groups, said.split(), strict=True)]


def run_guest(
    board: str,
    qemu: str,
    plugin: str,
    runs: int,
    paths: Sequence[Path],
    written: Sequence[Path],
    maps: Path | None = None,
) -> str:
    """Run arm_guest.py on an emulated board, after removing what the plugin appends to; return what it said."""
    *settings, _, python = prepare_board(board)
    for path in written:
        path.unlink(missing_ok=True)
    fixed = {"QEMU_PLUGIN": f"file={plugin}", "PYTHONHASHSEED": "0"}
    fixed |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if maps is not None:
        fixed["ARM_MAPS"] = str(maps)
    command = [*settings, qemu, python, str(HERE / "arm_guest.py"), str(runs), *map(str, paths)]
    ran = subprocess.run(
        command, env={**os.environ, **fixed}, capture_output=True, encoding="utf-8"
    )
    if ran.returncode:
        raise EdgeconvError(f"the emulated {BOARDS[board].title} failed: {ran.stderr[-300:]}")
    return ran.stdout


def median_run(totals: list[list[int]]) -> tuple[int, ...]:
    """Return the kinds of the run that is the median by all instructions, from running totals."""
    runs = [
        tuple(b - a for a, b in zip(before, after, strict=True))
        for before, after in pairwise(totals)
    ]
    return sorted(runs, key=sum)[len(runs) // 2]


def millions(value: float) -> str:
    """Return a count as it is printed."""
    return f"{value / 1e6:.2f}"


def table(net: str, files: dict[str, Path], found: dict[str, dict[str, Count]]) -> list[str]:
    """Return the rows of one net: both boards beside each other."""
    rows = []
    for title, path in files.items():
        cells = [net, title, f"{path.stat().st_size / 1e3:.0f}"]
        for counts in found.values():
            it, plain = counts[title], counts[PLAIN]
            ratio = "" if title == PLAIN else f"{it.total / plain.total:.2f}x"
            cells += [millions(it.total), millions(sum(it.kinds[:MULTIPLY])), ratio]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def details(net: str, found: dict[str, dict[str, Count]]) -> list[str]:
    """Return the rows by kind of a net's main files."""
    return [
        f"| {net} | {title} | {board} | {' | '.join(map(millions, one.kinds))} |"
        for board, counts in found.items()
        for title, one in counts.items()
        if any(part in DETAILED for part in (title, *title.split(", ")))
    ]


def differing(found: dict[str, dict[str, Count]]) -> list[str]:
    """Return the INT8 ONNX files whose output is not, to the bit, the plain one's on every board."""
    every = [(title, one) for counts in found.values() for title, one in counts.items()]
    plain = {one.checksum for title, one in every if title == PLAIN}
    integer = [(t, one) for t, one in every if t != "FP32" and not t.startswith("TFLite")]
    return sorted({title for title, one in integer if {one.checksum} != plain})


def build_plugin(folder: Path) -> Path:
    """Compile the counting plugin."""
    compiler, made = shutil.which("cc"), folder / "arm_instructions.so"
    if compiler is None:
        raise EdgeconvError("no C compiler: sudo apt-get install gcc")
    source = str(HERE / "arm_instructions.c")
    ran = subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(made), source])
    if ran.returncode:
        raise EdgeconvError(f"{compiler} does not compile arm_instructions.c")
    return made


def find_qemu(given: str | None) -> str:
    """Return a qemu-aarch64 that loads plugins."""
    path = given or shutil.which("qemu-aarch64")
    help_of = [path or "true", "--help"]
    said = subprocess.run(help_of, capture_output=True, check=False, encoding="utf-8").stdout
    if path is None or "-plugin" not in said:
        raise EdgeconvError("no qemu-aarch64 that loads plugins: sudo apt-get install qemu-user")
    return path


def measure(resolution: int, nets: tuple[str, ...], qemu: str, folder: Path) -> None:
    """Count everything and print both tables."""
    plugin, kinds = build_plugin(folder), []
    empty = [count(b, qemu, plugin, [empty_model(folder / "e.onnx")], folder)[0] for b in PI]
    click.echo(f"An empty model: {' and '.join(f'{one.total / 1e6:.3f}' for one in empty)} M.\n")
    titles = [f"{name}, M | of them multiply | to plain" for name in PI.values()]
    click.echo(f"| net at {resolution} | file | kB | {' | '.join(titles)} |")
    click.echo("|---" * 9 + "|")
    for net in nets:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            files = make_files(net, resolution, Path(place))
            paths = list(files.values())
            found = {
                name: dict(zip(files, count(board, qemu, plugin, paths, folder), strict=True))
                for board, name in PI.items()
            }
            click.echo("\n".join(table(net, files, found)))
            for title in differing(found):
                click.echo(f"NOT THE PLAIN FILE'S BITS: {net}, {title}", err=True)
            kinds += details(net, found)
    click.echo(f"\n| net at {resolution} | file | board | {' | '.join(KINDS)} |")
    click.echo("|---" * (3 + len(KINDS)) + "|")
    click.echo("\n".join(kinds))


PI = {"pi4": "Pi 4", "pi5": "Pi 5"}


@click.command()
@click.option("--resolution", default=64, show_default=True, help="Other than 64: random weights.")
@click.option("--net", "nets", multiple=True, default=NETS, help="Default: all four.")
@click.option(
    "--qemu",
    type=click.Path(exists=True, dir_okay=False),
    help="A qemu-aarch64 that loads plugins; default: the one on PATH.",
)
def main(resolution: int, nets: tuple[str, ...], qemu: str | None) -> None:
    """Print the tables, or in one sentence why they cannot be made here."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(resolution, nets, find_qemu(qemu), Path(folder))
    except EdgeconvError as error:
        click.echo(f"skipped: {error}")


if __name__ == "__main__":
    main()
