"""The same layers in two files side by side: which of them INT8 made faster, and which not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SAME = 2.0
"""Two layers are the same one when their multiply-adds differ by less: padded channels add some."""


@dataclass(frozen=True)
class Layer:
    """A layer in both files: multiply-adds, microseconds and shares of the measured peak of each.

    ``name`` is that of the first file; the last entry of a list, without multiply-adds, is all
    that is neither convolution nor product.
    """

    name: str
    macs: int
    us: float
    reference_us: float
    of_peak: float | None
    reference_of_peak: float | None


def pair_layers(
    mine: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> list[Layer] | None:
    """Pair the convolutions and products of two profiles in the order they run, the rest as a sum.

    None where they are not the same net: other counts, or other multiply-adds.
    """
    ours, theirs = _compute(mine), _compute(other)
    if not ours or len(ours) != len(theirs):
        return None
    layers = []
    for a, b in zip(ours, theirs, strict=True):
        if not 1 / SAME < a["macs"] / b["macs"] < SAME:
            return None
        layers.append(Layer(a["name"], a["macs"], a["us"], b["us"], a["of_peak"], b["of_peak"]))
    rest = [sum(op["us"] for op in ops if not op["macs"]) for ops in (mine, other)]
    return [*layers, Layer("all that only moves data", 0, rest[0], rest[1], None, None)]


def _compute(ops: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((op for op in ops if op["macs"]), key=lambda op: op["order"])


def with_pairs(
    profiles: Mapping[str, Mapping[str, Any]], references: Mapping[str, str]
) -> dict[str, Any]:
    """Give each profile its ``pairs`` with the reference's: {"reference", "layers"}, where they fit."""
    found: dict[str, Any] = {}
    for label, profile in profiles.items():
        found[label] = dict(profile)
        other = profiles.get(references.get(label, ""), {})
        if "ops" not in profile or "ops" not in other:
            continue
        layers = pair_layers(profile["ops"], other["ops"])
        if layers is not None:
            rows = [asdict(layer) for layer in layers]
            found[label]["pairs"] = {"reference": references[label], "layers": rows}
    return found
