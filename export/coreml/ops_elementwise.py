"""Element by element operators: arithmetic, activations, casts, normalization by constants."""

from typing import Any

import numpy as np

from edgeconv.export.coreml.lowering import Lower, Lowering
from edgeconv.export.coreml.ops_types import LEAST, number_of, wrapped
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry
from edgeconv.export.passes.fuse_clamps import clamp_of


def _unary(mil: str, **fixed: Any) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        return getattr(c.mb, mil)(x=c.tensor(node.inputs[0]), name=name, **fixed)

    return Entry(lower)


def _alpha(mil: str, default: float) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        alpha = np.float32(node.float("alpha", default))
        return getattr(c.mb, mil)(x=c.tensor(node.inputs[0]), alpha=alpha, name=name)

    return Entry(lower)


def _binary(mil: str) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        x, y = c.read(node, 0), c.read(node, 1)
        if isinstance(x, np.ndarray):  # MIL wants a variable first
            x = c.mb.const(val=x, name=c.name(f"{name}_x"))
        return getattr(c.mb, mil)(x=x, y=y, name=name)

    return Entry(lower)


def _arithmetic(mil: str) -> Entry[Lower]:
    """Bytes are int32 here, which do not wrap around as ONNX's do."""

    def lower(c: Lowering, node: Node, name: str) -> Any:
        least = LEAST.get(c.graph.dtype(node.output).name)
        if least is None:
            return _binary(mil).emit(c, node, name)
        wide = _binary(mil).emit(c, node, c.name(f"{name}_wide"))
        return wrapped(c, wide, name, least)

    return Entry(lower)


def _refuse_two_types(graph: Graph, node: Node) -> str | None:
    kinds = {graph.dtype(name).name for name in node.inputs}
    return None if len(kinds) == 1 else f"its operands are {' and '.join(sorted(kinds))}"


def _divide(c: Lowering, node: Node, name: str) -> Any:
    if c.graph.dtype(node.output).kind == "f":
        return _binary("real_div").emit(c, node, name)
    x, y = (c.variable(tensor, name) for tensor in node.inputs)
    if not all(c.graph.dtype(tensor).kind == "i" for tensor in node.inputs):
        return c.mb.floor_div(x=x, y=y, name=name)
    # MIL rounds down, ONNX towards zero: where the signs differ, the quotient of -x is negated
    below = [c.mb.cast(x=c.mb.less(x=value, y=np.int32(0)), dtype="int32") for value in (x, y)]
    alike = c.mb.equal(x=below[0], y=below[1], name=c.name(f"{name}_alike"))
    down = c.mb.floor_div(x=x, y=y, name=c.name(f"{name}_down"))
    turned = c.mb.floor_div(x=c.mb.mul(x=x, y=np.int32(-1)), y=y, name=c.name(f"{name}_turned"))
    up = c.mb.mul(x=turned, y=np.int32(-1), name=c.name(f"{name}_up"))
    return c.mb.select(cond=alike, a=down, b=up, name=name)


def _modulo(c: Lowering, node: Node, name: str) -> Any:
    if not node.int("fmod", 0):
        return _binary("mod").emit(c, node, name)
    # MIL's has the divisor's sign, C's fmod the dividend's
    x, y = (c.variable(tensor, name) for tensor in node.inputs)
    sizes = [c.mb.abs(x=value, name=c.name(f"{name}_size")) for value in (x, y)]
    left = c.mb.mod(x=sizes[0], y=sizes[1], name=c.name(f"{name}_left"))
    return c.mb.mul(x=left, y=c.mb.sign(x=x, name=c.name(f"{name}_sign")), name=name)


def _variadic(mil: str) -> Entry[Lower]:
    def lower(c: Lowering, node: Node, name: str) -> Any:
        build = getattr(c.mb, mil)
        made, *others = [c.tensor(tensor) for tensor in node.inputs]
        if not others:
            return c.mb.identity(x=made, name=name)
        for number, other in enumerate(others, 1):
            step = name if number == len(others) else c.name(f"{name}_part")
            if isinstance(made, np.ndarray):  # MIL wants a variable first
                made = c.mb.const(val=made, name=c.name(f"{name}_x"))
            made = build(x=made, y=other, name=step)
        return made

    return Entry(lower)


_SUM = _variadic("add")


