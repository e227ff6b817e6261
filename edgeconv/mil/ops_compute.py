"""Operators that compute: element by element, reductions, matrix products, normalization."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeconv.mil.call import Array, Call, Rule, Value
from edgeconv.mil.kernels import (
    bounded,
    convolve,
    convolve_transposed,
    pad_spatial,
    pool,
)
from edgeconv.mil.wire import CorruptPackageError

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _unary(function: Callable[[Array], Array], *, moves: bool = False) -> Rule:
    return Rule(lambda c: function(c.real()), moves=moves)


def _binary(function: Callable[[Array, Array], Array], *, moves: bool = False) -> Rule:
    def kernel(c: Call) -> Value:
        x, y = c.array("x"), c.array("y")
        bounded(_broadcast(c, x, y), c.operation.what)
        return function(x, y)

    return Rule(kernel, moves=moves)


def _broadcast(c: Call, x: Array, y: Array) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(x.shape, y.shape)
    except ValueError as error:
        raise CorruptPackageError(
            f"{c.operation.what}: {list(x.shape)} and {list(y.shape)} do not fit"
        ) from error


def _compare(function: Callable[[Array, Array], Array]) -> Rule:
    return Rule(lambda c: function(c.array("x"), c.array("y")), moves=True, result="any")


def _divide(x: Array, y: Array) -> Value:
    return np.floor_divide(x, y) if x.dtype.kind in "iu" else x / y


def _sigmoid(x: Array) -> Value:
    y = np.negative(x)
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += 1
    return np.reciprocal(y, out=y)


def _softplus(x: Array) -> Value:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(c: Call) -> Value:
    x, mode = c.real(), c.text("mode", "EXACT")
    if mode == "EXACT":
        return x * (0.5 * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)
    if mode == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * _sigmoid(1.702 * x)


def _elu(c: Call) -> Value:
    x = c.real()
    return np.where(x > 0, x, c.number("alpha", 1.0) * np.expm1(np.minimum(x, 0))).astype(x.dtype)


def _clip(c: Call) -> Value:
    low, high = c.real("alpha"), c.real("beta")
    return np.clip(c.real(), low, high)


def _prelu(c: Call) -> Value:
    x, alpha = c.real(), c.real("alpha").reshape(-1)
    shape = (-1,) + (1,) * (x.ndim - 2)
    return np.where(x > 0, x, x * alpha.reshape(shape))


def _softmax(c: Call) -> Value:
    x, axis = c.real(), c.integer("axis", -1)
    y = np.exp(x - x.max(axis=axis, keepdims=True))
    y /= y.sum(axis=axis, keepdims=True)
    return y


def _reduce(function: Callable[..., Array], *, moves: bool = False) -> Rule:
    def kernel(c: Call) -> Value:
        x = c.real()
        axes = tuple(c.ints("axes", list(range(x.ndim))))
        return function(x, axis=axes, keepdims=c.flag("keep_dims"))

    return Rule(kernel, moves=moves)


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Value:
    top = x.max(axis=axis, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return total if keepdims else total.squeeze(axis=axis)


def _arg(function: Callable[..., Array]) -> Rule:
    def kernel(c: Call) -> Value:
        return function(c.real(), axis=c.integer("axis", -1), keepdims=c.flag("keep_dims"))

    return Rule(kernel, moves=True, result="any")


def _window(c: Call, kernel: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[list[int], ...]:
    """Return (pads, strides, dilations) with MIL's four pad types resolved."""
    axes = len(kernel)
    strides, dilations = c.ints("strides", [1] * axes), c.ints("dilations", [1] * axes)
    kind = c.text("pad_type", "valid")
    if len(strides) != axes or len(dilations) != axes or min(strides, default=1) < 1:
        raise CorruptPackageError(f"{c.operation.what}: strides and kernel do not fit")
    if kind == "valid":
        return [0] * 2 * axes, strides, dilations
    if kind == "custom":
        pads = c.ints("pad", [0] * 2 * axes)
        if len(pads) != 2 * axes or len(sizes) != axes:
            raise CorruptPackageError(f"{c.operation.what}: its padding does not fit its rank")
        return pads, strides, dilations
    if kind not in ("same", "same_lower"):
        raise CorruptPackageError(f"{c.operation.what}: the pad type {kind} does not exist")
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pads += [small, large] if kind == "same" else [large, small]
    return pads, strides, dilations


