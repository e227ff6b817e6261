"""Element-wise operators and softmax as ncnn's layers."""

from collections.abc import Callable, Mapping

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.axes import around, inner_axis, paired
from edgeconv.export.ncnn.ops_windows import Say
from edgeconv.export.ncnn.say import Blob, Emission, Parameter, bounded, floats
from edgeconv.export.op_table import Check, Entry, first_failing, needs_constant
from edgeconv.formats.ncnn_file import Shape

BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5, "Pow": 6, "Sum": 0, "Mean": 0}
TURNED = {1: 7, 3: 8, 6: 9}
"""BinaryOp's number of an operator -> that of the one with its operands turned round; others are the same."""
UNARY = {
    "Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Sin": 9, "Cos": 10, "Atan": 14,
    "Reciprocal": 15,
}  # fmt: skip
"""Operator -> what UnaryOp calls it."""
SQUARE, ROOT = 4, 5

Given = Callable[[Node], Mapping[int, Parameter]]


def _each(kind: str, given: Given = lambda node: {}) -> Say:
    """Return how a layer is said that changes every value by itself."""

    def say(em: Emission, node: Node) -> None:
        made = em.add(kind, node, [em.read(node.inputs[0])], given(node))
        em.write(node, made, em.own(node.inputs[0]))

    return say


def _clip(em: Emission, node: Node) -> None:
    ends = [em.graph.constant(node, place) for place in (1, 2)]
    low, high = (
        float(np.ravel(end)[0]) if end is not None else edge
        for end, edge in zip(ends, (-np.inf, np.inf), strict=True)
    )
    low, high = bounded(low, high)
    made = em.add("Clip", node, [em.read(node.inputs[0])], {0: low, 1: high})
    em.write(node, made, em.own(node.inputs[0]))


def _softsign(em: Emission, node: Node) -> None:
    x, shape = em.read(node.inputs[0]), em.own(node.inputs[0])
    size = em.add("UnaryOp", node, [x], {0: UNARY["Abs"]})
    below = em.add("BinaryOp", node, [size], {0: BINARY["Add"], 1: 1, 2: 1.0})
    em.write(node, em.add("BinaryOp", node, [x, below], {0: BINARY["Div"]}), shape)


def _prelu(em: Emission, node: Node) -> None:
    shape, slopes = em.graph.shape(node.inputs[0]), em.graph.shape(node.inputs[1])
    value = em.graph.constant(node, 1)
    if value is not None and _a_slope_a_channel(shape, slopes):
        data = floats(value.reshape(-1))
        made = em.add("PReLU", node, [em.read(node.inputs[0])], {0: value.size}, data)
        em.write(node, made, em.own(node.inputs[0]))
        return
    left, right = paired(shape, slopes)  # max(x, 0) + slope * min(x, 0)
    x, slope = em.read(node.inputs[0], left), em.read(node.inputs[1], right)
    above = em.add("ReLU", node, [x])
    below = em.add("BinaryOp", node, [x], {0: BINARY["Min"], 1: 1, 2: 0.0})
    below = em.add("BinaryOp", node, [below, slope], {0: BINARY["Mul"]})
    em.write(node, em.add("BinaryOp", node, [above, below], {0: BINARY["Add"]}), left)


def _a_slope_a_channel(shape: Shape, slopes: Shape) -> bool:
    full = (1,) * (len(shape) - len(slopes)) + slopes
    first = 1 if len(shape) > 1 and shape[0] == 1 else 0
    others = [size for axis, size in enumerate(full) if axis != first]
    return set(others) <= {1} and inner_axis(shape, first) is not None


def number(graph: Graph, name: str) -> float | None:
    """Return a constant that is one number; None for anything else."""
    value = graph.constants.get(name)
    return float(value.ravel()[0]) if value is not None and value.size == 1 else None


def _one_number(em: Emission, node: Node, place: int, value: float, kind: int) -> None:
    """Write x op value, or value op x where the number is the operand ``place`` 0."""
    name = node.inputs[1 - place]
    x, shape = em.read(name), em.own(name)
    if node.op == "Pow" and place == 1 and value in (2.0, 0.5):
        made = em.add("UnaryOp", node, [x], {0: SQUARE if value == 2.0 else ROOT})
    else:
        turned = TURNED.get(kind, kind) if place == 0 else kind
        made = em.add("BinaryOp", node, [x], {0: turned, 1: 1, 2: value})
    em.write(node, made, shape)


def swish(graph: Graph, node: Node) -> str | None:
    """Return x where a Mul is x * sigmoid(x) and nothing else reads the sigmoid."""
    if node.op != "Mul" or len(node.inputs) != 2:
        return None
    makers = graph.producers()
    for place, name in enumerate(node.inputs):
        maker = makers.get(name)
        if maker is None or maker.op != "Sigmoid" or maker.clamp is not None:
            continue
        if maker.inputs[0] == node.inputs[1 - place] and graph.sole_reader(name) is node:
            return maker.inputs[0]
    return None


