"""Operators that move elements, and those that resample pictures."""

import math

import numpy as np

from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.call import Array, Call, Rule, Value
from edgeconv.mil.kernels import bounded, interpolation


def _reshaped(c: Call) -> Array:
    x, shape = c.array(), c.declared().shape
    if math.prod(shape) != x.size:
        raise CorruptFileError(f"{c.operation.what}: {x.size} elements become {list(shape)}")
    return x.reshape(shape)


def _reshape(c: Call) -> Array:
    x, shape = c.array(), c.ints("shape")
    shape = [x.shape[i] if size == 0 and i < x.ndim else size for i, size in enumerate(shape)]
    if shape.count(-1) > 1 or (-1 not in shape and math.prod(shape) != x.size):
        raise CorruptFileError(f"{c.operation.what}: {x.size} elements become {shape}")
    return x.reshape(shape)


def _concat(c: Call) -> Array:
    values, axis = c.arguments.get("values", []), c.integer("axis")
    if not c.flag("interleave"):
        return np.concatenate(values, axis)
    stacked = np.stack(values, axis % values[0].ndim + 1)
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return stacked.reshape(shape)


def _split(c: Call) -> list[Array]:
    axis = c.integer("axis")
    sizes = [c.declared(i).shape[axis] for i in range(len(c.operation.results))]
    x = c.array()
    if sum(sizes) != x.shape[axis]:
        raise CorruptFileError(f"{c.operation.what}: its parts do not add up")
    return np.split(x, np.cumsum(sizes)[:-1].tolist(), axis)


def _top_k(c: Call) -> list[Array]:
    x, axis, count = c.array(), c.integer("axis", -1), c.integer("k", 1)
    keys = x if c.flag("ascending") else -x
    places = np.argsort(keys, axis=axis, kind="stable").take(range(count), axis=axis)
    return [np.take_along_axis(x, places, axis), places.astype(np.int32)]


def _slice_by_index(c: Call) -> Array:
    x = c.array()
    begin, end = c.ints("begin"), c.ints("end")
    stride = c.ints("stride", [1] * x.ndim)
    masks = [c.ints(key, [0] * x.ndim) for key in ("begin_mask", "end_mask", "squeeze_mask")]
    if any(len(values) != x.ndim for values in (begin, end, stride, *masks)) or 0 in stride:
        raise CorruptFileError(f"{c.operation.what}: its bounds do not fit rank {x.ndim}")
    cut: list[slice | int] = []
    for axis in range(x.ndim):
        if masks[2][axis]:
            cut.append(begin[axis])
            continue
        low = None if masks[0][axis] else begin[axis]
        high = None if masks[1][axis] else end[axis]
        cut.append(slice(low, high, stride[axis]))
    return x[tuple(cut)]


def _slice_by_size(c: Call) -> Array:
    x, begin, shape = c.array(), c.ints("begin"), c.declared().shape
    return x[tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))]


def _reverse(c: Call) -> Array:
    x = c.array()
    axes = c.ints("axes", list(range(x.ndim)))
    if any(not -x.ndim <= axis < x.ndim for axis in axes):
        raise CorruptFileError(f"{c.operation.what}: its axes do not fit rank {x.ndim}")
    return np.flip(x, tuple(axes))


PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def _pad(c: Call) -> Array:
    x, widths, mode = c.array(), c.ints("pad"), c.text("mode", "constant")
    if len(widths) % 2 or len(widths) > 2 * x.ndim or min(widths, default=0) < 0:
        raise CorruptFileError(f"{c.operation.what}: its padding does not fit its rank")
    if mode not in PAD_MODES:
        raise CorruptFileError(f"{c.operation.what}: the mode {mode} does not exist")
    widths = [0] * (2 * x.ndim - len(widths)) + widths
    pairs = list(zip(widths[::2], widths[1::2], strict=True))
    bounded([n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)], c.operation.what)
    if mode == "constant":
        return np.pad(x, pairs, constant_values=c.number("constant_val", 0.0))
    if mode == "reflect":
        return np.pad(x, pairs, mode="reflect")
    return np.pad(x, pairs, mode="edge")


def _gather(c: Call) -> Array:
    x, axis = c.array(), c.integer("axis", 0)
    indices = np.asarray(c.array("indices")).astype(np.int64)
    if c.integer("batch_dims", 0):
        raise CorruptFileError(f"{c.operation.what}: batch_dims are not evaluated")
    size = x.shape[axis]
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise CorruptFileError(f"{c.operation.what}: an index lies outside 0..{size - 1}")
    return np.take(x, indices, axis)


