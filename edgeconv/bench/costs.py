"""An operator's cost and how far it is from what this machine can do."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class OpCost:
    """One operator: ``us`` microseconds a run, multiply-adds, and bytes read and written once.

    ``integer`` says whether it multiplies integers. ``taken`` is False where a delegate left it
    to slower kernels (None: there is no delegate).
    """

    name: str
    op: str
    us: float
    macs: int
    bytes: int
    integer: bool
    taken: bool | None = None


@dataclass(frozen=True)
class Peak:
    """What this machine reaches: multiply-adds a second in float and int8, and bytes a second by size.

    Measured with a large 1x1 convolution in the same runtime with as many threads, and with copies
    of several sizes: what fits a cache moves faster.
    """

    float_macs: float | None
    int8_macs: float | None
    bandwidths: Mapping[int, float]

    def bandwidth(self, size: int) -> float:
        """Bytes a second of an operator that touches ``size`` bytes."""
        larger = [s for s in self.bandwidths if s >= size]
        return self.bandwidths[min(larger) if larger else max(self.bandwidths)]


def op_table(costs: Sequence[OpCost], peak: Peak) -> list[dict[str, Any]]:
    """Return JSON rows, the dearest first, each with its rate and its share of the peak.

    ``costs`` are in the order in which the operators run, which each row keeps as ``order``.
    """
    total = sum(cost.us for cost in costs) or 1.0
    rows = []
    for order, cost in sorted(enumerate(costs), key=lambda c: (-c[1].us, c[1].name)):
        rate = cost.macs / (cost.us * 1e-6) if cost.us > 0 else 0.0
        best = peak.int8_macs if cost.integer else peak.float_macs
        rows.append(
            {
                **asdict(cost),
                "order": order,
                "share": cost.us / total,
                "gmacs_per_s": rate / 1e9,
                "gbytes_per_s": cost.bytes / (cost.us * 1e3) if cost.us > 0 else 0.0,
                "intensity": cost.macs / cost.bytes if cost.bytes else 0.0,
                "of_peak": rate / best if best and cost.macs else None,
                "memory_bound": is_memory_bound(cost, peak),
            }
        )
    return rows


def is_memory_bound(cost: OpCost, peak: Peak) -> bool:
    """Whether moving its data takes this machine longer than its multiply-adds would at peak."""
    best = peak.int8_macs if cost.integer else peak.float_macs
    return not best or cost.macs / best < cost.bytes / peak.bandwidth(cost.bytes)


def sentences(costs: Sequence[OpCost], peak: Peak, whole_us: float | None) -> list[str]:
    """Say what the table shows: where the time goes, and how much of it INT8 cannot shorten."""
    total = sum(cost.us for cost in costs)
    if not total:
        return []
    said = []
    if whole_us is not None:
        said.append(f"operators sum to {total:.0f} us; the whole model takes {whole_us:.0f} us")
    moving = sum(cost.us for cost in costs if is_memory_bound(cost, peak))
    if moving > 0.1 * total:
        said.append(
            f"{100 * moving / total:.0f} % of the time goes to operators that move data rather than"
            " multiply: int8 makes them at most as much faster as it makes their data smaller"
        )
    idle = [cost for cost in costs if cost.taken is False]
    if idle:
        share = 100 * sum(cost.us for cost in idle) / total
        said.append(f"{len(idle)} operators outside the delegate take {share:.0f} % of the time")
    shuffles = ("Transpose", "TRANSPOSE", "QuantizeLinear", "DequantizeLinear", "QUANTIZE",
                "DEQUANTIZE", "ReorderInput", "ReorderOutput")  # fmt: skip
    extra = sum(cost.us for cost in costs if cost.op in shuffles)
    if extra > 0.05 * total:
        share = 100 * extra / total
        said.append(f"{share:.0f} % goes to transposes, reorderings, quantize and dequantize")
    return said


COPY_SIZES = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 26)


def copy_bandwidths(seconds: float = 0.03) -> dict[int, float]:
    """Bytes touched -> bytes a second of a plain copy (read and written both counted), the best seen."""
    rates = {}
    for size in COPY_SIZES:
        source = np.ones(size // 2, np.uint8)
        target = np.zeros_like(source)
        np.copyto(target, source)  # the first copy pays for the pages
        best, end, runs = float("inf"), time.perf_counter() + seconds, 0
        while runs < 5 or time.perf_counter() < end:
            runs += 1
            start = time.perf_counter()
            np.copyto(target, source)
            best = min(best, time.perf_counter() - start)
        rates[size] = size / best
    return rates