def _binary(em: Emission, node: Node) -> None:
    kind = BINARY[node.op]
    if (x := swish(em.graph, node)) is not None:  # the sigmoid reaches no output and is left out
        em.write(node, em.add("Swish", node, [em.read(x)]), em.own(x))
        return
    if len(node.inputs) == 2:
        for place, name in enumerate(node.inputs):
            value = number(em.graph, name)
            other = node.inputs[1 - place]
            if value is not None and other not in em.graph.constants:
                same = em.graph.shape(other) == em.graph.shape(node.output)
                if same or em.own(other) == em.own(node.output):
                    _one_number(em, node, place, value, kind)
                    return
    held, shape = node.inputs[0], em.graph.shape(node.inputs[0])
    made: Blob | None = None
    seen: Shape = ()
    for name in node.inputs[1:]:
        left, right = paired(shape, em.graph.shape(name))
        first = em.read(held, left) if made is None else em.reshaped(node.name, made, seen, left)
        made = em.add("BinaryOp", node, [first, em.read(name, right)], {0: kind})
        shape = tuple(np.broadcast_shapes(shape, em.graph.shape(name)))
        seen = tuple(max(pair) for pair in zip(left, right, strict=True))
    if made is None:
        made, seen = em.read(held), em.own(held)
    if node.op == "Mean":
        made = em.add("BinaryOp", node, [made], {0: BINARY["Mul"], 1: 1, 2: 1 / len(node.inputs)})
    em.write(node, made, seen)


def _few_axes(graph: Graph, node: Node) -> str | None:
    shape = graph.shape(node.inputs[0])
    for name in node.inputs[1:]:
        if len(paired(shape, graph.shape(name))[0]) > 4:
            return "its operands repeat each other over more axes than ncnn's four"
        shape = tuple(np.broadcast_shapes(shape, graph.shape(name)))
    return None


def _softmax(log: bool) -> Say:
    def say(em: Emission, node: Node) -> None:
        name, axis = node.inputs[0], node.int("axis", -1)
        shape = em.graph.shape(name)
        place, seen = inner_axis(shape, axis), em.own(name)
        if place is None:
            place, seen = 1, around(shape, axis)
        made = em.add("Softmax", node, [em.read(name, seen)], {0: place, 1: 1})
        if log:
            made = em.add("UnaryOp", node, [made], {0: UNARY["Log"]})
        em.write(node, made, seen)

    return say


def _fast(node: Node) -> Mapping[int, Parameter]:
    return {0: int(node.str("approximate", "none") == "tanh")}


def _hard(slope: float, offset: float) -> Given:
    return lambda node: {0: node.float("alpha", slope), 1: node.float("beta", offset)}


_broadcasts: Check = _few_axes
_selu = lambda node: {0: node.float("alpha", 1.67326319), 1: node.float("gamma", 1.05070102)}  # noqa: E731

OPS: dict[str, Entry[Say]] = {
    **{op: Entry(_binary, "BinaryOp", check=_broadcasts) for op in BINARY},
    **{
        op: Entry(_each("UnaryOp", lambda _, kind=kind: {0: kind}), "UnaryOp")  # type: ignore[misc]
        for op, kind in UNARY.items()
    },
    "Celu": Entry(_each("CELU", lambda node: {0: node.float("alpha", 1.0)}), "CELU"),
    "Clip": Entry(
        _clip, "Clip", check=first_failing(needs_constant(1, "bound"), needs_constant(2, "bound"))
    ),
    "Elu": Entry(_each("ELU", lambda node: {0: node.float("alpha", 1.0)}), "ELU"),
    "Erf": Entry(_each("Erf"), "Erf"),
    "Gelu": Entry(_each("GELU", _fast), "GELU"),
    "HardSigmoid": Entry(_each("HardSigmoid", _hard(0.2, 0.5)), "HardSigmoid"),
    "HardSwish": Entry(_each("HardSwish", lambda node: {0: 1 / 6, 1: 0.5}), "HardSwish"),
    "LeakyRelu": Entry(_each("ReLU", lambda node: {0: node.float("alpha", 0.01)}), "ReLU"),
    "LogSoftmax": Entry(_softmax(log=True), "Softmax, UnaryOp"),
    "Mish": Entry(_each("Mish"), "Mish"),
    "PRelu": Entry(_prelu, "PReLU, BinaryOp", check=_few_axes),
    "Relu": Entry(_each("ReLU"), "ReLU"),
    "Selu": Entry(_each("SELU", _selu), "SELU"),
    "Sigmoid": Entry(_each("Sigmoid"), "Sigmoid"),
    "Softmax": Entry(_softmax(log=False), "Softmax"),
    "Softplus": Entry(_each("Softplus"), "Softplus"),
    "Softsign": Entry(_softsign, "UnaryOp, BinaryOp"),
    "Tanh": Entry(_each("TanH"), "TanH"),
}
"""Operator -> entry."""
