"""Arithmetic of one or two operands, comparisons, casts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, first_failing
from edgeconv.export.tflite.emission import Emission, Emit

MAX_BROADCAST = 4  # axes over which every TFLite kernel broadcasts


def binary(code: str, options: str = "", *, same_scale: bool = False) -> Emit:
    """Return the emitter of a broadcasting operator; several operands are taken two by two."""

    def emit(em: Emission, node: Node) -> None:
        rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
        scale = em.result(node) if same_scale else None
        values = [em.operand(name, rank, layout, scale=scale) for name in node.inputs]
        if len(values) == 1:
            identity(em, node)
            return
        while len(values) > 2:
            first = em.do(code, values[:2], options, quantization=scale)
            values = [first, *values[2:]]
        em.emit(node, code, values, options)

    return emit


def divide(em: Emission, node: Node) -> None:
    """Div: DIV; the kernel has no 64-bit integers, so those pass through 32 bits."""
    if em.graph.dtype(node.output) != np.int64:
        binary("DIV", "DivOptions")(em, node)
        return
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    wide: dict[str, Any] = {"inDataType": "INT64", "outDataType": "INT32"}
    narrow: dict[str, Any] = {"inDataType": "INT32", "outDataType": "INT64"}
    values = [
        em.do("CAST", [em.operand(name, rank, layout)], "CastOptions", dtype=np.int32, **wide)
        for name in node.inputs
    ]
    em.emit(node, "CAST", [em.do("DIV", values, "DivOptions")], "CastOptions", **narrow)


def unary(code: str, options: str = "") -> Emit:
    """Return the emitter of an operator of one operand in any layout."""

    def emit(em: Emission, node: Node) -> None:
        x = em.read(node.inputs[0], em.layout(node.output))
        em.emit(node, code, [x], options)

    return emit


def identity(em: Emission, node: Node) -> None:
    """Emit a node that changes nothing: a RESHAPE to the same shape."""
    x = em.read(node.inputs[0], em.layout(node.output), scale=em.result(node))
    shape = em.builder.shape(x)
    inputs = [x, em.ints(shape, "shape")]
    em.emit(node, "RESHAPE", inputs, "ReshapeOptions", newShape=list(shape))


def mean(em: Emission, node: Node) -> None:
    """Mean of several tensors: ADD them, MUL by 1/n."""
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    values = [em.operand(name, rank, layout) for name in node.inputs]
    total = values[0]
    for value in values[1:]:
        total = em.do("ADD", [total, value], "AddOptions")
    em.emit(node, "MUL", [total, em.real(1 / len(values))], "MulOptions")


def power(em: Emission, node: Node) -> None:
    """Pow: MUL for a square, SQRT for a root, else POW."""
    exponent = em.graph.constant(node, 1)
    value = None if exponent is None or exponent.size != 1 else float(exponent.ravel()[0])
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    x = em.operand(node.inputs[0], rank, layout)
    if value == 2.0 and em.graph.shape(node.output) == em.graph.shape(node.inputs[0]):
        em.emit(node, "MUL", [x, x], "MulOptions")
    elif value == 0.5 and em.graph.shape(node.output) == em.graph.shape(node.inputs[0]):
        em.emit(node, "SQRT", [x])
    else:
        y = em.operand(node.inputs[1], rank, layout)
        if em.builder.dtype(y) != np.float32:
            fields: dict[str, Any] = {
                "inDataType": em.builder.dtype(y).name.upper(),
                "outDataType": "FLOAT32",
            }
            y = em.do("CAST", [y], "CastOptions", dtype=np.float32, **fields)
        em.emit(node, "POW", [x, y], "PowOptions")


def reciprocal(em: Emission, node: Node) -> None:
    """Reciprocal: DIV of 1."""
    x = em.read(node.inputs[0], em.layout(node.output))
    em.emit(node, "DIV", [em.real(1.0), x], "DivOptions")


def arc_tangent(em: Emission, node: Node) -> None:
    """Atan: ATAN2 of it and ones."""
    x = em.read(node.inputs[0], em.layout(node.output))
    ones = em.builder.shared("ones", np.ones(em.builder.shape(x), np.float32))
    em.emit(node, "ATAN2", [x, ones], "ATan2Options")


def modulo(em: Emission, node: Node) -> None:
    """Mod: FLOOR_MOD, which has the divisor's sign; C's fmod has the dividend's, and takes it again."""
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    x, y = (em.operand(name, rank, layout) for name in node.inputs)
    if not node.int("fmod", 0):
        em.emit(node, "FLOOR_MOD", [x, y], "FloorModOptions")
        return
    sizes = [em.do("ABS", [value], "AbsOptions") for value in (x, y)]
    left = em.do(
        "FLOOR_MOD",
        sizes,
        "FloorModOptions",
    )
    em.emit(node, "MUL", [left, em.do("SIGN", [x], "SignOptions")], "MulOptions")


def where(em: Emission, node: Node) -> None:
    """Where: SELECT_V2."""
    rank, layout = len(em.graph.shape(node.output)), em.layout(node.output)
    scale = em.result(node)
    values = [em.operand(name, rank, layout, scale=scale) for name in node.inputs]
    em.emit(node, "SELECT_V2", values, "SelectV2Options")


