"""Cut a part off a picture before it is turned, for those who want it as the picture has it.

    Given:   x (1, C, H, W) -> Reshape (1, heads, width, places) -> Split -> v -> Reshape (1, c, H, W), v read elsewhere too
    Result:  x -> Reshape (places, heads, width) -> Slice -> Reshape (1, c, H, W) beside v, where channels lie last

Values of an attention that a convolution reads as well are such (the positional encoding of YOLO's).
"""

from collections.abc import Callable

import numpy as np

from edgeconv.export.graph import Array, Graph, Node
from edgeconv.export.tflite.carry_rows import like
from edgeconv.export.tflite.layout import LAST, order
from edgeconv.export.tflite.reorder import Reorder
from edgeconv.recipe import Recipe

MOVES = ("Reshape", "Transpose")
PICTURE = 4


def cut_first(
    graph: Graph, recipe: Recipe | None, cost: Callable[[Graph], int]
) -> tuple[Graph, Recipe | None]:
    """Return graph and recipe with such parts cut off first wherever ``cost``, of moving, is less for it."""
    least: int | None = None
    for target in [node.output for node in graph.of(*MOVES)]:
        found = _path(graph, recipe, target)
        if found is None:
            continue
        least = cost(graph) if least is None else least
        trial = Reorder.of(graph, recipe)
        _cut(trial, target, *found)
        if (moved := cost(trial.graph)) < least:
            least, (graph, recipe) = moved, trial.result()
    return graph, recipe


_Cut = tuple[int, int, int, int]
"""Of a picture as it is stored: rows, how long they are, where in each the part begins and how long it is."""


def _path(graph: Graph, recipe: Recipe | None, target: str) -> tuple[str, _Cut] | None:
    """Return the picture that a picture is a part of, and the part; None where it is none of an even cut."""
    nodes, makers = list[Node](), graph.producers()
    name, cuts = target, 0
    while (node := makers.get(name)) is not None and (
        node.op in MOVES or node.op in ("Slice", "Split")
    ):
        if node.clamp is not None or (nodes and node.op in MOVES and name in graph.outputs):
            return None
        nodes.append(node)
        cuts += node.op in ("Slice", "Split")
        name = node.inputs[0]
    if (
        cuts != 1
        or name in graph.constants
        or len({len(graph.shape(n)) for n in (name, target)} | {PICTURE}) > 1
    ):
        return None
    if nodes[0].op not in MOVES or nodes[-1].op not in MOVES:
        return None
    if recipe is not None:
        tensors = [name, *(node.inputs[0] for node in nodes), target]
        floats = {node.name in recipe.float_nodes for node in nodes}
        if len({recipe.activations.get(n) for n in tensors}) > 1 or len(floats) > 1:
            return None
    places = _places(graph, name, nodes[::-1], target)
    if places is None:
        return None
    cut = _even(places, int(np.prod(graph.shape(name))))
    return None if cut is None else (name, cut)


def _places(graph: Graph, source: str, nodes: list[Node], target: str) -> Array | None:
    """Return where in the stored source each stored value of the target lies."""
    n, c, *size = graph.shape(source)
    held = np.arange(n * c * int(np.prod(size))).reshape(n, *size, c)
    values = held.transpose(0, PICTURE - 1, *range(1, PICTURE - 1))
    reached = [*(node.inputs[0] for node in nodes[1:]), target]
    for node, made in zip(nodes, reached, strict=True):
        if node.op == "Slice":
            taken = _slices(graph, node)
            if taken is None:
                return None
            values = values[taken]
        elif node.op == "Split":
            axis = node.int("axis", 0)
            sizes = [graph.shape(part)[axis] for part in node.outputs]
            values = np.split(values, np.cumsum(sizes)[:-1], axis)[node.outputs.index(made)]
        elif node.op == "Transpose":
            sizes = node.ints("sizes", values.shape)
            values = values.reshape(sizes).transpose(node.ints("perm", range(len(sizes))[::-1]))
        values = values.reshape(graph.shape(made))
    return values.transpose(order(LAST, PICTURE)).ravel()


def _slices(graph: Graph, node: Node) -> tuple[slice, ...] | None:
    numbers = [graph.constant(node, index) for index in range(1, len(node.inputs))]
    if len(numbers) < 3 or any(number is None for number in numbers):
        return None
    starts, ends, axes, *steps = (np.ravel(number) for number in numbers if number is not None)
    taken = [slice(None)] * len(graph.shape(node.inputs[0]))
    for index, axis in enumerate(axes):
        step = int(steps[0][index]) if steps else 1
        if step < 1:
            return None
        taken[int(axis)] = slice(int(starts[index]), int(ends[index]), step)
    return tuple(taken)


def _even(places: Array, size: int) -> _Cut | None:
    """Return the cut whose values lie at ``places`` in their order; None where there is none."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    if not len(breaks):
        return None
    run, period = int(breaks[0]), int(places[breaks[0]] - places[0])
    if run == 0 or period <= run or size % period or len(places) != size // period * run:
        return None
    first = int(places[0])
    wanted = np.arange(size).reshape(-1, period)[:, first : first + run].ravel()
    if first + run > period or not np.array_equal(wanted, places):
        return None
    return size // period, period, first, run


def _cut(moved: Reorder, target: str, source: str, cut: _Cut) -> None:
    graph, (rows, length, first, run) = moved.graph, cut
    n, c, *size = graph.shape(source)
    channels, *after = graph.shape(target)[1:]
    steps: list[tuple[str, tuple[int, ...]]] = [
        ("Transpose", (n, *size, c)),
        ("Reshape", (rows, length)),
        ("Slice", (rows, run)),
        ("Reshape", (n, *after, channels)),
    ]
    graph.nodes.remove(graph.producers()[target])
    name = source
    for op, shape in steps:
        made = like(moved, target, shape)
        node = Node(op, graph.fresh(f"{made}_{op}"), [name], [made])
        if op == "Transpose":
            node.attrs["perm"] = list(order(LAST, PICTURE))
        elif op == "Reshape":
            node.inputs.append(graph.add_constant(f"{made}.shape", np.array(shape, np.int64)))
        else:
            numbers = {"first": first, "last": first + run, "axis": 1}
            node.inputs += [
                graph.add_constant(f"{made}.{what}", np.array([value], np.int64))
                for what, value in numbers.items()
            ]
        graph.nodes.append(node)
        name = made
    back = [int(axis) for axis in np.argsort(order(LAST, PICTURE))]
    graph.nodes.append(
        Node("Transpose", graph.fresh(f"{name}_back"), [name], [target], {"perm": back})
    )
    graph.sort()
    graph.prune()
