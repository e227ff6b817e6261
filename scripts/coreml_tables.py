"""The rows of docs/coreml_results.md, from the logits of every runner."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from make_results import Case
from numpy.typing import NDArray

from edgeconv import metrics

Logits = NDArray[np.float32]
HALF_COUNT = 50
"""Pictures for PyTorch in half precision."""
PACKAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "fp32": ("FP32", {"precision": "fp32"}),
    "fp16": ("FP16", {"precision": "fp16"}),
    "int8": ("INT8, fp16 compute", {"precision": "int8"}),
    "int8_fp32": ("INT8, fp32 compute", {"precision": "int8", "coreml_compute": "fp32"}),
    "weights": ("INT8 weights alone", {"precision": "int8", "int8_weights": True}),
}


@dataclass(frozen=True)
class Measured:
    """Everything that was run for one case: logits (N, classes) by runner, and what goes with them."""

    logits: dict[str, Logits]
    truth: NDArray[np.int64]
    sizes: dict[str, int]
    half_db: tuple[float, float]
    quanta: dict[str, str]
    recipe: str


def package_rows(case: Case, made: Measured) -> list[dict[str, str]]:
    """Return a row for each package: size, distance from the float reference, top-1."""
    want = made.logits["float"]
    before = metrics.correct(want, made.truth)
    rows = []
    for key, (title, _) in PACKAGES.items():
        got = made.logits[key]
        after, same = metrics.correct(got, made.truth), metrics.agreeing(want, got)
        low, high = metrics.wilson_interval(int(same.sum()), len(same))
        sqnr = f"{metrics.sqnr_db(want, got):.1f}"
        if key == "fp16":
            few = metrics.sqnr_db(want[:HALF_COUNT], got[:HALF_COUNT])
            plain, folded = made.half_db
            sqnr += (
                f" (first {HALF_COUNT}: {few:.1f}; PyTorch half {plain:.1f}, folded {folded:.1f})"
            )
        rows.append(
            {
                "net": case.title,
                "package": title,
                "MB": f"{made.sizes[key] / 1e6:.2f}",
                "SQNR dB": sqnr,
                "agreement % [95 %]": f"{100 * same.mean():.2f} [{100 * low:.1f}, {100 * high:.1f}]",
                "top-1 %": f"{100 * after.mean():.2f}",
                "float top-1 %": f"{100 * before.mean():.2f}",
                "McNemar p": f"{metrics.mcnemar_p(before, after):.2g}",
                "pictures": str(len(want)),
            }
        )
    return rows


def paired_rows(case: Case, made: Measured) -> list[dict[str, str]]:
    """Return INT8 beside the same recipe in onnxruntime: who agrees with float where."""
    want = made.logits["float"]
    theirs = metrics.agreeing(want, made.logits["ort"])
    rows = []
    names = {
        "int8": "Core ML, fp16 compute",
        "int8_grid": "the same, logits on the grid",
        "int8_fp32": "Core ML, fp32 compute",
        "int8_fp32_grid": "the same, logits on the grid",
        "ort_plain": "onnxruntime, rewrites off",
        "onnx": "the exported .onnx",
    }
    for key, title in names.items():
        ours = metrics.agreeing(want, made.logits[key])
        more, less = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        count = len(ours)
        spread = 1.96 * math.sqrt(max(more + less - (more - less) ** 2 / count, 0.0)) / count
        difference = (more - less) / count
        low, high = 100 * (difference - spread), 100 * (difference + spread)
        rows.append(
            {
                "net": case.title,
                "runner": title,
                "quanta, layer by layer": made.quanta.get(key, ""),
                "SQNR dB": f"{metrics.sqnr_db(want, made.logits[key]):.1f}",
                "agreement %": f"{100 * ours.mean():.2f}",
                "onnxruntime's %": f"{100 * theirs.mean():.2f}",
                "only here / only there": f"{more} / {less}",
                "difference, points [95 %]": f"{100 * difference:+.2f} [{low:+.2f}, {high:+.2f}]",
                "McNemar p": f"{metrics.mcnemar_p(theirs, ours):.2g}",
            }
        )
    return rows


def table(rows: list[dict[str, str]]) -> str:
    """Return rows as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)]) + "\n"