def _depth_to_space(c: Call) -> Array:
    (n, depth, h, w), b = c.array().shape, c.integer("block_size")
    x = c.array().reshape(n, b, b, depth // (b * b), h, w)
    return x.transpose(0, 3, 4, 1, 5, 2).reshape(n, depth // (b * b), h * b, w * b)


def _space_to_depth(c: Call) -> Array:
    (n, depth, h, w), b = c.array().shape, c.integer("block_size")
    x = c.array().reshape(n, depth, h // b, b, w // b, b)
    return x.transpose(0, 3, 5, 1, 2, 4).reshape(n, depth * b * b, h // b, w // b)


def _pixel_shuffle(c: Call) -> Array:
    (n, depth, h, w), b = c.array().shape, c.integer("upscale_factor")
    x = c.array().reshape(n, depth // (b * b), b, b, h, w)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, depth // (b * b), h * b, w * b)


def _pixel_unshuffle(c: Call) -> Array:
    (n, depth, h, w), b = c.array().shape, c.integer("downscale_factor")
    x = c.array().reshape(n, depth, h // b, b, w // b, b)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, depth * b * b, h // b, w // b)


def _tile(c: Call) -> Array:
    x, reps = c.array(), c.ints("reps")
    if len(reps) != x.ndim or min(reps) < 0:
        raise CorruptFileError(f"{c.operation.what}: its repetitions do not fit its rank")
    bounded([n * r for n, r in zip(x.shape, reps, strict=True)], c.operation.what)
    return np.tile(x, reps)


def _upsample_nearest(c: Call) -> Array:
    x, (height, width) = c.array(), c.declared().shape[-2:]
    rows = (np.arange(height) * (x.shape[-2] / height)).astype(int)
    columns = (np.arange(width) * (x.shape[-1] / width)).astype(int)
    return x[..., rows[:, None], columns]


def _bilinear(c: Call, mode: str) -> Value:
    x, (height, width) = c.real(), c.declared().shape[-2:]
    tall = interpolation(x.shape[-2], height, mode).astype(x.dtype)
    wide = interpolation(x.shape[-1], width, mode).astype(x.dtype)
    return np.matmul(np.matmul(tall, x), wide.T)


def _upsample_bilinear(c: Call) -> Value:
    aligned = c.flag("align_corners", True)
    half = c.flag("half_pixel_centers", not aligned)
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if half else "DEFAULT"
    return _bilinear(c, mode)


def _resize(c: Call) -> Value:
    if c.text("interpolation_mode", "LINEAR") == "NEAREST_NEIGHBOR":
        return _upsample_nearest(c)
    return _bilinear(c, c.text("sampling_mode", "DEFAULT"))


OPS: dict[str, Rule] = {
    "identity": Rule(lambda c: c.array(), moves=True),
    "reshape": Rule(_reshape, moves=True),
    "squeeze": Rule(_reshaped, moves=True),
    "expand_dims": Rule(_reshaped, moves=True),
    "flatten2d": Rule(_reshaped, moves=True),
    "reverse": Rule(_reverse, moves=True),
    "transpose": Rule(lambda c: c.array().transpose(c.ints("perm")), moves=True),
    "concat": Rule(_concat, moves=True),
    "stack": Rule(lambda c: np.stack(c.arguments["values"], c.integer("axis")), moves=True),
    "split": Rule(_split, moves=True),
    "slice_by_index": Rule(_slice_by_index, moves=True),
    "slice_by_size": Rule(_slice_by_size, moves=True),
    "pad": Rule(_pad, moves=True),
    "topk": Rule(_top_k, moves=True, result="any"),
    "gather": Rule(_gather, moves=True),
    "tile": Rule(_tile, moves=True),
    "depth_to_space": Rule(_depth_to_space, moves=True),
    "space_to_depth": Rule(_space_to_depth, moves=True),
    "pixel_shuffle": Rule(_pixel_shuffle, moves=True),
    "pixel_unshuffle": Rule(_pixel_unshuffle, moves=True),
    "upsample_nearest_neighbor": Rule(_upsample_nearest, moves=True),
    "resize_nearest_neighbor": Rule(_upsample_nearest, moves=True),
    "upsample_bilinear": Rule(_upsample_bilinear),
    "resize_bilinear": Rule(lambda c: _bilinear(c, c.text("sampling_mode", "DEFAULT"))),
    "resize": Rule(_resize),
}
