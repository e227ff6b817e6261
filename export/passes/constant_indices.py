"""Read and write elements at constant places by one Gather: no target has the operators for it.

Given:   x -> GatherND | GatherElements(constant indices) -> y
Result:  x -> Reshape(rows) -> Gather(row numbers) -> Reshape -> y

Given:   x, updates -> ScatterND | ScatterElements(constant indices) -> y
Result:  Concat(x before it, updates, x behind it), along each axis that the updates do not fill -> y
         where they fill a box: ``x[:, :, a:b] = z`` of a module comes as such a ScatterND; else
         Concat(rows of x, rows of updates) -> Gather(which row is where) -> Reshape -> y
"""

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.passes.steps import Steps


def constant_indices(graph: Graph) -> bool:
    """Apply both rewrites to every match."""
    changed = False
    for node in graph.of("GatherND", "GatherElements", "ScatterND", "ScatterElements"):
        indices = graph.constant(node, 1)
        if indices is None or node.str("reduction", "none") != "none":
            continue
        shape = graph.shape(node.inputs[0])
        if node.op == "ScatterND" and _fill_box(graph, node, np.asarray(indices, np.int64)):
            changed = True
            continue
        if node.op.endswith("Elements"):
            rows = _element_rows(shape, np.asarray(indices, np.int64), node.int("axis", 0))
            width = 1
        else:
            batched = node.int("batch_dims", 0)
            rows = _tuple_rows(shape, np.asarray(indices, np.int64), batched)
            width = int(np.prod(shape[batched + indices.shape[-1] :]))
        if node.op.startswith("Gather"):
            _gather(graph, node, rows, width)
        else:
            _scatter(graph, node, rows, width)
        changed = True
    return changed


def _element_rows(shape: tuple[int, ...], indices: Array, axis: int) -> Array:
    """Return which element of the flat tensor each index means."""
    places: list[Array] = list(np.indices(indices.shape))
    size = shape[axis % len(shape)]
    places[axis % len(shape)] = indices % size
    return np.asarray(np.ravel_multi_index(tuple(places), shape)).reshape(-1)


def _tuple_rows(shape: tuple[int, ...], indices: Array, batched: int) -> Array:
    """Return which row of the tensor, cut behind the indexed axes, each tuple means."""
    depth = indices.shape[-1]
    indexed = shape[batched : batched + depth]
    inside = np.ravel_multi_index(
        tuple(indices[..., axis] % size for axis, size in enumerate(indexed)), indexed
    )
    batch = np.arange(int(np.prod(shape[:batched]))) * int(np.prod(indexed))
    return (np.asarray(inside).reshape(len(batch), -1) + batch[:, None]).reshape(-1)


def _gather(graph: Graph, node: Node, rows: Array, width: int) -> None:
    count = int(np.prod(graph.shape(node.inputs[0]))) // width
    source = _reshape(graph, node, node.inputs[0], (count, width))
    _finish(graph, node, source, rows, width)


def _scatter(graph: Graph, node: Node, rows: Array, width: int) -> None:
    count = int(np.prod(graph.shape(node.inputs[0]))) // width
    where = np.arange(count)
    where[rows] = count + np.arange(len(rows))
    if where.min() >= count:  # nothing of x is left
        source = _reshape(graph, node, node.inputs[2], (len(rows), width))
        _finish(graph, node, source, where - count, width)
        return
    parts = [
        _reshape(graph, node, node.inputs[0], (count, width)),
        _reshape(graph, node, node.inputs[2], (len(rows), width)),
    ]
    kind = graph.dtype(node.output).type
    both = graph.declare(graph.fresh(f"{node.name}_both"), (count + len(rows), width), kind)
    joined = Node("Concat", graph.fresh(f"{node.name}_join"), parts, [both], {"axis": 0})
    graph.nodes.insert(graph.nodes.index(node), joined)
    _finish(graph, node, both, where, width)


def _fill_box(graph: Graph, node: Node, indices: Array) -> bool:
    """Write the updates of a ScatterND between what is left of x, if they fill a box of it, and say whether they do."""
    source, shape = node.inputs[0], graph.shape(node.inputs[0])
    depth = indices.shape[-1]
    places = (indices % np.array(shape[:depth], np.int64)).reshape(-1, depth)
    if not places.size:
        return False
    box = [(int(at.min()), int(at.max()) + 1) for at in places.T]
    every = np.meshgrid(*(np.arange(*ends) for ends in box), indexing="ij")
    partial = [axis for axis, ends in enumerate(box) if ends != (0, shape[axis])]
    if not partial or not np.array_equal(places, np.stack(every, -1).reshape(-1, depth)):
        return False
    steps = Steps(graph, node)
    filled = tuple(last - first for first, last in box) + shape[depth:]
    inner = node.inputs[2]
    if graph.shape(inner) != filled:
        inner = steps.do("Reshape", inner, steps.integers(filled), shape=filled)
    for number, axis in reversed(list(enumerate(partial))):
        around = source
        for outer in partial[:number]:
            around = _cut(steps, around, outer, *box[outer])
        first, last = box[axis]
        parts = [_cut(steps, around, axis, 0, first)] if first else []
        parts += [inner]
        parts += [_cut(steps, around, axis, last, shape[axis])] if last < shape[axis] else []
        if number:
            made = list(graph.shape(inner))
            made[axis] = shape[axis]
            inner = steps.do("Concat", *parts, shape=made, axis=axis)
        else:
            steps.finish("Concat", *parts, axis=axis)
    return True


def _cut(steps: Steps, name: str, axis: int, first: int, last: int) -> str:
    graph, shape = steps.graph, list(steps.graph.shape(name))
    if name in graph.constants:
        held = graph.constants[name].take(range(first, last), axis)
        return graph.add_constant(f"{name}_cut", np.ascontiguousarray(held))
    shape[axis] = last - first
    places = [steps.integers([value]) for value in (first, last, axis, 1)]
    return steps.do("Slice", name, *places, shape=shape)


def _finish(graph: Graph, node: Node, source: str, rows: Array, width: int) -> None:
    """Turn ``node`` into the Reshape of the rows gathered from ``source``."""
    kind = graph.dtype(node.output).type
    picked = graph.declare(graph.fresh(f"{node.name}_rows"), (len(rows), width), kind)
    numbers = graph.add_constant(f"{node.name}.rows", np.ascontiguousarray(rows, np.int64))
    gather = Node("Gather", graph.fresh(f"{node.name}_pick"), [source, numbers], [picked])
    gather.attrs["axis"] = 0
    graph.nodes.insert(graph.nodes.index(node), gather)
    shape = np.array(graph.shape(node.output), np.int64)
    node.op, node.attrs = "Reshape", {}
    node.inputs = [picked, graph.add_constant(f"{node.name}.shape", shape)]


def _reshape(graph: Graph, node: Node, name: str, shape: tuple[int, ...]) -> str:
    if name in graph.constants:
        return graph.add_constant(f"{name}_flat", graph.constants[name].reshape(shape))
    made = graph.declare(graph.fresh(f"{name}_flat"), shape, graph.dtype(name).type)
    wanted = graph.add_constant(f"{made}.shape", np.array(shape, np.int64))
    flat = Node("Reshape", graph.fresh(f"{made}_reshape"), [name, wanted], [made])
    graph.nodes.insert(graph.nodes.index(node), flat)
    return made
