"""One node written as several: what passes that take an operator apart share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edgeconv.export.graph import Array, Attribute, Graph, Node

Shape = Sequence[int]


class Steps:
    """The operators that one node becomes, in order; ``finish`` puts them where it was."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node
        self.nodes: list[Node] = []

    def constant(self, value: Any, kind: type[np.generic] | None = None) -> str:
        """Store a constant; a Python number has the type of the node's output."""
        kind = self.graph.dtype(self.node.output).type if kind is None else kind
        return self.graph.add_constant(f"{self.node.name}_constant", np.asarray(value, kind))

    def integers(self, values: Iterable[int] | Array) -> str:
        """Store indices, axes or sizes."""
        return self.constant(values if isinstance(values, np.ndarray) else list(values), np.int64)

    def do(
        self,
        op: str,
        *inputs: str,
        shape: Shape | None = None,
        kind: type[np.generic] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        **attrs: Attribute,
    ) -> str:
        """Add an operator and return its output, of the node's own output shape and type by default.

        Its attributes are named one by one, or given together.
        """
        graph, node = self.graph, self.node
        shape = graph.shape(node.output) if shape is None else shape
        kind = graph.dtype(node.output).type if kind is None else kind
        out = graph.declare(graph.fresh(f"{node.output}_{op.lower()}"), shape, kind)
        name = graph.fresh(f"{node.name}_{op.lower()}_{len(self.nodes)}")
        self.nodes.append(Node(op, name, list(inputs), [out], {**(attributes or {}), **attrs}))
        return out

    def ended(self, op: str, *inputs: str, **attrs: Attribute) -> list[Node]:
        """Return all operators, the last of which makes the node's own output."""
        node = self.node
        return [
            *self.nodes,
            Node(op, node.name, list(inputs), [node.output], dict(attrs), node.clamp),
        ]

    def finish(self, op: str, *inputs: str, **attrs: Attribute) -> None:
        """Add the operator that makes the node's own output, and replace the node by all of them."""
        at = self.graph.nodes.index(self.node)
        self.graph.nodes[at : at + 1] = self.ended(op, *inputs, **attrs)
