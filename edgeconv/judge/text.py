"""A verdict in words and as data, the same for an export, for parity and for every report."""

import math
from collections.abc import Mapping
from typing import Any

from edgeconv.judge.measures import show
from edgeconv.judge.verdict import BOXES, Finding, Verdict

PROMISED = ("below_floor_db", "turned_beyond_low")
"""Figures that are measured where the recipe simulated in float is known."""


def number(value: float) -> float | str:
    """Return a figure as JSON can hold it: inf, -inf and nan as text."""
    return float(value) if math.isfinite(value) else str(value)


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON data."""
    return {
        "ok": bool(verdict),
        "converted": verdict.converted,
        "good_enough": verdict.good_enough,
        "figures": {output: _numbers(figures) for output, figures in verdict.figures.items()},
        "parts": {
            output: {part: _numbers(figures) for part, figures in parts.items()}
            for output, parts in verdict.parts.items()
        },
        "missed": [_finding(finding) for finding in verdict.missed],
        "notes": list(verdict.notes),
        "doubts": list(verdict.doubts),
    }


def _numbers(figures: Mapping[str, float]) -> dict[str, float | str]:
    return {name: number(value) for name, value in figures.items()}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "output": finding.output,
        "part": finding.part,
        "metric": finding.metric,
        "got": number(finding.got),
        "wanted": number(finding.wanted),
        "text": str(finding),
    }


def figures_text(verdict: Verdict) -> str:
    """Return the figures that matter most: decisions, the worst place's noise, the largest error.

    The worst output, and the part of it, is named where there is more than one.
    """
    said = []
    agreeing = {name: f for name, f in verdict.figures.items() if "agreement_top1" in f}
    if agreeing:
        name, scored = min(agreeing.items(), key=lambda item: item[1]["agreement_top1"])
        of = f" ({name})" if len(verdict.figures) > 1 else ""
        low, high = 100 * scored["agreement_top1_low"], 100 * scored["agreement_top1_high"]
        share = 100 * scored["agreement_top1"]
        said.append(f"top-1 agreement with float {share:.1f} % [{low:.1f}, {high:.1f}]{of}")
    if right := next((f for f in verdict.figures.values() if "top1" in f), None):
        said.append(
            f"top-1 {100 * right['top1']:.1f} % (float {100 * right['reference_top1']:.1f} %)"
        )
    places = {place: f for place, f in verdict.places.items() if "sqnr_db" in f}
    if places:
        output, part = min(places, key=lambda place: _noise(places[place]))
        worst = places[output, part]
        text = f"SQNR {show('sqnr_db', worst['sqnr_db'])} dB"
        if "sqnr_centred_db" in worst:
            centred = show("sqnr_centred_db", worst["sqnr_centred_db"])
            text += f", {centred} with the mean removed"
        if len(places) > 1:
            text += f" (worst: {', '.join(filter(None, (output, part)))})"
        said.append(text)
        said.append(
            f"max error {max(f['max_abs_error'] for f in verdict.figures.values() if 'max_abs_error' in f):.2g}"
        )
    whole = {name: f for name, f in verdict.figures.items() if "equal" in f}
    if whole:
        name = min(whole, key=lambda name: whole[name]["equal"])
        said.append(f"{name}: {equal_text(whole[name])} of its values equal float's")
    return " · ".join(said)


def equal_text(figures: Mapping[str, float]) -> str:
    """Return the share of equal whole numbers with its interval.

    >>> equal_text({"equal": 0.975, "equal_low": 0.8, "equal_high": 1.0})
    '97.5 % [80.0, 100.0]'
    """
    low, high = 100 * figures["equal_low"], 100 * figures["equal_high"]
    return f"{100 * figures['equal']:.1f} % [{low:.1f}, {high:.1f}]"


def _noise(figures: Mapping[str, float]) -> float:
    return figures.get("sqnr_centred_db", figures["sqnr_db"])


def judgement(verdict: Verdict, *, integer: bool) -> str:
    """Return what was decided: for an INT8 file, both of its questions by themselves."""
    if verdict:
        return "; ".join(["nothing missed" if verdict.doubts else "within budget", *verdict.doubts])
    return f"MISSED: {what_missed(verdict, integer=integer)}"


def what_missed(verdict: Verdict, *, integer: bool) -> str:
    """Return what a verdict that does not hold found, the answer to each of an INT8 file's questions.

    Of a file whose recipe nobody knows, and of the recipe itself, nothing is said about what it promises.
    """
    if not integer:
        return _worst(verdict, about_recipe=False) or str(verdict)
    broken = _worst(verdict, about_recipe=False)
    coarse = _worst(verdict, about_recipe=True)
    said, known = [], any(f in own for own in verdict.places.values() for f in PROMISED)
    if broken:
        what = "the file is not what its recipe promises" if known else "it is not what float gives"
        said.append(f"{what} ({broken})")
    elif known:
        said.append("the file is what its recipe promises")
    if coarse:
        what = "the recipe is" if verdict.blames_recipe else "what it gives is"
        said.append(f"{what} not good enough ({coarse})")
    return "; ".join(said)


def _worst(verdict: Verdict, *, about_recipe: bool) -> str:
    found = [f for f in verdict.missed if f.about_recipe == about_recipe]
    if not found:
        return ""
    worst = min(found, key=_clearest)
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{worst}{more}"


def _clearest(finding: Finding) -> tuple[bool, float]:
    """Order findings: a detector's lost boxes say more than any noise, and noise more than what follows of it."""
    noise = finding.got if finding.metric == "sqnr_centred_db" else math.inf
    return finding.metric not in BOXES, noise
