"""Keep outputs of very different size apart: one scale for all would leave the small ones no steps.

Given:   Concat(boxes in hundreds, scores around 1) [-> Reshape | Transpose | ...] -> output
Result:  these nodes compute in float, and each part keeps its own scale; one of 480 to 520 is made in float too

Given:   Gemm -> output, which moves between 480 and 520
Result:  the Gemm computes in float

Given:   Gemm -> output, a distance in hundreds beside an angle
Result:  the Gemm computes in float

Given:   Conv -> ReduceMean -> Mul -> output, which moves between 480 and 520
Result:  ReduceMean and Mul compute in float

Given:   Sub(places, distances), Add(places, distances) -> ... -> Mul(strides) -> output, corners of boxes
Result:  all of it computes in float: a step of 1/256 of the picture is much for a small box; so do Softmax -> Conv
         before it that make each distance as the mean of a few bins (Generalized Focal Loss, arXiv 2006.04388)

Given:   Softmax over few nearly equal classes -> output, of values between 0.2 and 0.3
Result:  the Softmax computes in float: INT8 prescribes steps of 1/256, of which it would use few
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import moves_integers
from edgeconv.export.op_traits import RULES, WEIGHTED
from edgeconv.export.quant.enclosed import APART
from edgeconv.export.quant.observe import Observation
from edgeconv.recipe import PLACES

FIXED = frozenset(op for op, rule in RULES.items() if rule.kind == "fixed")
FEW = 8.0
"""Times that an output's size may exceed what it moves by: three bits of eight."""
MOST_FIGURES = 16
"""Longer vectors are class scores, of which one may hardly move, or embeddings."""
MOST_CHEAP = 4096
"""Elements of a tensor that costs nothing in float."""
FEW_BESIDE = 16
"""A tensor of so many times fewer elements than the net's inputs costs nothing either."""
PLACING = frozenset(("Add", "Sub"))
SCALING = PLACING | {"Concat", "Div", "Mul", "Neg"}
"""What lies between places and an output that holds them, beside moves."""
WIDEST = 4.0
"""Times that one part's values may exceed another's: two bits of the smaller one."""


def kept_apart(graph: Graph, seen: Observation) -> dict[str, str]:
    """Return the nodes that must compute in float for this, with the reason."""
    readers, makers = graph.consumers(), graph.producers()
    found = _far_from_zero(graph, seen, graph.outputs, readers)
    parts: list[str] = []
    for node in graph.of("Concat"):
        sizes = [_size(graph, seen, name) for name in node.inputs]
        real = [size for size in sizes if size > 0.0]
        following = _only_moved(graph, node, readers)
        if following is not None and real and max(real) > WIDEST * min(real):
            reason = "it joins outputs of very different size"
            gates = [maker.name for maker in _gates(graph, node, readers)]
            found.update(dict.fromkeys([node.name, *following, *gates], reason))
            parts += [name for name in node.inputs if name in makers]
    ends = {name: [r for r in readers[name] if r.name not in found] for name in readers}
    placed = _placed(graph, [*graph.outputs, *parts], ends)
    return {**_far_from_zero(graph, seen, parts, ends), **placed, **found}


