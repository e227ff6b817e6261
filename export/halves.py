"""Do the recipes of two disjoint halves of the calibration samples differ more than chance?

Where they do, what was calibrated on still decides how good a recipe is: more samples would help.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.integers import make_integers
from edgeconv.export.options import ExportOptions
from edgeconv.export.pipeline import measure
from edgeconv.export.stages import Stages
from edgeconv.export.verify import promised
from edgeconv.export.work import Work

FEWEST = 8
"""Samples that a half and the verification must have to say anything."""
DRAWS, SURELY = 400, 0.01
WORTH = 0.5
"""Decibels that are worth a word."""


@dataclass(frozen=True)
class Halves:
    """``gap_db``: how much noisier the worse half's recipe is; ``surely``: more than by chance."""

    gap_db: float
    surely: bool
    samples: int

    def __str__(self) -> str:
        found = f"recipes of two halves of {self.samples} samples are {self.gap_db:.1f} dB apart"
        if self.surely:
            return f"{found}, more than chance: more samples for --calib"
        return f"{found}, not more than chance: more samples would hardly help"


def compare_halves(options: ExportOptions) -> Halves | None:
    """Make a recipe of each half and judge both on the samples that verify, pair by pair.

    None where there are too few samples to tell.
    """
    work = measure(replace(options, max_drop=None, force=True), quantized=False)
    samples = work.data.calibration
    if len(samples) < 2 * FEWEST or work.expected.count < FEWEST:
        return None
    noise = [_noise(work, samples[start::2]) for start in (0, 1)]
    gap, surely = differ(*noise)
    return Halves(abs(gap), surely and abs(gap) >= WORTH, len(samples))


def differ(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, bool]:
    """Return by how many dB ``first`` is noisier, and whether drawing samples again leaves that so.

    Both hold the noise power of each sample, (samples,), of the same samples.

    >>> one = np.linspace(1.0, 2.0, 20)
    >>> differ(2 * one, one)[1], differ(one, one[::-1])[1]
    (True, False)
    """
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(first), (DRAWS, len(first)))
    gaps = 10.0 * np.log10((first[draws].sum(axis=1) + 1e-30) / (second[draws].sum(axis=1) + 1e-30))
    low, high = np.quantile(gaps, [SURELY / 2, 1 - SURELY / 2])
    gap = 10.0 * np.log10((first.sum() + 1e-30) / (second.sum() + 1e-30))
    return float(gap), bool(low > 0.0 or high < 0.0)


def _noise(work: Work, samples: Any) -> NDArray[Any]:
    """Return the noise power of each verifying sample under the recipe of ``samples``."""
    made = make_integers(
        work.options,
        work.lowered.prepared,
        replace(work.data, calibration=tuple(samples)),
        work.source.preprocessing,
        lambda: work.expected,
        Stages(),
        work.threads,
    )
    held = promised(made.graph, made.recipe, work.expected, work.threads)
    total = np.zeros(work.expected.count)
    for name, wanted in work.expected.outputs.items():
        error = np.square(held.outputs[name].astype(np.float64) - wanted)
        spread = float(np.var(wanted, axis=0).sum()) + 1e-30
        total += error.reshape(len(total), -1).sum(axis=1) / spread
    return total
