"""``edgeconv inspect --mcu``: everything a microcontroller's programmer asks of a file, in one place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.tflite.device_rules import device_rules
from edgeconv.export.tflite.inspect import TfliteOp, TfliteSummary, read_tflite
from edgeconv.foreign import refuse_no_file
from edgeconv.mcu.arena import Arena, plan_arena
from edgeconv.mcu.boards import KIB, Board, find_board, fit
from edgeconv.mcu.npu import Mapping, Refusal, map_to
from edgeconv.mcu.resolver import resolver

COMPARES = frozenset(["SOFTMAX", "BATCH_MATMUL"])
"""Operators that hold a matrix of each place with each other."""
CUSTOM = "CUSTOM:"
"""What a summary puts before the name of an operator that is not TFLite's own."""
QUANTA = frozenset(["int8", "uint8", "int16"])
"""Types of what is computed in integers; whole numbers such as sizes are int32 in float files too."""
CONVERSIONS = frozenset(["QUANTIZE", "DEQUANTIZE"])


@dataclass(frozen=True)
class Sheet:
    """What ``mcu_sheet`` found. ``code`` is the resolver, or None with ``outside``: why there is none."""

    path: Path
    bytes: int
    summary: TfliteSummary
    arena: Arena
    code: str | None
    outside: str | None
    boards: tuple[Board, ...]
    npus: tuple[Mapping | Refusal, ...]

    @property
    def refused(self) -> bool:
        """Whether Vela refused the file for one of the NPUs."""
        return any(isinstance(mapping, Refusal) for mapping in self.npus)

    @property
    def missed(self) -> bool:
        """Whether the file cannot run on one of the boards: too large, or with operators that are not there."""
        return not all(self._fit(board)[0] for board in self.boards)

    def _fit(self, board: Board) -> tuple[bool, str]:
        fits, text = fit(board, self.bytes, self.arena.total)
        if not fits:
            return False, f"TOO SMALL: {text} ({board.source})"
        if self.outside is not None:
            return False, f"CANNOT RUN: {self.outside}; its size would fit: {text} ({board.source})"
        return True, f"fits: {text} ({board.source})"

    def borders(self) -> list[str]:
        """Return the float inputs and outputs, each of which costs a conversion on the device."""
        ends = [*self.summary.inputs, *self.summary.outputs]
        tensors = [self.summary.tensors[i] for i in ends]
        return [tensor.name for tensor in tensors if tensor.dtype == "float32"]

    def _borders_text(self) -> str:
        """Return what the float borders cost: conversions, or arithmetic that --io does not change."""
        names = self.borders()
        if names and not any(tensor.dtype in QUANTA for tensor in self.summary.tensors):
            return f"float {', '.join(names)}, and all between: --int8 --io int8 is what microcontrollers take"
        converted = {
            self.summary.tensors[i].name
            for op in self.summary.ops
            for i in _converted(self.summary, op)
        }
        said = []
        if saved := [name for name in names if name in converted]:
            said.append(f"float {', '.join(saved)}: --io int8 saves the conversions on the device")
        if kept := [name for name in names if name not in converted]:
            said.append(f"float {', '.join(kept)}: computed in float, whatever --io says")
        return " · ".join(said)

    def peak(self) -> dict[str, Any]:
        """Return the operator with most memory alive and the tensors that are alive then."""
        op = self.summary.ops[self.arena.peak] if self.summary.ops else None
        return {
            "operator": None if op is None else op.code,
            "number": self.arena.peak,
            "bytes": self.arena.peak_bytes,
            "tensors": [
                {"name": t.name, "shape": list(t.shape)}
                for t in (self.summary.tensors[i] for i in self.arena.alive)
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "file": str(self.path),
            "bytes": self.bytes,
            "arena": {"head": self.arena.head, "tail": self.arena.tail, "total": self.arena.total},
            "peak": self.peak(),
            "float_borders": self.borders(),
            "resolver": self.code,
            "outside": self.outside,
            "boards": [
                {"board": board.name, "fits": fits, "text": text, "source": board.source}
                for board in self.boards
                for fits, text in [self._fit(board)]
            ],
            "npus": [mapping.to_json() for mapping in self.npus],
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return the sheet as (title, text)."""
        arena, peak = self.arena, self.peak()
        lines = [
            ("model", f"{self.bytes / KIB:.0f} KiB of flash"),
            (
                "arena",
                f"{arena.total / KIB:.1f} KiB computed: {arena.head / KIB:.1f} activations, "
                f"{arena.tail / KIB:.1f} kept; a vendor's kernels may ask for scratch on top",
            ),
            ("peak", _peak_text(peak)),
            ("lower it", _way_down(self.summary, self.arena)),
        ]
        if said := self._borders_text():
            lines.append(("borders", said))
        lines += [(board.name, self._fit(board)[1]) for board in self.boards]
        lines += [(mapping.npu, _npu_text(mapping, len(self.summary.ops))) for mapping in self.npus]
        if self.outside is not None:
            lines.append(("operators", self.outside))
        return lines


def _peak_text(peak: dict[str, Any]) -> str:
    tensors = ", ".join("x".join(map(str, t["shape"])) for t in peak["tensors"])
    return (
        f"{peak['bytes'] / KIB:.1f} KiB at operator {peak['number']}, {peak['operator']}: {tensors}"
    )


def _converted(summary: TfliteSummary, op: TfliteOp) -> set[int]:
    """Return the inputs and outputs that ``op`` turns into integers or back."""
    ends = {*summary.inputs, *summary.outputs} if op.code in CONVERSIONS else set()
    return ends & {*op.inputs, *op.outputs}


def _way_down(summary: TfliteSummary, arena: Arena) -> str:
    """Return what makes the peak smaller: a border's copy, the places that attention compares, or the input's sizes."""
    shapes = [summary.tensors[i].shape for i in summary.inputs]
    picture = any(len(shape) == 4 and min(shape[1:3]) > 1 for shape in shapes)
    peak = summary.ops[arena.peak] if summary.ops else None
    if peak is not None and (ends := _converted(summary, peak)):
        names = ", ".join(sorted(summary.tensors[i].name for i in ends))
        return f"--io int8: {names} lies there in float and in integers"
    if peak is not None and peak.code in COMPARES:
        alive = [summary.tensors[i].shape for i in arena.alive]
        largest = max(alive, key=math.prod)
        if len(largest) > 2 and largest[-1] == largest[-2] > 1:
            how = "half the resolution makes" if picture else "half as long an input makes"
            share = "a sixteenth" if picture else "a quarter"
            said = f"attention's {largest[-2]}x{largest[-1]} {share}, half the heads half of it"
            return f"{how} {said}"
    if picture:
        return "half the resolution quarters the activations, half the width halves them"
    if all(len(shape) < 3 for shape in shapes):
        return "fewer features make the activations smaller"
    return "a shorter input and fewer channels make the activations smaller"


def _npu_text(mapping: Mapping | Refusal, operators: int) -> str:
    if isinstance(mapping, Refusal):
        return mapping.error
    whole = mapping.on_npu + sum(mapping.on_cpu.values())
    off = ", ".join(
        f"{count} {kind}{f': {mapping.why[kind]}' if kind in mapping.why else ''}"
        for kind, count in sorted(mapping.on_cpu.items())
    )
    counted = "" if whole == operators else f", as Vela splits the file's {operators}"
    return (
        f"{mapping.on_npu} of {whole} operators on the NPU{counted}{f' (not: {off})' if off else ''} · "
        f"SRAM {mapping.sram_kib:.1f} KiB · estimate {mapping.cycles} cycles, {mapping.estimate_ms:.2f} ms "
        f"({mapping.system}, {mapping.memory}, Vela {mapping.version}; an estimate, not measured)"
    )


def mcu_sheet(path: Path, boards: Sequence[str] = (), npus: Sequence[str] = ()) -> Sheet:
    """Return the sheet of a .tflite for ``boards`` and ``npus``.

    Raises UsageError for another kind of file or an unknown name, EdgeconvError for a damaged file.
    """
    if path.suffix.lower() != ".tflite":
        raise UsageError(
            f"{path}: a microcontroller's sheet is of a .tflite file: edgeconv export MODEL.onnx --int8 "
            "--io int8 --target tflite makes one, with the integers of an .onnx that holds some"
        )
    refuse_no_file(path)
    chosen = tuple(find_board(name) for name in boards)
    data = path.read_bytes()
    summary = read_tflite(data, str(path))
    if summary.subgraphs != 1:
        raise EdgeconvError(
            f"{path} holds {summary.subgraphs} subgraphs; the sheet is of a file with one, as converters "
            "of nets without branches write it"
        )
    unknown = [t.name for t in summary.tensors if -1 in t.shape]
    if unknown:
        raise EdgeconvError(f"{path}: {unknown[0]} has no fixed shape, so its arena is not known")
    try:
        code, outside = resolver(summary), None
    except EdgeconvError as error:
        code, outside = None, str(error)
    rules = device_rules(summary)["tflite_micro"]["outside"]
    custom = [op.removeprefix(CUSTOM) for op in sorted(summary.histogram) if op.startswith(CUSTOM)]
    mappings = map_to(path, npus, sum(summary.histogram.values()), custom)
    return Sheet(
        path,
        len(data),
        summary,
        plan_arena(summary),
        code,
        outside or ("; ".join(rules) or None),
        chosen,
        mappings,
    )
