"""Products along an axis and determinants, written as products and sums of parts.

Given:   x -> CumProd along an axis of n -> y
Result:  x -> Mul(., . moved by 1, with ones before) -> Mul(., . moved by 2) -> ... by n / 2 -> y

Given:   x (..., n, n) -> Det -> y, n up to 4
Result:  x -> its numbers, one by one -> Laplace's expansion along the first row -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

MOST_ROWS = 4
"""Rows of a matrix of which the determinant is written out: 24 products of 4 then."""


def cum_prod(graph: Graph, node: Node) -> bool:
    """Write a CumProd out; its steps grow with the logarithm of the axis."""
    axis = graph.constant(node, 1)
    if axis is None:
        return False
    steps, made = Steps(graph, node), node.inputs[0]
    shape = graph.shape(made)
    place = int(axis.reshape(-1)[0]) % len(shape)
    length, backwards = shape[place], bool(node.int("reverse", 0))
    if node.int("exclusive", 0):
        made = _moved(steps, made, place, 1, backwards)
    distance = 1
    while distance < length:
        made = steps.do("Mul", made, _moved(steps, made, place, distance, backwards))
        distance *= 2
    steps.finish("Identity", made)
    return True


def _moved(steps: Steps, x: str, axis: int, distance: int, backwards: bool) -> str:
    """Return x moved along an axis, with ones where nothing comes from."""
    shape = list(steps.graph.shape(x))
    left = max(shape[axis] - distance, 0)
    begin = distance if backwards else 0
    kept = [left if place == axis else size for place, size in enumerate(shape)]
    rest = [size - kept[place] if place == axis else size for place, size in enumerate(shape)]
    ones = steps.constant(np.ones(rest))
    if not left:
        return ones
    ends = steps.integers([begin]), steps.integers([begin + left]), steps.integers([axis])
    part = steps.do("Slice", x, *ends, shape=kept)
    return steps.do("Concat", *((part, ones) if backwards else (ones, part)), axis=axis)


def determinant(graph: Graph, node: Node) -> bool:
    """Write the Det of matrices of a few rows out."""
    *batch, rows, _ = graph.shape(node.inputs[0])
    if not 0 < rows <= MOST_ROWS:
        return False
    steps, counts = Steps(graph, node), (*batch, 1, 1)
    numbers = [[_number(steps, node.inputs[0], i, j) for j in range(rows)] for i in range(rows)]
    made = _expanded(steps, numbers, list(range(rows)), counts)
    steps.finish("Reshape", made, steps.integers(graph.shape(node.output)))
    return True


def _number(steps: Steps, x: str, row: int, column: int) -> str:
    first, last = steps.integers([row, column]), steps.integers([row + 1, column + 1])
    shape = steps.graph.shape(x)
    axes = steps.integers([len(shape) - 2, len(shape) - 1])
    return steps.do("Slice", x, first, last, axes, shape=(*shape[:-2], 1, 1))


def _expanded(
    steps: Steps, numbers: list[list[str]], columns: list[int], shape: tuple[int, ...]
) -> str:
    """Return the determinant of the last rows, as many as there are ``columns``."""
    row = numbers[len(numbers) - len(columns)]
    if len(columns) == 1:
        return row[columns[0]]
    terms = list[str]()
    for column in columns:
        minor = _expanded(steps, numbers, [c for c in columns if c != column], shape)
        terms.append(steps.do("Mul", row[column], minor, shape=shape))
    made = terms.pop()  # a - (b - (c - d)): the signs of a - b + c - d
    for term in reversed(terms):
        made = steps.do("Sub", term, made, shape=shape)
    return made
