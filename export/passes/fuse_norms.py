"""Recognise a normalization by its values, however it is spelled.

Given:   x -> arithmetic around means and a root -> y, and y(x) is (x - mean) / sqrt(variance +
         epsilon) [* scale] [+ shift] over some axes; the variance may be the mean of the squares less
         the square of the mean, the scale may be in the root's inverse
Result:  [Transpose ->] x -> LayerNormalization [-> Transpose] -> y

Given:   the same over all axes behind the channel, scale and shift one a channel
Result:  x -> InstanceNormalization -> y

As one operator its variance is never rounded to 8 bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Steps

Values = NDArray[np.float64]

SAMPLES = 6
CLOSE = 1e-5
"""Of the largest value: constants were written in single precision."""
MOST_NODES = 24
MOST_BEHIND = 4
MOST_SOURCES = 3
MOST_EPSILON = 0.5
NO_EPSILON = 1e-12
QUIET = 1e-3
"""Size of the samples that tell one epsilon from another."""


def _reduced(axes: tuple[int, ...], x: Values, keepdims: int, how: str) -> Values:
    made: Values = getattr(x, how)(axis=axes, keepdims=bool(keepdims))
    return made


_PLAIN: dict[str, Callable[..., Values]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
    "Abs": np.abs,
    "Reciprocal": np.reciprocal,
    "Max": lambda *x: reduce(np.maximum, x),
    "Identity": lambda x: x,
}
_MEANS = {"ReduceMean": "mean", "ReduceSum": "sum"}
_SHAPED = frozenset(["Reshape", "Expand", "Squeeze", "Unsqueeze"])


@dataclass(frozen=True)
class _Found:
    """What ``last`` makes of ``source``; ``factor`` and ``offset`` have the axes ``of``."""

    source: str
    last: Node
    axes: tuple[int, ...]
    of: tuple[int, ...]
    epsilon: float
    factor: Values
    offset: Values


def fuse_norms(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for root in graph.of("Sqrt", "Pow"):
        found = _find(graph, root) if root in graph.nodes and _is_root(graph, root) else None
        if found is not None:
            _replace(graph, found)
            changed = True
    return changed


def _is_root(graph: Graph, node: Node) -> bool:
    power = graph.constant(node, 1) if node.op == "Pow" else np.array(0.5)
    return power is not None and power.size == 1 and abs(float(power.reshape(-1)[0])) == 0.5


def _find(graph: Graph, root: Node) -> _Found | None:
    for source in islice(_sources(graph, root), MOST_SOURCES):
        behind = list(islice(_behind(graph, root, source), MOST_BEHIND))
        for last in reversed(behind):
            found = _read(graph, source, last)
            if found is not None:
                return found
    return None


def _sources(graph: Graph, root: Node) -> Iterator[str]:
    """Yield the tensors of which alone the root is computed, larger than it, the nearest first."""
    makers = graph.producers()
    order = {node.output: place for place, node in enumerate(graph.nodes)}
    open_, least = {root.inputs[0]}, int(np.prod(graph.shape(root.output)))
    for _ in range(MOST_NODES):
        name = max(open_, key=lambda tensor: order.get(tensor, -1))
        maker = makers.get(name)
        if len(open_) == 1 and np.prod(graph.shape(name)) > least:
            yield name
        if maker is None or not _is_plain(maker):
            return
        open_.remove(name)
        open_ |= {given for given in maker.inputs if given and given not in graph.constants}
        if not open_:
            return


def _is_plain(node: Node) -> bool:
    known = node.op in _PLAIN or node.op in _MEANS or node.op in _SHAPED
    return known and node.clamp is None


def _behind(graph: Graph, root: Node, source: str) -> Iterator[Node]:
    """Yield the nodes behind the root that make tensors of the source's shape, while all is known."""
    readers, node, wanted = graph.consumers(), root, graph.shape(source)
    for _ in range(MOST_NODES):
        found = [reader for reader in readers.get(node.output, []) if _is_plain(reader)]
        if node is not root and len(readers.get(node.output, [])) != 1:
            found = found if graph.shape(node.output) != wanted else []
        if not found:
            return
        node = max(found, key=lambda reader: graph.shape(reader.output) == wanted)
        if graph.shape(node.output) == wanted:
            yield node
            if node.output in graph.outputs:
                return


def _read(graph: Graph, source: str, last: Node) -> _Found | None:
    """Say what ``last`` makes of random sources, where that is a norm of them."""
    shape, region = graph.shape(source), _region(graph, source, last)
    if region is None or graph.dtype(source) != np.float32:
        return None
    axes = {_axes(graph, node) for node in region if node.op in _MEANS}
    numbers = {number for number in _numbers(graph, region) if 0 < number < MOST_EPSILON}
    numbers |= {NO_EPSILON}
    if not axes:
        return None
    loud = np.random.default_rng(0).standard_normal((SAMPLES, *shape))
    loud += np.arange(1, SAMPLES + 1).reshape(SAMPLES, *[1] * len(shape)) / SAMPLES
    made = np.stack([_value(graph, region, source, x, last) for x in loud])
    quiet = np.stack([_value(graph, region, source, QUIET * x, last) for x in loud])
    if not (np.isfinite(made).all() and np.isfinite(quiet).all()):
        return None
    for over, epsilon in product(sorted(axes), sorted(numbers)):
        by_channel = [(1,)] if over == tuple(range(2, len(shape))) else []
        for of in (over, *by_channel):
            fitted = _fit(_normed(loud, over, epsilon), made, of)
            if fitted is not None and _fits(_normed(QUIET * loud, over, epsilon), quiet, *fitted):
                return _Found(source, last, over, of, epsilon, *fitted)
    return None


