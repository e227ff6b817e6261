"""Products, norms and reductions as ncnn's layers."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.ncnn.axes import inner_axis
from edgeconv.export.ncnn.ops_windows import Say, alone, biased, one_picture
from edgeconv.export.ncnn.say import Emission, Parameter, activation, floats
from edgeconv.export.op_table import Entry, first_failing, needs_constant, needs_plain_gemm
from edgeconv.formats.ncnn_file import Shape, own_shape


def inner_product(
    em: Emission, node: Node, rows: int, weights: NDArray[Any], bias: tuple[int, bytes], title: str
) -> None:
    """Write x * transposed ``weights``, (out, in), over ``rows`` rows of x."""
    out, into = weights.shape
    parameters: dict[int, Parameter] = {0: out, 1: bias[0], 2: weights.size, **activation(node)}
    data = em.flagged(title, weights) + bias[1]
    x = em.read(node.inputs[0], (into,) if rows == 1 else (rows, into))
    made = em.add("InnerProduct", node, [x], parameters, data)
    em.write(node, made, (out,) if rows == 1 else (rows, out), clamped=True)


def _gemm(em: Emission, node: Node) -> None:
    weights = em.graph.constants[node.inputs[1]]
    rows = em.graph.shape(node.inputs[0])[0]
    inner_product(em, node, rows, weights, biased(em, node), node.inputs[1])


def _bias_an_output(graph: Graph, node: Node) -> str | None:
    bias = graph.constant(node, 2)
    whole = bias is None or bias.size == graph.shape(node.inputs[1])[0]
    return None if whole else "its bias is not one value an output"


def _matmul(em: Emission, node: Node) -> None:
    one, other = (em.graph.shape(name) for name in node.inputs)
    value = em.graph.constant(node, 1)
    if value is not None and value.ndim == 2:
        rows = prod(one[:-1])
        inner_product(em, node, rows, value.T, (0, b""), node.inputs[1])
        return
    (left, right), shape = _operands(one, other)
    blobs = [em.read(name, side) for name, side in zip(node.inputs, (left, right), strict=True)]
    if len(shape) == 3 and len(left) == 2:  # the left one serves the whole batch of the right one
        again = em.reshaped(node.name, blobs[0], left, (1, *left))
        blobs[0] = em.add("Tile", node, [again], {0: 0, 1: shape[0]})
    em.write(node, em.add("MatMul", node, blobs), shape)


def _operands(one: Shape, other: Shape) -> tuple[tuple[Shape, Shape], Shape]:
    """Return the shapes that operands are read in, of two or three axes, and the result's."""
    one = (1, *one) if len(one) == 1 else one
    other = (*other, 1) if len(other) == 1 else other
    batches = prod(one[:-2]), prod(other[:-2])
    rows, columns, inner = one[-2], other[-1], one[-1]
    if batches[1] == 1:
        left: Shape = (batches[0] * rows, inner)
        return (left, (inner, columns)), (left[0], columns)
    left = (rows, inner) if batches[0] == 1 else (batches[0], rows, inner)
    return (left, (batches[1], inner, columns)), (batches[1], rows, columns)


def _batches(graph: Graph, node: Node) -> str | None:
    one, other = (graph.shape(name)[:-2] for name in node.inputs)
    even = 1 in (prod(one), prod(other)) or one == other
    return None if even else f"its batches {list(one)} and {list(other)} are not alike"