def cast(em: Emission, node: Node) -> None:
    """Cast: CAST."""
    x = em.read(node.inputs[0], em.layout(node.output))
    source, target = em.graph.dtype(node.inputs[0]), em.graph.dtype(node.output)
    em.emit(
        node,
        "CAST",
        [x],
        "CastOptions",
        inDataType=source.name.upper(),
        outDataType=target.name.upper(),
    )


def broadcasts(graph: Graph, node: Node) -> str | None:
    """Say where operands of different shapes have more axes than TFLite broadcasts."""
    shapes = {graph.shape(name) for name in node.inputs if name and graph.shape(name)}
    rank = len(graph.shape(node.output))
    if len(shapes) > 1 and rank > MAX_BROADCAST:
        return f"it broadcasts over {rank} axes"
    return None


def of_kinds(*kinds: str) -> Callable[[Graph, Node], str | None]:
    """Return a check of the first input's dtype."""

    def check(graph: Graph, node: Node) -> str | None:
        kind = graph.dtype(node.inputs[0]).name
        return None if kind in kinds else f"its input is {kind}"

    return check


_REAL = of_kinds("float32")
_NUMBERS = of_kinds("float32", "int32", "int64")


def _arithmetic(code: str, options: str, *, int8: bool = True) -> Entry[Emit]:
    check = first_failing(_NUMBERS, broadcasts)
    nearest = "float32, int32 or int64 operands that broadcast over up to 4 axes"
    return Entry(binary(code, options), code, nearest, check, int8=int8)


def _function(code: str, options: str = "") -> Entry[Emit]:
    return Entry(unary(code, options), code, "a float32 operand", _REAL)


def _comparison(code: str, options: str) -> Entry[Emit]:
    check = first_failing(of_kinds("float32", "int32", "int64", "bool"), broadcasts)
    nearest = "operands that broadcast over up to 4 axes"
    return Entry(binary(code, options), code, nearest, check)


def _logical(code: str, options: str) -> Entry[Emit]:
    nearest = "operands that broadcast over up to 4 axes"
    return Entry(binary(code, options), code, nearest, broadcasts)


def _extreme(code: str) -> Entry[Emit]:
    check = first_failing(_NUMBERS, broadcasts)
    emit = binary(code, "MaximumMinimumOptions", same_scale=True)
    return Entry(emit, code, "operands that broadcast over up to 4 axes", check, int8=True)


TABLE = {
    "Add": _arithmetic("ADD", "AddOptions"),
    "Sub": _arithmetic("SUB", "SubOptions"),
    "Mul": _arithmetic("MUL", "MulOptions"),
    "Div": Entry(
        divide,
        "DIV",
        "float32, int32 or int64 operands that broadcast over up to 4 axes",
        first_failing(_NUMBERS, broadcasts),
    ),
    "Sum": _arithmetic("ADD", "AddOptions", int8=False),
    "Max": _extreme("MAXIMUM"),
    "Min": _extreme("MINIMUM"),
    "Mean": Entry(mean, "ADD, MUL", "float32 operands", first_failing(_REAL, broadcasts)),
    "Pow": Entry(
        power, "POW, MUL, SQRT", "a float32 base and exponent", first_failing(_REAL, broadcasts)
    ),
    "Mod": Entry(
        modulo,
        "FLOOR_MOD, ABS, SIGN, MUL",
        "float32, int32 or int64 operands that broadcast over up to 4 axes",
        first_failing(_NUMBERS, broadcasts),
    ),
    "Atan": Entry(arc_tangent, "ATAN2", "a float32 operand", _REAL),
    "Reciprocal": Entry(reciprocal, "DIV", "a float32 operand", _REAL),
    "Exp": _function("EXP", "ExpOptions"),
    "Log": _function("LOG"),
    "Sqrt": _function("SQRT"),
    "Abs": _function("ABS", "AbsOptions"),
    "Neg": Entry(unary("NEG", "NegOptions"), "NEG", "a number", _NUMBERS),
    "Floor": _function("FLOOR"),
    "Ceil": _function("CEIL"),
    "Round": _function("ROUND"),
    "Sin": _function("SIN"),
    "Cos": _function("COS", "CosOptions"),
    "Sign": _function("SIGN", "SignOptions"),
    "Equal": _comparison("EQUAL", "EqualOptions"),
    "Greater": _comparison("GREATER", "GreaterOptions"),
    "GreaterOrEqual": _comparison("GREATER_EQUAL", "GreaterEqualOptions"),
    "Less": _comparison("LESS", "LessOptions"),
    "LessOrEqual": _comparison("LESS_EQUAL", "LessEqualOptions"),
    "And": _logical("LOGICAL_AND", "LogicalAndOptions"),
    "Or": _logical("LOGICAL_OR", "LogicalOrOptions"),
    "Not": Entry(unary("LOGICAL_NOT", "LogicalNotOptions"), "LOGICAL_NOT", "a bool operand"),
    "Where": Entry(where, "SELECT_V2", "operands that broadcast over up to 4 axes", broadcasts),
    "Cast": Entry(cast, "CAST", "float32, int32, int64, uint8, int8 and bool"),
    "Identity": Entry(identity, "RESHAPE", "any tensor"),
}
