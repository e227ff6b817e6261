"""Check the calibration pictures before they are trusted, and what they made of the net after."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Clamp
from edgeconv.export.quant.observe import Feeds, Observation
from edgeconv.recipe import Activation

FEWEST = 2
NOISE = 0.2
"""Correlation of neighbouring pixels below which a picture looks random; real ones are above 0.8."""
COLOURS = (1, 3)
"""Channels of a picture: of other maps, latents of a diffusion such as (1, 4, H, W), noise may be what is real."""
LOOKED_AT = 32
"""Pictures whose neighbouring pixels are compared."""
STABLE = 1.5
"""How much wider one half's range may be than the other's before a tensor counts as unstable."""
FLAG = "--allow-poor-calibration"


@dataclass(frozen=True)
class PictureCheck:
    """What the pictures look like: warnings for the user and figures for the manifest."""

    warnings: tuple[str, ...]
    figures: dict[str, Any]


def check_pictures(
    feeds: Feeds,
    *,
    expected: Mapping[str, tuple[float, float]] | None = None,
    allow_poor: bool = False,
) -> PictureCheck:
    """Look at calibration samples (input name -> array of one sample) before they are used.

    ``expected`` maps an input to the range that its preprocessing gives. Raises EdgeconvError for
    one picture, constant or random-looking ones unless ``allow_poor``, which makes them warnings.
    """
    if not feeds:
        raise EdgeconvError("there are no calibration pictures: name a folder with --calib")
    complaints = _complaints(feeds)
    if complaints and not allow_poor:
        raise EdgeconvError(f"{complaints[0]}; give real pictures, or {FLAG}")
    ranges = _ranges(feeds)
    warnings = [*complaints, *_range_warnings(ranges, expected or {})]
    figures = {"count": len(feeds), "ranges": ranges}
    return PictureCheck(tuple(warnings), figures)


def _ranges(feeds: Feeds) -> dict[str, list[float]]:
    """Return the least and the largest value of each input over all feeds."""
    found: dict[str, list[float]] = {}
    for feed in feeds:
        for name, value in feed.items():
            low, high = float(value.min()), float(value.max())
            seen = found.setdefault(name, [low, high])
            seen[:] = [min(seen[0], low), max(seen[1], high)]
    return found


def _complaints(feeds: Feeds) -> list[str]:
    if len(feeds) < FEWEST:
        return ["one picture cannot calibrate a net: its ranges are that picture's"]
    first = feeds[0]
    constant, same = dict.fromkeys(first, True), dict.fromkeys(first, True)
    for feed in feeds:
        for name in first:
            constant[name] = constant[name] and float(np.std(feed[name])) < 1e-6
            same[name] = same[name] and np.array_equal(first[name], feed[name])
    found = []
    alone = (
        sum(value.ndim == 4 for value in first.values()) < 2
    )  # else one may be a mask or a noise level
    for name, value in first.items():
        if value.dtype.kind != "f" or value.size == 1:
            continue  # a count, an index or a switch may well be the same in every sample
        if constant[name] and (alone or same[name]):
            found.append(f"the calibration pictures for {name} are constant")
        elif same[name]:
            found.append(f"the calibration pictures for {name} are all the same")
        elif (
            value.ndim == 4
            and value.shape[1] in COLOURS[0 if alone else 1 :]
            and min(value.shape[2:]) >= 8
        ):
            few = [neighbour_correlation(feed[name]) for feed in feeds[:LOOKED_AT]]
            likeness = float(np.median(few))
            if likeness < NOISE:
                found.append(
                    f"the calibration pictures for {name} look random: neighbouring pixels "
                    f"correlate by {likeness:.2f}, in photographs by more than 0.8"
                )
    return found


def neighbour_correlation(picture: NDArray[Any]) -> float:
    """Return the correlation of horizontally neighbouring values of a (1, C, H, W) picture.

    >>> neighbour_correlation(np.arange(64.0).reshape(1, 1, 8, 8)) > 0.9
    True
    """
    values = picture.astype(np.float64)
    left, right = values[..., :-1].ravel(), values[..., 1:].ravel()
    left, right = left - left.mean(), right - right.mean()
    size = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / size if size > 0 else 1.0


def _range_warnings(
    ranges: Mapping[str, list[float]], expected: Mapping[str, tuple[float, float]]
) -> list[str]:
    found = []
    for name, (low, high) in expected.items():
        if name not in ranges:
            continue
        seen_low, seen_high = ranges[name]
        fits = f"{name} holds {seen_low:.3g}..{seen_high:.3g}, its preprocessing gives {low:.3g}..{high:.3g}"
        if seen_low >= 0 and seen_high > 3 * max(abs(low), abs(high)) and 3 < seen_high <= 256:
            found.append(f"0..255 fed where {low:.3g}..{high:.3g} is expected: {fits}")
        elif seen_low < low - 0.05 * (high - low) or seen_high > high + 0.05 * (high - low):
            found.append(f"values outside of what the preprocessing can give: {fits}")
        elif low < -0.5 and seen_low >= 0.0 and seen_high <= 1.0:
            found.append(f"0..1 fed where {low:.3g}..{high:.3g} is expected: {fits}")
        elif seen_high - seen_low < 0.1 * (high - low):
            found.append(f"the pictures use little of the expected range: {fits}")
    return found


def stability(seen: Observation) -> dict[str, Any]:
    """Compare the ranges of two disjoint halves of the pictures.

    Returns the median and the worst ratio of the halves' spans, the tensor it belongs to, and how
    many tensors are beyond STABLE.
    """
    ratios = {}
    for name, stats in seen.tensors.items():
        if len(stats.low) < 2:
            continue
        spans = [
            max(float(stats.high[half::2].max()), 0.0) - min(float(stats.low[half::2].min()), 0.0)
            for half in (0, 1)
        ]
        ratios[name] = max(spans) / min(spans) if min(spans) > 0 else 1.0
    if not ratios:
        return {}
    worst = max(ratios, key=lambda name: ratios[name])
    return {
        "median_ratio": float(np.median(list(ratios.values()))),
        "worst_ratio": ratios[worst],
        "worst_tensor": worst,
        "unstable_tensors": sum(ratio > STABLE for ratio in ratios.values()),
    }


def clip_rates(
    seen: Observation,
    activations: Mapping[str, Activation],
    bounds: Mapping[str, Clamp] = MappingProxyType({}),
) -> dict[str, float]:
    """Return, a tensor, the share of sampled values beyond what its integers can hold.

    Values beyond ``bounds``, which no reader can tell from the bound (``needed_bounds``), count as it.
    """
    rates = {}
    for name, quantization in activations.items():
        if name in seen.tensors:
            half = quantization.scale / 2
            low = (-128 - quantization.zero_point) * quantization.scale - half
            high = (127 - quantization.zero_point) * quantization.scale + half
            sample = np.clip(seen.tensors[name].sample, *bounds.get(name, (-np.inf, np.inf)))
            rates[name] = float(((sample < low) | (sample > high)).mean())
    return rates
