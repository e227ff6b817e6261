"""How far an unknown order and width of accumulation can move a half-precision result."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.formats.mil_types import TensorType
from edgeconv.mil.evaluate import Noise, Program

STEPS = (1.0, 2.0, 8.0)
"""Half-precision half-steps of random error after each operation."""


def accumulation_band(
    program: Program, feeds: Sequence[Mapping[str, NDArray[Any]]], steps: Sequence[float] = STEPS
) -> dict[float, float]:
    """Return, for each size of error, the SQNR in dB of disturbed against undisturbed outputs.

    No document says how Core ML accumulates: a device whose fp16 outputs lie within the last of
    these figures of ``program.run`` shows nothing wrong. Infinite where nothing is half precision.
    Raises EdgeconvError where there are no feeds.
    """
    if not feeds:
        raise EdgeconvError("the band of half precision needs at least one sample")
    names = [n for n in program.parsed.outputs if isinstance(program.parsed.types[n], TensorType)]
    if not names:  # a classifier: its probabilities are a dictionary
        names = [
            op.arguments["probabilities"][0].name  # type: ignore[union-attr]
            for op in program.parsed.operations
            if op.kind == "classify"
        ]
    signal, error = 0.0, dict.fromkeys(steps, 0.0)
    for number, feed in enumerate(feeds):
        plain = _seen(program, feed, names, None)
        signal += sum(float(np.square(value).sum()) for value in plain.values())
        for size in steps:
            moved = _seen(program, feed, names, Noise(size, seed=number))
            error[size] += sum(float(np.square(moved[n] - plain[n]).sum()) for n in names)
    return {
        size: float("inf") if total == 0.0 else 10 * float(np.log10(signal / total))
        for size, total in error.items()
    }


def _seen(
    program: Program, feed: Mapping[str, NDArray[Any]], names: Sequence[str], noise: Noise | None
) -> dict[str, NDArray[np.float64]]:
    found: dict[str, NDArray[np.float64]] = {}

    def watch(name: str, value: NDArray[Any]) -> None:
        if name in names:
            found[name] = value.astype(np.float64)

    program.run(feed, watch=watch, noise=noise)
    return found
