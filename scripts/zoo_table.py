"""The lines of make_zoo.py as a page of Markdown."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from edgeconv.machine import describe
from edgeconv.terminal import reasons_text

Line = Mapping[str, Any]
TARGETS = ("onnx", "tflite", "coreml")
TITLES = {"onnx": "ONNX", "tflite": "TFLite", "coreml": "Core ML"}
PACKAGES = ("torch", "onnx", "onnxruntime", "ai-edge-litert", "coremltools")
NEAR_DB = 0.5
"""How far below quantize_static's an output may be and count as level."""
HEAD = """# Nets that other people wrote

Made by `scripts/make_zoo.py table` from the lines that `scripts/make_zoo.py run` wrote ({versions}; {machine},
busy with other work: seconds are an upper bound).

{summary}
Random weights with settled batch-norm statistics unless the name says real. Exit codes in the order
ONNX, TFLite, Core ML: 0 within budget, 3 a budget was missed, 1 refused or failed. SQNR in dB over the
verification samples, an output each; quantize_static is onnxruntime's (QDQ, U8S8, per channel,
min/max) on the same hub graph, calibration and verification samples. Agreement: how often the largest
score is the same as in float, of ONNX and of quantize_static. Share: multiply-adds in INT8. Random
nets hold small margins, so that the verdict's 95 % of agreement is missed by most of them at 64 pixels.
{when}

| net | input | samples | FP32 | INT8 | SQNR ONNX | TFLite | Core ML | quantize_static | agreement | share % | float operators | TFLite operators (transposes) | seconds |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def table(lines: Sequence[Line]) -> str:
    """Return the page: counts, a row a net, then what was refused or missed, in its own words."""
    made = sorted((line for line in lines if "fp32" in line), key=lambda line: str(line["net"]))
    not_built = [line for line in lines if "fp32" not in line]
    rows = "".join(map(_row, made))
    said = [entry for line in made for entry in _said(line)]
    text = HEAD.format(
        versions=", ".join(f"{name} {version(name)}" for name in PACKAGES),
        machine=describe().processor,
        summary=_summary(made, not_built),
        when=_when(made),
    )
    parts = [text + rows]
    if said:
        parts.append("## What was refused or missed\n\n" + "".join(said))
    if not_built:
        names = [f"- {line['net']}: {line['failed']}\n" for line in not_built]
        parts.append("## Nets that torch or their own code does not run here\n\n" + "".join(names))
    return "\n".join(parts)


def _when(made: Sequence[Line]) -> str:
    """Say which commit's rows are whose: the integers of later ones differ."""
    by_commit: dict[str, list[str]] = {}
    for line in made:
        by_commit.setdefault(line.get("commit", ""), []).append(line["net"])
    said = [f"Rows of commit {c}: {', '.join(names)}." for c, names in by_commit.items() if c]
    older = " Other rows are older than that." if said and "" in by_commit else ""
    return " ".join(said) + older


def _row(line: Line) -> str:
    int8 = line["int8"]
    static = line.get("quantize_static", {})
    lite = int8["tflite"]
    cells = [
        line["net"],
        line.get("input", ""),
        "+".join(map(str, line.get("pictures", ()))),
        *("/".join(str(line["exits"][p][t]) for t in TARGETS) for p in ("fp32", "int8")),
        *(_ratios(int8[t]) for t in TARGETS),
        _ratios(static) or static.get("said", ""),
        " ".join(f"{_least(f):.2f}" for f in (int8["onnx"], static) if f.get("agreement")),
        f"{line['share']:.1f}" if "share" in line else "",
        reasons_text(line.get("float", {})) or "none",
        f"{lite['ops']} ({lite['transposes']})" if "ops" in lite else "",
        f"{line['fp32_seconds'] + line['int8_seconds']:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |\n"


def _ratios(figures: Line) -> str:
    return ", ".join(f"{value:.1f}" for value in figures.get("sqnr", {}).values())


def _least(figures: Line) -> float:
    return float(min(figures["agreement"].values()))


def _summary(made: Sequence[Line], not_built: Sequence[Line]) -> str:
    count = len(made)
    failed = [n["net"] for n in made if any(f.get("traceback") for f in _all(n))]
    parts = [f"{count} nets ran; {len(not_built)} more do not run in torch here.\n\n"]
    parts.append(f"- Tracebacks: {_names(failed)}.\n")
    for precision in ("fp32", "int8"):
        misses = [line["net"] for line in made if not _reached(line, precision)]
        share = 100 * (count - len(misses)) / max(count, 1)
        parts.append(
            f"- {precision.upper()} to every target: {count - len(misses)} of {count} ({share:.0f} %)"
            f"{_excuse(precision)}; missed by: {_names(misses)}.\n"
        )
    for target in TARGETS:
        compared = [n for n in made if n["int8"][target].get("sqnr") and _static(n)]
        below = [n["net"] for n in compared if not _level(n, target)]
        parts.append(
            f"- INT8 in {TITLES[target]} not more than {NEAR_DB} dB below quantize_static on every output: "
            f"{len(compared) - len(below)} of {len(compared)}; below: {_names(below)}.\n"
        )
    less = [f"{n['net']} ({n['share']} %)" for n in made if n.get("share", 100.0) < 99.0]
    parts.append(f"- Less than 99 % of the multiply-adds in INT8: {_names(less)}.\n")
    return "".join(parts)


def _excuse(precision: str) -> str:
    if precision == "fp32":
        return ""
    return ", within budget or where quantize_static departs from float as much"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _all(line: Line) -> list[Line]:
    return [line[p][t] for p in ("fp32", "int8") for t in TARGETS]


def _static(line: Line) -> Mapping[str, float]:
    found: Mapping[str, float] = line.get("quantize_static", {}).get("sqnr", {})
    return found


def _level(line: Line, target: str) -> bool:
    got = line["int8"][target]["sqnr"]
    return all(got.get(name, 0.0) >= other - NEAR_DB for name, other in _static(line).items())


def _reached(line: Line, precision: str) -> bool:
    """Whether every target has its file, within budget or as near to float as quantize_static."""
    codes = line["exits"][precision]
    missed = [target for target in TARGETS if codes[target] == 3]
    if any(code == 1 for code in codes.values()) or (missed and precision == "fp32"):
        return False
    return all(bool(_static(line)) and _level(line, target) for target in missed)


def _said(line: Line) -> list[str]:
    found: dict[str, list[str]] = {}
    for precision in ("fp32", "int8"):
        for target in TARGETS:
            figures = line[precision][target]
            if figures["exit"] and figures.get("said") and figures["said"] != "refused in float":
                found.setdefault(figures["said"], []).append(f"{precision} {target}")
    return [f"- {line['net']} ({', '.join(where)}): {text}\n" for text, where in found.items()]
