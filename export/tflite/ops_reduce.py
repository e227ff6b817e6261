"""Reductions and normalizations over axes."""

from typing import Any

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import dropped_axes, reduced_axes
from edgeconv.export.op_table import Check, Entry, first_failing, needs_constant
from edgeconv.export.tflite.emission import Emission, Emit
from edgeconv.export.tflite.layout import Layout, Rule, order, stored_axis, without_axes
from edgeconv.export.tflite.ops_elementwise import of_kinds


def _layouts(em: Emission, node: Node, axes: list[int]) -> tuple[Layout, Layout]:
    """Return the layouts to read the input in and in which the result then comes out."""
    rank = len(em.graph.shape(node.inputs[0]))
    if node.int("keepdims", 1):
        return em.layout(node.output), em.layout(node.output)
    return without_axes(rank, axes, em.layout(node.inputs[0]))


def reduction(code: str, *, same_scale: bool = False) -> Emit:
    """Return the emitter of a reduction with one kernel."""

    def emit(em: Emission, node: Node) -> None:
        axes = reduced_axes(em.graph, node)
        rank = len(em.graph.shape(node.inputs[0]))
        source, made = _layouts(em, node, axes)
        x = em.read(node.inputs[0], source, scale=em.result(node) if same_scale else None)
        places = em.ints([stored_axis(axis, rank, source) for axis in axes], "axes")
        keep = bool(node.int("keepdims", 1))
        em.emit(node, code, [x, places], "ReducerOptions", layout=made, keepDims=keep)

    return emit


def composed(before: str, after: str) -> Emit:
    """Return the emitter of after(sum(before(x))), either of them possibly empty."""

    def emit(em: Emission, node: Node) -> None:
        axes = reduced_axes(em.graph, node)
        rank = len(em.graph.shape(node.inputs[0]))
        source, made = _layouts(em, node, axes)
        x = em.read(node.inputs[0], source)
        if before == "MUL":
            x = em.do("MUL", [x, x], "MulOptions")
        elif before:
            x = em.do(before, [x])
        places = em.ints([stored_axis(axis, rank, source) for axis in axes], "axes")
        keep = bool(node.int("keepdims", 1))
        if not after:
            em.emit(node, "SUM", [x, places], "ReducerOptions", layout=made, keepDims=keep)
            return
        shape = em.graph.shape(node.output)
        stored = tuple(shape[axis] for axis in order(made, len(shape)))
        total = em.do("SUM", [x, places], "ReducerOptions", shape=stored, keepDims=keep)
        em.emit(node, after, [total], layout=made)

    return emit


def log_sum_exp(em: Emission, node: Node) -> None:
    """ReduceLogSumExp: the maximum is taken off first, as e to the power of 89 is infinity in float32."""
    rank = len(em.graph.shape(node.inputs[0]))
    source, made = _layouts(em, node, axes := reduced_axes(em.graph, node))
    x = em.read(node.inputs[0], source)
    held = {stored_axis(axis, rank, source) for axis in axes}
    places = em.ints(sorted(held), "axes")
    shape = [1 if at in held else size for at, size in enumerate(em.builder.shape(x))]
    reduced: dict[str, Any] = {"options": "ReducerOptions", "shape": shape, "keepDims": True}
    most = em.do("REDUCE_MAX", [x, places], **reduced)
    powers = em.do("EXP", [em.do("SUB", [x, most], "SubOptions")])
    total = em.do("LOG", [em.do("SUM", [powers, places], **reduced)])
    em.emit(node, "ADD", [total, most], "AddOptions", layout=made, shape=shape)


