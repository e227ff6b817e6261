"""Operators, and forms of some, that are written as others before anything is said in PyTorch.

    Given:   x -> InstanceNormalization | LSTM | Resize(cubic) | AveragePool(uneven padding) | ... -> y
    Result:  x -> operators that PyTorch says in one call -> y

A constant that they need is one of the graph's then: one made while PyTorch traces is lifted and lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgeconv.export.executorch.ops_move import padded_alike
from edgeconv.export.executorch.ops_pool import few_pads, window_pads
from edgeconv.export.executorch.say import DELEGATE, EITHER, PORTABLE, Say
from edgeconv.export.executorch.stored import requantized, set_apart
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import rescales
from edgeconv.export.integer.rules import moves_integers
from edgeconv.export.op_parameters import averaged, pad_amounts, runs
from edgeconv.export.op_table import Check, Entry, anything, first_failing, needs_constant
from edgeconv.export.passes.align_regions import align_regions
from edgeconv.export.passes.fourier import dft_by_product, stft_by_products, why_no_transform
from edgeconv.export.passes.resize_by_axes import (
    nearest_rows,
    onnx_coordinates,
    places,
    resize_by_matrices,
)
from edgeconv.export.passes.sample_by_rows import sample_by_rows, why_no_rows
from edgeconv.export.passes.scatter_by_hits import scatter_by_hits, why_no_hits
from edgeconv.export.passes.steps import Steps
from edgeconv.export.passes.unroll_recurrence import unroll, why_not_unrolled
from edgeconv.recipe import Activation, Recipe

FEW = 8
"""Stretches of which a Gather is cut and joined, which the delegate does; more are picked one by one."""

Write = Callable[[Graph, Node], list[Node]]
"""Returns the nodes that compute one; [node] where it is said as it is."""


def _reciprocal(graph: Graph, node: Node) -> list[Node]:
    steps = Steps(graph, node)
    return steps.ended("Div", steps.constant(1.0), node.inputs[0])


def _instance_norm(graph: Graph, node: Node) -> list[Node]:
    """(x - mean) / sqrt(variance + epsilon) over the spatial axes, then scale and bias of each channel."""
    steps = Steps(graph, node)
    x, shape = node.inputs[0], graph.shape(node.inputs[0])
    axes = steps.integers(range(2, len(shape)))
    few = (*shape[:2], *[1] * (len(shape) - 2))
    wide = (-1, *few[2:])
    mean = steps.do("ReduceMean", x, axes, shape=few, keepdims=1)
    away = steps.do("Sub", x, mean)
    squares = steps.do("Mul", away, away)
    variance = steps.do("ReduceMean", squares, axes, shape=few, keepdims=1)
    shifted = steps.do("Add", variance, steps.constant(node.float("epsilon", 1e-5)), shape=few)
    normal = steps.do("Div", away, steps.do("Sqrt", shifted, shape=few))
    scale, bias = (steps.constant(graph.constants[n].reshape(wide)) for n in node.inputs[1:3])
    return steps.ended("Add", steps.do("Mul", normal, scale), bias)


def _gather(graph: Graph, node: Node) -> list[Node]:
    """Few stretches of constant places are cut and joined; of many the places are counted from the front."""
    given, source = graph.constant(node, 1), node.inputs[0]
    if given is None:
        return [node]
    steps, shape = Steps(graph, node), graph.shape(source)
    axis = node.int("axis", 0) % len(shape)
    places_ = np.asarray(given % shape[axis], np.int64)
    stretches = runs([int(place) for place in places_.ravel()])
    if len(stretches) > FEW:
        return steps.ended("Gather", source, steps.integers(places_), axis=axis)
    parts = []
    for low, high in stretches:
        ends = map(steps.integers, ([low], [high], [axis]))
        made = (*shape[:axis], high - low, *shape[axis + 1 :])
        parts.append(steps.do("Slice", source, *ends, shape=made))
    if len(parts) > 1:
        made = (*shape[:axis], places_.size, *shape[axis + 1 :])
        parts = [steps.do("Concat", *parts, shape=made, axis=axis)]
    if places_.ndim != 1:
        return steps.ended("Reshape", parts[0], steps.integers(graph.shape(node.output)))
    last = steps.nodes.pop()
    return steps.ended(last.op, *last.inputs, **last.attrs)


def _by_rows(
    graph: Graph, node: Node, rows: "dict[int, np.typing.NDArray[np.int64]]"
) -> list[Node]:
    """Pick along one axis after the other."""
    steps, x = Steps(graph, node), node.inputs[0]
    shape = list(graph.shape(x))
    if not rows:
        return steps.ended("Identity", x)
    for axis, at in rows.items():
        shape[axis] = len(at)
        x = steps.do("Gather", x, steps.integers(at), shape=shape, axis=axis)
    last = steps.nodes.pop()
    return steps.ended(last.op, *last.inputs, **last.attrs)


def _pad(graph: Graph, node: Node) -> list[Node]:
    mode = node.str("mode", "constant")
    if mode == "constant":
        return [node]
    sizes = enumerate(zip(graph.shape(node.inputs[0]), pad_amounts(graph, node), strict=True))
    rows = {
        axis: np.pad(np.arange(size), pair, mode=mode)  # type: ignore[call-overload]
        for axis, (size, pair) in sizes
        if pair != (0, 0)
    }
    return _by_rows(graph, node, rows)


def _resize(graph: Graph, node: Node) -> list[Node]:
    if node.str("mode", "nearest") != "nearest":
        return [node] if _as_in_pytorch(graph, node) else resize_by_matrices(graph, node)
    if (each := _whole_factors(graph, node)) is None:
        return _by_rows(graph, node, _rows(graph, node))
    n, c, h, w = graph.shape(node.inputs[0])
    steps, apart, wide = Steps(graph, node), (n * c, h, 1, w, 1), (n * c, h, each[0], w, each[1])
    x = steps.do("Reshape", node.inputs[0], steps.integers(apart), shape=apart)
    # XNNPACK repeats what it adds; it joins no tensor to itself
    zeros = steps.constant(np.zeros((1, 1, each[0], 1, each[1])))
    x = steps.do("Add", x, zeros, shape=wide)
    return steps.ended("Reshape", x, steps.integers(graph.shape(node.output)))


def _rows(graph: Graph, node: Node) -> "dict[int, np.typing.NDArray[np.int64]]":
    return {axis: rows.astype(np.int64) for axis, rows in nearest_rows(graph, node).items()}


def _whole_factors(graph: Graph, node: Node) -> tuple[int, int] | None:
    """Return down and across, where each pixel of a picture becomes as many equal ones; else None."""
    shape, rows = graph.shape(node.inputs[0]), nearest_rows(graph, node)
    if len(shape) != 4 or not rows or not rows.keys() <= {2, 3}:
        return None
    each = {axis: len(at) // shape[axis] for axis, at in rows.items()}
    repeated = {axis: np.repeat(np.arange(shape[axis]), each[axis]) for axis in rows}
    if not all(np.array_equal(at, repeated[axis]) for axis, at in rows.items()):
        return None
    return each.get(2, 1), each.get(3, 1)


def _as_in_pytorch(graph: Graph, node: Node) -> bool:
    """Whether PyTorch's bilinear filter reads the same places."""
    before, after = graph.shape(node.inputs[0]), graph.shape(node.output)
    if node.str("mode", "nearest") != "linear" or len(before) != 4 or before[:2] != after[:2]:
        return False
    shrinks = any(a < b for a, b in zip(after, before, strict=True))
    if (node.int("antialias", 0) and shrinks) or node.int("exclude_outside", 0):
        return False
    aligned = node.str("coordinate_transformation_mode", "half_pixel") == "align_corners"
    mode = "align_corners" if aligned else "half_pixel"
    for axis in (2, 3):
        size, made = before[axis], after[axis]
        at = np.clip(onnx_coordinates(mode, size, made, made / size), 0, size - 1)
        if not np.allclose(at, places(graph, node, axis), atol=1e-5):
            return False
    return True


