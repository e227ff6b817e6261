"""Further faults of converters: axes, orders and rules that are taken for others; planted as those of faults.py are."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from planting import (
    Array,
    Fault,
    Healthy,
    Planted,
    alike,
    holding,
    last_layer,
    layer,
    one,
    scaled,
    width_of,
    zero_moved,
)

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.recipe import bias_integers


def swapped_pair(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Two channels of the last layer have each other's place."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    if node is None or width_of(net.graph, node) < 3:
        return None
    a, b = rng.choice(width_of(net.graph, node), 2, replace=False)

    def swapped(values: Array) -> Array:
        made = values.copy()
        made[[a, b]] = values[[b, a]]
        return made

    return scaled(net, node, swapped, swapped, swapped)


def shifted_classes(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The last layer's channels stand one place further, as where a class "background" is counted or not."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    if node is None or width_of(net.graph, node) < 3:
        return None

    def moved(values: Array) -> Array:
        return np.roll(values, 1, axis=0)

    return scaled(net, node, moved, moved, moved)


def lost_classes(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The second half of the last layer's channels are zero."""
    node = last_layer(net.graph, str(one(net.graph.outputs, rng)))
    if node is None or (width := width_of(net.graph, node)) < 4:
        return None

    def half(values: Array) -> Array:
        return np.concatenate([values[: width // 2], 0 * values[width // 2 :]])

    return scaled(net, node, half, half)


def moved_zero_point(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer takes another integer of its input for zero: 3 to 9 steps beside it."""
    return zero_moved(net, rng, (3, 10))


def other_sign(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer subtracts its bias."""
    node = layer(net.graph, rng, lambda n: len(n.inputs) > 2 and n.inputs[2] != "")
    return None if node is None else scaled(net, node, lambda w: w, lambda b: -b)


def flipped_kernel(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A kernel convolves where it should correlate: turned by 180 degrees."""
    node = layer(
        net.graph,
        rng,
        lambda n: len(s := net.graph.shape(n.inputs[1])) == 4 and max(s[2:]) > 1,
    )
    return None if node is None else scaled(net, node, lambda w: w[:, :, ::-1, ::-1], lambda b: b)


def turned_picture(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The picture's rows are its columns."""
    return _at_input(net, rng, [0, 1, 3, 2], lambda shape: shape[2] == shape[3])


def other_colours(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The first layer reads red for blue."""
    readers = net.graph.consumers()
    for name in net.graph.inputs:
        for node in readers.get(name, []):
            weights = net.graph.constants.get(node.inputs[1]) if node.op == "Conv" else None
            if weights is not None and weights.shape[1] == 3:
                return scaled(net, node, lambda w: w[:, ::-1], lambda b: b)
    return None


def channels_last(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The picture's numbers are taken as (height, width, colours), which they are not."""
    return _at_input(net, rng, [0, 3, 1, 2], lambda shape: shape[1] > 1, reshaped=True)


def lost_transpose(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Numbers get another shape where their axes should change places."""
    graph = net.graph.clone()

    def moves(node: Node) -> bool:
        shape, perm = graph.shape(node.inputs[0]), node.ints("perm", [])
        order = [axis for axis in perm if shape[axis] > 1]
        return order != sorted(order)

    return _lost(net, graph, one([n for n in graph.of("Transpose") if moves(n)], rng))


def lost_softmax(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """What a softmax was made of is taken for what it gives."""
    graph = net.graph.clone()
    return _lost(net, graph, one(list(graph.of("Softmax")), rng))


def other_axis(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A softmax goes along another axis."""
    graph = net.graph.clone()
    found = [n for n in graph.of("Softmax") if sum(d > 1 for d in graph.shape(n.output)) > 1]
    node = one(found, rng)
    if node is None:
        return None
    shape = graph.shape(node.output)
    own = node.int("axis", -1) % len(shape)
    node.attrs["axis"] = int(rng.choice([a for a, d in enumerate(shape) if d > 1 and a != own]))
    return Planted(graph, net.recipe, node.name)


def other_corners(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A picture grows by the same rule from other corners."""
    graph = net.graph.clone()
    found = [n for n in graph.of("Resize") if n.str("mode", "nearest") == "linear"]
    node = one(found, rng)
    if node is None:
        return None
    rule = "coordinate_transformation_mode"
    others = {"half_pixel", "align_corners", "asymmetric"} - {node.str(rule, "half_pixel")}
    node.attrs[rule] = str(rng.choice(sorted(others)))
    return Planted(graph, net.recipe, node.name)


def other_pool(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """The largest of a window is its mean."""
    graph = net.graph.clone()
    node = one(list(graph.of("MaxPool")), rng)
    if node is None:
        return None
    node.op = "AveragePool"
    return Planted(graph, net.recipe, node.name)


def other_join(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Two branches of one shape are joined in the other order."""
    graph = net.graph.clone()

    def fits(node: Node) -> bool:
        first, second = graph.shape(node.inputs[0]), graph.shape(node.inputs[-1])
        return first == second and node.inputs[0] != node.inputs[-1]

    found = [n for n in graph.of("Concat", "Sub", "Div") if len(n.inputs) == 2 and fits(n)]
    node = one(found, rng)
    if node is None:
        return None
    node.inputs = node.inputs[::-1]
    return Planted(graph, net.recipe, node.name)


def other_weights(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer computes with weights and bias of another layer of the same shape."""
    graph, recipe = net.graph.clone(), net.recipe

    def alike_in_shape(a: Node, b: Node) -> bool:
        shapes = ([graph.shape(name) for name in node.inputs[1:]] for node in (a, b))
        return a is not b and a.op == b.op and next(shapes) == next(shapes)

    layers = [n for n in graph.of(*WEIGHTED) if len(n.inputs) == 3]
    pair = one([(a, b) for a in layers for b in layers if alike_in_shape(a, b)], rng)
    if pair is None:
        return None
    node, other = pair
    node.inputs = [node.inputs[0], *other.inputs[1:]]
    if recipe is not None and node.name in recipe.weights and other.name in recipe.weights:
        taken = recipe.weights[other.name]
        step = recipe.activations[node.inputs[0]].scale
        recipe = holding(recipe, node.name, replace(taken, bias=bias_integers(taken, step)))
    return Planted(graph, recipe, f"{node.name}, {other.name}")


def other_gate(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A sigmoid is cut into three straight pieces."""
    graph = net.graph.clone()
    node = one(list(graph.of("Sigmoid")), rng)
    if node is None:
        return None
    node.op, node.attrs = "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}
    return Planted(graph, net.recipe, node.name)


ORDER_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        swapped_pair,
        shifted_classes,
        lost_classes,
        moved_zero_point,
        other_sign,
        flipped_kernel,
        turned_picture,
        other_colours,
        channels_last,
        lost_transpose,
        lost_softmax,
        other_axis,
        other_corners,
        other_pool,
        other_join,
        other_weights,
        other_gate,
    )
}


def _at_input(
    net: Healthy,
    rng: np.random.Generator,
    perm: Sequence[int],
    fits: Callable[[tuple[int, ...]], bool],
    *,
    reshaped: bool = False,
) -> Planted | None:
    """Turn the axes of a picture that the net is fed; ``reshaped``: its numbers are in that order already."""
    graph = net.graph.clone()
    pictures = [n for n in graph.inputs if len(s := graph.shape(n)) == 4 and fits(s)]
    name = one(pictures, rng)
    if name is None:
        return None
    shape, dtype = graph.shape(name), graph.dtype(name)
    turned = graph.declare(graph.fresh("turned"), shape, dtype)
    for node in graph.nodes:
        node.inputs = [turned if tensor == name else tensor for tensor in node.inputs]
    recipe, source = alike(net.recipe, name, turned), name
    nodes = []
    if reshaped:
        source = graph.declare(graph.fresh("taken"), tuple(shape[i] for i in (0, 2, 3, 1)), dtype)
        nodes.append(_reshape(graph, name, source))
        recipe = alike(recipe, name, source)
    turn = Node("Transpose", graph.fresh("turn"), [source], [turned], {"perm": list(perm)})
    graph.nodes[:0] = [*nodes, turn]
    return Planted(graph, recipe, name)


def _lost(net: Healthy, graph: Graph, node: Node | None) -> Planted | None:
    """Pass on what ``node`` reads, in the shape of what it makes."""
    if node is None:
        return None
    graph.nodes[graph.nodes.index(node)] = _reshape(graph, node.inputs[0], node.output)
    return Planted(graph, net.recipe, node.name)


def _reshape(graph: Graph, source: str, made: str) -> Node:
    shape = graph.add_constant("shape", np.array(graph.shape(made), np.int64))
    return Node("Reshape", graph.fresh("reshape"), [source, shape], [made])
