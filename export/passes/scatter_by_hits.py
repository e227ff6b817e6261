"""Write at computed places, or onto what is there, by products and choices: no target does so in general.

Given:   x, indices, updates -> ScatterND | ScatterElements(computed indices, or a reduction) -> y
Result:  row numbers -> Equal(every row of x) -> hits (batch, rows of x, updates);
         sums and replacements (each row's last): MatMul(hits, updates) -> Add(x) | Where(any hit, it, x) -> y;
         else: Where(hits, updates, what changes nothing) -> ReduceMax | ... -> Max(x) | ... -> y

Constant indices that merely replace are one Gather (constant_indices.py). Emitters call this for the
node that they are at; it is no pass of a list, because ONNX has the operators, and sums of unknown
rows are no values for 8 bits.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.computed_indices import positive, row_numbers
from edgeconv.export.passes.steps import Shape, Steps

MOST_PAIRS = 4_000_000
"""How many (row of x, update) may be compared; beyond it the operator stays and is refused."""
FOLDS = {"add": "Sum", "mul": "Prod", "max": "Max", "min": "Min"}
JOINS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}


@dataclass(frozen=True)
class _Rows:
    """Data (batch, held, width), row numbers (batch, written) and updates (batch, written, width)."""

    data: str
    numbers: str
    updates: str
    batch: int
    held: int
    written: int
    width: int


def why_no_hits(graph: Graph, node: Node) -> str | None:
    """Say why a scatter cannot be written as hits; None where it can."""
    if not prod(graph.shape(node.inputs[2])):
        return "it writes nothing"
    return "it compares too many places" if _pairs(graph, node) > MOST_PAIRS else None


def _pairs(graph: Graph, node: Node) -> int:
    shape, places = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    if node.op == "ScatterND":
        written = prod(places[:-1])
        return written * max(prod(shape[: places[-1]]), written)
    axis = _axis(graph, node)
    if _aligned(graph, node):
        return prod(places) * max(shape[axis], places[axis])
    return prod(places) * max(prod(shape), prod(places))


def _axis(graph: Graph, node: Node) -> int:
    return node.int("axis", 0) % len(graph.shape(node.inputs[0]))


def _aligned(graph: Graph, node: Node) -> bool:
    """Whether indices have the sizes of x but along the axis, so that each line stands alone."""
    axis = _axis(graph, node)
    sizes = (graph.shape(name) for name in node.inputs[:2])
    x, places = (s[:axis] + s[axis + 1 :] for s in sizes)
    return x == places


def scatter_by_hits(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes that compute ``node``; their tensors and constants are declared in ``graph``."""
    steps, reduction = Steps(graph, node), node.str("reduction", "none")
    axis, rank = _axis(graph, node), len(graph.shape(node.inputs[0]))
    lines = node.op == "ScatterElements" and _aligned(graph, node)
    rows = _lines(steps, axis) if lines else _flat(steps)
    hits = _hits(steps, rows)
    if reduction == "none":
        hits = _last(steps, rows, hits)
    made = (rows.batch, rows.held, rows.width)
    if reduction in ("none", "add"):
        result = _sum(steps, rows, hits)
        if reduction == "add":
            result = steps.do("Add", rows.data, result, shape=made)
        else:
            any_ = _fold(steps, "Max", _number(steps, hits), (*made[:2], 1))
            zero = steps.constant(0)
            hit = steps.do("Greater", any_, zero, shape=(*made[:2], 1), kind=np.bool_)
            result = steps.do("Where", hit, result, rows.data, shape=made)
    else:
        result = _reduced(steps, rows, hits, reduction)
    if not lines:
        return steps.ended("Reshape", result, steps.integers(graph.shape(node.output)))
    moved = _moved(graph.shape(node.output), axis)
    back = steps.do("Reshape", result, steps.integers(moved), shape=moved)
    order = [place for place in range(rank) if place != axis]
    perm = [rank - 1 if place == axis else order.index(place) for place in range(rank)]
    return steps.ended("Transpose", back, perm=perm)


def _moved(shape: Shape, axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :], shape[axis])


def _lines(steps: Steps, axis: int) -> _Rows:
    """Each line along the axis is a batch of its own, its elements are rows."""
    graph, node = steps.graph, steps.node
    rank, held = len(graph.shape(node.inputs[0])), graph.shape(node.inputs[0])[axis]
    written = graph.shape(node.inputs[1])[axis]
    batch = prod(graph.shape(node.inputs[0])) // held
    perm = [*(place for place in range(rank) if place != axis), axis]

    def line(name: str, count: int, *ends: int) -> str:
        kind = graph.dtype(name).type
        moved = _moved(graph.shape(name), axis)
        turned = steps.do("Transpose", name, shape=moved, kind=kind, perm=perm)
        shape = (batch, count, *ends)
        return steps.do("Reshape", turned, steps.integers(shape), shape=shape, kind=kind)

    numbers = line(node.inputs[1], written)
    numbers = positive(steps, numbers, np.array(held), (batch, written))
    data, updates = line(node.inputs[0], held, 1), line(node.inputs[2], written, 1)
    return _Rows(data, numbers, updates, batch, held, written, 1)


