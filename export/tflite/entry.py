"""What the op table says of one ONNX operator."""

from collections.abc import Callable
from dataclasses import dataclass

from edgeconv.export.graph import Graph, Node
from edgeconv.export.tflite.emission import Emission
from edgeconv.export.tflite.layout import Rule

Emit = Callable[[Emission, Node], None]
Check = Callable[[Graph, Node], str | None]


def anything(graph: Graph, node: Node) -> str | None:
    """Accept every form of an operator."""
    return None


@dataclass(frozen=True)
class Entry:
    """One row: how to emit the operator, when it cannot be, and what is nearest then.

    ``check`` returns why a node cannot be expressed, or None. ``nearest`` completes the sentence
    "the nearest supported form is ...". ``int8``: TFLite computes it on int8; otherwise it is a float
    island between DEQUANTIZE and QUANTIZE. ``tflite`` names the operators it becomes.
    """

    emit: Emit
    tflite: str
    nearest: str
    check: Check = anything
    rule: Rule | Callable[[Graph, Node], Rule] = "any"
    int8: bool | Callable[[Graph, Node], bool] = False

    def native(self, graph: Graph, node: Node) -> bool:
        """Say whether TFLite computes this node on int8."""
        return self.int8 if isinstance(self.int8, bool) else self.int8(graph, node)

    def layout_rule(self, graph: Graph, node: Node) -> Rule:
        """Return how this node sees layouts."""
        return self.rule if isinstance(self.rule, str) else self.rule(graph, node)


def first_failing(*checks: Check) -> Check:
    """Return a check that gives the first reason that one of ``checks`` gives."""

    def check(graph: Graph, node: Node) -> str | None:
        return next((reason for c in checks if (reason := c(graph, node)) is not None), None)

    return check


def needs_constant(index: int, what: str) -> Check:
    """Return a check that input ``index``, if it is there, is a constant."""

    def check(graph: Graph, node: Node) -> str | None:
        name = node.inputs[index] if index < len(node.inputs) else ""
        return (
            f"its {what} is computed at run time" if name and name not in graph.constants else None
        )

    return check


def rank_within(low: int, high: int) -> Check:
    """Return a check of the first input's rank."""

    def check(graph: Graph, node: Node) -> str | None:
        rank = len(graph.shape(node.inputs[0]))
        if not low <= rank <= high:
            return f"its input has {rank} axes"
        return None

    return check