def _layer_norm(em: Emission, node: Node) -> None:
    shape = em.graph.shape(node.inputs[0])
    size = prod(shape[node.int("axis", -1) % len(shape) :])
    own = em.own(node.inputs[0])
    seen = own if own[-1] == size else (prod(shape) // size, size)
    scale, bias = em.graph.constant(node, 1), em.graph.constant(node, 2)
    shift = np.zeros(size, np.float32) if bias is None else bias
    assert scale is not None
    parameters: dict[int, Parameter] = {0: size, 1: node.float("epsilon", 1e-5), 2: 1}
    data = floats(np.broadcast_to(scale.reshape(-1), size)) + floats(
        np.broadcast_to(shift.reshape(-1), size)
    )
    em.write(
        node, em.add("LayerNorm", node, [em.read(node.inputs[0], seen)], parameters, data), seen
    )


def _instance_norm(em: Emission, node: Node) -> None:
    _, channels, *rest = em.graph.shape(node.inputs[0])
    seen = (channels, 1, prod(rest))
    parameters: dict[int, Parameter] = {0: channels, 1: node.float("epsilon", 1e-5), 2: 1}
    data = b"".join(floats(em.graph.constants[name]) for name in node.inputs[1:3])
    x = em.read(node.inputs[0], seen)
    em.write(node, em.add("InstanceNorm", node, [x], parameters, data), seen)


def _lrn(em: Emission, node: Node) -> None:
    parameters: dict[int, Parameter] = {
        **{0: 0, 1: node.int("size", 1), 2: node.float("alpha", 1e-4)},
        **{3: node.float("beta", 0.75), 4: node.float("bias", 1.0)},
    }
    made = em.add("LRN", node, [em.read(node.inputs[0])], parameters)
    em.write(node, made, em.own(node.output))


def _odd(graph: Graph, node: Node) -> str | None:
    return None if node.int("size", 1) % 2 else "its window is even"


REDUCTIONS = {
    "ReduceSum": 0, "ReduceSumSquare": 2, "ReduceMean": 3, "ReduceMax": 4, "ReduceMin": 5, "ReduceProd": 6,
    "ReduceL1": 7, "ReduceL2": 8, "ReduceLogSum": 9, "ReduceLogSumExp": 10,
}  # fmt: skip
"""Operator -> what Reduction calls it."""


def _reduced(graph: Graph, node: Node) -> list[int]:
    """Return the axes of more than one value that a reduction goes over."""
    shape = graph.shape(node.inputs[0])
    axes = graph.constant(node, 1)
    named = node.ints("axes", []) if axes is None else [int(axis) for axis in axes.ravel()]
    if not named and not node.int("noop_with_empty_axes", 0):
        named = list(range(len(shape)))
    return sorted({axis % len(shape) for axis in named})


def _merged(shape: Shape, axes: list[int]) -> tuple[Shape, list[int]]:
    """Return the shape to reduce in, and the axes: its own, or neighbours made one that go together."""
    own = own_shape(shape)
    if len(own) == len(shape) - (len(shape) > 1 and shape[0] == 1):
        places = [place for axis in axes if (place := inner_axis(shape, axis)) is not None]
        return (own, places) if places or not axes else ((prod(shape), 1), [1])
    sizes: list[int] = []
    reduced: list[bool] = []
    for axis, size in enumerate(shape):
        over = axis in axes
        if size == 1 and not over:
            continue
        if reduced and reduced[-1] == over:
            sizes[-1] *= size
        else:
            sizes.append(size)
            reduced.append(over)
    return tuple(sizes) or (1,), [place for place, over in enumerate(reduced) if over]


def _reduce(em: Emission, node: Node) -> None:
    shape = em.graph.shape(node.inputs[0])
    seen, axes = _merged(shape, _reduced(em.graph, node))
    if not axes:
        em.write(node, em.read(node.inputs[0]), em.own(node.inputs[0]))
        return
    parameters: dict[int, Parameter] = {0: REDUCTIONS[node.op], 1: 0, 3: axes, 4: 1, 5: 1}
    made = em.add("Reduction", node, [em.read(node.inputs[0], seen)], parameters)
    em.write(node, made, tuple(1 if a in axes else size for a, size in enumerate(seen)))


def _few(graph: Graph, node: Node) -> str | None:
    if len(_merged(graph.shape(node.inputs[0]), _reduced(graph, node))[0]) > 4:
        return "it goes over axes that lie too far apart for ncnn's four"
    return None


def _cumulated(em: Emission, node: Node) -> None:
    axis = em.graph.constants[node.inputs[1]].ravel()[0]
    place = inner_axis(em.graph.shape(node.inputs[0]), int(axis))
    made = em.add("CumulativeSum", node, [em.read(node.inputs[0])], {0: place or 0})
    em.write(node, made, em.own(node.output))


def _plain_sum(graph: Graph, node: Node) -> str | None:
    if node.int("exclusive", 0) or node.int("reverse", 0):
        return "it sums backwards, or without the value itself"
    axis = graph.constants[node.inputs[1]].ravel()[0]
    shape = graph.shape(node.inputs[0])
    far = inner_axis(shape, int(axis)) is None or len(shape) > 4
    return "it sums along the batch, or over too many axes" if far else None


_reduces = Entry(
    _reduce, "Reduction", check=first_failing(needs_constant(1, "choice of axes"), _few)
)

OPS: dict[str, Entry[Say]] = {
    "CumSum": Entry(
        _cumulated, "CumulativeSum", check=first_failing(needs_constant(1, "axis"), _plain_sum)
    ),
    "Gemm": Entry(
        _gemm,
        "InnerProduct",
        check=first_failing(
            needs_constant(1, "weight"),
            needs_constant(2, "bias"),
            needs_plain_gemm,
            _bias_an_output,
        ),
    ),
    "InstanceNormalization": Entry(
        _instance_norm,
        "InstanceNorm",
        check=first_failing(alone, needs_constant(1, "scale"), needs_constant(2, "shift")),
    ),
    "LRN": Entry(_lrn, "LRN", check=first_failing(one_picture, _odd)),
    "LayerNormalization": Entry(
        _layer_norm,
        "LayerNorm",
        check=first_failing(needs_constant(1, "scale"), needs_constant(2, "shift")),
    ),
    "MatMul": Entry(_matmul, "InnerProduct, MatMul", check=_batches),
    **dict.fromkeys(REDUCTIONS, _reduces),
}
"""Operator -> entry."""
