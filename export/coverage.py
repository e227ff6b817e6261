"""Which target takes a graph, which operators compute in float there, and which stop it where."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgeconv.export.graph import Graph
from edgeconv.export.targets import TARGETS


@dataclass(frozen=True)
class Coverage:
    """How each target takes each operator.

    ``rows`` are (operator, nodes, one answer a target): "yes", "float" (it computes in float inside
    an INT8 file) or "no". ``stops`` are (target, sentence), the first for each operator.
    """

    targets: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[str, ...]], ...]
    stops: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """Return the table and what stops a target, a line each."""
        widths = [max(8, len(target) + 2) for target in self.targets]
        head = "".join(f"{t:{w}}" for t, w in zip(self.targets, widths, strict=True))
        lines = [f"{'operator':24}{'nodes':>6}  {head}".rstrip()]
        for op, count, answers in self.rows:
            cells = "".join(f"{a:{w}}" for a, w in zip(answers, widths, strict=True))
            lines.append(f"{op:24}{count:6}  {cells}".rstrip())
        return lines + [f"{target:10} refuses: {sentence}" for target, sentence in self.stops]


def coverage(
    graph: Graph, targets: tuple[str, ...], *, integer: bool, lacking: Mapping[str, str] = {}
) -> Coverage:
    """Return what ``targets`` make of a prepared graph; ``integer``: as an INT8 file.

    ``lacking`` is target -> why it has no file of the form asked for.
    """
    from edgeconv.export.integer.rules import why_float

    refused = {
        name: {found.name: found.clause for found in TARGETS[name].stops(graph)} for name in targets
    }
    counts: dict[str, int] = {}
    answers: dict[str, dict[str, str]] = {}
    stops: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
        held = answers.setdefault(node.op, dict.fromkeys(targets, "yes"))
        real = any(graph.dtype(out).kind == "f" for out in node.outputs if out)
        island = integer and real and why_float(graph, node) is not None
        for target in targets:
            if target in lacking:
                held[target] = "no"
            elif node.name in refused[target]:
                held[target] = "no"
                stops.setdefault((target, node.op), refused[target][node.name])
            elif island and held[target] == "yes":
                held[target] = "float"
    for target in targets:  # what is refused and no node
        for name in refused[target].keys() - {node.name for node in graph.nodes}:
            stops[target, name] = refused[target][name]
        if target in lacking:
            stops[target, ""] = lacking[target]
    rows = tuple((op, counts[op], tuple(answers[op].values())) for op in sorted(counts))
    return Coverage(targets, rows, tuple((target, text) for (target, _), text in stops.items()))