def _clip(c: Lowering, node: Node, name: str) -> Any:
    bounds = clamp_of(c.graph, node)
    if bounds is None or bounds == (-float("inf"), float("inf")):
        return c.mb.identity(x=c.tensor(node.inputs[0]), name=name)
    return c.clamp(c.tensor(node.inputs[0]), bounds, name)


def _refuse_clip(graph: Graph, node: Node) -> str | None:
    return "its bounds must be constant" if clamp_of(graph, node) is None else None


def _hard_sigmoid(c: Lowering, node: Node, name: str) -> Any:
    alpha, beta = np.float32(node.float("alpha", 0.2)), np.float32(node.float("beta", 0.5))
    return c.mb.sigmoid_hard(x=c.tensor(node.inputs[0]), alpha=alpha, beta=beta, name=name)


def _hard_swish(c: Lowering, node: Node, name: str) -> Any:
    x = c.tensor(node.inputs[0])
    gate = c.mb.sigmoid_hard(
        x=x, alpha=np.float32(1 / 6), beta=np.float32(0.5), name=c.name(f"{name}_gate")
    )
    return c.mb.mul(x=x, y=gate, name=name)


def _mish(c: Lowering, node: Node, name: str) -> Any:
    x = c.tensor(node.inputs[0])
    soft = c.mb.softplus(x=x, name=c.name(f"{name}_softplus"))
    return c.mb.mul(x=x, y=c.mb.tanh(x=soft, name=c.name(f"{name}_tanh")), name=name)


def _selu(c: Lowering, node: Node, name: str) -> Any:
    alpha, gamma = node.float("alpha", 1.67326319217681), node.float("gamma", 1.05070102214813)
    x = c.mb.elu(x=c.tensor(node.inputs[0]), alpha=np.float32(alpha), name=c.name(f"{name}_elu"))
    return c.mb.mul(x=x, y=np.float32(gamma), name=name)


def _celu(c: Lowering, node: Node, name: str) -> Any:
    alpha = node.float("alpha", 1.0)
    x = c.mb.mul(x=c.tensor(node.inputs[0]), y=np.float32(1 / alpha), name=c.name(f"{name}_x"))
    y = c.mb.elu(x=x, alpha=np.float32(1), name=c.name(f"{name}_elu"))
    return c.mb.mul(x=y, y=np.float32(alpha), name=name)


def _mean(c: Lowering, node: Node, name: str) -> Any:
    total = _SUM.emit(c, node, c.name(f"{name}_total"))
    return c.mb.mul(x=total, y=np.float32(1 / len(node.inputs)), name=name)


def _prelu(c: Lowering, node: Node, name: str) -> Any:
    x, slope = c.tensor(node.inputs[0]), c.graph.constant(node, 1)
    shape = c.shape(node.inputs[0])
    if slope is None:
        slope = c.tensor(node.inputs[1])
    else:
        slope = np.asarray(slope, np.float32)
        if slope.size == 1:
            return c.mb.leaky_relu(x=x, alpha=slope.reshape(-1)[0], name=name)
        padded = (1,) * (len(shape) - slope.ndim) + slope.shape
        # MIL's own takes slopes by channel on four axes only
        if len(shape) == 4 and padded == (1, shape[1], 1, 1):
            return c.mb.prelu(x=x, alpha=slope.reshape(-1), name=name)
    below = c.mb.minimum(x=x, y=np.float32(0), name=c.name(f"{name}_below"))
    scaled = c.mb.mul(x=below, y=slope, name=c.name(f"{name}_scaled"))
    return c.mb.add(x=c.mb.relu(x=x, name=c.name(f"{name}_above")), y=scaled, name=name)


def _gelu(c: Lowering, node: Node, name: str) -> Any:
    tanh = node.str("approximate", "none") == "tanh"
    mode = "TANH_APPROXIMATION" if tanh else "EXACT"
    return c.mb.gelu(x=c.tensor(node.inputs[0]), mode=mode, name=name)


def _reciprocal(c: Lowering, node: Node, name: str) -> Any:
    one = c.mb.const(val=np.float32(1), name=c.name(f"{name}_one"))
    # mb.inverse would add an epsilon of 1e-4
    return c.mb.real_div(x=one, y=c.tensor(node.inputs[0]), name=name)