def _average(graph: Graph, node: Node) -> list[Node]:
    """Uneven padding, or such that counts: zeros, a pool without padding, and a factor a window."""
    size = node.ints("kernel_shape", [])
    spatial, shape = len(size), graph.shape(node.inputs[0])
    pads, given = window_pads(graph, node), node.ints("pads", [0] * 2 * len(size))
    counted = bool(node.int("count_include_pad", 0)) and any(given)
    if pads == given and few_pads(size, pads) and not counted:
        return [node]
    steps, x = Steps(graph, node), node.inputs[0]
    amounts = np.zeros((2, len(shape)), np.int64)
    amounts[:, 2:] = np.reshape(pads, (2, spatial))
    if any(pads):
        made = tuple(int(v) for v in np.array(shape) + amounts.sum(0))
        x = steps.do("Pad", x, steps.integers(amounts.ravel()), shape=made)
    strides = node.ints("strides", [1] * spatial)
    window = {"kernel_shape": size, "strides": strides, "pads": [0] * 2 * spatial}
    divisors = np.ones(())
    for axis in range(spatial):
        divisors = np.multiply.outer(divisors, averaged(graph, node, axis))
    if np.all(divisors == np.prod(size)):
        return steps.ended("AveragePool", x, **window)
    mean = steps.do("AveragePool", x, attributes=window)
    return steps.ended("Mul", mean, steps.constant((np.prod(size) / divisors)[None, None]))