def _biased(c: Call, y: Array) -> Value:
    bias = c.optional("bias")
    if bias is not None:
        if bias.size != y.shape[1]:
            raise CorruptPackageError(f"{c.operation.what}: {bias.size} biases for {y.shape[1]}")
        y += bias.reshape(-1, *[1] * (y.ndim - 2))
    return y


def _conv(c: Call) -> Value:
    x, weight = c.real(), c.real("weight")
    pads, strides, dilations = _window(c, weight.shape[2:], x.shape[2:])
    groups = c.integer("groups", 1)
    return _biased(c, convolve(x, weight, pads, strides, dilations, groups, c.operation.what))


def _conv_transpose(c: Call) -> Value:
    x, weight = c.real(), c.real("weight")
    pads, strides, dilations = _window(c, weight.shape[2:], x.shape[2:])
    groups = c.integer("groups", 1)
    y = convolve_transposed(x, weight, strides, dilations, groups, c.operation.what)
    wanted = c.declared().shape[2:]
    missing = [
        max(p + out - n, 0) for p, out, n in zip(pads[::2], wanted, y.shape[2:], strict=True)
    ]
    y = pad_spatial(y, [v for extra in missing for v in (0, extra)], 0.0, c.operation.what)
    cut = tuple(slice(p, p + out) for p, out in zip(pads[::2], wanted, strict=True))
    return _biased(c, np.ascontiguousarray(y[(slice(None), slice(None), *cut)]))


