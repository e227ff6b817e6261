"""Count our INT8 files beside others' on emulated boards: ``python scripts/make_arm_peers.py run --lines L --shared DIR``.

The four nets at 224 (random weights: counts depend on shapes alone), TFLite beside litert-torch's files and Google's
in DIR/peers, ONNX beside three forms of onnxruntime's quantize_static on the same hub graph, each file of ours for
its processor (``--cpu pi4``, ``--cpu pi5``). "Bare" is without copies and without borders and SOFTMAX (arm_borders.py),
"shipped" as the export and the maker write it, ours with copies of 3 % of the multiply-adds. "layers" are TFLite's
layers with weights alone: no file of the same shapes executes less in this runtime. ``tables`` prints the pages' tables
from the lines, ``functions`` the functions behind them. Needs what make_arm_results.py needs.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import peers
from arm_borders import integer_onnx, integer_tflite, layers_tflite
from arm_functions import Library, by_function, read_library, read_maps
from json_lines import read_lines
from make_arm_results import HERE, NETS, PI, build_plugin, find_qemu, run_guest

from edgeconv import export_model
from edgeconv.artifact import Artifact, load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.export.kinds import Cpu
from edgeconv.export.qdq.emit import emit_qdq
from edgeconv.export.rewrites.table import BY_CPU, INT8_ACTIVATIONS
from edgeconv.export.tflite import rewrites
from edgeconv.export.tflite.emit import emit_tflite
from edgeconv.parity.layers.evidence import emitted_graph
from edgeconv.recipe import load_recipe
from edgeconv.runtimes.onnxrt import open_model
from edgeconv.samples import InputSpec, load_samples

CALIBRATION = HERE.parent / "calib_data" / "calibration"
PICTURES = 8
RUNS = 1
"""Of each file, after two that count nothing: another differs by less than 0.05 %."""
NAMED = (
    "libpywrap_litert_common.so",
    "onnxruntime_pybind11_state.cpython-311-aarch64-linux-gnu.so",
)
STATIC = {
    "per tensor S8S8": peers.STATIC[2],
    "per channel S8S8": peers.SIGNED,
    "per channel U8S8": peers.STATIC[0],
}
KERNELS = 3
GOOGLES = {"mobilenet_v2": "tf2_mobilenet_v2_1.0_224_ptq.tflite"}
Files = dict[tuple[str, str], Path]


def exported(net: str, folder: Path) -> Artifact:
    """Export a net at 224; its evidence makes every form."""
    report = export_model(
        net, targets=("onnx",), precision="int8", recipe="fast", weights="random", resolution=224,
        mean=(0.5,), std=(0.5,), calib=str(CALIBRATION), calib_count=PICTURES, verify_count=1,
        output=folder, threads=1, copies=0.0,
    )  # fmt: skip
    artifact = load_artifact(Path(report.artifacts[0].path))
    assert artifact is not None
    return artifact


def tflite_files(net: str, own: Artifact, cpu: Cpu, shared: Path, folder: Path) -> Files:
    """Return (maker, form) -> TFLite file of everything that is counted for a net and a board."""

    def written(io: Any, name: str) -> Path:
        recipe = load_recipe(own.evidence("recipe.json"))
        wanted = rewrites.chosen(cpu, "speed")
        made = emit_tflite(emitted_graph(own), recipe, precision="int8", io=io, rewrites=wanted)
        path = folder / f"{cpu}_{name}.tflite"
        path.write_bytes(made.data)
        return path

    bare = written("int8", "bare")
    files = {("ours", "bare"): integer_tflite(bare, folder / f"{cpu}_integer.tflite")}
    files["ours", "layers"] = layers_tflite(bare, folder / f"{cpu}_layers.tflite")
    files["ours", "shipped"] = written("float", "shipped")
    others = {"litert-torch": next((shared / "peers").glob(f"litert_{net}*.tflite"))}
    if net in GOOGLES:
        others["Google"] = shared / "peers" / GOOGLES[net]
    for maker, path in others.items():
        files[maker, "bare"] = integer_tflite(path, folder / f"{cpu}_{maker}.tflite")
        files[maker, "layers"] = layers_tflite(path, folder / f"{cpu}_{maker}_layers.tflite")
        files[maker, "shipped"] = path
    return files


def onnx_files(own: Artifact, cpu: Cpu, folder: Path) -> Files:
    """Return (maker, form) -> ONNX file of everything that is counted for a net and a board."""
    signed = cpu in INT8_ACTIVATIONS

    def written(io: Any, name: str) -> Path:
        recipe = load_recipe(own.evidence("recipe.json"))
        wanted = BY_CPU[cpu]["speed"]
        made = emit_qdq(emitted_graph(own), recipe, io=io, rewrites=wanted, signed=signed)
        path = folder / f"{cpu}_{name}.onnx"
        path.write_bytes(made.model.SerializeToString())
        return path

    bare = written("int8" if signed else "uint8", "bare")
    files = {("ours", "bare"): bare, ("ours", "shipped"): written("float", "shipped")}
    for title, form in STATIC.items():
        made = folder / f"{title}.onnx"
        if not made.exists():
            quantize(form, own, made)
        files[title, "bare"] = integer_onnx(made, folder / f"{title} bare.onnx")
        files[title, "shipped"] = made
    return files


def quantize(form: str, artifact: Artifact, target: Path) -> None:
    """Run quantize_static on the hub graph and the pictures of an export."""
    hub = artifact.evidence("hub.onnx")
    with open_model(hub) as runner:
        spec = InputSpec({i.name: i.shape for i in runner.inputs}, artifact.preprocessing)
    peers.quantize_static(form, hub, load_samples(str(CALIBRATION), spec)[:PICTURES], target)


def profile(
    board: str, qemu: str, plugin: Path, paths: Sequence[Path], folder: Path
) -> list[Counter[str]]:
    """Run files on an emulated board; return the median inference of each, by function."""
    out, blocks, maps = (folder / f"{board}.{part}" for part in ("out", "blocks", "maps"))
    loaded = f"{plugin},out={out},blocks={blocks}"
    run_guest(board, qemu, loaded, RUNS, paths, [out, blocks], maps)
    places = read_maps(maps.read_text(encoding="utf-8"))
    libraries: dict[str, Library] = {
        Path(p.path).name: read_library(Path(p.path)) for p in places if Path(p.path).name in NAMED
    }
    marks = blocks.read_text(encoding="utf-8").split("\n\n")[:-1]
    found = []
    for at in range(0, len(marks), RUNS + 1):
        runs = [
            by_function(m.splitlines(), places, libraries) for m in marks[at + 1 : at + RUNS + 1]
        ]
        found.append(sorted(runs, key=Counter.total)[RUNS // 2])
    return found


def measure(
    net: str, boards: Sequence[Cpu], formats: Sequence[str], shared: Path, qemu: str, folder: Path
) -> list[dict[str, Any]]:
    """Return a line a file and board."""
    plugin, own, lines = build_plugin(folder), exported(net, folder / "export"), []
    for board in boards:
        for kind in formats:
            files = (
                tflite_files(net, own, board, shared, folder)
                if kind == "tflite"
                else onnx_files(own, board, folder)
            )
            counted = profile(board, qemu, plugin, list(files.values()), folder)
            for (maker, form), functions in zip(files, counted, strict=True):
                line = {"net": net, "board": board, "format": kind, "maker": maker, "form": form}
                top = {n: c for n, c in functions.most_common() if c >= functions.total() / 1000}
                lines.append({**line, "total": functions.total(), "functions": top})
    return lines


def table(lines: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Return the Markdown table of a format: ours to each other maker, both boards."""
    found = {
        (row["net"], row["board"], row["maker"], row["form"]): row["total"]
        for row in lines
        if row["format"] == kind
    }
    titles = [f"{PI[b]}, bare, M | ours to it | shipped, M | ours to it" for b in PI]
    rows = [f"| net at 224 | {kind} of | {' | '.join(titles)} |", "|---" * (2 + 4 * len(PI)) + "|"]
    for net in NETS:
        for maker in dict.fromkeys(m for n, _, m, _ in found if n == net):
            cells = [net, maker]
            for board in PI:
                for form in ("bare", "shipped"):
                    it, own = found[net, board, maker, form], found[net, board, "ours", form]
                    cells += [f"{it / 1e6:.2f}", "" if maker == "ours" else f"{own / it:.3f}x"]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def floors(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the Markdown table of what TFLite's layers alone take, and of the kernels that take most."""
    found = {
        (row["net"], row["board"], row["maker"], row["form"]): row
        for row in lines
        if row["format"] == "tflite"
    }
    kernels = f"its kernels, M (first {KERNELS})"
    rows = [
        "| net at 224 | board | ours, bare, M | its layers alone, M | to litert-torch's bare file | "
    ]
    rows = [f"{rows[0]}{kernels} |", "|---" * 6 + "|"]
    for net, board in dict.fromkeys(key[:2] for key in found):
        own, layers = (found[net, board, "ours", form] for form in ("bare", "layers"))
        other = found[net, board, "litert-torch", "bare"]["total"]
        most = list(own["functions"].items())[:KERNELS]
        named = ", ".join(f"{short(name)} {n / 1e6:.2f}" for name, n in most)
        cells = [f"{own['total'] / 1e6:.2f}", f"{layers['total'] / 1e6:.2f}"]
        cells += [f"{layers['total'] / other:.3f}x", named]
        rows.append(f"| {net} | {PI[board]} | {' | '.join(cells)} |")
    return rows


def short(kernel: str) -> str:
    """Return what tells one of XNNPACK's kernels from another."""
    name = kernel.removeprefix("xnn_").replace("_minmax_fp32_ukernel", "").replace("qs8_qc8w_", "")
    return f"`{name.replace('asm_aarch64_', '')}`"


@click.group(help=__doc__)
def main() -> None:
    """Count, or print what was counted."""


@main.command()
@click.option("--lines", type=click.Path(path_type=Path), required=True, help="Append here.")
@click.option("--shared", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--net", "nets", multiple=True, default=NETS, help="Default: all four.")
@click.option("--board", "boards", multiple=True, default=tuple(PI), help="Default: both.")
@click.option(
    "--format", "formats", multiple=True, default=("tflite", "onnx"), help="Default: both."
)
@click.option("--qemu", type=click.Path(exists=True, dir_okay=False), help="One with plugins.")
def run(
    lines: Path,
    shared: Path,
    nets: Sequence[str],
    boards: Sequence[Cpu],
    formats: Sequence[str],
    qemu: str | None,
) -> None:
    """Count, or say in one sentence why it cannot be counted here."""
    try:
        found = find_qemu(qemu)
        for net in nets:
            with tempfile.TemporaryDirectory() as folder:
                made = measure(net, boards, formats, shared.absolute(), found, Path(folder))
            with lines.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in made)
    except EdgeconvError as error:
        click.echo(f"skipped: {error}")


@main.command()
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
def tables(lines: Path) -> None:
    """Print the tables of docs/arm_kernels.md."""
    rows = read_lines(lines)
    for kind in ("tflite", "onnx"):
        click.echo("\n".join([*table(rows, kind), ""]))
    click.echo("\n".join(floors(rows)))


@main.command()
@click.option("--lines", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--form", default="bare", show_default=True)
@click.option("--most", default=12, show_default=True, help="Functions of each file.")
def functions(lines: Path, form: str, most: int) -> None:
    """Print the functions that executed most, in millions."""
    for row in read_lines(lines):
        if row["form"] == form:
            title = " ".join(row[key] for key in ("net", "board", "format", "maker"))
            click.echo(f"{title}: {row['total'] / 1e6:.2f}")
            for name, executed in list(row["functions"].items())[:most]:
                click.echo(f"    {executed / 1e6:8.3f} {name}")


if __name__ == "__main__":
    main()