def _negate(c: Lowering, node: Node, name: str) -> Any:
    minus = number_of(c, node)(-1)
    return c.mb.mul(x=c.tensor(node.inputs[0]), y=minus, name=name)


def _softmax(c: Lowering, node: Node, name: str) -> Any:
    return c.mb.softmax(x=c.tensor(node.inputs[0]), axis=node.int("axis", -1), name=name)


def _log_softmax(c: Lowering, node: Node, name: str) -> Any:
    x = c.tensor(node.inputs[0])
    total = c.mb.reduce_log_sum_exp(
        x=x, axes=[node.int("axis", -1)], keep_dims=True, name=c.name(f"{name}_total")
    )
    return c.mb.sub(x=x, y=total, name=name)


def _batch_norm(c: Lowering, node: Node, name: str) -> Any:
    names = ("gamma", "beta", "mean", "variance")
    arguments = {key: c.tensor(node.inputs[i + 1]) for i, key in enumerate(names)}
    epsilon = np.float32(node.float("epsilon", 1e-5))
    return c.mb.batch_norm(x=c.tensor(node.inputs[0]), epsilon=epsilon, name=name, **arguments)


def _instance_norm(c: Lowering, node: Node, name: str) -> Any:
    return c.mb.instance_norm(
        x=c.tensor(node.inputs[0]),
        gamma=c.tensor(node.inputs[1]),
        beta=c.tensor(node.inputs[2]),
        epsilon=np.float32(node.float("epsilon", 1e-5)),
        name=name,
    )


def _layer_norm(c: Lowering, node: Node, name: str) -> Any:
    rank = len(c.shape(node.inputs[0]))
    arguments = {"gamma": c.tensor(node.inputs[1])}
    if c.has(node, 2):
        arguments["beta"] = c.tensor(node.inputs[2])
    axes = list(range(node.int("axis", -1) % rank, rank))
    epsilon = np.float32(node.float("epsilon", 1e-5))
    return c.mb.layer_norm(
        x=c.tensor(node.inputs[0]), axes=axes, epsilon=epsilon, name=name, **arguments
    )


def _refuse_computed_parameters(graph: Graph, node: Node) -> str | None:
    if any(name and name not in graph.constants for name in node.inputs[1:]):
        return "its parameters must be constant"
    return "only its first output exists in Core ML" if len(node.outputs) > 1 else None


OPS = {
    "Relu": _unary("relu"),
    "Sigmoid": _unary("sigmoid"),
    "Tanh": _unary("tanh"),
    "Exp": _unary("exp"),
    "Log": _unary("log", epsilon=np.float32(0)),
    "Sqrt": _unary("sqrt"),
    "Abs": _unary("abs"),
    "Atan": _unary("atan"),
    "Erf": _unary("erf"),
    "Floor": _unary("floor"),
    "Ceil": _unary("ceil"),
    "Round": _unary("round"),
    "Sign": _unary("sign"),
    "Sin": _unary("sin"),
    "Cos": _unary("cos"),
    "Softplus": _unary("softplus"),
    "Softsign": _unary("softsign"),
    "Identity": _unary("identity"),
    "LeakyRelu": _alpha("leaky_relu", 0.01),
    "Elu": _alpha("elu", 1.0),
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": Entry(_divide),
    "Pow": Entry(_binary("pow").emit, check=_refuse_two_types),
    "Mod": Entry(_modulo),
    "Min": _variadic("minimum"),
    "Max": _variadic("maximum"),
    "Sum": _SUM,
    "Mean": Entry(_mean),
    "Clip": Entry(_clip, check=_refuse_clip),
    "HardSigmoid": Entry(_hard_sigmoid),
    "HardSwish": Entry(_hard_swish),
    "Mish": Entry(_mish),
    "Selu": Entry(_selu),
    "Celu": Entry(_celu),
    "PRelu": Entry(_prelu),
    "Gelu": Entry(_gelu),
    "Reciprocal": Entry(_reciprocal),
    "Neg": Entry(_negate),
    "Softmax": Entry(_softmax),
    "LogSoftmax": Entry(_log_softmax),
    "BatchNormalization": Entry(_batch_norm, check=_refuse_computed_parameters),
    "InstanceNormalization": Entry(_instance_norm, check=_refuse_computed_parameters),
    "LayerNormalization": Entry(_layer_norm, check=_refuse_computed_parameters),
}
