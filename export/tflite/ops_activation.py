"""Activations: clamps, the sigmoid family, softmax."""

import math
from typing import Any

import numpy as np

from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.op_table import Entry, first_failing, needs_constant
from edgeconv.export.tflite.clamps import ACTIVATIONS, implied
from edgeconv.export.tflite.emission import Emission, Emit
from edgeconv.export.tflite.layout import is_copy, swapped_with_last
from edgeconv.export.tflite.ops_elementwise import identity, of_kinds, unary
from edgeconv.tensors import Quantization

# TFLite's quantization spec fixes these output scales
SIGMOID_SCALE = Quantization(1 / 256, -128)
TANH_SCALE = Quantization(1 / 128, 0)


def clamp_of(graph: Graph, node: Node) -> Clamp:
    """Return the bounds of a Relu or Clip with constant bounds."""
    if node.op == "Relu":
        return 0.0, float("inf")
    low, high = (graph.constant(node, index) for index in (1, 2))
    return (
        -float("inf") if low is None else float(np.asarray(low, np.float64).ravel()[0]),
        float("inf") if high is None else float(np.asarray(high, np.float64).ravel()[0]),
    )


def clamp(em: Emission, node: Node) -> None:
    """Relu or Clip that stands alone: RELU, RELU6, RELU_N1_TO_1, or MAXIMUM and MINIMUM.

    On int8 it is a QUANTIZE, whose saturation clamps, where the output's range implies the bounds.
    """
    low, high = bounds = clamp_of(em.graph, node)
    layout, scale = em.layout(node.output), em.result(node)
    if scale is not None and implied(bounds, scale):
        _saturate(em, node, scale)
        return
    x = em.read(node.inputs[0], layout, scale=scale)
    if scale is None and bounds in ACTIVATIONS and _is_real(em, node):
        em.emit(node, ACTIVATIONS[bounds], [x])
        return
    if not math.isinf(low) and not math.isinf(high):
        x = em.do("MAXIMUM", [x, _bound(em, low, x)], "MaximumMinimumOptions", quantization=scale)
    if not math.isinf(high):
        em.emit(node, "MINIMUM", [x, _bound(em, high, x)], "MaximumMinimumOptions")
    elif not math.isinf(low):
        em.emit(node, "MAXIMUM", [x, _bound(em, low, x)], "MaximumMinimumOptions")
    else:
        identity(em, node)


def _is_real(em: Emission, node: Node) -> bool:
    return em.graph.dtype(node.output) == np.float32


def _bound(em: Emission, value: float, x: int) -> int:
    held = em.builder.quantization(x)
    if held is not None or em.builder.dtype(x) == np.float32:
        return em.real(value, held)
    return em.builder.shared("bound", np.array([value], em.builder.dtype(x)))


def _saturate(em: Emission, node: Node, scale: Quantization) -> None:
    x = em.read(node.inputs[0], em.layout(node.output))
    if em.builder.quantization(x) == scale:
        identity(em, node)
    else:
        em.emit(node, "QUANTIZE", [x], "QuantizeOptions")


def sigmoid(em: Emission, node: Node) -> None:
    """Sigmoid: LOGISTIC, whose int8 output is always at 1/256."""
    x = em.read(node.inputs[0], em.layout(node.output))
    em.emit(node, "LOGISTIC", [x], own=SIGMOID_SCALE)


def tanh(em: Emission, node: Node) -> None:
    """Tanh: TANH, whose int8 output is always at 1/128."""
    x = em.read(node.inputs[0], em.layout(node.output))
    em.emit(node, "TANH", [x], own=TANH_SCALE)


def _along_last(code: str, options: str, own: Quantization | None) -> Emit:
    """Return the emitter of a softmax: TFLite's runs along the last stored axis."""

    def emit(em: Emission, node: Node) -> None:
        layout = em.layout(node.output)
        x = em.read(node.inputs[0], layout)
        fields: dict[str, Any] = {"beta": 1.0} if code == "SOFTMAX" else {}
        swap = swapped_with_last(em.graph.shape(node.output), node, layout)
        shape = em.builder.shape(x)
        turned = tuple(shape[axis] for axis in swap)
        if is_copy(shape, swap):
            x = em.reshape(x, turned)
            em.emit(node, code, [x], options, own=own, shape=turned, **fields)
            return
        x = em.transpose(x, swap)
        fixed = own if em.integer else None
        x = em.do(code, [x], options, quantization=fixed, **fields)
        permutation = em.ints(swap, "permutation")
        em.emit(node, "TRANSPOSE", [x, permutation], "TransposeOptions", own=own)

    return emit


