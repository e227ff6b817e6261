"""Recognise an activation function by its values, however it is spelled.

Given:   x -> element-wise operators with scalar constants -> y, and y(x) is GELU (exact or by tanh,
         arXiv 1606.08415), hard swish or hard sigmoid (1905.02244, section 5.2), SiLU or the logistic
         function spelled with Exp, or a leaky ReLU
Result:  x -> Gelu | HardSwish | HardSigmoid | Sigmoid | LeakyRelu [-> Mul(x) | Mul(factor)] -> y
"""

import math
from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.passes.fuse_clamps import clamp_of

Values = NDArray[np.float64]

GRID = np.concatenate([np.linspace(-8, 8, 161), [-20.0, -3.0, 0.0, 3.0, 20.0]])
CLOSE = 2e-5
"""Constants that were written with five digits are still meant."""
MOST_NODES = 14
GELU_OPSET = 20


def _erf(x: Values) -> Values:
    return np.array([math.erf(value) for value in x])


def _sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))


_OPERATORS: dict[str, Callable[..., Values]] = {
    "Add": np.add,
    "Sum": lambda *x: reduce(np.add, x),
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Abs": np.abs,
    "Neg": np.negative,
    "Erf": _erf,
    "Tanh": np.tanh,
    "Exp": np.exp,
    "Sigmoid": _sigmoid,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, 0),
    "Max": lambda *x: reduce(np.maximum, x),
    "Min": lambda *x: reduce(np.minimum, x),
}
_TELLING = frozenset(["Abs", "Erf", "Tanh", "Exp", "Clip", "Relu", "HardSigmoid", "Max", "Min"])
"""One of these is in every spelling."""

_SCALED = frozenset(["Gelu", "HardSwish"])
"""Their last factor, 1/2 or 1/6, is often folded into the layer behind them already."""

_GATE = np.clip(GRID / 6 + 0.5, 0, 1)
_TANH = np.tanh(np.sqrt(2 / np.pi) * (GRID + 0.044715 * GRID**3))
_KNOWN: tuple[tuple[str, dict[str, Attribute], Values], ...] = (
    ("Gelu", {}, GRID * 0.5 * (1 + _erf(GRID / np.sqrt(2)))),
    ("Gelu", {"approximate": "tanh"}, GRID * 0.5 * (1 + _TANH)),
    ("HardSwish", {}, GRID * _GATE),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, _GATE),
    ("Silu", {}, GRID * _sigmoid(GRID)),
    ("Sigmoid", {}, _sigmoid(GRID)),
)


