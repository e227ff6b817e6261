"""``edgeconv inspect``: print what edgeconv.inspection.inspect_file found."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeconv.commands.grouped import examples
from edgeconv.errors import UsageError
from edgeconv.files import partner
from edgeconv.terminal import echo, echo_lines, print_json, reasons_text

if TYPE_CHECKING:
    from edgeconv.inspection import Inspection


def _between_commas(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[str]:
    return [word.strip() for value in values for word in value.split(",")]


@click.command(epilog=examples("edgeconv inspect out/model_int8.tflite --tensors"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tensors", is_flag=True, help="List the quantization of every tensor.")
@click.option("--mcu", is_flag=True, help="What a microcontroller makes of a .tflite: arena, operators to register, boards.")  # fmt: skip
@click.option("--board", "boards", multiple=True, callback=_between_commas, metavar="CHIP[,..]", help="With --mcu: does it fit? Exit 3 where not.")  # fmt: skip
@click.option("--npu", "npus", multiple=True, callback=_between_commas, metavar="ethos-u55-128[,..]", help="With --mcu: ask Arm's Vela.")  # fmt: skip
@click.option("--c-array", type=click.Path(path_type=Path), metavar="FILE.h|.c|.cc|.S", help="Write the file as source.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file that --c-array names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path,
    tensors: bool,
    mcu: bool,
    boards: list[str],
    npus: list[str],
    c_array: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say what is inside FILE: .onnx, .tflite, .mlpackage, .pte or .param, ours or anyone's.

    Operators, how many compute in integers, types, transposes, quantization, and what edgeconv
    wrote into it. Nothing is run.
    """
    from edgeconv.inspection import inspect_file

    if (boards or npus) and not mcu:
        raise UsageError("--board and --npu belong to --mcu")
    if c_array is not None:
        inspect_file(file)  # a file that cannot be read leaves no array behind
        _write_array(file, c_array, force)
    if mcu:
        _sheet(file, boards, npus, as_json)
        return
    found = inspect_file(file)
    if as_json:
        print_json(found.to_json())
        return
    _show(found, tensors)


def _write_array(file: Path, path: Path, force: bool) -> None:
    from edgeconv.mcu.c_array import write_array

    if not file.is_file():
        raise UsageError(f"--c-array takes one file, and {file} is none")
    if (other := partner(file)) is not None:
        raise UsageError(f"--c-array takes one file, and {file.name} is a model with {other.name}")
    if path.exists() and not force:
        raise UsageError(f"{path} exists; --force replaces it")
    write_array(file, path)
    found = f" (finds {file} from where the assembler runs, or by -Wa,-I FOLDER)"
    echo(f"wrote {path}{found if path.suffix == '.S' else ''}", err=True)


def _sheet(file: Path, boards: list[str], npus: list[str], as_json: bool) -> None:
    from edgeconv.mcu.sheet import mcu_sheet
    from edgeconv.tables import open_console, print_facts

    sheet = mcu_sheet(file, boards, npus)
    if as_json:
        print_json(sheet.to_json())
    else:
        print_facts(open_console(), sheet.lines())
        if sheet.code is not None:
            echo()
            echo_lines(sheet.code)
    sys.exit(1 if sheet.refused else 3 if sheet.missed else 0)


def _show(found: "Inspection", tensors: bool) -> None:
    from edgeconv.tables import Column, open_console, print_facts, print_table

    console = open_console()
    print_facts(console, _lines(found))
    if not tensors or not found.quantization:
        return
    console.print()
    columns = tuple(Column(t) for t in ("tensor", "shape", "type", "scale", "zero point"))
    lines = []
    for note in found.quantization:
        scale = f"{note.scale_min:.6g}"
        if note.scales > 1:
            scale += f" to {note.scale_max:.6g} ({note.scales} channels)"
        zeros = ", ".join(map(str, note.zero_points[:4]))
        shape = "" if note.shape is None else "x".join(map(str, note.shape))
        lines.append([note.name, shape, note.dtype, scale, zeros])
    print_table(console, columns, lines)


def _lines(found: "Inspection") -> list[tuple[str, str]]:
    lines = [("file", f"{found.path} ({found.bytes / 1e6:.2f} MB)")]
    for side, ends in (("input", found.inputs), ("output", found.outputs)):
        for end in ends:
            shape = "" if end["shape"] is None else "x".join(map(str, end["shape"]))
            lines.append((side, f"{end['name']}  {shape}  {end['dtype']}"))
    histogram = sorted(found.histogram.items(), key=lambda item: (-item[1], item[0]))
    total = sum(found.histogram.values())
    lines.append(("operators", f"{total}: " + ", ".join(f"{n} {op}" for op, n in histogram)))
    if found.compute is not None:
        lines.append(("compute", _compute(found)))
    if found.float_operators:
        lines.append(("in float", reasons_text(found.float_operators)))
    lines.append(("transposes", str(found.transposes)))
    lines.append(("conversions", f"{found.conversions} quantize and dequantize"))
    if found.types:
        types = ", ".join(f"{count} {kind}" for kind, count in found.types.items())
        lines.append(("tensors", types))
    if found.quantization:
        wide = sum(note.scales > 1 for note in found.quantization)
        lines.append(
            ("quantization", f"{len(found.quantization)} tensors, {wide} with several scales")
        )
    lines.append(("description", _description(found)))
    lines.append(("read from", found.read_by))
    return lines


def _compute(found: "Inspection") -> str:
    if found.int8_compute is None:
        return f"{found.compute} convolutions and products"
    text = f"{found.int8_compute} of {found.compute} convolutions and products in integers"
    if found.per_channel is not None and found.int8_compute:
        text += f", {found.per_channel} with a weight scale a channel"
    return text


def _description(found: "Inspection") -> str:
    if (
        found.form == "tflite" and not found.types
    ):  # seen through a runtime, which tells of no metadata
        return "not read without edgeconv[export]"
    if found.description is None:
        return "none of ours: not exported by edgeconv"
    known = found.description
    parts = [f"edgeconv, {known['precision']}" if known.get("precision") else "edgeconv"]
    net = known.get("net")
    if isinstance(net, dict) and net.get("source"):
        parts.append(str(net["source"]))
    beside = "manifest beside it" if found.manifest else "its manifest is not beside it"
    return ", ".join([*parts, beside])
