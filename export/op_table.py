"""A target's table of operators: what an entry is, how families merge, how a graph is refused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from edgeconv.errors import UnsupportedOpError
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_traits import plain_gemm

if TYPE_CHECKING:
    from edgeconv.export.tflite.layout import Rule

Emit = TypeVar("Emit", covariant=True)
Check = Callable[[Graph, Node], str | None]
COMPOSED = "a composition of the supported operators"
NEAREST = {
    "CumProd": "one along a constant axis, which is written out",
    "Det": "one of up to 4 rows, which is written out, or the matrix as output",
}
"""What is nearest to operators of which passes write some forms, on every target."""


class Refusal(NamedTuple):
    """What a target cannot express: the node (or border tensor), and a clause with reason and way out.

    ``ours``: the format may well have it, and what lacks is a form of edgeconv's.
    """

    name: str
    clause: str
    ours: bool = False

    def said(self, title: str) -> str:
        """Return the sentence for a target called ``title``, which names whose lack it is."""
        lack = f"edgeconv has no {title} form of" if self.ours else f"{title} cannot express"
        return f"{lack} {self.clause}"


def anything(graph: Graph, node: Node) -> str | None:
    """Accept every form of an operator."""
    return None


@dataclass(frozen=True)
class Entry(Generic[Emit]):
    """One row: how a target writes the operator, when it cannot, and what is nearest then.

    ``emit`` is called as the target's emitter calls it. ``becomes`` names the format's operators.
    ``check`` returns why a node cannot be expressed, or None; ``nearest`` completes the sentence "the
    nearest supported form is ...", where the reason does not say it. ``rule`` is how the operator
    sees layouts, where a target chooses them. ``int8``: the target's kernel computes on int8; else
    the node is a float island.
    """

    emit: Emit
    becomes: str = ""
    nearest: str = ""
    check: Check = anything
    rule: "Rule | Callable[[Graph, Node], Rule]" = "any"
    int8: bool | Callable[[Graph, Node], bool] = False

    def native(self, graph: Graph, node: Node) -> bool:
        """Say whether the target computes this node on int8."""
        return self.int8 if isinstance(self.int8, bool) else self.int8(graph, node)

    def layout_rule(self, graph: Graph, node: Node) -> "Rule":
        """Return how this node sees layouts."""
        return self.rule if isinstance(self.rule, str) else self.rule(graph, node)


def merged(title: str, *families: Mapping[str, Entry[Any]]) -> dict[str, Entry[Any]]:
    """Return the entries of all families as one table; raises ValueError for one that is there twice."""
    table: dict[str, Entry[Any]] = {}
    for family in families:
        for op, entry in family.items():
            if op in table:
                raise ValueError(f"two entries of the {title} operator table are called {op}")
            table[op] = entry
    return table


def refusals(
    table: Mapping[str, Entry[Any]],
    graph: Graph,
    elsewhere: Mapping[str, str],
    check: Check = anything,
    *,
    ours: bool = False,
) -> list[Refusal]:
    """Return a clause for every node that a target cannot express: operator, node, reason, the way out.

    ``elsewhere`` names what is nearest to operators without an entry, of which edgeconv has no form;
    ``check`` is what the target asks of every node. ``ours``: so is what the checks refuse.
    """
    found = []
    for node in graph.nodes:
        entry = table.get(node.op)
        if entry is None:
            reason, nearest = (
                "none is written yet",
                (NEAREST | {**elsewhere}).get(node.op, COMPOSED),
            )
        else:
            said = check(graph, node) or entry.check(graph, node)
            if said is None:
                continue
            reason, nearest = said, entry.nearest
        way_out = f"; the nearest supported form is {nearest}" if nearest else ""
        clause = f"{node.op} (node {node.name}): {reason}{way_out}"
        found.append(Refusal(node.name, clause, ours or entry is None))
    return found


def refuse(title: str, problems: Sequence[Refusal]) -> None:
    """Raise UnsupportedOpError saying the first of ``problems`` and how many there are; nothing for none."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UnsupportedOpError(f"{problems[0].said(title)}{more}")


def first_failing(*checks: Check) -> Check:
    """Return a check that gives the first reason that one of ``checks`` gives."""

    def check(graph: Graph, node: Node) -> str | None:
        return next((reason for c in checks if (reason := c(graph, node)) is not None), None)

    return check


def needs_plain_gemm(graph: Graph, node: Node) -> str | None:
    """Refuse a Gemm that is scaled, or whose operands lie otherwise."""
    return None if plain_gemm(node) else "it is not x * transposed weights + bias"


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