def leaky_relu(em: Emission, node: Node) -> None:
    """LeakyRelu: LEAKY_RELU."""
    x = em.read(node.inputs[0], em.layout(node.output))
    alpha = node.float("alpha", 0.01)
    em.emit(node, "LEAKY_RELU", [x], "LeakyReluOptions", alpha=alpha)


def prelu(em: Emission, node: Node) -> None:
    """PRelu: PRELU, one slope for each channel (or any that broadcast)."""
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    x = em.read(node.inputs[0], layout)
    em.emit(node, "PRELU", [x, em.operand(node.inputs[1], rank, layout)])


def elu(em: Emission, node: Node) -> None:
    """Elu: ELU where alpha is 1, else relu(x) + alpha * elu(min(x, 0))."""
    alpha, x = node.float("alpha", 1.0), em.read(node.inputs[0], em.layout(node.output))
    if alpha == 1.0:
        em.emit(node, "ELU", [x])
        return
    below = em.do("ELU", [em.do("MINIMUM", [x, em.real(0.0)], "MaximumMinimumOptions")])
    below = em.do("MUL", [below, em.real(alpha)], "MulOptions")
    em.emit(node, "ADD", [em.do("RELU", [x]), below], "AddOptions")


def selu(em: Emission, node: Node) -> None:
    """Selu: gamma * (relu(x) + alpha * elu(min(x, 0)))."""
    x = em.read(node.inputs[0], em.layout(node.output))
    gamma, alpha = node.float("gamma", 1.0507009873554805), node.float("alpha", 1.6732632423543772)
    below = em.do("ELU", [em.do("MINIMUM", [x, em.real(0.0)], "MaximumMinimumOptions")])
    below = em.do("MUL", [below, em.real(alpha * gamma)], "MulOptions")
    above = em.do("MUL", [em.do("RELU", [x]), em.real(gamma)], "MulOptions")
    em.emit(node, "ADD", [above, below], "AddOptions")


def celu(em: Emission, node: Node) -> None:
    """Celu: relu(x) + alpha * elu(min(x, 0) / alpha)."""
    x, alpha = em.read(node.inputs[0], em.layout(node.output)), node.float("alpha", 1.0)
    below = em.do("MINIMUM", [x, em.real(0.0)], "MaximumMinimumOptions")
    below = em.do("ELU", [em.do("MUL", [below, em.real(1 / alpha)], "MulOptions")])
    below = em.do("MUL", [below, em.real(alpha)], "MulOptions")
    em.emit(node, "ADD", [em.do("RELU", [x]), below], "AddOptions")


def hard_sigmoid(em: Emission, node: Node) -> None:
    """HardSigmoid: relu6(6 * alpha * x + 6 * beta) / 6; RELU_0_TO_1 would split the net."""
    x = em.read(node.inputs[0], em.layout(node.output))
    alpha, beta = node.float("alpha", 0.2), node.float("beta", 0.5)
    if not math.isclose(alpha, 1 / 6, rel_tol=1e-6):
        x = em.do("MUL", [x, em.real(6 * alpha)], "MulOptions")
    x = em.do("ADD", [x, em.real(6 * beta)], "AddOptions", fusedActivationFunction="RELU6")
    em.emit(node, "MUL", [x, em.real(1 / 6)], "MulOptions")


def _log_tail(em: Emission, x: int) -> int:
    """Return log(1 + exp(-|x|)): with it softplus cannot overflow."""
    size = em.do("ABS", [x], "AbsOptions")
    small = em.do("EXP", [em.do("NEG", [size], "NegOptions")], "ExpOptions")
    return em.do("LOG", [em.do("ADD", [small, em.real(1.0)], "AddOptions")])


def softplus(em: Emission, node: Node) -> None:
    """Softplus: relu(x) + log(1 + exp(-|x|))."""
    x = em.read(node.inputs[0], em.layout(node.output))
    em.emit(node, "ADD", [em.do("RELU", [x]), _log_tail(em, x)], "AddOptions")


def mish(em: Emission, node: Node) -> None:
    """Mish: x * tanh(softplus(x))."""
    x = em.read(node.inputs[0], em.layout(node.output))
    softened = em.do("ADD", [em.do("RELU", [x]), _log_tail(em, x)], "AddOptions")
    em.emit(node, "MUL", [x, em.do("TANH", [softened])], "MulOptions")