def fuse_activations(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed, gone = False, set[str]()
    around = _Around(graph)
    for node in reversed(list(graph.of(*_OPERATORS, "Clip", "HardSigmoid"))):  # the whole first
        if node.output in gone or graph.dtype(node.output) != np.float32:
            continue
        inside = _fuse_at(graph, node, around)
        if inside:
            gone.update(other.output for other in inside[1:])
            changed, around = True, _Around(graph)
    return changed


class _Around:
    """Who makes and who reads each tensor, and where its maker stands; stale after a change."""

    def __init__(self, graph: Graph) -> None:
        self.makers, self.readers = graph.producers(), graph.consumers()
        self.place = {node.output: i for i, node in enumerate(graph.nodes)}


def _fuse_at(graph: Graph, last: Node, around: _Around) -> list[Node]:
    """Walk back from ``last`` until all it reads is one tensor that makes a known function.

    Returns the nodes that were replaced, none where it makes none.
    """
    inside = [last]
    while len(inside) <= MOST_NODES:
        if not _is_elementwise(graph, inside[-1]):
            return []
        made = {node.output for node in inside}
        read = {n for node in inside for n in node.inputs if n and n not in graph.constants} - made
        if len(read) == 1 and len(inside) > 1 and any(n.op in _TELLING for n in inside):
            source = next(iter(read))
            found = _known(graph, inside, source)
            if found is not None and graph.shape(source) == graph.shape(last.output):
                _replace(graph, inside, source, *found)
                return inside
        inner = [name for name in read if _only_inside(graph, name, inside, around)]
        if not inner:
            return []
        inside.append(around.makers[max(inner, key=lambda name: around.place.get(name, -1))])
    return []


def _only_inside(graph: Graph, tensor: str, inside: list[Node], around: _Around) -> bool:
    made = tensor in around.makers and tensor not in graph.outputs
    outputs = {node.output for node in inside}
    return made and all(reader.output in outputs for reader in around.readers[tensor])


def _is_elementwise(graph: Graph, node: Node) -> bool:
    if node.clamp is not None:
        return False
    if node.op == "Clip":
        return clamp_of(graph, node) is not None
    scalars = all(graph.constants[n].size == 1 for n in node.inputs if n in graph.constants)
    return scalars and (node.op in _OPERATORS or node.op == "HardSigmoid")


def _known(
    graph: Graph, inside: list[Node], source: str
) -> tuple[str, dict[str, Attribute], float] | None:
    with np.errstate(all="ignore"):
        values: dict[str, Values] = {source: GRID}
        for node in reversed(inside):
            if not all(n in values or n in graph.constants for n in node.inputs if n):
                return None
            values[node.output] = _value(graph, node, values)
        made = values[inside[0].output]
    for op, attrs, wanted in _KNOWN:
        if np.allclose(made, wanted, rtol=CLOSE, atol=CLOSE):
            return op, attrs, 1.0
    for op, attrs, wanted in _KNOWN:
        factor = float(np.asarray(made)[-1] / wanted[-1])
        if (
            op in _SCALED
            and factor > 0.01
            and np.allclose(made, factor * wanted, rtol=CLOSE, atol=CLOSE)
        ):
            return op, attrs, factor
    slope = float(np.asarray(made)[0] / GRID[0])
    leaky = np.where(GRID < 0, slope * GRID, GRID)
    if 0 < slope < 1 and np.allclose(made, leaky, rtol=CLOSE, atol=CLOSE):
        return "LeakyRelu", {"alpha": float(np.float32(slope))}, 1.0
    return None


def _value(graph: Graph, node: Node, values: Mapping[str, Values]) -> Values:
    if node.op == "Clip":
        return np.clip(values[node.inputs[0]], *(clamp_of(graph, node) or (-np.inf, np.inf)))
    if node.op == "HardSigmoid":
        slope, offset = node.float("alpha", 0.2), node.float("beta", 0.5)
        return np.clip(values[node.inputs[0]] * slope + offset, 0, 1)
    read = [
        values[n] if n in values else np.float64(graph.constants[n].reshape(-1)[0])
        for n in node.inputs
    ]
    return np.asarray(_OPERATORS[node.op](*read), np.float64)


def _replace(
    graph: Graph,
    inside: list[Node],
    source: str,
    op: str,
    attrs: dict[str, Attribute],
    factor: float,
) -> None:
    last = inside[0]
    at, name = graph.nodes.index(last), last.name
    if op == "Silu":
        gate = graph.declare(
            graph.fresh(f"{last.output}_gate"), graph.shape(source), graph.dtype(source).type
        )
        made = [
            Node("Sigmoid", graph.fresh(f"{name}_gate"), [source], [gate]),
            Node("Mul", name, [source, gate], [last.output]),
        ]
    elif factor != 1.0:
        plain = graph.declare(
            graph.fresh(f"{last.output}_plain"), graph.shape(source), graph.dtype(source).type
        )
        by = graph.add_constant(f"{name}_factor", np.array(factor, np.float32))
        made = [
            Node(op, graph.fresh(f"{name}_plain"), [source], [plain], dict(attrs)),
            Node("Mul", name, [plain, by], [last.output]),
        ]
    else:
        made = [Node(op, name, [source], [last.output], dict(attrs))]
    graph.nodes[at : at + 1] = made
    for node in inside[1:]:
        graph.nodes.remove(node)
    if op == "Gelu":
        graph.opset = max(graph.opset, GELU_OPSET)
