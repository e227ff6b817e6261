"""Layers: convolution, pooling, matrix products, normalization."""

import math

import numpy as np

from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil.call import Array, Call, Rule, Value
from edgeconv.mil.kernels import convolve, convolve_transposed, pad_spatial, pool


def _window(c: Call, kernel: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[list[int], ...]:
    """Return (pads, strides, dilations) with MIL's four pad types resolved."""
    axes = len(kernel)
    strides, dilations = c.ints("strides", [1] * axes), c.ints("dilations", [1] * axes)
    kind = c.text("pad_type", "valid")
    if len(strides) != axes or len(dilations) != axes or min(strides, default=1) < 1:
        raise CorruptFileError(f"{c.operation.what}: strides and kernel do not fit")
    if kind == "valid":
        return [0] * 2 * axes, strides, dilations
    if kind == "custom":
        pads = c.ints("pad", [0] * 2 * axes)
        if len(pads) != 2 * axes or len(sizes) != axes:
            raise CorruptFileError(f"{c.operation.what}: its padding does not fit its rank")
        return pads, strides, dilations
    if kind not in ("same", "same_lower"):
        raise CorruptFileError(f"{c.operation.what}: the pad type {kind} does not exist")
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
            raise CorruptFileError(f"{c.operation.what}: {bias.size} biases for {y.shape[1]}")
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
        raise CorruptFileError(f"{c.operation.what}: its window does not fit its input")
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


def _local_response(c: Call) -> Value:
    """x / (k + alpha / size * the sum of squares over size channels around) ** beta."""
    x, size = c.real(), c.integer("size")
    if size < 1 or size % 2 == 0 or x.ndim < 3:
        raise CorruptFileError(f"{c.operation.what}: a window of {size} is not evaluated")
    squares = np.square(x)
    total = np.zeros_like(x)
    for shift in range(-(size // 2), size // 2 + 1):
        low, high = max(0, -shift), x.shape[1] - max(0, shift)
        if low < high:
            total[:, low:high] += squares[:, low + shift : high + shift]
    alpha, beta, k = c.number("alpha", 1e-4), c.number("beta", 0.75), c.number("k", 1.0)
    return (x / (k + alpha / size * total) ** beta).astype(x.dtype)


def _lstm(c: Call) -> list[Array]:
    """(T, N, I) to the sequence (T, N, D*H), the last state and the last cell (N, D*H)."""
    x, way = c.real(), c.text("direction", "forward")
    kinds = {key: c.text(key, usual) for key, usual in LSTM_ACTIVATIONS.items()}
    unusual = kinds != LSTM_ACTIVATIONS or c.has("peephole") or c.has("clip")
    if unusual or way not in ("forward", "bidirectional") or x.ndim != 3:
        raise CorruptFileError(f"{c.operation.what}: this form of it is not evaluated")
    ends = ("", "_back") if way == "bidirectional" else ("",)
    starts = [np.split(c.real(key), len(ends), axis=1) for key in ("initial_h", "initial_c")]
    made = [
        _lstm_way(c, x, end, *start)
        for end, start in zip(ends, zip(*starts, strict=True), strict=True)
    ]
    sequence, state, cell = (np.concatenate(parts, axis=-1) for parts in zip(*made, strict=True))
    return [sequence if c.flag("output_sequence") else state[None], state, cell]


LSTM_ACTIVATIONS = {
    "recurrent_activation": "sigmoid",
    "cell_activation": "tanh",
    "activation": "tanh",
}


def _lstm_way(c: Call, x: Array, end: str, state: Array, cell: Array) -> tuple[Array, Array, Array]:
    """One direction; gates are in the order input, forget, output, cell."""
    weights, recurrent = c.real(f"weight_ih{end}"), c.real(f"weight_hh{end}")
    bias = c.optional(f"bias{end}")
    inputs = x @ weights.T + (0 if bias is None else bias)
    order = range(len(x))[::-1] if end else range(len(x))
    sequence = np.empty((len(x), *state.shape), x.dtype)
    for step in order:
        enter, keep, leave, fresh = np.split(inputs[step] + state @ recurrent.T, 4, axis=-1)
        cell = cell / (1 + np.exp(-keep)) + np.tanh(fresh) / (1 + np.exp(-enter))
        state = sequence[step] = np.tanh(cell) / (1 + np.exp(-leave))
    return sequence, state, cell


OPS: dict[str, Rule] = {
    "lstm": Rule(_lstm),
    "conv": Rule(_conv),
    "conv_transpose": Rule(_conv_transpose),
    "linear": Rule(_linear),
    "matmul": Rule(_matmul),
    "max_pool": Rule(lambda c: _pool(c, True), moves=True),
    "avg_pool": Rule(lambda c: _pool(c, False)),
    "batch_norm": Rule(_batch_norm),
    "instance_norm": Rule(_instance_norm),
    "layer_norm": Rule(_layer_norm),
    "local_response_norm": Rule(_local_response),
}
