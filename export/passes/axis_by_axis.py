"""Let operators over several axes of more than five take one axis after the other.

Given:   x of rank above 5 -> Pad | Slice | Tile | Expand | ReduceMean | ... over axes that are no neighbours -> y
Result:  x -> the same over the first of them -> the same over the rest -> y; each alone has few axes
         once merge_axes.py has joined the others

Given:   x, z of rank above 5 -> Add | Mul | ... -> y, broadcast over axes that cannot be joined
Result:  z -> Expand -> Add(x) -> y
"""

import itertools
from collections.abc import Callable

import numpy as np

from edgeconv.export.graph import Array, Attribute, Graph, Node
from edgeconv.export.op_traits import TRAITS, Is
from edgeconv.export.passes.steps import Steps

MOST = 5  # axes that every target can hold
REPEATABLE = frozenset(
    f"Reduce{how}" for how in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum")
)
"""Reductions of reductions that are the reduction of all."""
SIZES = frozenset(["ReduceL1", "ReduceL2"])
"""Those that change a single value."""


def axis_by_axis(graph: Graph) -> bool:
    """Apply the rewrites to every match."""
    changed = False
    for node in list(graph.nodes):
        if (
            not node.inputs
            or max(len(graph.shape(n)) for n in (node.output, *_given(node))) <= MOST
        ):
            continue
        if node.op in REPEATABLE:
            changed |= _reduce(graph, node)
        elif node.op in BY_AXIS:
            changed |= BY_AXIS[node.op](graph, node)
        elif node.op in TRAITS and Is.BROADCASTS in TRAITS[node.op].true and node.op != "MatMul":
            changed |= _expand_first(graph, node)
    return changed


def _given(node: Node) -> list[str]:
    return [name for name in node.inputs if name]


def _first(
    graph: Graph, node: Node, op: str, made: Array, *inputs: Array, **attrs: Attribute
) -> None:
    """Put an operator on one axis in front of ``node``, which reads what it makes from then on."""
    steps = Steps(graph, node)
    kind = graph.dtype(node.inputs[0]).type
    rest = [name for name in node.inputs[2:3] if op == "Pad" and name]
    given = [*map(steps.integers, inputs), *rest]
    out = steps.do(op, node.inputs[0], *given, shape=made.tolist(), kind=kind, attributes=attrs)
    graph.nodes[graph.nodes.index(node) : graph.nodes.index(node)] = steps.nodes
    node.inputs[0] = out


def _pad(graph: Graph, node: Node) -> bool:
    shape, pads = np.array(graph.shape(node.inputs[0])), graph.constant(node, 1)
    if pads is None or any(node.inputs[3:]) or len(pads) != 2 * len(shape):
        return False
    amounts = pads.reshape(2, -1)
    axes = np.flatnonzero(amounts.any(axis=0))
    if len(axes) < 2:
        return False
    alone, rest = np.zeros_like(amounts), amounts.copy()
    alone[:, axes[0]], rest[:, axes[0]] = amounts[:, axes[0]], 0
    made = shape + alone.sum(axis=0)
    _first(graph, node, "Pad", made, alone.reshape(-1), mode=node.str("mode", "constant"))
    node.inputs[1] = graph.add_constant(f"{node.name}.pads", rest.reshape(-1))
    return True


def _slice(graph: Graph, node: Node) -> bool:
    shape, known = graph.shape(node.inputs[0]), [graph.constant(node, i) for i in range(1, 5)]
    starts, ends = known[:2]
    if starts is None or ends is None or len(starts) < 2:
        return False
    if any(value is None and any(node.inputs[i : i + 1]) for i, value in enumerate(known, 1)):
        return False
    axes = np.arange(len(starts)) if known[2] is None else known[2] % len(shape)
    steps = np.ones_like(starts) if known[3] is None else known[3]
    made, out = np.array(shape), graph.shape(node.output)
    made[axes[0]] = out[axes[0]]
    _first(graph, node, "Slice", made, *(v[:1] for v in (starts, ends, axes, steps)))
    rest = [v[1:].astype(np.int64) for v in (starts, ends, axes, steps)]
    node.inputs[1:] = [graph.add_constant(f"{node.name}.cut", value) for value in rest]
    return True