def _conv_transpose(graph: Graph, node: Node) -> list[Node]:
    """Uneven padding is cut off behind a convolution without padding, which keeps the node's name."""
    pads = node.ints("pads", [])
    spatial = len(pads) // 2
    if pads[:spatial] == pads[spatial:]:
        return [node]
    steps, shape = Steps(graph, node), graph.shape(node.output)
    whole = [s + a + b for s, a, b in zip(shape[2:], pads, pads[spatial:], strict=False)]
    attributes = {**node.attrs, "pads": [0] * len(pads)}
    made = steps.do(
        "ConvTranspose", *node.inputs, shape=(*shape[:2], *whole), attributes=attributes
    )
    ends = [pad + size for pad, size in zip(pads, shape[2:], strict=False)]
    cut = map(steps.integers, (pads[:spatial], ends, range(2, 2 + spatial)))
    first, last = steps.ended("Slice", made, *cut)
    first.name, last.name = node.name, first.name
    first.clamp, last.clamp = node.clamp, None
    return [first, last]


def _never(graph: Graph, node: Node, x: Sequence[object]) -> "object":
    raise AssertionError(f"{node.op} is written as other operators before")


def _row(where: str, check: Check, nearest: str = "") -> Entry[Say]:
    return Entry(_never, where, nearest, check)  # type: ignore[arg-type]


WRITTEN: dict[str, Write] = {
    "AveragePool": _average,
    "ConvTranspose": _conv_transpose,
    "DFT": dft_by_product,
    "GRU": unroll,
    "Gather": _gather,
    "GridSample": sample_by_rows,
    "InstanceNormalization": _instance_norm,
    "LSTM": unroll,
    "Pad": _pad,
    "RNN": unroll,
    "Reciprocal": _reciprocal,
    "Resize": _resize,
    "RoiAlign": align_regions,
    "STFT": stft_by_products,
    "ScatterElements": scatter_by_hits,
    "ScatterND": scatter_by_hits,
}
"""Operator -> what it is written as."""

OPS: dict[str, Entry[Say]] = {
    **dict.fromkeys(("DFT", "STFT"), _row(EITHER, why_no_transform)),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _row(EITHER, why_not_unrolled)),
    **dict.fromkeys(("ScatterElements", "ScatterND"), _row(PORTABLE, why_no_hits)),
    "GridSample": _row(PORTABLE, why_no_rows),
    "InstanceNormalization": _row(
        EITHER, first_failing(needs_constant(1, "scale"), needs_constant(2, "bias"))
    ),
    "Reciprocal": _row(DELEGATE, anything),
    "RoiAlign": _row(PORTABLE, anything),
}
"""Those that are always written out."""


def write_out(graph: Graph, recipe: Recipe | None) -> Recipe | None:
    """Write what is in the table; return the recipe with the tensors between that hold the same integers."""
    nodes: list[Node] = []
    held: dict[str, Activation] = {}
    stored = {} if recipe is None else recipe.activations
    for node in graph.nodes:
        pieces = _pieces(graph, node)
        for product in pieces:
            if recipe is not None and product.op == "MatMul":
                held.update(set_apart(graph, product, recipe, nodes))
            if rescales(product, stored):
                held.update(requantized(graph, product, stored, nodes))
        nodes += pieces
        how = stored.get(node.output)
        if how is not None and (moves_integers(node) or node.op == "ConvTranspose"):
            held.update({name: how for piece in pieces[:-1] for name in piece.outputs})
        for piece in pieces:
            if (same := padded_alike(graph, piece, {**stored, **held})) is not None:
                held[piece.output] = same
    graph.nodes = nodes
    return recipe and replace(recipe, activations={**recipe.activations, **held})


def as_it_is(graph: Graph, node: Node) -> bool:
    """Whether a node is said in PyTorch itself; the graph stays as it is."""
    return node.op not in WRITTEN or WRITTEN[node.op](graph.clone(), node)[0] is node


def _pieces(graph: Graph, node: Node) -> list[Node]:
    if node.op not in WRITTEN:
        return [node]
    found: list[Node] = []
    for piece in WRITTEN[node.op](graph, node):
        found += [piece] if piece.op == node.op else _pieces(graph, piece)
    return found
