"""Where the channels of a tensor lie in an INT8 ONNX file that was padded for speed.

The export's rewrites are run once more on the evidence, with every layer's bias replaced by the
numbers of its channels: what comes out says which channel went where, 0 being an added one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.artifact import Artifact
from edgeconv.parity.layers.evidence import emitted_graph

if TYPE_CHECKING:
    from edgeconv.export.graph import Graph, Node

Order = NDArray[np.intp]
"""For each channel of the file the reference's channel, -1 for an added one."""


def channel_orders(artifact: Artifact) -> dict[str, Order]:
    """Return the order of every tensor that has more channels in the file than in the graph.

    The manifest says which rewrites the file went through; callers compare shapes before they use it.
    """
    from edgeconv.export.rewrites.table import applied, rewrite
    from edgeconv.recipe import load_recipe

    graph = emitted_graph(artifact)
    recipe = load_recipe(artifact.evidence("recipe.json"))
    numbered = {
        name: replace(w, bias=np.arange(1, len(w.bias) + 1, dtype=np.int32))
        for name, w in recipe.weights.items()
    }
    done = applied(artifact.manifest.get("graph", {}).get("rewrites", ()))
    wanted = replace(done, fold_pixels=False)  # which moves no channel of a tensor that has a name
    changed, integers, _ = rewrite(graph, replace(recipe, weights=numbered), wanted)
    shuffles = {node.output: node.int("groups", 1) for node in graph.of("ChannelShuffle")}
    orders: dict[str, Order] = {}
    for node in changed.nodes:
        order = _order(changed, node, integers.weights, orders)
        if order is None:
            continue
        if node.op == "Conv" and node.output in shuffles:  # the shuffle is folded into the layer
            order = _shuffled(order, shuffles[node.output])
        if graph.shapes.get(node.output, ())[1:2] == (len(order),):  # nothing was added
            order = np.arange(len(order))
        orders[node.output] = order
    return {
        tensor: order
        for tensor, order in orders.items()
        if tensor in graph.shapes
        and len(order) == changed.shape(tensor)[1] > graph.shape(tensor)[1]
    }


def _order(
    graph: "Graph", node: "Node", weights: Mapping[str, Any], known: Mapping[str, Order]
) -> Order | None:
    """Return the order of a node's output from its layer's numbers or from its inputs."""
    shape = graph.shape(node.output)
    if len(shape) < 2:
        return None
    if node.name in weights:
        return np.asarray(weights[node.name].bias, np.intp) - 1
    if node.op == "Concat" and node.int("axis", 1) == 1:
        parts, start = [], 0
        for name in node.inputs:
            width = graph.shape(name)[1]
            part = known.get(name, np.arange(width))
            parts.append(np.where(part < 0, -1, part + start))
            start += int((part >= 0).sum())
        return np.concatenate(parts)
    same = [n for n in node.inputs if n in known and len(known[n]) == shape[1]]
    return known[same[0]] if same and node.op not in ("Reshape", "ChannelShuffle") else None


def _shuffled(order: Order, groups: int) -> Order:
    """Return ``order`` of a shuffle's input as the order of its output."""
    from edgeconv.export.passes.find_shuffles import shuffle_order

    count = int((order >= 0).sum())
    place = np.empty(count, np.intp)
    place[shuffle_order(count, groups)] = np.arange(count)
    return np.where(order < 0, -1, place[np.maximum(order, 0)])
