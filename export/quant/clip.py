"""Where to clip a tensor: the mean cube of the error is smallest there."""

import numpy as np
from numpy.typing import NDArray

from edgeconv.recipe import Form, choose_scale

BINS = 2048
STEPS = 41
NARROWEST = 0.2


def clip_search(
    values: NDArray[np.float32], low: float, high: float, form: Form
) -> tuple[float, float]:
    """Return the range within [low, high] with the smallest mean |error|^3 over ``values``.

    ``low`` and ``high`` are the true extremes, which a sample may miss. The cube weighs clipping
    more than the square does: MSE clips too much for nets with few channels.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return low, high
    width = (high - low) / BINS
    bins = ((values - np.float32(low)) * np.float32(1 / width)).astype(np.int32)
    weights = np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS).astype(np.float32)
    centres = (low + (np.arange(BINS) + 0.5) * width).astype(np.float32)
    used = weights > 0
    centres, weights = centres[used], weights[used]
    factors = np.linspace(1.0, NARROWEST, STEPS)
    best = (low, high)
    for _ in range(2):
        best = _best([(best[0], high * f) for f in factors], centres, weights, form)
        if low < 0:
            best = _best([(low * f, best[1]) for f in factors], centres, weights, form)
    return best


def _best(
    ranges: list[tuple[float, float]],
    centres: NDArray[np.float32],
    weights: NDArray[np.float32],
    form: Form,
) -> tuple[float, float]:
    scales = [choose_scale(low, high, form) for low, high in ranges]
    step = np.array([[s.scale] for s in scales], np.float32)
    zero = np.array([[s.zero_point] for s in scales], np.float32)
    integers = np.clip(np.rint(centres / step) + zero, -128, 127)
    error = np.abs((integers - zero) * step - centres)
    return ranges[int(np.argmin((error**3) @ weights))]