def softsign(em: Emission, node: Node) -> None:
    """Softsign: x / (1 + |x|)."""
    x = em.read(node.inputs[0], em.layout(node.output))
    below = em.do("ADD", [em.do("ABS", [x], "AbsOptions"), em.real(1.0)], "AddOptions")
    em.emit(node, "DIV", [x, below], "DivOptions")


def erf(em: Emission, node: Node) -> None:
    """Erf: Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7 (float32's own grain)."""
    x = em.read(node.inputs[0], em.layout(node.output))
    size = em.do("ABS", [x], "AbsOptions")
    scaled = em.do("MUL", [size, em.real(0.3275911)], "MulOptions")
    below = em.do("ADD", [scaled, em.real(1.0)], "AddOptions")
    t = em.do("DIV", [em.real(1.0), below], "DivOptions")
    poly = em.do("MUL", [t, em.real(1.061405429)], "MulOptions")
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = em.do("ADD", [poly, em.real(coefficient)], "AddOptions")
        poly = em.do("MUL", [poly, t], "MulOptions")
    square = em.do("NEG", [em.do("MUL", [x, x], "MulOptions")], "NegOptions")
    tail = em.do("MUL", [poly, em.do("EXP", [square])], "MulOptions")
    away = em.do("SUB", [em.real(1.0), tail], "SubOptions")
    em.emit(node, "MUL", [em.do("SIGN", [x]), away], "MulOptions")


def gelu(em: Emission, node: Node) -> None:
    """Gelu: GELU."""
    x = em.read(node.inputs[0], em.layout(node.output))
    approximate = node.str("approximate", "none") == "tanh"
    em.emit(node, "GELU", [x], "GeluOptions", approximate=approximate)


_REAL = of_kinds("float32")
_BOUNDS = first_failing(
    of_kinds("float32", "int32", "int64"),
    needs_constant(1, "lower bound"),
    needs_constant(2, "upper bound"),
)
_ANY = "a float32 operand"

TABLE = {
    "Relu": Entry(clamp, "RELU", _ANY, _BOUNDS, int8=True),
    "Clip": Entry(
        clamp, "RELU, RELU6, RELU_N1_TO_1, MAXIMUM, MINIMUM", "constant bounds", _BOUNDS, int8=True
    ),
    "LeakyRelu": Entry(leaky_relu, "LEAKY_RELU", _ANY, _REAL, int8=True),
    "PRelu": Entry(prelu, "PRELU", "a constant slope", first_failing(_REAL), int8=True),
    "Elu": Entry(
        elu,
        "ELU",
        _ANY,
        _REAL,
        int8=lambda _, node: node.float("alpha", 1.0) == 1.0,
    ),
    "Selu": Entry(selu, "RELU, ELU, MUL, ADD", _ANY, _REAL),
    "Celu": Entry(celu, "RELU, ELU, MUL, ADD", _ANY, _REAL),
    "Sigmoid": Entry(sigmoid, "LOGISTIC", _ANY, _REAL, int8=True),
    "HardSigmoid": Entry(hard_sigmoid, "ADD, MUL", _ANY, _REAL),
    "HardSwish": Entry(
        unary("HARD_SWISH", "HardSwishOptions"), "HARD_SWISH", _ANY, _REAL, int8=True
    ),
    "Tanh": Entry(tanh, "TANH", _ANY, _REAL, int8=True),
    "Softmax": Entry(
        _along_last("SOFTMAX", "SoftmaxOptions", SIGMOID_SCALE), "SOFTMAX", _ANY, _REAL, int8=True
    ),
    "LogSoftmax": Entry(
        _along_last("LOG_SOFTMAX", "LogSoftmaxOptions", None), "LOG_SOFTMAX", _ANY, _REAL
    ),
    "Softplus": Entry(softplus, "RELU, ABS, NEG, EXP, LOG, ADD", _ANY, _REAL),
    "Mish": Entry(mish, "RELU, ABS, NEG, EXP, LOG, ADD, TANH, MUL", _ANY, _REAL),
    "Softsign": Entry(softsign, "ABS, ADD, DIV", _ANY, _REAL),
    "Erf": Entry(erf, "ABS, MUL, ADD, SUB, DIV, NEG, EXP, SIGN", _ANY, _REAL),
    "Gelu": Entry(gelu, "GELU", _ANY, _REAL, int8=True),
}
