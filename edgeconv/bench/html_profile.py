"""The page's sections on operators: bars, roofline, and the same layers of two files side by side."""

from collections.abc import Mapping
from typing import Any

from edgeconv.bench.results import Report
from edgeconv.bench.text_profile import pair_cells, short_names
from edgeconv.reports import svg

SHOWN = 40
"""Operators of a file that the page lists, the slowest first."""


def profiles(report: Report) -> list[dict[str, Any]]:
    """Return what the page shows of every profiled row."""
    return [_profile(label, profile) for label, profile in report.profile.items()]


def _profile(label: str, profile: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in profile:
        return {"label": label, "error": profile["error"]}
    shown = profile["ops"][:SHOWN]
    widest = (profile["ops"][0]["us"] or 1.0) if profile["ops"] else 1.0
    names = short_names([op["name"] for op in shown], 72)
    return {
        "label": label,
        "error": "",
        "how": profile["how"],
        "sentences": profile["sentences"],
        "ops": [_operator(op, name, widest) for op, name in zip(shown, names, strict=True)],
        "roofline": _roofline(profile),
        "pairs": _pairs(profile),
    }


def _operator(op: Mapping[str, Any], name: str, widest: float) -> dict[str, Any]:
    macs = op["macs"]
    return {
        "name": name,
        "kind": op["op"],
        "us": f"{op['us']:.1f}",
        "colour": 1 if op["memory_bound"] else 0,
        "width": round(120 * op["us"] / widest),
        "cells": (
            f"{macs / 1e6:.2f}" if macs else "",
            f"{op['gmacs_per_s']:.1f}" if macs else "",
            "" if op["of_peak"] is None else f"{100 * op['of_peak']:.0f} %",
        ),
    }


def _pairs(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same layers of two files side by side, in the order they run."""
    if "pairs" not in profile:
        return None
    pairs = profile["pairs"]
    names = short_names([one["name"] for one in pairs["layers"]], 72)
    rows = [[name, *pair_cells(layer)] for layer, name in zip(pairs["layers"], names, strict=True)]
    return {"reference": pairs["reference"], "rows": rows}


def _roofline(profile: Mapping[str, Any]) -> str:
    ops: list[dict[str, float]] = [op for op in profile["ops"] if op["macs"]]
    if not ops:
        return ""
    peak = profile["peak"]
    speeds: dict[str, float] = peak["gbytes_per_s"]
    limits = [
        v for k in ("float_gmacs_per_s", "int8_gmacs_per_s") if isinstance(v := peak[k], float)
    ]
    slow, fast = min(speeds.values()), max(speeds.values())
    xs = [op["intensity"] for op in ops]
    x = svg.axis_over("multiply-adds a byte", xs, log=True)
    rates = [op["gmacs_per_s"] for op in ops if op["gmacs_per_s"] > 0]
    y = svg.axis_over("GMAC/s", [*rates, *limits], log=True)
    roofs = ""
    for limit in limits:
        for speed in (slow, fast):
            knee = min(max(limit / speed, x.low), x.high)
            start = max(x.low, y.low / speed)
            path_x = [min(start, knee), knee, x.high]
            path_y = [min(limit, speed * v) for v in path_x]
            roofs += svg.polyline(path_x, path_y, x, y, "roof")
    kinds = [("limited by multiply-adds", False), ("limited by moving data", True)]
    measured = [op for op in ops if op["gmacs_per_s"] > 0]
    series = []
    for name, bound in kinds:
        some = [op for op in measured if op["memory_bound"] == bound]
        series.append(
            svg.Series(name, [op["intensity"] for op in some], [op["gmacs_per_s"] for op in some])
        )
    return svg.points(series, x, y, "Roofline", roofs)