def _pool(c: Call, largest: bool) -> Value:
    x, kernel = c.real(), tuple(c.ints("kernel_sizes"))
    if x.ndim != len(kernel) + 2:
        raise CorruptPackageError(f"{c.operation.what}: its window does not fit its input")
    pads, strides, _ = _window(c, kernel, x.shape[2:])
    outs = c.declared().shape[2:]
    over = [
        max((out - 1) * s + k - (n + low + high), 0)
        for out, s, k, n, low, high in zip(
            outs, strides, kernel, x.shape[2:], pads[::2], pads[1::2], strict=True
        )
    ]
    wide = [v + (over[i // 2] if i % 2 else 0) for i, v in enumerate(pads)]
    padded = pad_spatial(x, wide, -np.inf if largest else 0.0, c.operation.what)
    made = pool(padded, kernel, strides, outs, largest=largest)
    if largest:
        return made
    if not c.flag("exclude_padding_from_average"):  # the overhang of ceil_mode counts as padding
        return made / made.dtype.type(math.prod(kernel))
    ones = pad_spatial(np.ones((1, 1, *x.shape[2:]), x.dtype), wide, 0.0, c.operation.what)
    return made / pool(ones, kernel, strides, outs, largest=False)


def _linear(c: Call) -> Value:
    y = c.real() @ c.real("weight").T
    bias = c.optional("bias")
    return y if bias is None else y + bias


def _matmul(c: Call) -> Value:
    x, y = c.real("x"), c.real("y")
    x = x.swapaxes(-1, -2) if c.flag("transpose_x") else x
    y = y.swapaxes(-1, -2) if c.flag("transpose_y") else y
    return np.matmul(x, y)


def _channelwise(values: Array, x: Array) -> Value:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def _batch_norm(c: Call) -> Value:
    x = c.real()
    factor = 1 / np.sqrt(c.real("variance") + x.dtype.type(c.number("epsilon", 1e-5)))
    gamma, beta = c.optional("gamma"), c.optional("beta")
    factor = factor if gamma is None else factor * gamma
    shift = -c.real("mean") * factor + (0 if beta is None else beta)
    return x * _channelwise(factor, x) + _channelwise(shift, x)


def _normalize(c: Call, axes: tuple[int, ...]) -> Value:
    x = c.real()
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return centred / np.sqrt(variance + x.dtype.type(c.number("epsilon", 1e-5)))


def _instance_norm(c: Call) -> Value:
    y = _normalize(c, tuple(range(2, c.real().ndim)))
    gamma, beta = c.optional("gamma"), c.optional("beta")
    y = y if gamma is None else y * _channelwise(gamma, y)
    return y if beta is None else y + _channelwise(beta, y)


def _layer_norm(c: Call) -> Value:
    y = _normalize(c, tuple(c.ints("axes")))
    gamma, beta = c.optional("gamma"), c.optional("beta")
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def _alpha_beta(c: Call) -> tuple[float, float]:
    return c.number("alpha", 1.0), c.number("beta", 1.0)


def _sigmoid_hard(c: Call) -> Value:
    x, (alpha, beta) = c.real(), _alpha_beta(c)
    return np.clip(x * x.dtype.type(alpha) + x.dtype.type(beta), 0, 1)


def _leaky(c: Call) -> Value:
    x = c.real()
    return np.where(x > 0, x, x * x.dtype.type(c.number("alpha", 0.01)))


def _with_epsilon(function: Callable[[Array], Array], default: float) -> Rule:
    def kernel(c: Call) -> Value:
        x = c.real()
        return function(x + x.dtype.type(c.number("epsilon", default)))

    return Rule(kernel)


OPS: dict[str, Rule] = {
    "relu": _unary(lambda x: np.maximum(x, 0), moves=True),
    "relu6": _unary(lambda x: np.clip(x, 0, 6), moves=True),
    "clip": Rule(_clip, moves=True),
    "sigmoid": _unary(_sigmoid),
    "silu": _unary(lambda x: x * _sigmoid(x)),
    "tanh": _unary(np.tanh),
    "softplus": _unary(_softplus),
    "softsign": _unary(lambda x: x / (1 + np.abs(x))),
    "exp": _unary(np.exp),
    "sqrt": _unary(np.sqrt),
    "square": _unary(np.square),
    "abs": _unary(np.abs, moves=True),
    "floor": _unary(np.floor),
    "ceil": _unary(np.ceil),
    "round": _unary(np.rint),
    "sign": _unary(np.sign),
    "erf": _unary(lambda x: _erf(x).astype(x.dtype)),
    "log": _with_epsilon(np.log, 1e-45),
    "rsqrt": _with_epsilon(lambda x: 1 / np.sqrt(x), 1e-12),
    "inverse": _with_epsilon(np.reciprocal, 1e-4),
    "gelu": Rule(_gelu),
    "elu": Rule(_elu),
    "prelu": Rule(_prelu),
    "leaky_relu": Rule(_leaky),
    "sigmoid_hard": Rule(_sigmoid_hard),
    "threshold": Rule(lambda c: np.maximum(c.real(), c.real("alpha")), moves=True),
    "softmax": Rule(_softmax),
    "add": _binary(np.add),
    "sub": _binary(np.subtract),
    "mul": _binary(np.multiply),
    "real_div": _binary(_divide),
    "pow": _binary(np.power),
    "maximum": _binary(np.maximum, moves=True),
    "minimum": _binary(np.minimum, moves=True),
    "equal": _compare(np.equal),
    "not_equal": _compare(np.not_equal),
    "greater": _compare(np.greater),
    "greater_equal": _compare(np.greater_equal),
    "less": _compare(np.less),
    "less_equal": _compare(np.less_equal),
    "reduce_mean": _reduce(np.mean),
    "reduce_sum": _reduce(np.sum),
    "reduce_prod": _reduce(np.prod),
    "reduce_max": _reduce(np.max, moves=True),
    "reduce_min": _reduce(np.min, moves=True),
    "reduce_log_sum_exp": _reduce(_log_sum_exp),
    "reduce_l2_norm": _reduce(lambda x, **k: np.sqrt(np.square(x).sum(**k))),
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "conv": Rule(_conv),
    "conv_transpose": Rule(_conv_transpose),
    "linear": Rule(_linear),
    "matmul": Rule(_matmul),
    "max_pool": Rule(lambda c: _pool(c, True), moves=True),
    "avg_pool": Rule(lambda c: _pool(c, False)),
    "batch_norm": Rule(_batch_norm),
    "instance_norm": Rule(_instance_norm),
    "layer_norm": Rule(_layer_norm),
}
