"""Why a quantized model is not faster: causes that can be read off the models, the rows and the machine."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from edgeconv.bench.facts import ModelFacts
from edgeconv.bench.results import Row
from edgeconv.bench.statistics import Ratio
from edgeconv.machine import Machine


@dataclass(frozen=True)
class Cause:
    """One cause: a word for machines, a sentence with its figures for people, and the cure."""

    code: str
    sentence: str
    cure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON data."""
        return {"code": self.code, "sentence": self.sentence, "cure": self.cure}


def causes(facts: ModelFacts, row: Row, machine: Machine) -> list[Cause]:
    """Name what keeps this quantized model from its speed, the dearest first.

    Empty for a float model and where nothing is wrong.
    """
    if not facts.quantized:
        return []
    found = [
        _dynamic(facts),
        _weight_only(facts),
        _float_compute(facts),
        _islands(facts),
        _delegate(row),
        _transposes(facts),
        _dot_product(facts, machine),
        _threads(row),
    ]
    return [cause for cause in found if cause is not None]


def _dynamic(facts: ModelFacts) -> Cause | None:
    if not facts.dynamic:
        return None
    return Cause(
        "dynamic",
        f"{facts.dynamic} of {facts.compute} convolutions and products are dynamic-range: their"
        " weights are int8, but activations stay float and are quantized anew in every run",
        "quantize statically, with calibration: edgeconv export --int8",
    )


def _weight_only(facts: ModelFacts) -> Cause | None:
    if facts.integer or facts.dynamic or not facts.conversions:
        return None
    return Cause(
        "fake",
        f"none of its {facts.compute} convolutions and products computes in integers: the"
        f" {facts.conversions} quantize/dequantize operators only add work",
        "the file is quantized in name only: export the float model that it was made of with --int8",
    )


def _float_compute(facts: ModelFacts) -> Cause | None:
    left = facts.compute - facts.integer - facts.dynamic
    if not left or not facts.integer:
        return None
    names = ", ".join(facts.float_compute[:3]) + (" ..." if left > 3 else "")
    return Cause(
        "float-compute",
        f"{left} of {facts.compute} convolutions and products still compute in float ({names})",
        "give every one of them int8 weights and a quantized input and output",
    )


def _islands(facts: ModelFacts) -> Cause | None:
    if not facts.islands:
        return None
    ops: Counter[str] = Counter()
    for island in facts.islands:
        ops.update(island.ops)
    listed = ", ".join(f"{count} {op}" for op, count in ops.most_common(4))
    number = len(facts.islands)
    return Cause(
        "islands",
        f"{number} float island{'s' if number > 1 else ''} between integer layers ({listed}; first"
        f" at {facts.islands[0].example}): each pays a dequantize and a quantize",
        "quantize these operators too, or fold them into the layer before",
    )


def _delegate(row: Row) -> Cause | None:
    taken = row.delegation
    if not taken or (taken["partitions"] == 1 and not taken["fallback"]):
        return None
    left = ", ".join(f"{count} {op}" for op, count in taken["fallback"].items())
    if taken["partitions"] == 0:
        return Cause(
            "no-delegate", "XNNPACK took none of its operators: builtin kernels ran it all"
        )
    return Cause(
        "partitions",
        f"XNNPACK took {taken['delegated']} of {taken['ops']} operators in {taken['partitions']}"
        f" partitions; left to slower kernels: {left or 'none'}",
        "replace the operators that XNNPACK does not take",
    )


def _transposes(facts: ModelFacts) -> Cause | None:
    allowed = 2  # onnxruntime's own change to channels-last and back
    if facts.transposes <= allowed:
        return None
    share = f"{facts.transposes} transposes among {sum(facts.ops.values())} operators"
    return Cause("transposes", f"{share} move data and compute nothing", "")


def _dot_product(facts: ModelFacts, machine: Machine) -> Cause | None:
    if machine.int8_dot_product or not facts.integer:
        return None
    kind = "dotprod or i8mm" if "neon" in machine.features else "VNNI"
    return Cause(
        "no-dot-product",
        f"this processor has no {kind}: int8 products are widened to 16 bits first, which onnxruntime"
        " feels most",
        "on such boards the same model is usually faster as .tflite (XNNPACK)",
    )


def _threads(row: Row) -> Cause | None:
    for mark in row.marks:
        if mark.code == "threads":
            return Cause("threads", mark.reason)
    return None


def verdict(subject: Row, reference: Row, ratio: Ratio | None, found: list[Cause]) -> str:
    """Answer "did it pay?" in one sentence, with the ratio's interval."""
    if ratio is None:
        return f"{subject.label} and {reference.label} have no common rounds to compare"
    text = f"{subject.label} takes {ratio} the time of {reference.label}"
    if subject.cpu_ratio is not None and any(m.code == "load" for m in subject.marks):
        text += f" ({subject.cpu_ratio} by processor time, for the machine was busy)"
    if ratio.verdict == "faster":
        return f"{text}: it pays"
    why = f", because of: {', '.join(c.code for c in found)}" if found else ""
    slower = "it is slower" if ratio.verdict == "slower" else "no difference can be shown"
    return f"{text}: {slower}{why}"