def _tile(graph: Graph, node: Node) -> bool:
    shape, repeats = graph.shape(node.inputs[0]), graph.constant(node, 1)
    if repeats is None:
        return False
    axes = np.flatnonzero(repeats != 1)
    if len(axes) == 1 and len(shape) > 3:
        return _tile_between(graph, node, int(axes[0]), int(repeats[axes[0]]))
    if len(axes) < 2:
        return False
    alone, rest = np.ones_like(repeats), repeats.copy()
    alone[axes[0]], rest[axes[0]] = repeats[axes[0]], 1
    _first(graph, node, "Tile", np.array(shape) * alone, alone)
    node.inputs[1] = graph.add_constant(f"{node.name}.repeats", rest)
    return True


def _tile_between(graph: Graph, node: Node, axis: int, count: int) -> bool:
    shape, steps = graph.shape(node.inputs[0]), Steps(graph, node)
    kind = graph.dtype(node.output).type
    sizes = [int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))]
    flat = steps.do("Reshape", node.inputs[0], steps.integers(sizes), shape=sizes, kind=kind)
    made = [sizes[0], sizes[1] * count, sizes[2]]
    more = steps.do("Tile", flat, steps.integers([1, count, 1]), shape=made, kind=kind)
    steps.finish("Reshape", more, steps.integers(graph.shape(node.output)))
    return True


def _expand(graph: Graph, node: Node) -> bool:
    """Of the size of the result: repeats of single values."""
    out, shape = graph.shape(node.output), graph.shape(node.inputs[0])
    if graph.constant(node, 1) is None:
        return False
    steps, whole = Steps(graph, node), (1,) * (len(out) - len(shape)) + shape
    x, kind = node.inputs[0], graph.dtype(node.output).type
    if whole != shape:
        x = steps.do("Reshape", x, steps.integers(whole), shape=whole, kind=kind)
    repeats = [size // old for size, old in zip(out, whole, strict=True)]
    steps.finish("Tile", x, steps.integers(repeats))
    return True


def _reduce(graph: Graph, node: Node) -> bool:
    shape, given = graph.shape(node.inputs[0]), node.ints("axes", ())
    known = graph.constant(node, 1)
    axes = sorted(
        {a % len(shape) for a in (given if known is None else known.reshape(-1).tolist())}
    )
    axes = [axis for axis in axes if shape[axis] != 1]
    if not axes and len(given if known is None else known.reshape(-1)) and node.op not in SIZES:
        node.op, node.attrs = "Reshape", {}
        wanted = np.array(graph.shape(node.output), np.int64)
        node.inputs[1:] = [graph.add_constant(f"{node.name}.shape", wanted)]
        return True
    behind = [b for a, b in itertools.pairwise(axes) if any(s != 1 for s in shape[a + 1 : b])]
    if not behind:
        return False
    alone = [axis for axis in axes if axis >= behind[-1]]  # the last neighbours
    made = [1 if axis in alone else size for axis, size in enumerate(shape)]
    steps = Steps(graph, node)
    kind = graph.dtype(node.inputs[0]).type
    if known is None:
        x = steps.do(node.op, node.inputs[0], shape=made, kind=kind, axes=alone, keepdims=1)
    else:
        x = steps.do(
            node.op, node.inputs[0], steps.integers(alone), shape=made, kind=kind, keepdims=1
        )
    graph.nodes[graph.nodes.index(node) : graph.nodes.index(node)] = steps.nodes
    node.inputs[0] = x
    return True


def _expand_first(graph: Graph, node: Node) -> bool:
    out = graph.shape(node.output)
    wide = [(1,) * (len(out) - len(graph.shape(n))) + graph.shape(n) for n in node.inputs]
    kinds = [tuple(s[i] == size for s in wide) for i, size in enumerate(out) if size != 1]
    if 1 + sum(a != b for a, b in itertools.pairwise(kinds)) < MOST:
        return False  # merge_axes.py makes it fit
    steps, changed = Steps(graph, node), False
    for index, name in enumerate(node.inputs):
        if wide[index] == out or name in graph.constants:
            continue
        kind = graph.dtype(name).type
        node.inputs[index] = steps.do("Expand", name, steps.integers(out), shape=out, kind=kind)
        changed = True
    graph.nodes[graph.nodes.index(node) : graph.nodes.index(node)] = steps.nodes
    return changed


BY_AXIS: dict[str, Callable[[Graph, Node], bool]] = {
    "Expand": _expand,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
}
"""Operator of one tensor -> what gives it one axis at a time and says whether it had several."""
