"""Keep tokens in the order in which they come, through layers that see one token at a time.

Given:   x -> Transpose(rows into windows) -> LayerNormalization, Gemm, Add, ... -> Transpose(heads
         apart) -> ... -> Transpose(heads together) -> Gemm, Add, ... -> Transpose(windows into rows) -> y
Result:  the layers compute on the rows as x has them; the two Transposes around the attention do both

A layer that sees one row at a time gives the same rows in any order, so that an order that only moves
rows can be left to whoever reads them. What only moves data itself does it along the way; constants with
a value a row (embeddings of positions) are stored in the other order.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS, Is
from edgeconv.export.tflite.movement import MOST, Movement, Step, movement, steps_of
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.export.tflite.row_regions import Order, Region, order_of, region_around
from edgeconv.recipe import Recipe


def carry_rows(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with every order carried that makes the whole move less; ``cost`` says how much it moves."""
    least: int | None = None
    for name in [node.name for node in graph.of("Transpose")]:
        for onwards in (True, False):
            begin = next((node for node in graph.of("Transpose") if node.name == name), None)
            if begin is None or order_of(graph, begin) is None:
                break
            least = cost(graph) if least is None else least
            trial = Reorder.of(graph, recipe)
            begin = next(node for node in trial.graph.nodes if node.name == name)
            if _carried(trial, begin, onwards) and (found := cost(trial.graph)) < least:
                least, (graph, recipe) = found, trial.result()
    return _picked_in_place(graph, recipe)


def _picked_in_place(graph: Graph, recipe: Recipe | None) -> tuple[Graph, Recipe | None]:
    """Return both without Transposes that only bring an axis to where readers pick from it."""
    moved, changed = Reorder.of(graph, recipe), False
    for node in moved.graph.of("Transpose"):
        if node.clamp is None:
            changed |= _picked_elsewhere(moved, node, steps_of(moved.graph, node), 0)
    if not changed:
        return graph, recipe
    moved.graph.sort()
    moved.graph.prune()
    return moved.result()


def _carried(moved: Reorder, begin: Node, onwards: bool) -> bool:
    """Carry the order of one Transpose in place, to the layers behind or before it, and say whether there are any."""
    order = order_of(moved.graph, begin)
    if order is None:
        return False
    start, order = (begin.output, order) if onwards else (begin.inputs[0], order.inverse)
    region = region_around(moved.graph, begin, start, order)
    if not any(node.op != "Reshape" for node in region.inside.values()):
        return False
    _rewrite(moved, region)
    moved.graph.sort()
    moved.graph.prune()
    return True


def _rewrite(moved: Reorder, region: Region) -> None:
    graph, order = moved.graph, region.order
    names = {name: like(moved, name, graph.shape(name)) for name in sorted(region.tensors)}
    for node in region.inside.values():
        _reorder_constants(moved, node, order)
    composed = [node for node in region.moves.values() if _compose(moved, node, region)]
    for node in (*region.inside.values(), *composed):
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
    for name in sorted(region.leave | region.enter):
        inwards = name in region.enter  # its maker gives it as it was: so others may read it
        first, second = (name, names[name]) if inwards else (names[name], name)
        width = graph.shape(name)[-1]
        steps = order.back(width) if inwards else order.there(width)
        node = Node("Transpose", graph.fresh(f"{name}_in_order"), [first], [second])
        graph.nodes.append(node)
        make_move(graph, node, movement(graph.shape(first), steps))


def _reorder_constants(moved: Reorder, node: Node, order: Order) -> None:
    graph, row = moved.graph, TRAITS.get(node.op)
    if row is None or Is.BROADCASTS not in row.true or node.op == "MatMul":
        return
    out = graph.shape(node.output)
    for index, name in enumerate(node.inputs):
        value = graph.constants.get(name)
        if value is None or prod(((1,) * (len(out) - value.ndim) + value.shape)[:-1]) == 1:
            continue
        width = value.shape[-1]
        whole = np.broadcast_to(value, (*out[:-1], width))
        for step in order.back(width):
            shaped = step.kind == "shape"
            whole = whole.reshape(step.values) if shaped else whole.transpose(step.values)
        whole = np.ascontiguousarray(whole.reshape(*out[:-1], width))
        made = graph.add_constant(f"{name}_rows", whole)
        if name in moved.activations:
            moved.activations[made] = moved.activations[name]
        node.inputs[index] = made


