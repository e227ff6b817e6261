"""Cross-layer equalisation (arXiv 1906.04721): rescale channels so that one range fits them all.

A channel may be multiplied by any positive factor where everything between its writers and its
readers is homogeneous; writers' rows take the factor, readers' columns its inverse. Channels
behind a bounded activation (ReLU6, gates), at the graph's borders or read by anything else keep
their scale.

    Given:   Conv(w1, b1) -> ReLU -> Conv(w2)
    Result:  Conv(f * w1, f * b1) -> ReLU -> Conv(w2 / f): the same function
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import float_weights
from edgeconv.export.op_traits import WEIGHTED, Is, operators
from edgeconv.export.passes.find_shuffles import shuffle_order
from edgeconv.export.quant.observe import Observation, TensorStats

Floats = NDArray[np.float32]

BALANCE = 0.5
"""How the burden is shared between activations (0) and weights (1)."""
CAP = 16.0
MANY = 300
"""Pictures whose extremes are asked for: so many that a file will see."""
PASSING = operators(Is.HOMOGENEOUS)
"""Homogeneous operators that keep every channel where it is."""


def equalize(
    graph: Graph, seen: Observation, float_nodes: frozenset[str]
) -> tuple[Graph, Observation, dict[str, Floats]]:
    """Return the same function with equalised weights, and what it would have been seen to do.

    The factors of every rescaled tensor's channels come third; ``rescale`` applies them again.
    """
    classes = _Classes(graph)
    for node in graph.nodes:
        _tie(graph, node, classes, node.name in float_nodes)
    for name in [*graph.inputs, *graph.outputs]:
        classes.fix(name)
    roots = classes.settle()
    factors = _factors(graph, seen, classes, roots, float_nodes)
    by_tensor = {
        name: factors[roots[classes.span(name)]].astype(np.float32) for name in classes.names
    }
    changed = {name: f for name, f in by_tensor.items() if np.any(f != 1.0)}
    if not changed:
        return graph, seen, {}
    return rescale(graph, changed), _rescale_seen(seen, changed), changed


def rescale(graph: Graph, factors: Mapping[str, Floats]) -> Graph:
    """Return ``graph`` with its weights changed so that each tensor's channels take their factors.

    Raises EdgeconvError where a tensor is not there or has another number of channels.
    """
    whole = {}
    for tensor in [*graph.inputs, *(o for node in graph.nodes for o in node.outputs if o)]:
        shape = graph.shape(tensor)
        whole[tensor] = np.ones(shape[1] if len(shape) > 1 else 1, np.float32)
    for tensor, given in factors.items():
        if tensor not in whole or whole[tensor].shape != given.shape:
            raise EdgeconvError(
                f"the recipe rescales {given.size} channels of {tensor}, which this net has not"
            )
        whole[tensor] = given
    return _rescale(graph, whole)


class _Classes:
    """One number for each (tensor, channel); tied channels end up with the same root."""

    def __init__(self, graph: Graph) -> None:
        self.names: dict[str, tuple[int, int]] = {}
        start = 0
        for tensor in [*graph.inputs, *(o for node in graph.nodes for o in node.outputs if o)]:
            shape = graph.shape(tensor)
            count = shape[1] if len(shape) > 1 else 1
            self.names[tensor] = (start, count)
            start += count
        self.size = start
        self._left: list[NDArray[np.int64]] = []
        self._right: list[NDArray[np.int64]] = []
        self.fixed = np.zeros(start, bool)

    def span(self, tensor: str) -> NDArray[np.int64]:
        """Return the numbers of a tensor's channels."""
        start, count = self.names[tensor]
        return np.arange(start, start + count)

    def tie(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        """Give both lists of channels the same factors."""
        self._left.append(first)
        self._right.append(second)

    def fix(self, tensor: str) -> None:
        """Keep a tensor's channels as they are."""
        if tensor in self.names:
            self.fixed[self.span(tensor)] = True

    def settle(self) -> NDArray[np.int64]:
        """Return each channel's root: the smallest number it is tied to."""
        root = np.arange(self.size)
        if not self._left:
            return root
        left, right = np.concatenate(self._left), np.concatenate(self._right)
        while True:
            low = np.minimum(root[left], root[right])
            before = root.copy()
            np.minimum.at(root, root[left], low)
            np.minimum.at(root, root[right], low)
            root = root[root]
            if np.array_equal(root, before) and np.array_equal(root[left], root[right]):
                return root


def _tie(graph: Graph, node: Node, classes: _Classes, in_float: bool) -> None:
    """Tie the channels that an operator passes on; fix those of any other operator."""
    out = node.outputs[0]
    dynamic = [name for name in node.inputs if name in classes.names]
    bounded = node.clamp is not None and node.clamp != (0.0, float("inf"))
    if bounded or in_float:
        for name in node.outputs:
            classes.fix(name)
    if in_float:
        for name in dynamic:
            classes.fix(name)
    elif node.op in WEIGHTED:
        if node.op == "Gemm" and len(graph.shape(node.inputs[0])) != 2:
            classes.fix(node.inputs[0])  # the channel factors belong to axis 1 of pictures
    elif node.op in {"Add", "Sub"} and len(dynamic) == 2 and _same(graph, dynamic, out):
        for name in dynamic:
            classes.tie(classes.span(out), classes.span(name))
    elif node.op in PASSING:
        classes.tie(classes.span(out), classes.span(node.inputs[0]))
        for name in node.inputs[1:]:  # a slope that is computed
            classes.fix(name)
    elif not _tie_moved(graph, node, classes):
        for name in [*dynamic, *node.outputs]:
            classes.fix(name)


def _same(graph: Graph, names: list[str], out: str) -> bool:
    return all(graph.shape(name) == graph.shape(out) for name in names)


def _tie_moved(graph: Graph, node: Node, classes: _Classes) -> bool:
    """Tie operators that move channels or multiply by a gate; say whether this is one."""
    out, source = node.outputs[0], node.inputs[0]
    if node.op == "Concat" and node.int("axis", 1) == 1:
        if any(name not in classes.names for name in node.inputs):
            return False
        classes.tie(classes.span(out), np.concatenate([classes.span(name) for name in node.inputs]))
        return True
    if source not in classes.names:
        return False
    if node.op == "ChannelShuffle":
        order = shuffle_order(graph.shape(source)[1], node.int("groups", 1))
        classes.tie(classes.span(out), classes.span(source)[order])
        return True
    if node.op == "Reshape" and graph.shape(out) == graph.shape(source)[:2]:
        classes.tie(classes.span(out), classes.span(source))
        return True
    if node.op == "Mul" and len(node.inputs) == 2:
        big, gate = sorted(node.inputs, key=lambda n: -int(np.prod(graph.shape(n))))
        if big in classes.names and graph.shape(big) == graph.shape(out):
            classes.tie(classes.span(out), classes.span(big))
            classes.fix(gate)
            return gate != big
    return False


def _factors(
    graph: Graph,
    seen: Observation,
    classes: _Classes,
    roots: NDArray[np.int64],
    float_nodes: frozenset[str],
) -> NDArray[np.float64]:
    """Return each root's factor: balances its share of the tensor's range and of the weights'."""
    fixed = np.zeros(classes.size, bool)
    np.logical_or.at(fixed, roots, classes.fixed)
    used = np.zeros(classes.size)
    for name in classes.names:
        if name in seen.tensors:
            stats = seen.tensors[name]
            size = _reach(stats, seen.pictures)
            np.maximum.at(used, roots[classes.span(name)], size / max(float(size.max()), 1e-9))
    column = np.zeros(classes.size)
    depthwise = np.ones(classes.size, bool)
    for node in graph.nodes:
        if node.op in WEIGHTED and node.name not in float_nodes:
            share = _column_share(graph, node)
            places = roots[classes.span(node.inputs[0])]
            np.maximum.at(column, places, share)
            if graph.shape(node.inputs[1])[1] > 1 or node.op != "Conv":
                depthwise[places] = False
    free = ~fixed & (used > 1e-6)
    balanced = np.maximum(column, 1e-4) ** (1 - BALANCE) / np.maximum(used, 1e-9) ** BALANCE
    wanted = np.where(depthwise, 1 / np.maximum(used, 1e-9), balanced)
    return np.where(free, np.clip(wanted, 1 / CAP, CAP), 1.0)


def _reach(stats: TensorStats, pictures: int) -> NDArray[np.float64]:
    """Return how far each channel is expected to reach over MANY pictures, from those that were seen.

    Largest values fall off about exponentially above their median: e times as many pictures reach one
    mean excess further. Without it the channels that spiked in the pictures seen, and would again,
    share their range with those that never do.
    """
    peaks = np.maximum(-stats.low, stats.high).astype(np.float64)
    taken = peaks[np.isfinite(peaks).all(axis=1)]  # a met bound leaves later pictures' rows empty
    if not len(taken):  # a tensor without elements
        return np.zeros(peaks.shape[1])
    excess = 2 * np.maximum(taken - np.median(taken, axis=0), 0.0).mean(axis=0)
    further: float = max(np.log(MANY / pictures), 0.0)
    return np.asarray(taken.max(axis=0) + further * excess)


def _column_share(graph: Graph, node: Node) -> NDArray[np.float64]:
    """Return, for each input channel, its largest weight relative to its output channel's largest."""
    weights, _ = float_weights(graph, node)
    group = node.int("group", 1) if node.op != "Gemm" else 1
    if node.op == "ConvTranspose":
        size = np.abs(weights).reshape(weights.shape[0], -1)
        peak = size.max()
        return np.asarray(size.max(axis=1) / max(float(peak), 1e-9), np.float64)
    size = np.abs(weights).reshape(weights.shape[0], weights.shape[1], -1).max(axis=2)
    share = size / np.maximum(size.max(axis=1, keepdims=True), 1e-9)
    by_group = share.reshape(group, -1, weights.shape[1]).max(axis=1)
    return np.asarray(by_group.ravel(), np.float64)


def _rescale(graph: Graph, factors: Mapping[str, Floats]) -> Graph:
    other = graph.clone()
    for node in other.nodes:
        if node.op not in WEIGHTED or node.inputs[0] not in factors:
            continue
        inside, outside = factors[node.inputs[0]], factors[node.output]
        if np.all(inside == 1.0) and np.all(outside == 1.0):
            continue
        weights, bias = float_weights(graph, node)
        group = node.int("group", 1) if node.op != "Gemm" else 1
        tail = [1] * (weights.ndim - 2)
        if node.op == "ConvTranspose":
            rows = outside.reshape(group, 1, -1)
            scaled = weights / inside.reshape(-1, 1, *tail)
            split = scaled.reshape(group, -1, *weights.shape[1:])
            weights = (split * rows.reshape(group, 1, -1, *tail)).reshape(weights.shape)
        else:
            columns = np.repeat(inside.reshape(group, -1), weights.shape[0] // group, axis=0)
            weights = (
                weights * outside.reshape(-1, 1, *tail) / columns.reshape(*columns.shape, *tail)
            )
        node.inputs = [
            node.inputs[0],
            other.add_constant(f"{node.name}.equalized_weight", weights.astype(np.float32)),
            other.add_constant(f"{node.name}.equalized_bias", (bias * outside).astype(np.float32)),
        ]
    other.prune()
    return other


def _rescale_seen(seen: Observation, factors: Mapping[str, Floats]) -> Observation:
    tensors, sums = dict(seen.tensors), dict(seen.sums)
    for name, factor in factors.items():
        if name in tensors:
            old = tensors[name]
            tensors[name] = replace(
                old,
                low=old.low * factor,
                high=old.high * factor,
                sample=old.sample * factor[old.channel],
            )
    for (name, count), total in seen.sums.items():
        if name in factors:
            tail = [1] * (total.ndim - 2)
            sums[name, count] = total * factors[name].reshape(1, -1, *tail)
    means = {name: each * factors.get(name, np.float32(1)) for name, each in seen.means.items()}
    return replace(seen, tensors=tensors, sums=sums, means=means)
