"""Faults of files that are nearly right: another checkpoint, numbers one place further, ranges that end too early."""

from dataclasses import replace

import numpy as np
from planting import (
    Array,
    Fault,
    Healthy,
    Planted,
    alike,
    inner,
    layer,
    one,
    scaled,
    width_of,
    zero_moved,
)

from edgeconv.export.graph import Node
from edgeconv.export.op_traits import WEIGHTED

STALE = 0.15
"""What weights have moved since an earlier checkpoint, in standard deviations of their layer."""


def shifted_weights(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer's weights stand one channel further; its bias and its scales stay."""
    node = layer(net.graph, rng, lambda n: width_of(net.graph, n) > 1)
    return None if node is None else scaled(net, node, lambda w: np.roll(w, 1, 0), lambda b: b)


def shifted_inputs(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer reads every channel one place further."""

    def fits(node: Node) -> bool:
        shape = net.graph.shape(node.inputs[1])
        return node.op != "ConvTranspose" and len(shape) > 1 and shape[1] > 1

    node = layer(net.graph, rng, fits)
    return None if node is None else scaled(net, node, lambda w: np.roll(w, 1, 1), lambda b: b)


def stale_checkpoint(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every layer has the weights of an earlier checkpoint, in the ranges of the later one."""

    def earlier(weights: Array) -> Array:
        moved = weights + STALE * float(weights.std()) * rng.normal(size=weights.shape)
        return np.clip(np.rint(moved), -127, 127) if weights.dtype == np.int8 else moved

    made = net
    for node in net.graph.of(*WEIGHTED):
        if node.inputs[1] in net.graph.constants:
            changed = scaled(made, node, earlier, lambda b: b)
            made = replace(made, graph=changed.graph, recipe=changed.recipe)
    return None if made is net else Planted(made.graph, made.recipe, "all layers")


def rotated_scales(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Every channel of a layer is read by its neighbour's scale."""
    recipe = net.recipe
    if recipe is None:
        return None
    node = layer(net.graph, rng, lambda n: n.name in recipe.weights and width_of(net.graph, n) > 1)
    if node is None:
        return None
    return scaled(net, node, lambda w: w, lambda b: b, lambda s: np.roll(s, 1))


def zero_near(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A layer takes another integer of its input for zero: 1 to 3 steps beside it."""
    return zero_moved(net, rng, (1, 4))


def half_range(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A tensor ends in the middle of its range: integers are cut at 127 where 255 was meant."""
    tensor = one([t for t in inner(net) if net.ranges[t][1] > net.ranges[t][0]], rng)
    if tensor is None:
        return None
    graph = net.graph.clone()
    low, high = net.ranges[tensor]
    made = graph.producers()[tensor]
    whole = graph.declare(graph.fresh("whole"), graph.shape(tensor), graph.dtype(tensor))
    made.outputs = [whole if name == tensor else name for name in made.outputs]
    middle = low + (high - low) * 127 / 255
    bounds = [graph.add_constant("bound", np.array(v, np.float32)) for v in (low, middle)]
    cut = Node("Clip", graph.fresh("cut"), [whole, *bounds], [tensor])
    graph.nodes.insert(graph.nodes.index(made) + 1, cut)
    return Planted(graph, alike(net.recipe, tensor, whole), tensor)


def open_ceiling(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """A ReLU6 is a ReLU."""
    graph = net.graph.clone()
    node = one([n for n in graph.of("Clip") if n.output not in graph.outputs], rng)
    if node is None:
        return None
    node.op, node.inputs = "Relu", node.inputs[:1]
    return Planted(graph, net.recipe, node.name)


def exchanged_rows(net: Healthy, rng: np.random.Generator) -> Planted | None:
    """Two samples of a batch have each other's place in one output."""
    graph = net.graph.clone()
    made, read = graph.producers(), graph.consumers()
    batched = [
        o for o in graph.outputs if o in made and o not in read and 1 < graph.shape(o)[0] <= 16
    ]
    output = one(batched, rng)
    if output is None:
        return None
    before = graph.declare(graph.fresh("before"), graph.shape(output), graph.dtype(output))
    node = made[output]
    node.outputs = [before if name == output else name for name in node.outputs]
    order = np.arange(graph.shape(output)[0], dtype=np.int64)
    order[:2] = 1, 0
    rows = graph.add_constant("rows", order)
    graph.nodes.append(
        Node("Gather", graph.fresh("exchange"), [before, rows], [output], {"axis": 0})
    )
    return Planted(graph, alike(net.recipe, output, before), output)


NEAR_FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        shifted_weights,
        shifted_inputs,
        stale_checkpoint,
        rotated_scales,
        zero_near,
        half_range,
        open_ceiling,
        exchanged_rows,
    )
}
