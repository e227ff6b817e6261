"""Pad depthwise convolutions to a multiple of 16 channels: onnxruntime is about twice as fast there.

    Given:   Conv -> y (24 channels) -> depthwise Conv -> ... -> Conv
    Result:  Conv(8 zero rows more) -> y (32 channels) -> depthwise Conv(8 more) -> ... -> Conv(8
             zero columns more)

Exact to the bit: whatever the added channels hold, they meet zero weights. Tensors that element-wise
operators join must be padded alike, so the decision is made for whole classes of tensors.
"""

import numpy as np

from edgeconv.export.graph import Node
from edgeconv.export.integer.groups import Groups
from edgeconv.export.integer.pair import Order, Pair, is_depthwise, pick_columns, pick_rows
from edgeconv.export.op_traits import RULES, Is, operators

MULTIPLE = 16
UNARY = operators(Is.CHANNELWISE) & RULES.keys()
BINARY = frozenset(["Add", "Sub", "Mul"])


def pad_channels(pair: Pair) -> int:
    """Apply the rewrite wherever it is possible; return how many depthwise layers were padded."""
    plan = _Plan(pair)
    layouts = plan.settle()
    if not layouts:
        return 0
    graph, count = pair.graph, 0
    for node in graph.of("Conv", "Gemm"):
        before, after = plan.layout(node.inputs[0], layouts), plan.layout(node.output, layouts)
        if before is None and after is None:
            continue
        weights = pair.weights[node.name]
        if is_depthwise(graph, node):
            assert after is not None
            weights = pick_rows(weights, after)
            node.attrs["group"] = len(after)
            count += 1
        else:
            if before is not None:
                weights = pick_columns(weights, before)
            if after is not None:
                weights = pick_rows(weights, after)
        pair.set_layer(node, weights)
    for tensor in plan.tensors:
        order = plan.layout(tensor, layouts)
        if order is not None:
            pair.lay_out(tensor, order)
    return count


class _Plan:
    """Which classes of tensors are padded, and how."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.graph = pair, pair.graph
        self.classes = Groups()
        self.tensors = [
            out
            for node in self.graph.nodes
            for out in node.outputs
            if out and len(self.graph.shape(out)) == 4
        ]
        self.rigid: set[str] = set()
        self.wanted: set[str] = set()
        for node in self.graph.nodes:
            self._join(node)
        for node in self.graph.nodes:
            self._judge(node)
        for name in [*self.graph.inputs, *self.graph.outputs]:
            self.rigid.add(self.classes.root(name))

    def _join(self, node: Node) -> None:
        if node.op in UNARY or (self._integer(node) and is_depthwise(self.graph, node)):
            self.classes.join(node.inputs[0], node.output)
        elif self._elementwise(node):
            for name in node.inputs:
                if name not in self.graph.constants:
                    self.classes.join(name, node.output)

    def _elementwise(self, node: Node) -> bool:
        if node.op not in BINARY:
            return False
        out = self.graph.shape(node.output)
        for name in node.inputs:
            shape = self.graph.shape(name)
            if name in self.graph.constants:
                if int(np.prod(shape)) != 1:
                    return False
            elif len(shape) != 4 or shape[1] != out[1]:
                return False
        return True

    def _integer(self, node: Node) -> bool:
        return self.pair.is_integer(node)

    def _judge(self, node: Node) -> None:
        """Mark classes that a node keeps rigid, and those it wants padded."""
        graph = self.graph
        if node.op == "Concat" and node.int("axis", 1) == 1 and len(graph.shape(node.output)) == 4:
            if any(name in graph.constants for name in node.inputs):
                self._stiffen([*node.inputs, node.output])
            return
        if node.op == "Conv" and self._integer(node):
            if is_depthwise(graph, node):
                if graph.shape(node.output)[1] % MULTIPLE:
                    self.wanted.add(self.classes.root(node.output))
            elif node.int("group", 1) > 1:
                self._stiffen([node.inputs[0], node.output])
            return
        if node.op in UNARY or self._elementwise(node):
            return
        self._stiffen([*node.inputs, *node.outputs])

    def _stiffen(self, names: list[str]) -> None:
        for name in names:
            if name and name not in self.graph.constants:
                self.rigid.add(self.classes.root(name))

    def settle(self) -> dict[str, Order]:
        """Return root -> layout of every class that changes, giving up classes that cannot agree."""
        refused: set[str] = set()
        while True:
            layouts, blame = self._try(refused)
            if blame <= refused:  # nothing to blame, or nothing left to give up
                return {r: o for r, o in layouts.items() if (o < 0).any()}
            refused |= blame

    def _try(self, refused: set[str]) -> tuple[dict[str, Order], set[str]]:
        """Return the layouts, or the classes to give up where two demands differ."""
        layouts: dict[str, Order] = {}
        concats = {
            self.classes.root(node.output)
            for node in self.graph.of("Concat")
            if len(self.graph.shape(node.output)) == 4
        }
        for tensor in [*self.graph.inputs, *self.tensors]:
            root = self.classes.root(tensor)
            if (
                len(self.graph.shape(tensor)) != 4
                or root in layouts
                or root in concats - self.rigid
            ):
                continue
            channels = self.graph.shape(tensor)[1]
            added = -channels % MULTIPLE
            if root in self.wanted and root not in self.rigid | refused | concats:
                layouts[root] = np.concatenate([np.arange(channels), np.full(added, -1)])
            else:
                layouts[root] = np.arange(channels)
        for node in self.graph.of("Concat"):
            if len(self.graph.shape(node.output)) != 4 or node.int("axis", 1) != 1:
                continue
            root = self.classes.root(node.output)
            joined = self._joined(node, layouts)
            if joined is None or not np.array_equal(layouts.setdefault(root, joined), joined):
                blame = {self.classes.root(name) for name in node.inputs}
                return {}, self._sources(blame | {root}) - refused or self._sources(self.wanted)
        return layouts, set()

    def _joined(self, node: Node, layouts: dict[str, Order]) -> Order | None:
        parts, start = [], 0
        for name in node.inputs:
            order = layouts.get(self.classes.root(name))
            if name in self.graph.constants:  # what it is joined with is rigid
                order = np.arange(self.graph.shape(name)[1])
            if order is None:
                return None
            parts.append(np.where(order < 0, -1, order + start))
            start += self.graph.shape(name)[1]
        return np.concatenate(parts)

    def _sources(self, roots: set[str]) -> set[str]:
        """Return the classes whose padding reaches ``roots`` through concats."""
        found = set(roots)
        for node in reversed(list(self.graph.of("Concat"))):
            if self.classes.root(node.output) in found:
                found |= {self.classes.root(name) for name in node.inputs}
        return found

    def layout(self, tensor: str, layouts: dict[str, Order]) -> Order | None:
        """Return a tensor's layout where its class changes."""
        if len(self.graph.shape(tensor)) != 4:
            return None
        return layouts.get(self.classes.root(tensor))
