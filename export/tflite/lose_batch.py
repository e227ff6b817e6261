"""See batches of matrices without their leading axis of 1, so that they may be stored turned.

    Given:   x (1, C, H, W) -> Reshape (1, heads, width, places) -> Split -> q, k, v -> products, Softmax -> Reshape
    Result:  the same on (heads, width, places), of which the other layout is (heads, places, width)

A picture channels last has places first: turned matrices of such are one TRANSPOSE where others are three, one for
each side of a product that is the other way round.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import TRAITS, Is
from edgeconv.export.tflite.carry_rows import like
from edgeconv.export.tflite.join_moves import join_moves
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.export.tflite.row_regions import ONE_BY_ONE
from edgeconv.recipe import Recipe

RANK = 4
ALONG_AN_AXIS = ("Concat", "LogSoftmax", "Softmax", "Split")


@dataclass(frozen=True)
class _Region:
    """Tensors of one list of matrices each, and the nodes between them."""

    tensors: set[str] = field(default_factory=set)
    inside: dict[str, Node] = field(default_factory=dict)


def lose_batch(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe without that axis wherever ``cost``, of moving, is less for it."""
    least, seen = None, set[str]()
    for start in [node.output for node in graph.of("MatMul")]:
        if start in seen or (region := _region_around(graph, start)) is None:
            continue
        seen |= region.tensors
        least = cost(graph) if least is None else least
        trial = Reorder.of(graph, recipe)
        _lose(trial, region)
        made, held = trial.result()
        made = join_moves(made, held)
        if (found := cost(made)) < least:
            least, graph, recipe = found, made, held
    return graph, recipe


def _region_around(graph: Graph, start: str) -> _Region | None:
    if not _single(graph, start):
        return None
    makers, readers = graph.producers(), graph.consumers()
    region, waiting = _Region(), [start]
    while waiting:
        name = waiting.pop()
        if name in region.tensors:
            continue
        region.tensors.add(name)
        for node in (*([makers[name]] if name in makers else []), *readers.get(name, [])):
            if _keeps(graph, node):
                region.inside[node.name] = node
                waiting += [n for n in _data(graph, node) if n not in graph.constants]
    return region


def _single(graph: Graph, name: str) -> bool:
    shape = graph.shape(name)
    return len(shape) == RANK and shape[0] == 1


def _data(graph: Graph, node: Node) -> list[str]:
    """Return the tensors of a node that have the axis, or would: what says how to cut is none."""
    read = node.inputs[:1] if node.op in ("Slice", "Split") else node.inputs
    return [*(name for name in read if name), *(name for name in node.outputs if name)]


def _keeps(graph: Graph, node: Node) -> bool:
    """Say whether a node does the same without the leading axis of what it reads and makes."""
    row, data = TRAITS.get(node.op), _data(graph, node)
    computed = [name for name in data if name not in graph.constants]
    if not all(_single(graph, name) for name in computed):
        return False
    if node.op in ALONG_AN_AXIS:
        return node.int("axis", -1) % RANK > 0
    if node.op == "Transpose":
        return "sizes" not in node.attrs and node.ints("perm", [1])[0] == 0
    if node.op == "Slice":
        axes = graph.constant(node, 3) if len(node.inputs) > 3 else None
        return axes is not None and axes.size == 1 and int(axes.reshape(-1)[0]) % RANK > 0
    if node.op == "MatMul":
        return len(computed) == len(data)
    broadcasts = row is not None and Is.BROADCASTS in row.true
    return (broadcasts or node.op in ONE_BY_ONE) and "kernel_shape" not in node.attrs


def _lose(moved: Reorder, region: _Region) -> None:
    graph = moved.graph
    makers, readers = graph.producers(), graph.consumers()
    names = {name: like(moved, name, graph.shape(name)[1:]) for name in sorted(region.tensors)}
    for name, made in names.items():
        maker = makers.get(name)
        if maker is None or maker.name not in region.inside:
            _see(graph, name, made)
        outside = [r for r in readers.get(name, []) if r.name not in region.inside]
        if (outside and (maker is None or maker.name in region.inside)) or (
            name in graph.outputs and maker is not None and maker.name in region.inside
        ):
            _see(graph, made, name)
    for node in graph.nodes:
        if node.name not in region.inside:
            continue
        _renumber(moved, node)
        node.inputs = [names.get(name, name) for name in node.inputs]
        node.outputs = [names.get(name, name) for name in node.outputs]
    graph.sort()
    graph.prune()


def _see(graph: Graph, source: str, target: str) -> None:
    """Make ``target`` the values of ``source`` under its own shape."""
    shape = graph.add_constant(f"{target}.shape", np.array(graph.shape(target), np.int64))
    graph.nodes.append(Node("Reshape", graph.fresh(f"{target}_seen"), [source, shape], [target]))


def _renumber(moved: Reorder, node: Node) -> None:
    """Let a node mean the same axes where the first is gone."""
    graph = moved.graph
    if node.op in ALONG_AN_AXIS:
        node.attrs["axis"] = node.int("axis", -1) % RANK - 1
    elif node.op == "Transpose":
        node.attrs["perm"] = [axis - 1 for axis in node.ints("perm", ())[1:]]
    elif node.op == "Slice":
        axis = int(graph.constants[node.inputs[3]].reshape(-1)[0]) % RANK - 1
        node.inputs[3] = graph.add_constant(f"{node.name}_axis", np.array([axis], np.int64))
    else:
        for index, name in enumerate(node.inputs):
            value = graph.constants.get(name)
            if value is not None and value.ndim == RANK:
                made = graph.add_constant(f"{name}_single", value[0])
                if name in moved.activations:
                    moved.activations[made] = moved.activations[name]
                node.inputs[index] = made
