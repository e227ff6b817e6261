"""Write operators that no target has, or none in INT8, as compositions of those that they have.

Given:   x -> Shrink | Hardmax | OneHot | LpPool | ... -> y
Result:  x -> the operators by which ONNX defines it -> y
"""

from collections.abc import Callable

import numpy as np

from edgeconv.export.graph import Attribute, Graph, Node
from edgeconv.export.passes.expand_lp import global_lp_pool, lp_normalization, lp_pool
from edgeconv.export.passes.expand_products import cum_prod, determinant
from edgeconv.export.passes.steps import Steps

FLOAT = 1  # TensorProto.FLOAT of the ONNX format


def expand_rare(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = False
    for node in graph.of(*WRITTEN):
        changed |= WRITTEN[node.op](graph, node)
    return changed


def _shrink(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    border, bias = node.float("lambd", 0.5), node.float("bias", 0.0)
    low = steps.do("Less", x, steps.constant(-border), kind=np.bool_)
    high = steps.do("Greater", x, steps.constant(border), kind=np.bool_)
    raised = steps.do("Add", x, steps.constant(bias))
    lowered = steps.do("Sub", x, steps.constant(bias))
    inner = steps.do("Where", low, raised, steps.constant(0.0))
    steps.finish("Where", high, lowered, inner)
    return True


def _thresholded_relu(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    border = steps.constant(node.float("alpha", 1.0))
    passes = steps.do("Greater", x, border, kind=np.bool_)
    steps.finish("Where", passes, x, steps.constant(0.0))
    return True


def _sum(graph: Graph, node: Node) -> bool:
    """From the left, as onnxruntime adds: an Add has an INT8 form and takes an activation."""
    if len(node.inputs) < 2:  # an Identity, as drop_noops says
        return False
    steps, (made, *others) = Steps(graph, node), node.inputs
    shape, last = graph.shape(made), others.pop()
    for other in others:
        shape = np.broadcast_shapes(shape, graph.shape(other))
        made = steps.do("Add", made, other, shape=shape)
    if node.op == "Sum":
        steps.finish("Add", made, last)
    else:
        whole = steps.do("Add", made, last)
        steps.finish("Mul", whole, steps.constant(1 / len(node.inputs)))
    return True


def _xor(graph: Graph, node: Node) -> bool:
    steps = Steps(graph, node)
    steps.finish("Not", steps.do("Equal", *node.inputs))
    return True


def _is_nan(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    steps.finish("Not", steps.do("Equal", x, x))
    return True


def _is_inf(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    signs = [s for s in ("positive", "negative") if node.int(f"detect_{s}", 1)]
    if len(signs) != 1:
        x = steps.do("Abs", x, kind=np.float32)
    end = {("negative",): -np.inf, (): -1.0}.get(tuple(signs), np.inf)  # no size is below 0
    steps.finish("Equal", x, steps.constant(end, np.float32))
    return True


def _tan(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    steps.finish("Div", steps.do("Sin", x), steps.do("Cos", x))
    return True


def _swish(graph: Graph, node: Node) -> bool:
    steps, x, factor = Steps(graph, node), node.inputs[0], node.float("alpha", 1.0)
    inner = x if factor == 1.0 else steps.do("Mul", x, steps.constant(factor))
    steps.finish("Mul", x, steps.do("Sigmoid", inner))
    return True


def _hyperbolic(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    both = steps.do("Exp", x), steps.do("Exp", steps.do("Neg", x))
    sum_ = steps.do("Sub" if node.op == "Sinh" else "Add", *both)
    steps.finish("Mul", sum_, steps.constant(0.5))
    return True


def _arc(graph: Graph, node: Node) -> bool:
    """By the arc tangent: asin x = atan(x / sqrt(1 - x^2)), acos x = pi/2 - asin x."""
    steps, x = Steps(graph, node), node.inputs[0]
    one = steps.constant(1.0)
    rest = steps.do("Mul", steps.do("Sub", one, x), steps.do("Add", one, x))
    slope = steps.do("Div", x, steps.do("Sqrt", rest))
    if node.op == "Asin":
        steps.finish("Atan", slope)
    else:
        steps.finish("Sub", steps.constant(np.pi / 2), steps.do("Atan", slope))
    return True


def _area(graph: Graph, node: Node) -> bool:
    """By logarithms; of the size of x, where a negative one would cancel out."""
    steps, x = Steps(graph, node), node.inputs[0]
    one = steps.constant(1.0)
    if node.op == "Atanh":
        share = steps.do("Div", steps.do("Add", one, x), steps.do("Sub", one, x))
        steps.finish("Mul", steps.do("Log", share), steps.constant(0.5))
        return True
    size = steps.do("Abs", x) if node.op == "Asinh" else x
    square = steps.do("Mul", x, x)
    under = steps.do("Add" if node.op == "Asinh" else "Sub", square, one)
    sum_ = steps.do("Add", size, steps.do("Sqrt", under))
    if node.op == "Acosh":
        steps.finish("Log", sum_)
    else:
        steps.finish("Mul", steps.do("Sign", x), steps.do("Log", sum_))
    return True


def _col2im(graph: Graph, node: Node) -> bool:
    """Each place of a window to its own pixel: a transposed convolution with one 1 a weight."""
    size, window = graph.constant(node, 1), graph.constant(node, 2)
    if size is None or window is None:
        return False
    image, kernel = (tuple(map(int, value)) for value in (size, window))
    axes, one = len(image), [1] * len(image)
    strides, dilations = node.ints("strides", one), node.ints("dilations", one)
    pads = node.ints("pads", [0] * (2 * axes))
    reach = [dilation * (k - 1) + 1 for dilation, k in zip(dilations, kernel, strict=True)]
    padded = [image[i] + pads[i] + pads[axes + i] for i in range(axes)]
    counts = [(padded[i] - reach[i]) // strides[i] + 1 for i in range(axes)]
    made, places = graph.shape(node.output), int(np.prod(kernel))
    blocks = (made[0] * made[1], places, *counts)
    steps = Steps(graph, node)
    columns = steps.do("Reshape", node.inputs[0], steps.integers(blocks), shape=blocks)
    ones = steps.constant(np.eye(places).reshape(places, 1, *kernel))
    spread = (blocks[0], 1, *image)
    attributes: dict[str, Attribute] = {"strides": strides, "dilations": dilations, "pads": pads}
    attributes["output_padding"] = [
        padded[i] - reach[i] - strides[i] * (counts[i] - 1) for i in range(axes)
    ]
    whole = steps.do("ConvTranspose", columns, ones, shape=spread, attributes=attributes)
    steps.finish("Reshape", whole, steps.integers(made))
    return True


def _center_crop_pad(graph: Graph, node: Node) -> bool:
    wanted = graph.constant(node, 1)
    if wanted is None:
        return False
    steps, x = Steps(graph, node), node.inputs[0]
    size, made = np.array(graph.shape(x)), np.array(graph.shape(node.output))
    cut = np.maximum(size - made, 0) // 2
    within = np.minimum(size, made)
    every = steps.integers(range(len(size)))
    x = steps.do("Slice", x, *map(steps.integers, (cut, cut + within)), every, shape=within)
    added = np.maximum(made - size, 0)
    steps.finish("Pad", x, steps.integers([*(added // 2), *(added - added // 2)]))
    return True


def _signed_mod(graph: Graph, node: Node) -> bool:
    """Of integers that keep the dividend's sign: x - (x / y) * y, whose quotient is cut to zero."""
    if not node.int("fmod", 0) or graph.dtype(node.output).kind == "f":
        return False
    steps, (x, y) = Steps(graph, node), node.inputs
    steps.finish("Sub", x, steps.do("Mul", steps.do("Div", x, y), y))
    return True


def _hardmax(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    shape = graph.shape(x)
    axis = node.int("axis", -1) % len(shape)
    kept = [1 if i == axis else size for i, size in enumerate(shape)]
    place = steps.do("ArgMax", x, shape=kept, kind=np.int64, axis=axis, keepdims=1)
    line = [size if i == axis else 1 for i, size in enumerate(shape)]
    places = steps.integers(np.arange(shape[axis]).reshape(line))
    steps.finish("Cast", steps.do("Equal", place, places, kind=np.bool_), to=FLOAT)
    return True


def _one_hot(graph: Graph, node: Node) -> bool:
    depth, values = graph.constant(node, 1), graph.constant(node, 2)
    indices, made = node.inputs[0], graph.shape(node.output)
    if depth is None or values is None:
        return False
    axis = node.int("axis", -1) % len(made)
    steps, count = Steps(graph, node), int(depth.reshape(-1)[0])
    kind = graph.dtype(indices).type
    if graph.dtype(indices).kind == "f":
        kind = np.int64
        indices = steps.do("Cast", indices, shape=graph.shape(indices), kind=kind, to=7)  # INT64
    wide = [1 if i == axis else size for i, size in enumerate(made)]
    given = steps.do("Reshape", indices, steps.integers(wide), shape=wide, kind=kind)
    line = [count if i == axis else 1 for i in range(len(made))]
    places = np.arange(count).reshape(line)
    found = [
        steps.do("Equal", given, steps.constant(row, kind), kind=np.bool_)
        for row in (places, places - count)  # -1 is the last
    ]
    off, on = (steps.constant(value) for value in values)
    steps.finish("Where", steps.do("Or", *found, kind=np.bool_), on, off)
    return True


def _rms_normalization(graph: Graph, node: Node) -> bool:
    steps, x = Steps(graph, node), node.inputs[0]
    shape = list(graph.shape(x))
    axes = list(range(len(shape)))[node.int("axis", -1) :]
    mean_shape = [1 if axis in axes else size for axis, size in enumerate(shape)]
    square = steps.do("Mul", x, x)
    mean = steps.do("ReduceMean", square, steps.integers(axes), shape=mean_shape, keepdims=1)
    small = steps.constant(node.float("epsilon", 1e-5))
    root = steps.do("Sqrt", steps.do("Add", mean, small, shape=mean_shape), shape=mean_shape)
    steps.finish("Mul", steps.do("Div", x, root), node.inputs[1])
    return True


def _trilu(graph: Graph, node: Node) -> bool:
    shift = graph.constant(node, 1) if len(node.inputs) > 1 and node.inputs[1] else np.array(0)
    if shift is None:
        return False
    steps, shape = Steps(graph, node), graph.shape(node.output)
    cut = np.triu if node.int("upper", 1) else np.tril
    kept = cut(np.ones(shape[-2:], bool), int(shift.reshape(-1)[0]))
    mask = steps.constant(kept, np.bool_)
    if graph.dtype(node.output) == np.bool_:  # onnxruntime has no Where of truth values
        steps.finish("And", mask, node.inputs[0])
    else:
        steps.finish("Where", mask, node.inputs[0], steps.constant(0))
    return True


WRITTEN: dict[str, Callable[[Graph, Node], bool]] = {
    "Acos": _arc,
    "Acosh": _area,
    "Asin": _arc,
    "Asinh": _area,
    "Atanh": _area,
    "CenterCropPad": _center_crop_pad,
    "Col2Im": _col2im,
    "Cosh": _hyperbolic,
    "CumProd": cum_prod,
    "Det": determinant,
    "GlobalLpPool": global_lp_pool,
    "Hardmax": _hardmax,
    "IsInf": _is_inf,
    "IsNaN": _is_nan,
    "LpNormalization": lp_normalization,
    "LpPool": lp_pool,
    "Mean": _sum,
    "Mod": _signed_mod,
    "OneHot": _one_hot,
    "RMSNormalization": _rms_normalization,
    "Shrink": _shrink,
    "Sinh": _hyperbolic,
    "Sum": _sum,
    "Swish": _swish,
    "Tan": _tan,
    "ThresholdedRelu": _thresholded_relu,
    "Trilu": _trilu,
    "Xor": _xor,
}
"""Operator -> what writes a node of it out and says whether it could."""