def _flat(steps: Steps) -> _Rows:
    """All of x is one batch, its rows numbered through."""
    graph, node = steps.graph, steps.node
    shape, places = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    single = node.op == "ScatterElements"
    depth = len(shape) if single else places[-1]
    held, width = prod(shape[:depth]), prod(shape[depth:])
    written = prod(places if single else places[:-1])
    kind = graph.dtype(node.inputs[1]).type
    found = row_numbers(steps, _axis(graph, node) if single else None)
    numbers, data, updates = (
        steps.do("Reshape", name, steps.integers(wanted), shape=wanted, kind=type_)
        for name, wanted, type_ in (
            (found, (1, written), kind),
            (node.inputs[0], (1, held, width), None),
            (node.inputs[2], (1, written, width), None),
        )
    )
    return _Rows(data, numbers, updates, 1, held, written, width)


def _hits(steps: Steps, rows: _Rows) -> str:
    """Return which update goes to which row: truth values (batch, held, written)."""
    kind = steps.graph.dtype(rows.numbers).type
    spread = (rows.batch, 1, rows.written)
    numbers = steps.do("Reshape", rows.numbers, steps.integers(spread), shape=spread, kind=kind)
    every = steps.constant(np.arange(rows.held).reshape(1, rows.held, 1), kind)
    shape = (rows.batch, rows.held, rows.written)
    return steps.do("Equal", numbers, every, shape=shape, kind=np.bool_)


def _last(steps: Steps, rows: _Rows, hits: str) -> str:
    """Leave of the updates of a row the last: onnxruntime writes them in order."""
    kind, count = steps.graph.dtype(rows.numbers).type, rows.written
    down, across, square = (
        (rows.batch, count, 1),
        (rows.batch, 1, count),
        (rows.batch, count, count),
    )
    sides = [
        steps.do("Reshape", rows.numbers, steps.integers(shape), shape=shape, kind=kind)
        for shape in (down, across)
    ]
    same = steps.do("Equal", *sides, shape=square, kind=np.bool_)
    behind = steps.constant(np.tri(count, k=-1, dtype=bool)[None], np.bool_)  # (later, earlier)
    later = steps.do("And", same, behind, shape=square, kind=np.bool_)
    number = steps.do("Cast", later, shape=square, kind=np.float32, to=1)
    most = steps.do(
        "ReduceMax", number, steps.integers([1]), shape=across, kind=np.float32, keepdims=1
    )
    half = steps.constant(0.5, np.float32)
    stays = steps.do("Less", most, half, shape=across, kind=np.bool_)
    shape = (rows.batch, rows.held, count)
    return steps.do("And", hits, stays, shape=shape, kind=np.bool_)


def _number(steps: Steps, hits: str) -> str:
    to = 1 if steps.graph.dtype(steps.node.output).kind == "f" else 7  # FLOAT, INT64
    kind = np.float32 if to == 1 else np.int64
    shape = steps.graph.shape(hits)
    made = steps.do("Cast", hits, shape=shape, kind=kind, to=to)
    wanted = steps.graph.dtype(steps.node.output)
    if wanted == kind:
        return made
    return steps.do("Cast", made, shape=shape, to=6)  # INT32


def _sum(steps: Steps, rows: _Rows, hits: str) -> str:
    made = (rows.batch, rows.held, rows.width)
    if steps.graph.dtype(steps.node.output).kind == "f":
        return steps.do("MatMul", _number(steps, hits), rows.updates, shape=made)
    return _fold(steps, "Sum", _chosen(steps, rows, hits, steps.constant(0)), made)


def _reduced(steps: Steps, rows: _Rows, hits: str, reduction: str) -> str:
    made = (rows.batch, rows.held, rows.width)
    other = steps.constant(1)
    if reduction != "mul":  # what is there changes nothing
        shape = (rows.batch, rows.held, 1, rows.width)
        other = steps.do("Reshape", rows.data, steps.integers(shape), shape=shape)
    folded = _fold(steps, FOLDS[reduction], _chosen(steps, rows, hits, other), made)
    return steps.do(JOINS[reduction], rows.data, folded, shape=made)


def _chosen(steps: Steps, rows: _Rows, hits: str, other: str) -> str:
    """Return the updates where they go, ``other`` elsewhere: (batch, held, written, width)."""
    apart = (rows.batch, rows.held, rows.written, 1)
    where = steps.do("Reshape", hits, steps.integers(apart), shape=apart, kind=np.bool_)
    wide = (rows.batch, 1, rows.written, rows.width)
    updates = steps.do("Reshape", rows.updates, steps.integers(wide), shape=wide)
    return steps.do("Where", where, updates, other, shape=(*apart[:3], rows.width))


def _fold(steps: Steps, how: str, values: str, made: Shape) -> str:
    axes = steps.integers([2])
    keep = int(len(steps.graph.shape(values)) == len(made))
    return steps.do(f"Reduce{how}", values, axes, shape=made, keepdims=keep)
