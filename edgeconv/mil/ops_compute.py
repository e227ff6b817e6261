"""Operators that compute element by element, and reductions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.call import Array, Call, Rule, Value
from edgeconv.mil.kernels import bounded

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
        raise CorruptFileError(
            f"{c.operation.what}: {list(x.shape)} and {list(y.shape)} do not fit"
        ) from error


def _compare(function: Callable[[Array, Array], Array]) -> Rule:
    return Rule(lambda c: function(c.array("x"), c.array("y")), moves=True, result="any")


def _divide(x: Array, y: Array) -> Value:
    return np.floor_divide(x, y) if x.dtype.kind in "iu" else x / y


def _sigmoid(x: Array) -> Value:
    y = np.asarray(np.negative(x))  # of a scalar numpy makes a number
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


def _select(c: Call) -> Value:
    condition, a, b = c.array("cond"), c.array("a"), c.array("b")
    _broadcast(c, a, b)
    return np.where(condition, a, b)


def _cumulative_sum(c: Call) -> Value:
    x, axis = c.array(), c.integer("axis", -1)
    x = np.flip(x, axis) if c.flag("reverse") else x
    total = np.cumsum(x, axis=axis, dtype=x.dtype)
    if c.flag("exclusive"):
        total -= x
    return np.flip(total, axis) if c.flag("reverse") else total


def _arg(function: Callable[..., Array]) -> Rule:
    def kernel(c: Call) -> Value:
        return function(c.real(), axis=c.integer("axis", -1), keepdims=c.flag("keep_dims"))

    return Rule(kernel, moves=True, result="any")


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
    "sin": _unary(np.sin),
    "atan": _unary(np.arctan),
    "cos": _unary(np.cos),
    "select": Rule(_select, moves=True),
    "logical_and": _compare(np.logical_and),
    "logical_or": _compare(np.logical_or),
    "logical_not": Rule(lambda c: np.logical_not(c.array()), moves=True),
    "cumsum": Rule(_cumulative_sum),
    "add": _binary(np.add),
    "sub": _binary(np.subtract),
    "mul": _binary(np.multiply),
    "real_div": _binary(_divide),
    "floor_div": _binary(np.floor_divide),
    "mod": _binary(np.mod),
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
    "reduce_l1_norm": _reduce(lambda x, **k: np.abs(x).sum(**k)),
    "reduce_sum_square": _reduce(lambda x, **k: np.square(x).sum(**k)),
    "reduce_log_sum": _reduce(lambda x, **k: np.log(x.sum(**k))),
    "reduce_l2_norm": _reduce(lambda x, **k: np.sqrt(np.square(x).sum(**k))),
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
}
