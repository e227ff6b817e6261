"""Do the samples that verify leave the ranges that calibration found? Then they are of another kind."""

from typing import Any

import numpy as np

from edgeconv.export.verify import Expected
from edgeconv.recipe import Recipe
from edgeconv.spread import spread

SOME = 32
"""Samples whose inputs are looked at."""
SURELY = 0.05
"""A share of the values that no clipping of outliers leaves outside: that is of a hundredth at most."""


def beyond_ranges(recipe: Recipe, expected: Expected) -> dict[str, Any] | None:
    """Return ``tensor`` and ``share`` of the input or output that leaves its range most; None where none surely does.

    What is not calibrated (fixed by its operator, or in float) has no such range.
    """
    feeds = spread(expected.feeds, SOME)
    seen = {
        name: [np.asarray(feed[name]) for feed in feeds] for name in (feeds[0] if feeds else ())
    }
    seen |= {name: [value] for name, value in expected.outputs.items()}
    shares = {}
    for name, values in seen.items():
        known = recipe.activations.get(name)
        if known is None or known.fixed:
            continue
        low, high = known.low - known.scale / 2, known.high + known.scale / 2
        outside = sum(int(((value < low) | (value > high)).sum()) for value in values)
        shares[name] = outside / max(1, sum(value.size for value in values))
    name = max(shares, key=lambda name: shares[name], default="")
    return {"tensor": name, "share": shares[name]} if shares.get(name, 0.0) >= SURELY else None
