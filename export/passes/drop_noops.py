"""Remove nodes that hand their input on unchanged.

Given:   x -> Identity | Dropout | Slice(all) | Reshape(same shape) | Tile(1) | Pad(0) | Concat(one) |
         ReduceMean(no axis) | Max(x, -inf) | Min(x, inf) -> y
Result:  x read directly where y was; a Dropout or a Cast between an input and an output is an Identity
"""

import numpy as np

from edgeconv.export.graph import Graph, Node

NO_AXES_NO_CHANGE = frozenset(["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"])


def drop_noops(graph: Graph) -> bool:
    """Apply the rewrite to every match."""
    changed = _drop_neutral(graph)
    for node in list(graph.nodes):
        if node.inputs and is_noop(graph, node) and _can_merge(graph, node):
            source = node.inputs[0]
            graph.nodes.remove(node)
            graph.redirect(node.output, source)
            changed = True
        elif (
            node.op in ("Cast", "Dropout")
            and is_noop(graph, node)
            and not _reads_others(graph, node)
        ):
            node.op, node.inputs, node.outputs, node.attrs = (
                "Identity",
                node.inputs[:1],
                node.outputs[:1],
                {},
            )
            changed = True
    return changed


def _drop_neutral(graph: Graph) -> bool:
    """Take the infinities that change nothing from the inputs of Max and Min."""
    changed = False
    for node in graph.of("Max", "Min"):
        neutral = -np.inf if node.op == "Max" else np.inf
        kept = [name for name in node.inputs if not _is_all(graph, name, neutral)]
        shapes = [graph.shape(name) for name in kept]
        fewer = 0 < len(kept) < len(node.inputs)
        if fewer and np.broadcast_shapes(*shapes) == graph.shape(node.output):
            node.inputs, changed = kept, True
    return changed


def _is_all(graph: Graph, name: str, value: float) -> bool:
    constant = graph.constants.get(name)
    return constant is not None and constant.dtype.kind == "f" and bool(np.all(constant == value))


def _can_merge(graph: Graph, node: Node) -> bool:
    source = node.inputs[0]
    if node.clamp is not None or _reads_others(graph, node):
        return False
    if node.output not in graph.outputs:
        return True
    return source not in graph.constants and source not in graph.inputs + graph.outputs


def _reads_others(graph: Graph, node: Node) -> bool:
    """Whether anything reads an output behind the first."""
    readers = graph.consumers()
    return any(out in graph.outputs or out in readers for out in node.outputs[1:] if out)


def is_noop(graph: Graph, node: Node) -> bool:
    """Whether a node hands its first input on unchanged."""
    same = graph.shape(node.inputs[0]) == graph.shape(node.output)
    if node.op == "Identity" or (node.op == "Tile" and same):
        return True
    if node.op == "Dropout":
        decided = [graph.constant(node, place) for place in (1, 2)]  # ratio, training_mode
        none = any(value is not None and not np.any(value) for value in decided)
        return none or not any(node.inputs[2:])
    if node.op == "Cast":
        return graph.dtype(node.inputs[0]) == graph.dtype(node.output)
    if node.op in {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"}:
        return same
    if node.op == "Slice":
        steps = graph.constant(node, 4)
        known = steps is not None and bool(np.all(steps > 0))
        return same and (known or not any(node.inputs[4:]))
    if node.op == "Pad":
        pads = graph.constant(node, 1)
        return pads is not None and not np.any(pads)
    if node.op == "Transpose":
        rank = len(graph.shape(node.output))
        return node.ints("perm", range(rank)[::-1]) == list(range(rank))
    if node.op in NO_AXES_NO_CHANGE and node.int("noop_with_empty_axes", 0):
        axes = graph.constant(node, 1)
        return "axes" not in node.attrs and (
            not any(node.inputs[1:]) or (axes is not None and not axes.size)
        )
    if node.op in {"Concat", "Sum", "Mean", "Max", "Min"}:
        return len(node.inputs) == 1
    return False
