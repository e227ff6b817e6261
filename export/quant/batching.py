"""Run a graph exported for one picture on several at once, where that is provably the same."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import onnx

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import Is, operators

ROW_BY_ROW = operators(Is.PER_PICTURE)
"""Operators that treat every picture of a batch alone, whatever their attributes."""


def batched(graph: Graph) -> Graph | None:
    """Return ``graph`` with constant shapes that take any batch; None where it may mix pictures.

    A picture's rows, as many as the first axis of a tensor has, lie together: n pictures make n times
    as many. Names, constants and attributes stay, but for the target shapes of Reshape and the factors
    of Resize.
    """
    other = graph.clone()
    makes = {out for node in graph.nodes for out in node.outputs if out}
    if any(not graph.shape(t) for t in [*makes, *graph.inputs]):
        return None
    for node in other.nodes:
        if not _rows_stay_apart(graph, node):
            return None
        if node.op not in ROW_BY_ROW and not _adapt(other, node):
            return None
    return other


BROADCASTING = operators(Is.BROADCASTS)


def _broadcasts(graph: Graph, node: Node, name: str) -> bool:
    """Whether the first axis of an operand is the batch, or one that all pictures share."""
    rank, own = len(graph.shape(node.output)), len(graph.shape(name))
    if name in graph.constants:
        return own < rank or graph.shape(name)[0] == 1
    same = own == rank and graph.shape(name)[0] == graph.shape(node.output)[0]
    return same and (node.op != "MatMul" or rank > 2 or name == node.inputs[0])


def _rows_stay_apart(graph: Graph, node: Node) -> bool:
    """Whether operands that belong to pictures meet those of the same picture only."""
    if node.op in BROADCASTING:
        return all(_broadcasts(graph, node, name) for name in filter(None, node.inputs))
    if node.op == "Gemm" and node.int("transA", 0):
        return False
    constant = all(name in graph.constants for name in filter(None, node.inputs[1:]))
    return constant or node.op == "Concat"


PICTURES = "pictures"


def set_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make the first axis of every input and output symbolic, in place; return the model.

    It is PICTURES where a picture has one row.
    """
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if dims:
            rows = dims[0].dim_value
            dims[0].dim_param = PICTURES if rows == 1 else f"{rows}_{PICTURES}"
    return model


def channels_last_io(model: onnx.ModelProto) -> dict[str, str]:
    """Make inputs and outputs (n, C, H, W) take and give (n, H, W, C), in place; n pictures of one row.

    Returns the new name of each input and output. onnxruntime's integer kernels work that way round
    and cancel the transposes, so none is left at either end.
    """
    names = {}
    for values, perm, into in (
        (model.graph.input, [0, 3, 1, 2], True),
        (model.graph.output, [0, 2, 3, 1], False),
    ):
        for value in values:
            inner = outer = value.name
            dims = value.type.tensor_type.shape.dim
            if len(dims) == 4 and dims[0].dim_param == PICTURES:
                outer = f"{inner}_channels_last"
                value.name = outer
                turned = [copy.deepcopy(dims[i]) for i in (0, 2, 3, 1)]
                del dims[:]
                dims.extend(turned)
                ends = (outer, inner) if into else (inner, outer)
                node = onnx.helper.make_node("Transpose", ends[:1], ends[1:], perm=perm)
                if into:
                    model.graph.node.insert(0, node)
                else:
                    model.graph.node.append(node)
            names[inner] = outer
    return names


def _adapt(graph: Graph, node: Node) -> bool:
    check = _CHECKS.get(node.op)
    return check is not None and check(graph, node)


def _constant(graph: Graph, node: Node, index: int) -> list[int] | None:
    value = graph.constant(node, index)
    return None if value is None else [int(v) for v in value.flat]


def _reshape(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.output)
    if 0 in shape:
        return False
    node.attrs.pop("allowzero", None)
    node.inputs[1] = graph.add_constant(
        f"{node.inputs[1]}_any_batch", np.array([-1, *shape[1:]], np.int64)
    )
    return True


def _transpose(graph: Graph, node: Node) -> bool:
    perm = node.ints("perm", [])
    return bool(perm) and perm[0] == 0


def _not_first(axes: Sequence[int] | None, rank: int) -> bool:
    return axes is not None and all(axis % rank != 0 for axis in axes)


def _axis(graph: Graph, node: Node, *, default: int) -> bool:
    data = node.inputs if node.op == "Concat" else node.inputs[:1]
    if any(name in graph.constants for name in data):
        return False
    return _not_first([node.int("axis", default)], len(graph.shape(data[0])))


def _slice(graph: Graph, node: Node) -> bool:
    return _not_first(_constant(graph, node, 3), len(graph.shape(node.inputs[0])))


def _reduce(graph: Graph, node: Node) -> bool:
    axes = node.ints("axes", []) or _constant(graph, node, 1)
    return bool(axes) and _not_first(axes, len(graph.shape(node.inputs[0])))


def _pad(graph: Graph, node: Node) -> bool:
    pads = _constant(graph, node, 1)
    if not pads or (len(node.inputs) > 3 and node.inputs[3]):
        return False
    return pads[0] == 0 and pads[len(pads) // 2] == 0


def _repeats(graph: Graph, node: Node) -> bool:
    shape = _constant(graph, node, 1)
    return bool(shape) and shape is not None and shape[0] == 1 and node.op == "Tile"


def _resize(graph: Graph, node: Node) -> bool:
    """Replace sizes by factors where these give the same: sizes would hold the batch."""
    given = graph.constant(node, 2)
    if node.attrs.get("axes") or node.str("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    if given is not None and given.size:
        return float(given.flat[0]) == 1.0
    source, target = (np.array(graph.shape(t), np.float64) for t in (node.inputs[0], node.output))
    factors = (target / source).astype(np.float32)
    if factors[0] != 1.0 or not np.array_equal(np.floor(source * factors), target):
        return False
    node.inputs = [node.inputs[0], "", graph.add_constant(f"{node.name}_factors", factors)]
    return True


_CHECKS: dict[str, Callable[[Graph, Node], bool]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": partial(_axis, default=1),
    "Split": partial(_axis, default=0),
    "ArgMax": partial(_axis, default=0),
    "ArgMin": partial(_axis, default=0),
    "Gather": partial(_axis, default=0),
    "Softmax": partial(_axis, default=-1),
    "LogSoftmax": partial(_axis, default=-1),
    "LayerNormalization": partial(_axis, default=-1),
    "Slice": _slice,
    "ReduceMean": _reduce,
    "ReduceMax": _reduce,
    "ReduceMin": _reduce,
    "ReduceSum": _reduce,
    "Pad": _pad,
    "Tile": _repeats,
    "Resize": _resize,
}