def argument(code: str, options: str) -> Emit:
    """Return the emitter of ArgMax or ArgMin; keepdims is a RESHAPE behind it."""

    def emit(em: Emission, node: Node) -> None:
        rank, (axis,) = len(em.graph.shape(node.inputs[0])), dropped_axes(em.graph, node)
        source, made = _layouts(em, node, [axis])
        x = em.read(node.inputs[0], source)
        if em.graph.dtype(node.inputs[0]) == np.int64:  # the kernel has none
            wide: dict[str, Any] = {"inDataType": "INT64", "outDataType": "INT32"}
            x = em.do("CAST", [x], "CastOptions", dtype=np.int32, **wide)
        place = em.builder.shared("axis", np.array(stored_axis(axis, rank, source), np.int32))
        shape = [
            size
            for at, size in enumerate(em.builder.shape(x))
            if at != stored_axis(axis, rank, source)
        ]
        em.emit(node, code, [x, place], options, layout=made, shape=shape, outputType="INT64")

    return emit


def cumulative_sum(em: Emission, node: Node) -> None:
    """CumSum: CUMSUM."""
    layout, rank = em.layout(node.output), len(em.graph.shape(node.output))
    axis = int(em.graph.constants[node.inputs[1]].ravel()[0])
    place = em.builder.shared("axis", np.array(stored_axis(axis, rank, layout), np.int32))
    em.emit(
        node,
        "CUMSUM",
        [em.read(node.inputs[0], layout), place],
        "CumsumOptions",
        exclusive=bool(node.int("exclusive", 0)),
        reverse=bool(node.int("reverse", 0)),
    )


def _check_axes(graph: Graph, node: Node) -> str | None:
    if not reduced_axes(graph, node):
        return "it reduces no axis"
    return None


def _check_argument(graph: Graph, node: Node) -> str | None:
    return "it takes the last of equal values" if node.int("select_last_index", 0) else None


def _rule(graph: Graph, node: Node) -> Rule:
    return "any" if node.int("keepdims", 1) else "loose"


_AXES = first_failing(needs_constant(1, "list of axes"), _check_axes)


def _kinds(*kinds: str) -> Check:
    return first_failing(of_kinds(*kinds), _AXES)


def _row(emit: Emit, code: str, *kinds: str, int8: bool = False) -> Entry[Emit]:
    return Entry(emit, code, "constant axes", _kinds(*kinds), _rule, int8)


TABLE = {
    "ReduceMean": _row(reduction("MEAN"), "MEAN", "float32", int8=True),
    "ReduceSum": _row(reduction("SUM"), "SUM", "float32", "int32", "int64", int8=True),
    "ReduceMax": _row(
        reduction("REDUCE_MAX", same_scale=True),
        "REDUCE_MAX",
        "float32",
        "int32",
        "int64",
        int8=True,
    ),
    "ReduceMin": _row(
        reduction("REDUCE_MIN", same_scale=True),
        "REDUCE_MIN",
        "float32",
        "int32",
        "int64",
        int8=True,
    ),
    "ReduceProd": _row(reduction("REDUCE_PROD"), "REDUCE_PROD", "float32"),
    "ReduceL1": _row(composed("ABS", ""), "ABS, SUM", "float32"),
    "ReduceL2": _row(composed("MUL", "SQRT"), "MUL, SUM, SQRT", "float32"),
    "ReduceSumSquare": _row(composed("MUL", ""), "MUL, SUM", "float32"),
    "ReduceLogSum": _row(composed("", "LOG"), "SUM, LOG", "float32"),
    "ReduceLogSumExp": _row(log_sum_exp, "REDUCE_MAX, SUB, EXP, SUM, LOG, ADD", "float32"),
    "ArgMax": Entry(
        argument("ARG_MAX", "ArgMaxOptions"),
        "ARG_MAX",
        "the first of equal values",
        _check_argument,
        _rule,
    ),
    "ArgMin": Entry(
        argument("ARG_MIN", "ArgMinOptions"),
        "ARG_MIN",
        "the first of equal values",
        _check_argument,
        _rule,
    ),
    "CumSum": Entry(
        cumulative_sum,
        "CUMSUM",
        "a constant axis",
        first_failing(of_kinds("float32", "int32", "int64"), needs_constant(1, "axis")),
    ),
}
