"""Decide once, on the whole graph, how each tensor is stored.

ONNX keeps pictures channels-first, TFLite channels-last. A tensor is stored ``plain`` (ONNX's
order) or ``last`` (channels moved to the end: NCHW becomes NHWC, NCL becomes NLC). Tensors that
must agree form groups; a group that a convolution, pool or the like touches, or that is a
rank-4 input or output, is ``last`` (``plain`` where the graph itself has it channels last, as files
from TensorFlow do); any other takes the layout that moves the least data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import dropped_axes
from edgeconv.export.tflite.layout import (
    LAST,
    PLAIN,
    Layout,
    Rule,
    is_copy,
    left_of_product,
    order,
    stored_movement,
    stored_shape,
    swapped_with_last,
    without_axes,
)
from edgeconv.export.tflite.movement import Movement

OVER_THE_LAST = ("LogSoftmax", "Softmax")
"""Operators whose kernels run along the last stored axis."""
OPERATOR = 2048  # elements moved in the time that an operator takes to begin
ROUNDS = 8  # of improving undecided groups; each round only ever lowers the cost


def flattens_into_gemm(graph: Graph, node: Node, consumers: dict[str, list[Node]]) -> bool:
    """Say whether a Reshape only flattens pictures for Gemms whose weight columns can be reordered."""
    shape, flat = graph.shape(node.inputs[0]), graph.shape(node.output)
    readers = consumers.get(node.output, [])
    return (
        node.op == "Reshape"
        and len(shape) == 4
        and len(flat) == 2
        and flat[0] == shape[0]
        and node.output not in graph.outputs
        and bool(readers)
        and all(
            r.op == "Gemm"
            and r.inputs[1] in graph.constants
            and r.inputs[0] == node.output
            and r.int("transB", 0) == 1
            and r.int("transA", 0) == 0
            for r in readers
        )
    )


@dataclass(frozen=True)
class Plan:
    """The layout of every tensor, and the Reshapes whose reordering Gemm weights absorb.

    ``cost``: elements that are moved for it, with OPERATOR for each operator that moves them.
    """

    layouts: dict[str, Layout]
    flattened: frozenset[str]
    cost: int = 0

    def of(self, tensor: str) -> Layout:
        """Return the layout of a tensor; lower ranks have only one."""
        return self.layouts.get(tensor, PLAIN)


class _Groups:
    """Union-find over tensors that must be stored alike."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, tensor: str) -> str:
        root = tensor
        while self.parent.setdefault(root, root) != root:
            root = self.parent[root]
        self.parent[tensor] = root
        return root

    def join(self, tensors: list[str]) -> None:
        for other in tensors[1:]:
            self.parent[self.find(other)] = self.find(tensors[0])


def plan_layouts(graph: Graph, rule: Callable[[Graph, Node], Rule]) -> Plan:
    """Return the layout of every tensor of rank 3 and above; ``rule`` knows the operators."""
    groups, rules = _Groups(), {node.name: rule(graph, node) for node in graph.nodes}
    decided: dict[str, Layout] = {}
    for name in [*graph.inputs, *(out for node in graph.nodes for out in node.outputs if out)]:
        groups.find(name)
    for node in graph.nodes:
        if rules[node.name] == "any":
            tied = _tied(graph, node)
            if tied:
                groups.join(tied)
    for node in graph.nodes:
        if rules[node.name] == "picture":
            for name in (node.inputs[0], *filter(None, node.outputs)):
                if name not in graph.constants and len(graph.shape(name)) >= 3:
                    decided[groups.find(name)] = LAST
    last_already = {groups.find(name) for name in _channels_last(graph)}
    for name in (*graph.inputs, *graph.outputs):
        if name in groups.parent and len(graph.shape(name)) == 4:
            root = groups.find(name)
            decided.setdefault(root, PLAIN if root in last_already else LAST)
    roots = {name: groups.find(name) for name in list(groups.parent)}
    layout = {root: decided.get(root, PLAIN) for root in roots.values()}
    consumers = graph.consumers()
    edges = list(_edges(graph, rules, roots, consumers))
    free: list[tuple[str, ...]] = [(root,) for root in layout if root not in decided]
    free += _sides_and_results(graph, rules, roots, decided)
    for _ in range(ROUNDS):
        if not _improve(free, layout, edges):
            break
    layouts = {name: layout[root] for name, root in roots.items()}
    flattened = frozenset(
        node.output
        for node in graph.of("Reshape")
        if flattens_into_gemm(graph, node, consumers)
        and layouts.get(node.inputs[0], PLAIN) == LAST
        and stored_movement(graph, node, LAST, PLAIN) != Movement((), ())
    )
    return Plan(layouts, flattened, sum(cost(layout) for _, cost in edges))


def _channels_last(graph: Graph) -> Iterator[str]:
    """Yield the tensors that the graph itself has channels last: it turns them to or from NCHW."""
    for node in graph.of("Transpose"):
        perm = node.ints("perm", ())
        if perm == [0, 3, 1, 2]:
            yield node.inputs[0]
        elif perm == [0, 2, 3, 1]:
            yield node.output


def _tied(graph: Graph, node: Node) -> list[str]:
    rank = len(graph.shape(node.output))
    names = [*(name for name in node.inputs if name), *(name for name in node.outputs if name)]
    return [
        name
        for name in names
        if rank >= 3 and name not in graph.constants and len(graph.shape(name)) == rank
    ]


