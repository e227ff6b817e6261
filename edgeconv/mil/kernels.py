"""Convolution and pooling in numpy: NCHW with any number of spatial axes, no framework.

Padding comes as (before, after) pairs, MIL's order. Everything is computed in the dtype of ``x``.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgeconv.formats.mil_types import MAX_ELEMENTS
from edgeconv.formats.protobuf import CorruptFileError

Array = NDArray[Any]
Ints = Sequence[int]
BLOCK = 1 << 17
"""Elements of a depthwise block, so that its three arrays stay in the second-level cache."""
COLUMNS = 1 << 24
"""Elements of an im2col matrix held at once."""


def bounded(shape: Ints, what: str) -> tuple[int, ...]:
    """Return ``shape``; raises CorruptFileError where an array of it would be absurdly large."""
    elements = 1
    for size in shape:
        if size < 0:
            raise CorruptFileError(f"{what} would need an array of shape {list(shape)}")
        elements *= size
    if elements > MAX_ELEMENTS:
        raise CorruptFileError(f"{what} would need {elements} elements at once")
    return tuple(shape)


def pad_spatial(x: Array, pads: Ints, value: float, what: str) -> Array:
    """Pad the axes behind the second one with ``value``."""
    if not any(pads):
        return x
    if min(pads) < 0:
        raise CorruptFileError(f"{what} has negative padding")
    pairs = list(zip(pads[::2], pads[1::2], strict=True))
    sizes = [size + low + high for size, (low, high) in zip(x.shape[2:], pairs, strict=True)]
    padded = np.full(bounded((*x.shape[:2], *sizes), what), value, x.dtype)
    inner = tuple(slice(low, low + size) for size, (low, _) in zip(x.shape[2:], pairs, strict=True))
    padded[(slice(None), slice(None), *inner)] = x
    return padded


def taps(kernel: Ints, strides: Ints, dilations: Ints, outs: Ints) -> list[tuple[Any, ...]]:
    """Return, for each kernel element, its index and the slices of a padded input it meets."""
    found = []
    for place in product(*(range(k) for k in kernel)):
        cut = tuple(
            slice(p * d, p * d + (out - 1) * s + 1, s)
            for p, d, out, s in zip(place, dilations, outs, strides, strict=True)
        )
        found.append((place, cut))
    return found


def convolve(
    x: Array, weight: Array, pads: Ints, strides: Ints, dilations: Ints, groups: int, what: str
) -> Array:
    """Cross-correlate x (N, C, ...) with weight (O, C/groups, ...)."""
    kernel = weight.shape[2:]
    if x.ndim != weight.ndim or len(kernel) != len(strides) or len(kernel) != len(dilations):
        raise CorruptFileError(f"{what}: the ranks of input, weight and window differ")
    if groups < 1 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise CorruptFileError(
            f"{what}: {x.shape[1]} channels in {groups} groups do not fit weights {list(weight.shape)}"
        )
    if min(strides) < 1 or min(dilations) < 1:
        raise CorruptFileError(f"{what} has a stride or dilation below 1")
    x = pad_spatial(x, pads, 0.0, what)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    outs = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    bounded((x.shape[0], weight.shape[0], *outs), what)
    if min(outs) < 1:
        raise CorruptFileError(f"{what}: the window is larger than the padded input")
    if groups == x.shape[1] and groups > 1 and weight.shape[0] == groups:
        return _depthwise(x, weight, taps(kernel, strides, dilations, outs), outs)
    if max(kernel) == 1:
        cut = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
        return _pointwise(x[cut], weight, groups, outs)
    return _general(x, weight, strides, dilations, groups, outs)


def _pointwise(x: Array, weight: Array, groups: int, outs: Ints) -> Array:
    n, channels = x.shape[:2]
    columns = x.reshape(n, groups, channels // groups, -1)
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    made: Array = np.matmul(matrix, columns)
    return made.reshape(n, weight.shape[0], *outs)


def _depthwise(x: Array, weight: Array, places: list[tuple[Any, ...]], outs: Ints) -> Array:
    """Multiply and add shifted views, a block of channels at a time."""
    n, channels = x.shape[:2]
    y = np.empty((n, channels, *outs), x.dtype)
    step = max(1, BLOCK // max(1, int(np.prod(outs))))
    ones = (1,) * len(outs)
    for start in range(0, channels, step):
        block = slice(start, min(start + step, channels))
        total, part = y[:, block], np.empty((n, block.stop - start, *outs), x.dtype)
        for number, (place, cut) in enumerate(places):
            factor = weight[(block, 0, *place)].reshape(-1, *ones)
            seen = x[(slice(None), block, *cut)]
            if number == 0:
                np.multiply(seen, factor, out=total)
            else:
                np.multiply(seen, factor, out=part)
                np.add(total, part, out=total)
    return y


def _general(
    x: Array, weight: Array, strides: Ints, dilations: Ints, groups: int, outs: Ints
) -> Array:
    """Gather windows as columns (a band of rows at a time) and multiply matrices."""
    n, channels = x.shape[:2]
    kernel, axes = weight.shape[2:], tuple(range(2, x.ndim))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    cut = [slice(None)] * 2 + [slice(None, None, step) for step in (*strides, *dilations)]
    windows = sliding_window_view(x, reach, axis=axes)[tuple(cut)]
    matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
    width = len(kernel)
    order = (0, 1, *range(2 + width, 2 + 2 * width), *range(2, 2 + width))
    rows = max(1, COLUMNS // max(1, matrix.shape[2] * groups * int(np.prod(outs[1:]))))
    y = np.empty((n, weight.shape[0], *outs), x.dtype)
    for start in range(0, outs[0], rows):
        band = windows[:, :, start : start + rows].transpose(order)
        columns = band.reshape(n, groups, channels // groups * int(np.prod(kernel)), -1)
        made = np.matmul(matrix, columns)
        y[:, :, start : start + rows] = made.reshape(n, weight.shape[0], -1, *outs[1:])
    return y


def convolve_transposed(
    x: Array, weight: Array, strides: Ints, dilations: Ints, groups: int, what: str
) -> Array:
    """Scatter x (N, C, ...) through weight (C, O/groups, ...); the result is not cropped yet."""
    n, channels = x.shape[:2]
    kernel = weight.shape[2:]
    if groups < 1 or weight.shape[0] != channels or channels % groups or min(strides) < 1:
        raise CorruptFileError(f"{what}: {channels} channels do not fit {list(weight.shape)}")
    sizes = [
        (size - 1) * s + (k - 1) * d + 1
        for size, s, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)
    ]
    y = np.zeros(bounded((n, weight.shape[1] * groups, *sizes), what), x.dtype)
    columns = x.reshape(n, groups, channels // groups, -1)
    matrix = weight.reshape(groups, channels // groups, weight.shape[1], *kernel)
    for place, cut in taps(kernel, strides, dilations, x.shape[2:]):
        part = np.matmul(matrix[(..., *place)].swapaxes(1, 2), columns)
        y[(slice(None), slice(None), *cut)] += part.reshape(n, -1, *x.shape[2:])
    return y


def pool(x: Array, kernel: Ints, strides: Ints, outs: Ints, *, largest: bool) -> Array:
    """Return the maximum or the sum of every window of an input padded far enough."""
    y: Array | None = None
    for _, cut in taps(kernel, strides, (1,) * len(kernel), outs):
        seen = x[(slice(None), slice(None), *cut)]
        if y is None:
            y = np.array(seen)
        elif largest:
            np.maximum(y, seen, out=y)
        else:
            np.add(y, seen, out=y)
    if y is None:
        raise CorruptFileError("a pooling window is empty")
    return y


def interpolation(size: int, made: int, mode: str) -> Array:
    """Return the (made, size) matrix of MIL's linear resampling along one axis, in float64.

    ``mode`` is a sampling_mode of MIL's resize_bilinear, whose documentation has the grid points.
    """
    i = np.arange(made, dtype=np.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = i * ((size - 1) / (made - 1)) if made > 1 else np.zeros(made)
        if made == 1 and mode == "ALIGN_CORNERS":
            points = np.array([(size - 1) / 2])
    elif mode == "DEFAULT":
        points = i * (size / made)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / made
        points = 0.5 * delta + i * delta
    elif mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * (size / made) - 0.5
    else:
        raise CorruptFileError(f"the sampling mode {mode} does not exist")
    points = np.clip(points, 0, size - 1)
    low = np.minimum(np.floor(points).astype(int), max(size - 2, 0))
    share = points - low
    matrix = np.zeros((made, size))
    rows = np.arange(made)
    matrix[rows, low] = 1 - share
    matrix[rows, np.minimum(low + 1, size - 1)] += share
    return matrix