def _numbers(graph: Graph, region: list[Node]) -> set[float]:
    """Return the size-one real constants that the region reads."""
    found = [graph.constants.get(name) for node in region for name in node.inputs]
    return {
        float(value.reshape(-1)[0])
        for value in found
        if value is not None and value.size == 1 and value.dtype.kind == "f"
    }


def _region(graph: Graph, source: str, last: Node) -> list[Node] | None:
    """Return the nodes between, in order; None where something else is read or not known."""
    makers, inside, waiting = graph.producers(), set[str](), [last]
    while waiting:
        node = waiting.pop()
        if node.name in inside:
            continue
        inside.add(node.name)
        if len(inside) > MOST_NODES or not _is_plain(node):
            return None
        for name in node.inputs:
            if not name or name == source or name in graph.constants:
                continue
            if name not in makers:
                return None
            waiting.append(makers[name])
    return [node for node in graph.nodes if node.name in inside]


def _axes(graph: Graph, node: Node) -> tuple[int, ...]:
    rank, given = len(graph.shape(node.inputs[0])), graph.constant(node, 1)
    named = node.ints("axes", range(rank)) if given is None else given.reshape(-1)
    return tuple(sorted(int(axis) % rank for axis in named))


def _value(graph: Graph, region: list[Node], source: str, x: Values, last: Node) -> Values:
    """Return what the region makes of ``x``."""
    values: dict[str, Values] = {source: x}

    def value(name: str) -> Values:
        return values[name] if name in values else np.asarray(graph.constants[name], np.float64)

    with np.errstate(all="ignore"):
        for node in region:
            values[node.output] = _one(graph, node, value)
    return values[last.output]


def _one(graph: Graph, node: Node, value: Callable[[str], Values]) -> Values:
    x = value(node.inputs[0])
    if node.op in _MEANS:
        return _reduced(_axes(graph, node), x, node.int("keepdims", 1), _MEANS[node.op])
    if node.op == "Expand":
        return np.broadcast_to(x, graph.shape(node.output))
    if node.op in _SHAPED:
        return x.reshape(graph.shape(node.output))
    return _PLAIN[node.op](*(value(name) for name in node.inputs))


def _normed(x: Values, axes: tuple[int, ...], epsilon: float) -> Values:
    over = tuple(axis + 1 for axis in axes)
    away = x - x.mean(over, keepdims=True)
    normed: Values = away / np.sqrt((away**2).mean(over, keepdims=True) + epsilon)
    return normed


def _fit(normed: Values, made: Values, of: tuple[int, ...]) -> tuple[Values, Values] | None:
    """Return factor and offset, constant over all axes but ``of``; None where there are none."""
    rest = tuple(axis for axis in range(made.ndim) if axis - 1 not in of)
    means = normed.mean(rest, keepdims=True), made.mean(rest, keepdims=True)
    spread = ((normed - means[0]) ** 2).mean(rest, keepdims=True)
    factor = ((normed - means[0]) * (made - means[1])).mean(rest, keepdims=True) / spread
    offset = means[1] - factor * means[0]
    return (factor[0], offset[0]) if _fits(normed, made, factor[0], offset[0]) else None


def _fits(normed: Values, made: Values, factor: Values, offset: Values) -> bool:
    error = np.abs(factor * normed + offset - made).max()
    return bool(error <= CLOSE * max(float(np.abs(made).max()), 1e-12))


def _replace(graph: Graph, found: _Found) -> None:
    """Write the norm in place of the node that makes its last value."""
    shape, last = graph.shape(found.source), found.last
    sizes = [shape[axis] for axis in found.of]
    names = [
        graph.add_constant(f"{last.name}.{part}", np.ascontiguousarray(value, np.float32))
        for part, value in (
            ("scale", found.factor.reshape(sizes)),
            ("shift", found.offset.reshape(sizes)),
        )
    ]
    steps = Steps(graph, last)
    epsilon = found.epsilon
    if found.of == (1,) and found.axes != (1,):
        steps.finish("InstanceNormalization", found.source, *names, epsilon=epsilon)
        return
    rank, count = len(shape), len(found.axes)
    kept = [axis for axis in range(rank) if axis not in found.axes]
    order = [*kept, *found.axes]
    if order == list(range(rank)):
        steps.finish("LayerNormalization", found.source, *names, axis=rank - count, epsilon=epsilon)
        return
    moved = [shape[axis] for axis in order]
    turned = steps.do("Transpose", found.source, shape=moved, perm=order)
    normed = steps.do(
        "LayerNormalization", turned, *names, shape=moved, axis=rank - count, epsilon=epsilon
    )
    steps.finish("Transpose", normed, perm=[order.index(axis) for axis in range(rank)])
