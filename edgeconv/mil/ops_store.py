"""Operators about how numbers are stored: casts, quantization, compressed constants, labels."""

from typing import Any

import numpy as np

from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.call import Array, Call, Rule

NAMED = {
    "fp16": np.float16,
    "fp32": np.float32,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "bool": np.bool_,
}
"""MIL's names of types, as cast and quantize give them."""


def named_dtype(name: str, what: str) -> np.dtype[Any]:
    """Return numpy's type for MIL's name of it."""
    if name not in NAMED:
        raise CorruptFileError(f"{what}: the type {name} is not evaluated")
    return np.dtype(NAMED[name])


def _cast(c: Call) -> Array:
    x, wanted = c.array(), named_dtype(c.text("dtype", ""), c.operation.what)
    if wanted.kind == "f":
        return x.astype(c.dtype, copy=False)
    if x.dtype.kind == "f":
        x = np.trunc(x)
    return x.astype(wanted)


def _along(values: Array, x: Array, c: Call) -> Array:
    """Shape per-channel values so that they meet the axis of ``x`` they belong to."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    axis = c.integer("axis") % x.ndim
    if values.size != x.shape[axis]:
        raise CorruptFileError(
            f"{c.operation.what}: {values.size} scales or zero points for {x.shape[axis]} channels"
        )
    return values.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _quantize(c: Call) -> Array:
    x = c.real("input")
    kind = named_dtype(c.text("output_dtype", ""), c.operation.what)
    limits = np.iinfo(kind)
    steps = np.asarray(x / _along(c.real("scale"), x, c))  # of a scalar it would be a number
    np.rint(steps, out=steps)
    if c.has("zero_point"):
        steps += _along(c.real("zero_point"), x, c)
    return np.clip(steps, limits.min, limits.max, out=steps).astype(kind)


def _dequantize(c: Call) -> Array:
    stored = c.array("input")
    real = stored.astype(c.dtype)
    if c.has("zero_point"):
        real -= _along(c.real("zero_point"), real, c)
    real *= _along(c.real("scale"), real, c)
    return real


def _affine(c: Call) -> Array:
    real = c.array("quantized_data").astype(c.dtype)
    return (real - _along(c.real("zero_point"), real, c)) * _along(c.real("scale"), real, c)


def _spread(values: Array, shape: tuple[int, ...], c: Call) -> Array:
    """Repeat block-wise values so that they fit ``shape``; one that broadcasts stays small."""
    if values.ndim != len(shape):
        raise CorruptFileError(f"{c.operation.what}: scale and data differ in rank")
    for axis, size in enumerate(shape):
        have = values.shape[axis]
        if have < 1 or size % have:
            raise CorruptFileError(f"{c.operation.what}: {have} blocks do not divide {size}")
        if have not in (1, size):
            values = np.repeat(values, size // have, axis)
    return values


def _blockwise(c: Call) -> Array:
    real = c.array("data").astype(c.dtype)
    if c.has("offset"):
        real = real - _spread(c.real("offset"), real.shape, c)
    return real * _spread(c.real("scale"), real.shape, c)


def _constexpr_cast(c: Call) -> Array:
    return c.real("source_val")


def _classify(c: Call) -> list[Any]:
    probabilities = c.real("probabilities").reshape(-1)
    classes = c.raw("classes")
    labels = classes if isinstance(classes, list) else np.asarray(classes).reshape(-1).tolist()
    if len(labels) != probabilities.size:
        raise CorruptFileError(
            f"{c.operation.what}: {len(labels)} labels for {probabilities.size} probabilities"
        )
    return [labels[int(probabilities.argmax())], dict(zip(labels, probabilities, strict=True))]


OPS: dict[str, Rule] = {
    "cast": Rule(_cast, result="dtype"),
    "quantize": Rule(_quantize, moves=True, result="output_dtype"),
    "dequantize": Rule(_dequantize, result="scale"),
    "constexpr_affine_dequantize": Rule(_affine, result="scale"),
    "constexpr_blockwise_shift_scale": Rule(_blockwise, result="scale"),
    "constexpr_cast": Rule(_constexpr_cast, result="output_dtype"),
    "classify": Rule(_classify, moves=True, result="any"),
}
