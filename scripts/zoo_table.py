"""The lines of make_zoo.py as a page of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

TARGETS = ("onnx", "tflite", "coreml")
HEAD = """# Nets that other people wrote

Made by `scripts/make_zoo.py table` from the lines that `scripts/make_zoo.py run` wrote.

Random weights with settled batch-norm statistics unless the name says real. Exit codes in the order
ONNX, TFLite, Core ML: 0 within budget, 3 a budget was missed, 1 refused or failed. SQNR in dB over the
verification pictures, the worst output's; quantize_static is onnxruntime's (QDQ, U8S8, per channel,
min/max) on the same hub graph and pictures, its worst output beside. Share: multiply-adds in INT8.

| net | input | pictures | FP32 | INT8 | SQNR ONNX | TFLite | Core ML | quantize_static | share % | float operators | TFLite operators (transposes) | seconds |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: a row a net, then what was refused or failed, in its own words."""
    rows = [
        _row(line) for line in sorted(lines, key=lambda line: str(line["net"])) if "fp32" in line
    ]
    text = HEAD + "".join(rows) + "\n" + _totals(lines)
    said = [
        entry for line in sorted(lines, key=lambda line: str(line["net"])) for entry in _said(line)
    ]
    return text + ("\n## What was refused or missed\n\n" + "".join(said) if said else "")


def _row(line: Mapping[str, Any]) -> str:
    int8 = line["int8"]
    static = line.get("quantize_static", {})
    lite = int8["tflite"]
    cells = [
        line["net"],
        "x".join(map(str, line["input"])),
        "+".join(map(str, line["pictures"])),
        *("/".join(str(line["exits"][p][t]) for t in TARGETS) for p in ("fp32", "int8")),
        *(_worst(int8[t]) for t in TARGETS),
        _worst(static),
        f"{line['share']:.1f}" if "share" in line else "",
        ", ".join(f"{count} {op}" for op, count in line.get("float", {}).items()) or "none",
        f"{lite['ops']} ({lite['transposes']})" if "ops" in lite else "",
        f"{line['fp32_seconds'] + line['int8_seconds']:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |\n"


def _worst(figures: Mapping[str, Any]) -> str:
    values = figures.get("sqnr", {}).values()
    return f"{min(values):.1f}" if values else ""


def _totals(lines: Sequence[Mapping[str, Any]]) -> str:
    made = [line for line in lines if "fp32" in line]
    parts = [f"{len(lines)} nets."]
    for precision in ("fp32", "int8"):
        good = sum(all(code == 0 for code in line["exits"][precision].values()) for line in made)
        parts.append(f"{precision.upper()}: {good} exit 0 to every target.")
    compared = [
        line
        for line in made
        if _worst(line["int8"]["onnx"]) and "sqnr" in line.get("quantize_static", {})
    ]
    better = sum(
        all(
            line["int8"]["onnx"]["sqnr"].get(name, 0.0) >= other - 0.5
            for name, other in line["quantize_static"]["sqnr"].items()
        )
        for line in compared
    )
    parts.append(
        f"INT8 ONNX at least quantize_static's less 0.5 dB on every output: {better} of {len(compared)}."
    )
    return " ".join(parts) + "\n"


def _said(line: Mapping[str, Any]) -> list[str]:
    if "failed" in line:
        return [f"- {line['net']}: {line['failed']}\n"]
    found: dict[str, list[str]] = {}
    for precision in ("fp32", "int8"):
        for target in TARGETS:
            figures = line[precision][target]
            if figures["exit"] and figures.get("said") and figures["said"] != "refused in float":
                found.setdefault(figures["said"], []).append(f"{precision} {target}")
    return [f"- {line['net']} ({', '.join(where)}): {text}\n" for text, where in found.items()]
