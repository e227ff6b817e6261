"""Operators that draw_models.py grows models of: each function adds one, or a spelling of several."""

from typing import Any

import numpy as np
from draw_models import Net, Shape, Step, UnfitError
from onnx import TensorProto

UNARY = (
    *("Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "LeakyRelu"),
    *("Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tanh"),
    *(
        "Identity",
        "ThresholdedRelu",
        "Shrink",
        "Relu",
        "Sigmoid",
        "Tanh",
        "Log",
        "Sqrt",
        "Reciprocal",
    ),
)
LIMITS = ((0, 6), (-1, 1), (0, None), (None, 2), (-0.5, 0.7), (0, 1))


def need(fits: bool) -> None:
    if not fits:
        raise UnfitError


def some_axis(net: Net, x: str) -> int:
    need(net.rank(x) > 0)
    return int(net.random.integers(-net.rank(x), net.rank(x)))


def real(net: Net, value: float) -> str:
    return net.constant(np.float32(value))


def positive(net: Net, x: str) -> str:
    return net.add("Add", net.add("Abs", x), real(net, 0.4))


def unary(net: Net, x: str) -> str:
    op = net.one(UNARY)
    if op in ("Log", "Sqrt", "Reciprocal"):
        x = positive(net, x)
    return net.add(op, x)


def clip(net: Net, x: str) -> str:
    bounds = ["" if bound is None else real(net, bound) for bound in net.one(LIMITS)]
    return net.add("Clip", x, *bounds)


def operand(net: Net, shape: Shape) -> Shape:
    """Return a shape that broadcasts to ``shape``."""
    rank = len(shape)
    channel = (shape[1], *[1] * (rank - 2)) if rank > 1 else shape
    some = tuple(size if net.chance(0.5) else 1 for size in shape)
    tail = shape[int(net.random.integers(rank + 1)) :]
    return tuple(net.one([(), (1,), (1,) * rank, channel, shape, some, tail]))


def binary(net: Net, x: str) -> str:
    op = net.one(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"])
    alike = [n for n, v in net.values.items() if v.dtype == np.float32 and v.shape == net.shape(x)]
    y = net.weight(*operand(net, net.shape(x)), size=1.0)
    if op == "PRelu":
        return net.add("PRelu", x, y)
    if op == "Pow":
        return net.add("Pow", positive(net, x), real(net, net.one([2, 3, 0.5, -1])))
    if net.chance(0.4):
        y = net.one(alike)
    sides = (x, y) if net.chance(0.6) else (y, x)
    return net.add(op, sides[0], positive(net, sides[1]) if op == "Div" else sides[1])


def window(net: Net, x: str, size: int) -> dict[str, Any]:
    plane = net.shape(x)[2:]
    need(len(plane) > 0)
    kernel = [min(size, side) for side in plane]
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": [net.one([1, 1, 2]) for _ in plane]}
    if net.chance(0.2):
        attrs["auto_pad"] = net.one(["SAME_UPPER", "SAME_LOWER", "VALID"])
    else:
        pads = [int(net.random.integers(0, (side + 1) // 2)) for side in kernel * 2]
        attrs["pads"] = pads
    return attrs


def conv(net: Net, x: str) -> str:
    attrs = window(net, x, net.one([1, 3, 3, 2]))
    channels = net.shape(x)[1]
    group = net.one([1, 1, channels])
    outs = group * net.one([1, 2]) if group > 1 else net.one([4, 5, 8])
    weights = net.weight(outs, channels // group, *attrs["kernel_shape"])
    bias = [net.weight(outs, size=0.3)] if net.chance(0.6) else []
    return net.add("Conv", x, weights, *bias, group=group, **attrs)


def transposed_conv(net: Net, x: str) -> str:
    plane, channels = net.shape(x)[2:], net.shape(x)[1] if net.rank(x) > 2 else 0
    need(0 < len(plane) < 3)
    group = net.one([1, 1, channels])
    strides = [net.one([1, 2]) for _ in plane]
    weights = net.weight(channels, net.one([1, 2, 3]), *[3] * len(plane), size=0.4)
    return net.add("ConvTranspose", x, weights, group=group, strides=strides)


def pool(net: Net, x: str) -> str:
    op = net.one(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"])
    need(net.rank(x) > 2)
    if op.startswith("Global"):
        return net.add(op, x)
    attrs = window(net, x, net.one([2, 3]))
    if op != "LpPool" and net.chance(0.3):
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and net.chance(0.5):
        attrs["count_include_pad"] = 1
    return net.add(op, x, **attrs)


def matmul(net: Net, x: str) -> str:
    need(net.rank(x) > 0)
    shape = net.shape(x)
    kind = net.one(["right", "right", "left", "vector", "batched", "square", "gemm"])
    if kind == "right":
        made = net.add("MatMul", x, net.weight(shape[-1], 6, size=shape[-1] ** -0.5))
        return net.add("Add", net.weight(6, size=0.5), made) if net.chance(0.5) else made
    if kind == "vector":
        return net.add("MatMul", x, net.weight(shape[-1], size=shape[-1] ** -0.5))
    need(len(shape) > 1)
    if kind == "left":
        return net.add("MatMul", net.weight(4, shape[-2], size=shape[-2] ** -0.5), x)
    if kind == "batched":
        return net.add("MatMul", x, net.weight(*shape[:-2], shape[-1], 5, size=shape[-1] ** -0.5))
    if kind == "square":
        perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        turned = net.add("Transpose", x, perm=perm)
        return net.add("Mul", net.add("MatMul", x, turned), real(net, shape[-1] ** -0.5))
    flat = net.add("Flatten", x, axis=int(net.random.integers(len(shape) + 1)))
    rows, columns = net.shape(flat)
    rest = net.one([(5,), (1, 5), (rows, 1), (rows, 5), ()])
    bias = net.weight(*rest, size=0.5)
    weights = net.weight(5, columns)
    return net.add("Gemm", flat, weights, bias, transB=1, alpha=net.one([1.0, 0.5]), beta=2.0)


def reduce(net: Net, x: str, op: str, axes: list[int], keep: int) -> str:
    if net.opset >= (13 if op == "ReduceSum" else 18):
        return net.add(op, x, net.ints(*axes), keepdims=keep)
    return net.add(op, x, axes=axes, keepdims=keep)


def reduction(net: Net, x: str) -> str:
    need(net.rank(x) > 0)
    names = ("Mean", "Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare")
    rank = net.rank(x)
    axes = [
        int(axis) for axis in net.random.permutation(rank)[: int(net.random.integers(1, rank + 1))]
    ]
    axes = [axis - rank if net.chance(0.4) else axis for axis in axes]
    return reduce(net, x, f"Reduce{net.one(names)}", axes, int(net.chance(0.6)))


def softmax(net: Net, x: str) -> str:
    axis = some_axis(net, x)
    return net.add(net.one(["Softmax", "Softmax", "LogSoftmax"]), x, axis=axis)


def layer_norm(net: Net, x: str) -> str:
    """As exporters spell it out, or whole; a root mean square too."""
    last = net.shape(x)[-1]
    if net.opset >= 17 and net.chance(0.4):
        return net.add("LayerNormalization", x, net.weight(last, size=1.0), axis=-1, epsilon=1e-3)
    away = net.add("Sub", x, reduce(net, x, "ReduceMean", [-1], 1)) if net.chance(0.7) else x
    squares = net.add("Pow", away, real(net, 2)) if net.chance(0.5) else net.add("Mul", away, away)
    variance = net.add("Add", reduce(net, squares, "ReduceMean", [-1], 1), real(net, 1e-3))
    normal = net.add("Div", away, net.add("Sqrt", variance))
    return net.add("Mul", normal, net.weight(last, size=1.0))


def channel_norm(net: Net, x: str) -> str:
    need(net.rank(x) > 2)
    count = net.shape(x)[1]
    scale, shift = net.weight(count, size=1.0), net.weight(count, size=0.5)
    if net.chance(0.3):
        return net.add("InstanceNormalization", x, scale, shift, epsilon=1e-3)
    if net.chance(0.3):
        return net.add("LRN", x, size=3, alpha=0.01, beta=0.6, bias=1.1)
    spread = net.constant(np.abs(net.random.standard_normal(count)) + 0.3)
    return net.add("BatchNormalization", x, scale, shift, net.weight(count, size=0.5), spread)


def reshape(net: Net, x: str) -> str:
    need(net.rank(x) > 0)
    shape = net.shape(x)
    wanted = [[0, -1], [shape[0], *shape[1:2], -1], [-1], [1, -1, *shape[-1:]]]
    return net.add("Reshape", x, net.ints(*net.one(wanted)))


def transpose(net: Net, x: str) -> str:
    need(net.rank(x) > 0)
    return net.add("Transpose", x, perm=[int(axis) for axis in net.random.permutation(net.rank(x))])


def concat(net: Net, x: str) -> str:
    axis = some_axis(net, x)
    other = list(net.shape(x))
    other[axis] = net.one([1, 2])
    parts = [x, net.one([x, net.weight(*other, size=1.0)])]
    return net.add("Concat", *(parts[::-1] if net.chance(0.4) else parts), axis=axis)


def cut(net: Net, x: str) -> str:
    """A Slice forwards or backwards, a Split or a Gather."""
    need(net.rank(x) > 0)
    axis = int(net.random.integers(net.rank(x)))
    size = net.shape(x)[axis]
    kind = net.one(["forwards", "backwards", "split", "gather", "pick"])
    if kind == "forwards":
        start, step = int(net.random.integers(0, size)), net.one([1, 1, 2])
        limits = (start, 2**63 - 1, axis, step)
        return net.add("Slice", x, *(net.ints(value) for value in limits))
    if kind == "backwards":
        limits = (-1, -(2**31), axis, net.one([-1, -2]))
        return net.add("Slice", x, *(net.ints(value) for value in limits))
    if kind == "split":
        need(net.opset >= 13 and size > 1)
        first, second = net.several("Split", 2, x, net.ints(1, size - 1), axis=axis)
        net.also.append(second)
        return first
    shape = (2, 2) if kind == "gather" else ()
    places = np.asarray(net.random.integers(-size, size, shape), np.int64)
    return net.add("Gather", x, net.constant(places), axis=axis)


def spread(net: Net, x: str) -> str:
    kind, shape = net.one(["pad", "tile", "expand", "depth", "space", "shuffle"]), net.shape(x)
    if kind == "pad":
        amounts = [int(net.random.integers(0, 2)) for _ in shape * 2]
        return net.add("Pad", x, net.ints(*amounts), mode=net.one(["constant", "edge", "reflect"]))
    if kind == "tile":
        return net.add("Tile", x, net.ints(*(net.one([1, 1, 2]) for _ in shape)))
    if kind == "expand":
        return net.add("Expand", x, net.ints(*(2 if size == 1 else size for size in shape)))
    need(len(shape) == 4)
    if kind != "shuffle":
        return net.add("DepthToSpace" if kind == "depth" else "SpaceToDepth", x, blocksize=2)
    n, c, h, w = shape
    need(c % 2 == 0)
    grouped = net.add("Reshape", x, net.ints(n, 2, c // 2, h, w))
    turned = net.add("Transpose", grouped, perm=[0, 2, 1, 3, 4])
    return net.add("Reshape", turned, net.ints(n, c, h, w))


def resize(net: Net, x: str) -> str:
    shape = net.shape(x)
    need(len(shape) in (3, 4, 5) and net.opset >= 13)
    mode, where = net.one(["nearest", "linear"]), net.one(["half_pixel", "asymmetric"])
    sizes = [*shape[:2], *(net.one([size, 2 * size, size + 1]) for size in shape[2:])]
    how = {"nearest_mode": net.one(["floor", "round_prefer_ceil"])} if mode == "nearest" else {}
    named = {"mode": mode, "coordinate_transformation_mode": where, **how}
    return net.add("Resize", x, "", "", net.ints(*sizes), **named)


def truth(net: Net, x: str) -> str:
    condition = net.add(
        net.one(["Greater", "Less"]), x, net.weight(*operand(net, net.shape(x)), size=1.0)
    )
    if net.chance(0.3):
        condition = net.add("Xor", condition, net.add("Less", x, real(net, 0.8)))
    if net.chance(0.3):
        return net.add("Cast", condition, to=TensorProto.FLOAT)
    return net.add("Where", condition, x, net.weight(*operand(net, net.shape(x)), size=1.0))


def index(net: Net, x: str) -> str:
    axis = some_axis(net, x)
    if net.chance(0.5):
        return net.add("ArgMax", x, axis=axis, keepdims=int(net.chance(0.5)))
    return net.add("Hardmax", x, axis=axis)


def activation(net: Net, x: str) -> str:
    """GELU, hard swish and SiLU as they are spelled."""
    kind = net.one(["gelu", "hard swish", "silu"])
    if kind == "silu":
        return net.add("Mul", x, net.add("Sigmoid", x))
    if kind == "hard swish":
        gate = net.add("Clip", net.add("Add", x, real(net, 3)), real(net, 0), real(net, 6))
        return net.add("Div", net.add("Mul", x, gate), real(net, 6))
    bent = net.add("Erf", net.add("Mul", x, real(net, 0.5**0.5)))
    return net.add("Mul", net.add("Mul", x, net.add("Add", bent, real(net, 1))), real(net, 0.5))


def recurrence(net: Net, x: str) -> str:
    need(net.rank(x) == 3)
    op, width = net.one([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    size = net.shape(x)[-1]
    both = net.chance(0.4)
    ways = 2 if both else 1
    inner = net.weight(ways, 3 * width, size, size=size**-0.5)
    again = net.weight(ways, 3 * width, 3, size=0.5)
    way = "bidirectional" if both else net.one(["forward", "reverse"])
    return net.add(op, x, inner, again, hidden_size=3, direction=way)


def constants_alone(net: Net, x: str) -> str:
    """Constants that meet constants first, and weights that two layers share."""
    if net.chance(0.4) and net.rank(x) > 2:
        channels = net.shape(x)[1]
        shared = net.weight(channels, channels, *[1] * (net.rank(x) - 2))
        return net.add("Conv", net.add("Relu", net.add("Conv", x, shared)), shared)
    shape = operand(net, net.shape(x))
    made = net.add(
        net.one(["Add", "Mul"]), net.weight(*shape, size=1.0), net.weight(*shape, size=1.0)
    )
    return net.add(net.one(["Add", "Sub", "Mul"]), made, x)


STEPS: tuple[tuple[Step, float], ...] = (
    *((unary, 4), (clip, 2), (binary, 6), (conv, 5), (transposed_conv, 1), (pool, 3), (matmul, 4)),
    *((reduction, 2), (softmax, 1), (layer_norm, 2), (channel_norm, 2), (reshape, 2)),
    *((transpose, 2), (concat, 2), (cut, 3), (spread, 3), (resize, 2), (truth, 1), (index, 1)),
    *((activation, 2), (recurrence, 0.5), (constants_alone, 1)),
)
"""What a model grows by, and how often."""
