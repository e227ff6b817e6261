"""Read elements at computed places by one Gather: no target has the operators for it.

Given:   x, indices -> GatherElements | GatherND -> y, the indices computed
Result:  indices -> Mul(what a step of an axis counts) -> Add(where each element is) -> row numbers;
         x -> Reshape(rows) -> Gather(row numbers) -> Reshape -> y

Given:   x -> Gather(constant indices of several axes) -> y of more axes than a target holds
Result:  x -> Gather(the same in a row) -> Reshape -> y
"""

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.passes.steps import Shape, Steps

MOST = 5  # axes that every target can hold


def computed_indices(graph: Graph) -> bool:
    """Apply the rewrites to every match."""
    changed = False
    for node in graph.of("GatherElements", "GatherND"):
        if graph.constant(node, 1) is None:
            _elements(graph, node) if node.op == "GatherElements" else _tuples(graph, node)
            changed = True
    for node in graph.of("Gather"):
        indices = graph.constant(node, 1)
        if indices is not None and indices.ndim > 1 and len(graph.shape(node.output)) > MOST:
            _in_a_row(graph, node)
            changed = True
    return changed


def _elements(graph: Graph, node: Node) -> None:
    steps = Steps(graph, node)
    rows = row_numbers(steps, node.int("axis", 0) % len(graph.shape(node.inputs[0])))
    whole = [int(np.prod(graph.shape(node.inputs[0])))]
    flat = steps.do("Reshape", node.inputs[0], steps.integers(whole), shape=whole)
    steps.finish("Gather", flat, rows, axis=0)


def _tuples(graph: Graph, node: Node) -> None:
    shape, batch = graph.shape(node.inputs[0]), node.int("batch_dims", 0)
    depth = graph.shape(node.inputs[1])[-1]
    steps = Steps(graph, node)
    rows = row_numbers(steps, None, batch)
    flat = [int(np.prod(shape[: batch + depth])), *shape[batch + depth :]]
    source = steps.do("Reshape", node.inputs[0], steps.integers(flat), shape=flat)
    steps.finish("Gather", source, rows, axis=0)


def row_numbers(steps: Steps, axis: int | None, batch: int = 0) -> str:
    """Return which row of the flat tensor each index of the node means.

    Its indices are places along ``axis``, the others being their own, or tuples behind ``batch`` axes.
    """
    graph, node = steps.graph, steps.node
    shape, wanted = graph.shape(node.inputs[0]), graph.shape(node.inputs[1])
    kind = graph.dtype(node.inputs[1]).type
    if axis is not None:
        places = list(np.indices(wanted))
        places[axis] = np.zeros(wanted, np.int64)
        starts = np.ravel_multi_index(tuple(places), shape)
        indices = positive(steps, node.inputs[1], np.array(shape[axis]), wanted)
        apart = steps.constant(int(np.prod(shape[axis + 1 :])), kind)
        rows = steps.do("Mul", indices, apart, shape=wanted, kind=kind)
        return steps.do("Add", rows, steps.constant(starts, kind), shape=wanted, kind=kind)
    depth, line = wanted[-1], wanted[:-1]
    indexed = shape[batch : batch + depth]
    steps_apart = [int(np.prod(indexed[place + 1 :])) for place in range(depth)]
    indices = positive(steps, node.inputs[1], np.array(indexed), wanted)
    scaled = steps.do("Mul", indices, steps.constant(steps_apart, kind), shape=wanted, kind=kind)
    axes = steps.integers([len(wanted) - 1])
    rows = steps.do("ReduceSum", scaled, axes, shape=line, kind=kind, keepdims=0)
    if batch:
        count = np.arange(int(np.prod(shape[:batch]))) * int(np.prod(indexed))
        starts = count.reshape(*shape[:batch], *[1] * (len(line) - batch))
        rows = steps.do("Add", rows, steps.constant(starts, kind), shape=line, kind=kind)
    return rows


def positive(
    steps: Steps,
    indices: str,
    sizes: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
    shape: Shape,
) -> str:
    """Count indices below zero from the end, as ONNX does."""
    kind = steps.graph.dtype(indices).type
    below = steps.do("Less", indices, steps.constant(0, kind), shape=shape, kind=np.bool_)
    raised = steps.do("Add", indices, steps.constant(sizes, kind), shape=shape, kind=kind)
    return steps.do("Where", below, raised, indices, shape=shape, kind=kind)


def _in_a_row(graph: Graph, node: Node) -> None:
    shape, indices = graph.shape(node.inputs[0]), graph.constants[node.inputs[1]]
    axis = node.int("axis", 0) % len(shape)
    steps = Steps(graph, node)
    rows = steps.integers(np.asarray(indices, np.int64).reshape(-1))
    made = (*shape[:axis], indices.size, *shape[axis + 1 :])
    picked = steps.do("Gather", node.inputs[0], rows, shape=made, axis=axis)
    steps.finish("Reshape", picked, steps.integers(graph.shape(node.output)))