def _placed(graph: Graph, outputs: Sequence[str], readers: dict[str, list[Node]]) -> dict[str, str]:
    """Return what makes outputs, or parts of one, of places that are constants and distances from them."""
    makers = graph.producers()
    whole = sum(int(np.prod(graph.shape(name))) for name in graph.inputs)
    found: dict[str, str] = {}
    for output in outputs:
        names = _cheap_tail(graph, output, makers, readers, max(MOST_CHEAP, whole // FEW_BESIDE))
        tail = [node for node in graph.nodes if node.name in names and node.op not in APART]
        if any(_places(graph, node, readers) for node in tail):
            tail += _means_of_bins(graph, tail, makers, readers)
            found.update(dict.fromkeys([node.name for node in tail], PLACES))
    return found


def _means_of_bins(
    graph: Graph, tail: Sequence[Node], makers: dict[str, Node], readers: dict[str, list[Node]]
) -> list[Node]:
    """Return the layers that give nothing but means of bins to ``tail``, with the Softmax before each."""
    names = {node.name for node in tail}
    found: list[Node] = []
    for tensor in dict.fromkeys(n for node in tail for n in node.inputs if n in makers):
        layer = makers[tensor]
        if layer.op not in WEIGHTED or any(r.name not in names for r in readers[tensor]):
            continue
        path = [layer]
        while (before := makers.get(path[-1].inputs[0])) is not None and moves_integers(before):
            path.append(before)
        if before is None or before.op != "Softmax" or len(readers[before.output]) > 1:
            continue
        bins = graph.shape(before.output)[before.int("axis", -1)]
        weights = graph.constants.get(layer.inputs[1])
        if weights is not None and weights.size == bins:
            found += [*path, before]
    return found


def _places(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Whether a node adds to a constant that differs from place to place, and what comes after only scales that."""
    values = [graph.constants[name] for name in node.inputs if name in graph.constants]
    varied = any(value.size > MOST_FIGURES and np.ptp(value) > 0.0 for value in values)
    return node.op in PLACING and varied and _only_scaled(node, readers)


def _only_scaled(node: Node, readers: dict[str, list[Node]]) -> bool:
    after = [reader for name in filter(None, node.outputs) for reader in readers.get(name, [])]
    return all(
        (reader.op in SCALING or moves_integers(reader)) and _only_scaled(reader, readers)
        for reader in after
    )


def _far_from_zero(
    graph: Graph, seen: Observation, outputs: Sequence[str], readers: dict[str, list[Node]]
) -> dict[str, str]:
    """Return what makes outputs, or parts of one, that move little beside what their scale covers, with the reason.

    A scale covers 0, so that an output of 480 to 520 would have a step of 2; a prescribed one covers 1.
    """
    makers = graph.producers()
    found: dict[str, str] = {}
    for output in outputs:
        stats, last, tensor = seen.tensors.get(output), None, output
        while tensor in makers:
            last = makers[tensor]
            if not moves_integers(last):
                break
            tensor = last.inputs[0]
        if stats is None or last is None:
            continue
        low, high = stats.low.min(axis=0), stats.high.max(axis=0)
        moves = (high - low)[high > low]
        covered = max(float(np.abs(low).max()), float(np.abs(high).max()))
        reason = None
        if moves.size and float(moves.max()) < (1.0 if last.op in FIXED else covered) / FEW:
            reason = f"its values move by less than 1/{FEW:g} of what 8 bits would cover"
        elif last.op in WEIGHTED and _uneven(graph, output, moves):
            reason = f"one of its figures moves by less than 1/{FEW:g} of what another does"
        if reason:
            found.update(dict.fromkeys(_cheap_tail(graph, output, makers, readers), reason))
    return found


def _uneven(graph: Graph, output: str, moves: NDArray[np.float32]) -> bool:
    """Whether an output is a vector of figures of several kinds: a distance beside an angle."""
    shape = graph.shape(output)
    few = len(shape) == 2 and shape[1] <= MOST_FIGURES
    return few and moves.size > 1 and float(moves.max()) > FEW * float(moves.min())


def _cheap_tail(
    graph: Graph,
    output: str,
    makers: dict[str, Node],
    readers: dict[str, list[Node]],
    most: int = MOST_CHEAP,
) -> list[str]:
    """Return what ends in ``output`` alone, back to the layer before it or, behind moves only, with it.

    Of the operators that have an INT8 form; a tensor of more than ``most`` elements, which none but
    layers should make, ends it too.
    """
    found: dict[str, Node] = {}
    waiting, only_moved = [output], True
    while waiting:
        tensor = waiting.pop()
        node = makers.get(tensor)
        if node is None or node.name in found or (node.op in APART and not only_moved):
            continue
        elsewhere = [r for r in readers.get(tensor, []) if r.name not in found]
        if elsewhere or (tensor in graph.outputs and tensor != output):
            continue
        small = np.prod(graph.shape(tensor)) <= most
        if not (small or node.op in APART or moves_integers(node)):
            continue
        found[node.name] = node
        only_moved = only_moved and moves_integers(node)
        if node.op not in APART:
            waiting += [name for name in node.inputs if name]
    return [n.name for n in graph.nodes if n.name in found and n.op in RULES]


def _gates(graph: Graph, concat: Node, readers: dict[str, list[Node]]) -> list[Node]:
    """Return the nodes of prescribed scale that make nothing but a part: 1/256 is much for a score."""
    makers = graph.producers()
    parts = [makers[name] for name in concat.inputs if name in makers]
    return [
        node
        for node in parts
        if node.op in FIXED and len(readers[node.output]) == 1 and node.output not in graph.outputs
    ]


def _size(graph: Graph, seen: Observation, tensor: str) -> float:
    if tensor in seen.tensors:
        stats = seen.tensors[tensor]
        return max(-float(stats.low.min()), float(stats.high.max()))
    values = graph.constants.get(tensor)
    return 0.0 if values is None or not values.size else float(np.abs(values).max())


def _only_moved(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> list[str] | None:
    """Return the nodes between this one and the outputs; None where one of them computes."""
    found: list[str] = []
    for out in filter(None, node.outputs):
        for reader in readers.get(out, []):
            after = _only_moved(graph, reader, readers) if moves_integers(reader) else None
            if after is None:
                return None
            found += [reader.name, *after]
        if out not in graph.outputs and out not in readers:
            return None
    return found