def _compose(moved: Reorder, node: Node, region: Region) -> bool:
    """Let a node that moves data read or make the rows as they come; where it cannot, borders do."""
    graph, source, target = moved.graph, node.inputs[0], node.output
    read, made = graph.shape(source), graph.shape(target)
    steps = [*steps_of(graph, node)]
    if source in region.tensors:
        steps = [*region.order.there(read[-1]), Step("shape", read), *steps]
    if target in region.tensors:
        steps += region.order.back(made[-1])
    found = movement(read, steps)
    if found is not None and len(found.sizes) <= MOST:
        make_move(graph, node, found)
        return True
    if target not in region.tensors and _picked_elsewhere(moved, node, steps, MOST):
        return True
    region.leave |= {source} & region.tensors
    region.enter |= {target} & region.tensors
    return False


def _picked_elsewhere(moved: Reorder, node: Node, steps: Sequence[Step], most: int) -> bool:
    """Put the axis along which readers pick single parts where the node moves fewer axes: q, k and v.

    Says whether the node then does all of ``steps``, moving at most ``most`` axes.
    """
    graph, made = moved.graph, node.output
    shape, readers = graph.shape(made), graph.consumers().get(made, [])
    axes = {picked_axis(graph, reader) for reader in readers}
    if len(axes) != 1 or made in graph.outputs or (axis := axes.pop()) is None:
        return False
    tried = []
    for place in range(len(shape)):
        perm = [other for other in range(len(shape)) if other != axis]
        perm.insert(place, axis)
        found = movement(graph.shape(node.inputs[0]), [*steps, Step("perm", tuple(perm))])
        if found is not None and len(found.sizes) <= most:
            tried.append((len(found.sizes), place, perm, found))
    if not tried:
        return False
    _, place, perm, found = min(tried)
    node.outputs[0] = like(moved, made, [shape[other] for other in perm])
    for reader in readers:
        reader.inputs[0] = node.outputs[0]
        reader.attrs["axis"] = place
        for index, part in enumerate(reader.outputs if reader.op == "Split" else []):
            kept = graph.shape(part)
            reader.outputs[index] = like(moved, part, [kept[other] for other in perm])
            size = graph.add_constant(f"{part}_shape", np.array(kept, np.int64))
            same = Node(
                "Reshape", graph.fresh(f"{part}_same"), [reader.outputs[index], size], [part]
            )
            graph.nodes.append(same)
    make_move(graph, node, found)
    return True


def picked_axis(graph: Graph, node: Node) -> int | None:
    """Return the axis along which a node takes one value each of its first input."""
    if node.op not in ("Gather", "Split"):
        return None
    axis = node.int("axis", 0) % len(graph.shape(node.inputs[0]))
    if node.op == "Split":
        parts = [graph.shape(part) for part in node.outputs if part]
        return axis if all(shape[axis] == 1 for shape in parts) else None
    number = graph.constant(node, 1)
    return axis if number is not None and number.ndim == 0 else None


def like(moved: Reorder, name: str, shape: Sequence[int]) -> str:
    """Declare a tensor of the values of ``name`` under another name, which nobody compares."""
    graph = moved.graph
    made = graph.declare(graph.fresh(f"{name}_moved"), shape, graph.dtype(name))
    if name in moved.activations:
        moved.activations[made] = moved.activations[name]
    return made


def make_move(graph: Graph, node: Node, found: Movement | None) -> None:
    """Make a node do ``found``."""
    assert found is not None
    if found.sizes:
        node.op = "Transpose"
        node.inputs = node.inputs[:1]
        node.attrs = {"sizes": list(found.sizes), "perm": list(found.perm)}
    else:
        shape = np.array(graph.shape(node.output), np.int64)
        node.op, node.attrs = "Reshape", {}
        node.inputs = [node.inputs[0], graph.add_constant(f"{node.name}.shape", shape)]