Edge = tuple[frozenset[str], Callable[[dict[str, Layout]], int]]
"""The groups that an edge touches, and the elements it moves under an assignment of layouts."""


def _edges(
    graph: Graph, rules: dict[str, Rule], roots: dict[str, str], consumers: dict[str, list[Node]]
) -> Iterator[Edge]:
    for node in graph.nodes:
        if rules[node.name] == "move" and node.inputs[0] in roots:
            yield _move_edge(graph, node, roots, flattens_into_gemm(graph, node, consumers))
        elif rules[node.name] == "loose" and node.inputs[0] in roots:
            yield _drop_edge(graph, node, roots)
        elif rules[node.name] == "plain":
            for name in (*node.inputs, *node.outputs):
                if name in roots:
                    yield _plain_edge(graph, name, roots)
        elif rules[node.name] == "product":
            yield _product_edge(graph, node, roots)
        elif rules[node.name] == "any":
            if node.op in OVER_THE_LAST:
                yield _softmax_edge(graph, node, roots)
            rank = len(graph.shape(node.output))
            for name in node.inputs:
                if name in roots and len(graph.shape(name)) != rank:
                    yield _plain_edge(graph, name, roots)
    for name in (*graph.inputs, *graph.outputs):
        if name in roots and len(graph.shape(name)) != 4:
            yield _plain_edge(graph, name, roots)


def _plain_edge(graph: Graph, name: str, roots: dict[str, str]) -> Edge:
    cost, root = _turned(graph.shape(name)), roots[name]
    return frozenset([root]), lambda layout: cost if layout[root] == LAST else 0


def _turned(shape: tuple[int, ...]) -> int:
    """Return what it costs to bring a tensor from one layout to the other."""
    return 0 if is_copy(shape, order(LAST, len(shape))) else int(np.prod(shape)) + OPERATOR


def _drop_edge(graph: Graph, node: Node, roots: dict[str, str]) -> Edge:
    """Return the edge of an operator that drops axes: it reads ONNX's order where its result has neither."""
    source, target = node.inputs[0], node.output
    shape, axes = graph.shape(source), dropped_axes(graph, node)
    table: dict[tuple[Layout, Layout], int] = {}
    for first in (PLAIN, LAST):
        read, made = without_axes(len(shape), axes, first)
        for second in (PLAIN, LAST):
            before = 0 if read == first else _turned(shape)
            table[first, second] = before + (0 if made == second else _turned(graph.shape(target)))
    one, two = roots[source], roots[target]
    return frozenset([one, two]), lambda layout: table[layout[one], layout[two]]


def _product_edge(graph: Graph, node: Node, roots: dict[str, str]) -> Edge:
    def cost(layout: dict[str, Layout]) -> int:
        side, wanted = left_of_product(node, layout[roots[node.output]])
        name = node.inputs[side]
        held = layout[roots[name]] if name in roots else wanted
        return 0 if held == wanted else _turned(graph.shape(name))

    names = (*node.inputs, node.output)
    return frozenset(roots[name] for name in names if name in roots), cost


def _softmax_edge(graph: Graph, node: Node, roots: dict[str, str]) -> Edge:
    shape, root = graph.shape(node.output), roots[node.output]
    table = {
        layout: 0
        if is_copy(stored_shape(shape, layout), swapped_with_last(shape, node, layout))
        else 2 * (int(np.prod(shape)) + OPERATOR)
        for layout in (PLAIN, LAST)
    }
    return frozenset([root]), lambda layout: table[layout[root]]


def _move_edge(graph: Graph, node: Node, roots: dict[str, str], folds: bool) -> Edge:
    source, target = node.inputs[0], node.output
    size = int(np.prod(graph.shape(source)))
    table: dict[tuple[Layout, Layout], int] = {}
    for first in (PLAIN, LAST):
        for second in (PLAIN, LAST):
            moved = stored_movement(graph, node, first, second)
            times = 2 if moved is None else int(bool(moved.sizes))
            table[first, second] = 0 if folds else times * (size + OPERATOR)
    one, two = roots[source], roots[target]
    return frozenset([one, two]), lambda layout: table[layout[one], layout[two]]


def _sides_and_results(
    graph: Graph, rules: dict[str, Rule], roots: dict[str, str], decided: dict[str, Layout]
) -> list[tuple[str, ...]]:
    """Return groups that may pay to be turned at once alone: what a product makes, and one of its sides."""
    found = dict[tuple[str, ...], None]()
    for node in graph.nodes:
        if rules[node.name] == "product":
            made = roots[node.output]
            for side in {roots[name] for name in node.inputs if name in roots} - {made}:
                if not {side, made} & decided.keys():
                    found[tuple(sorted((side, made)))] = None
    return list(found)


def _improve(free: list[tuple[str, ...]], layout: dict[str, Layout], edges: list[Edge]) -> bool:
    """Give groups, or some at once, the layout that costs least; say whether one changed."""
    changed = False
    for chosen in free:
        touching = [cost for touched, cost in edges if not touched.isdisjoint(chosen)]
        present = tuple(layout[root] for root in chosen)
        tried = [present] if len(chosen) > 1 else []
        costs: dict[tuple[Layout, ...], int] = {}
        for each in (*tried, *((choice,) * len(chosen) for choice in (PLAIN, LAST))):
            trial = layout | dict(zip(chosen, each, strict=True))
            costs[each] = sum(cost(trial) for cost in touching)
        best = min(costs, key=lambda each: costs[each])
        changed |= best != present
        layout |= dict(zip(chosen, best, strict=True))
    return changed
