"""Faults of a part: of an output's channels, cells or border, or of one channel of a layer."""

from collections.abc import Sequence

import numpy as np
from planting import (
    Array,
    Fault,
    Healthy,
    Planted,
    alike,
    last_layer,
    layer,
    one,
    padded,
    scaled,
    sliced,
    width_of,
)

from edgeconv.export.graph import Graph, Node
from edgeconv.recipe import Recipe


def frozen_part(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A few channels of the last layer give their bias, whatever the picture."""
    node = _last(net, rng, 4)
    if node is None:
        return None
    width = width_of(net.graph, node)
    start, count = int(rng.integers(width)), int(rng.integers(1, max(2, width // 4)))

    def still(values: Array) -> Array:
        made = values.copy()
        made[start : start + count] = 0
        return made

    return scaled(net, node, still, lambda bias: bias)


def frozen_level(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """One of the branches that are joined into an output gives its bias, whatever the picture."""
    joins = [n for n in net.graph.of("Concat") if len(n.inputs) > 1]
    branch = one([name for node in joins for name in node.inputs], rng)
    node = None if branch is None else last_layer(net.graph, branch)
    return None if node is None else scaled(net, node, lambda w: w * 0, lambda b: b)


def lost_channel(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """One channel of a layer is zero."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) >= 8)
    if node is None:
        return None
    return _one_row(net, node, int(rng.integers(width_of(net.graph, node))))


def sunk_class(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """One class never fires: its bias lies below all that its weights give."""
    node = _last(net, rng, 3)
    if node is None:
        return None
    low, high = net.ranges.get(node.output, (-1.0, 1.0))
    row = int(rng.integers(width_of(net.graph, node)))

    def sunk(values: Array, own: Array | float = 1.0) -> Array:
        made = values.astype(np.float64)
        made[row] -= (high - low) / (own[row] if isinstance(own, np.ndarray) else own)
        return made.astype(values.dtype)

    recipe = net.recipe
    steps: Array | float = 1.0
    if recipe is not None and node.name in recipe.weights:
        steps = recipe.activations[node.inputs[0]].scale * recipe.weights[node.name].scales
    return scaled(net, node, lambda w: w, lambda b: sunk(b, steps if b.dtype == np.int32 else 1.0))


def swapped_coordinates(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The first four channels of the last layer are y, x, height and width."""
    node = _last(net, rng, 4)
    if node is None or 4 < width_of(net.graph, node) < 8:
        return None
    order = np.r_[[1, 0, 3, 2], 4 : width_of(net.graph, node)]
    return scaled(net, node, lambda w: w[order], lambda b: b[order], lambda s: s[order])


def shifted_boxes(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Two channels before an output count from the middle of a cell: a sixteenth of their range further."""
    output = str(one(net.graph.outputs, rng))
    low, high = net.ranges.get(output, (0.0, 0.0))
    shape = net.graph.shape(output)
    if len(shape) != 3 or min(shape[1:]) < 4 or net.graph.dtype(output) != np.float32:
        return None
    axis = 1 if shape[1] < shape[2] else 2
    moved = np.zeros([d if i == axis else 1 for i, d in enumerate(shape)], np.float32)
    moved.reshape(-1)[:2] = (high - low) / 16
    graph = net.graph.clone()
    recipe, before = _before(graph, net, output)
    shift = graph.add_constant("shift", moved)
    graph.nodes.append(Node("Add", graph.fresh("add"), [before, shift], [output]))
    return Planted(graph, recipe, output)


def lost_band(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The last of an output's cells or rows are zero: 1 to 4 % of them, one at least."""
    output = _mapped(net, rng)
    if output is None:
        return None
    shape = net.graph.shape(output)
    axis = int(np.argmax(shape))
    count = max(1, int(shape[axis] * rng.uniform(0.01, 0.04)))
    ends = [d - count * (i == axis) for i, d in enumerate(shape)]
    return _cut(net, output, [0] * len(shape), ends)


def lost_tile(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A sixteenth of a map is zero, all its channels."""
    output = _mapped(net, rng, 4)
    if output is None:
        return None
    shape = net.graph.shape(output)
    sides = [max(1, d // 4) for d in shape[2:]]
    first = [int(rng.integers(d - s + 1)) for d, s in zip(shape[2:], sides, strict=True)]
    starts = [0, 0, *first]
    ends = [*shape[:2], *(f + s for f, s in zip(first, sides, strict=True))]
    graph = net.graph.clone()
    recipe, before = _before(graph, net, output)
    tile = sliced(graph, before, starts, ends)
    filled = padded(graph, tile, starts, [d - e for d, e in zip(shape, ends, strict=True)], shape)
    for name in (tile, filled):
        recipe = alike(recipe, output, name)
    graph.nodes.append(Node("Sub", graph.fresh("sub"), [before, filled], [output]))
    return Planted(graph, recipe, output)


def lost_gate(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """What a sigmoid before an output was made of is taken for what it gives."""
    graph = net.graph.clone()
    node = one([n for n in graph.of("Sigmoid") if _near_output(graph, n.output)], rng)
    if node is None:
        return None
    shape = graph.add_constant("shape", np.array(graph.shape(node.output), np.int64))
    graph.nodes[graph.nodes.index(node)] = Node(
        "Reshape", graph.fresh("reshape"), [node.inputs[0], shape], [node.output]
    )
    return Planted(graph, net.recipe, node.name)


def mean_of_input(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """An output is the mean of the picture, everywhere."""
    output = _mapped(net, rng, 2)
    if output is None or len(net.graph.shape(net.graph.inputs[0])) != 4:
        return None
    graph = net.graph.clone()
    recipe, _ = _before(graph, net, output)
    picture, rank = graph.inputs[0], len(graph.shape(output))
    mean = graph.declare(graph.fresh("mean"), (1, 1, 1, 1), np.float32)
    one_each = graph.declare(graph.fresh("mean"), (1,) * rank, np.float32)
    zero = graph.add_constant("zero", np.zeros(graph.shape(output), np.float32))
    axes = graph.add_constant("axes", np.array([1, 2, 3], np.int64))
    shape = graph.add_constant("shape", np.ones(rank, np.int64))
    graph.nodes += [
        Node("ReduceMean", graph.fresh("reduce"), [picture, axes], [mean], {"keepdims": 1}),
        Node("Reshape", graph.fresh("reshape"), [mean, shape], [one_each]),
        Node("Add", graph.fresh("add"), [one_each, zero], [output]),
    ]
    return Planted(graph, recipe, output)


def copied_border(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The first or last row or column of a map is the one beside it."""
    output = _mapped(net, rng, 4)
    if output is None or min(net.graph.shape(output)[2:]) < 3:
        return None
    graph = net.graph.clone()
    shape = graph.shape(output)
    axis, first = int(rng.integers(2, 4)), bool(rng.integers(2))
    recipe, before = _before(graph, net, output)

    def part(start: int, end: int) -> str:
        starts, ends = [0] * 4, list(shape)
        starts[axis], ends[axis] = start, end
        return sliced(graph, before, starts, ends)

    size = shape[axis]
    parts = [part(1, 2), part(1, size)] if first else [part(0, size - 1), part(size - 2, size - 1)]
    for name in parts:
        recipe = alike(recipe, output, name)
    graph.nodes.append(Node("Concat", graph.fresh("join"), parts, [output], {"axis": axis}))
    return Planted(graph, recipe, f"{output}, axis {axis}")


def few_levels(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """An output keeps 12 to 24 levels of its range."""
    output = _mapped(net, rng, 2)
    low, high = net.ranges.get(output or "", (0.0, 0.0))
    if output is None or low == high:
        return None
    graph = net.graph.clone()
    recipe, before = _before(graph, net, output)
    step = np.array((high - low) / int(rng.integers(12, 25)), np.float32)
    sides = [graph.add_constant("step", side) for side in (1 / step, step)]
    for op, wanted, given in (
        ("Mul", [before, sides[0]], graph.fresh("steps")),
        ("Round", [], graph.fresh("rounded")),
        ("Mul", [sides[1]], output),
    ):
        inputs = wanted if before in wanted else [graph.nodes[-1].output, *wanted]
        if given != output:
            graph.declare(given, graph.shape(output), np.float32)
        graph.nodes.append(Node(op, graph.fresh("level"), inputs, [given]))
    return Planted(graph, recipe, output)


PART_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        frozen_part,
        frozen_level,
        lost_channel,
        sunk_class,
        swapped_coordinates,
        shifted_boxes,
        lost_band,
        lost_tile,
        lost_gate,
        mean_of_input,
        copied_border,
        few_levels,
    )
}


def _last(net: Healthy, rng: np.random.Generator, least: int) -> Node | None:
    """Return the last layer before one of the outputs, where it has ``least`` channels."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    return None if node is None or width_of(net.graph, node) < least else node


def _one_row(net: Healthy, node: Node, row: int) -> Planted:
    def without(values: Array) -> Array:
        made = values.copy()
        made[row] = 0
        return made

    return scaled(net, node, without, without)


def _mapped(net: Healthy, rng: np.random.Generator, rank: int = 3) -> str | None:
    """Return one of the outputs of real numbers with ``rank`` axes or more that a node makes for it alone."""
    graph = net.graph
    made, read = graph.producers(), graph.consumers()
    return one(
        [
            o
            for o in graph.outputs
            if o in made
            and o not in read
            and graph.dtype(o) == np.float32
            and len(graph.shape(o)) >= rank
            and max(graph.shape(o)[2 if rank == 4 else 1 :]) > 3
        ],
        rng,
    )


def _near_output(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is an output, or only moved and joined on its way to one."""
    if tensor in graph.outputs:
        return True
    moves = ("Reshape", "Transpose", "Concat", "Flatten")
    readers = graph.consumers().get(tensor, [])
    return any(n.op in moves and _near_output(graph, n.output) for n in readers)


def _before(graph: Graph, net: Healthy, output: str) -> tuple[Recipe | None, str]:
    """Give what makes ``output`` another name, which nothing reads yet."""
    node = graph.producers()[output]
    before = graph.declare(graph.fresh("before"), graph.shape(output), graph.dtype(output))
    node.outputs = [before if name == output else name for name in node.outputs]
    return alike(net.recipe, output, before), before


def _cut(net: Healthy, output: str, starts: Sequence[int], ends: Sequence[int]) -> Planted:
    """Leave of an output what lies between, and zero around it."""
    graph = net.graph.clone()
    shape = graph.shape(output)
    recipe, before = _before(graph, net, output)
    kept = sliced(graph, before, starts, ends)
    after = [d - e for d, e in zip(shape, ends, strict=True)]
    padded(graph, kept, starts, after, shape, output)
    return Planted(graph, alike(recipe, output, kept), output)
