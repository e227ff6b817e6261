"""Store channels in the order in which they are read, where a net only mixes and picks them.

    Given:   a, b -> Concat -> ChannelShuffle -> Slice, Slice -> ... -> Conv(group=1)
    Result:  parts of a and of b -> Concat -> ... -> Conv(its columns in that order)

No shuffle is left of ShuffleNetV2 (arXiv 1807.11164): each channel is looked up through all units
to the layer that made it, whose rows are sorted by who reads them, so that a reader's parts are few.
Integers stay as they were, and sums are of the same terms.
"""

from dataclasses import dataclass

import numpy as np

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.pair import Order, is_depthwise
from edgeconv.export.op_traits import Is, operators
from edgeconv.export.rewrites.table import Change
from edgeconv.export.tflite.channel_regions import Region, shuffled_regions
from edgeconv.export.tflite.plan import OPERATOR
from edgeconv.export.tflite.reorder import Reorder, has_constants
from edgeconv.recipe import Recipe

CHANNELWISE = operators(Is.CHANNELWISE)
SHUFFLE_MOVES = 3  # times that a shuffle moves its picture (ops_shape.channel_shuffle) ...
SHUFFLE_OPS = 6  # ... in so many operators
PIECE = 16  # a part of a position takes as long to cut or join as so many channels of it, if it has fewer


@dataclass(frozen=True)
class Part:
    """Channels ``first`` to ``last`` (not included) of a source, as it is stored now."""

    source: str
    first: int
    last: int


@dataclass(frozen=True)
class Sink:
    """How a region's result is stored: its parts, the old channel of each, and what follows.

    ``behind`` are the layers that take any order, with what lies between; None: the order stays.
    """

    parts: list[Part]
    order: Order
    behind: list[Node] | None


def order_channels(
    graph: Graph, recipe: Recipe | None
) -> tuple[Graph, Recipe | None, tuple[Change, ...]]:
    """Return graph and recipe after the rewrite, and what was done."""
    made = Reorder.of(graph, recipe)
    done = [region for region in list(shuffled_regions(made.graph)) if _rewrite(made, region)]
    if not done:
        return graph, recipe, ()
    made.graph.prune()
    count = sum(node.op == "ChannelShuffle" for region in done for node in region.nodes)
    says = "channel shuffles left out: layers make their channels in the order of their readers"
    return *made.result(), (Change("order_channels", count, says),)


def _rewrite(made: Reorder, region: Region) -> bool:
    """Write one region anew where that is exact and moves less; say whether it was."""
    graph = made.graph
    if len({made.activations.get(name) for name in region.channels}) > 1:
        return False  # integers change their scale on the way
    makers = {c.source: None for name in region.sinks for c in region.channels[name]}
    orders = {source: _order_of(graph, region, source) for source in makers}
    sinks = {name: _sink(graph, region, name, orders) for name in region.sinks}
    if _cost_after(graph, sinks) >= _cost_before(graph, region):
        return False
    if any(len(s.parts) == 1 and not _is_free(made, name, s) for name, s in sinks.items()):
        return False
    names = {source: _turn(made, region, source, order) for source, order in orders.items()}
    cuts: dict[Part, str] = {}
    for name, sink in sinks.items():
        for part in sink.parts:
            if part not in cuts:
                cuts[part] = _cut(made, part, names[part.source])
        _write(made, region, name, sink, [cuts[part] for part in sink.parts])
    graph.nodes = [node for node in graph.nodes if node.name not in region.names]
    graph.sort()
    return True


def _is_free(made: Reorder, name: str, sink: Sink) -> bool:
    """Say whether a result can be a part itself: no border, and no other scale."""
    source = sink.parts[0].source
    same = made.activations.get(name) == made.activations.get(source)
    return same and name not in made.graph.outputs


def _order_of(graph: Graph, region: Region, source: str) -> Order | None:
    """Return the old channel of each stored one where the makers of a source can take any order."""
    if _makers(graph, region, source) is None:
        return None
    reads = np.zeros((graph.shape(source)[1], len(region.sinks)), bool)
    for number, name in enumerate(region.sinks):
        reads[[c.place for c in region.channels[name] if c.source == source], number] = True
    order = np.lexsort(~reads.T[::-1])  # those of the first sink first, and so on
    return None if _in_order(order) else order


def _makers(graph: Graph, region: Region, source: str) -> list[Node] | None:
    """Return the dense convolution that makes a source and what lies between; None where others see it."""
    made, readers, found = graph.producers(), graph.consumers(), list[Node]()
    seen = {r.name for r in readers.get(source, [])} - region.names
    while source not in graph.outputs and not seen and (node := made.get(source)) is not None:
        found.append(node)
        if node.op == "Conv" and node.int("group", 1) == 1:
            return found if has_constants(graph, node) else None
        if not _passes_order(graph, node):
            return None
        source = node.inputs[0]
        seen = {r.name for r in readers.get(source, [])} - {node.name}
    return None


def _behind(graph: Graph, name: str, apart: set[str]) -> list[Node] | None:
    """Return all that reads a tensor up to the dense convolutions; None where its order matters.

    Nodes of ``apart`` read it no longer.
    """
    if name in graph.outputs:
        return None
    found: list[Node] = []
    for node in graph.consumers().get(name, []):
        if node.name in apart:
            continue
        found.append(node)
        if node.op == "Conv" and node.int("group", 1) == 1 and has_constants(graph, node):
            continue
        further = _behind(graph, node.output, set()) if _passes_order(graph, node) else None
        if further is None:
            return None
        found += further
    return found


def _passes_order(graph: Graph, node: Node) -> bool:
    """Say whether a node makes each channel from the same one alone, in whatever order they come."""
    if node.op == "Conv":
        return is_depthwise(graph, node) and has_constants(graph, node)
    others = [graph.constants.get(name) for name in node.inputs[1:] if name]
    return (
        node.op in CHANNELWISE
        and len(node.outputs) == 1
        and all(value is not None and value.size <= 1 for value in others)
    )


def _sink(graph: Graph, region: Region, name: str, orders: dict[str, Order | None]) -> Sink:
    """Return the parts that a result is made of, as few as its readers allow."""
    places = {
        source: np.arange(graph.shape(source)[1]) if order is None else np.argsort(order)
        for source, order in orders.items()
    }
    stored = [(c.source, int(places[c.source][c.place])) for c in region.channels[name]]
    behind, order = _behind(graph, name, region.names), np.arange(len(stored))
    if behind is not None:
        rank = {source: number for number, source in enumerate(orders)}
        order = np.array(sorted(order, key=lambda k: (rank[stored[k][0]], stored[k][1])))
    parts: list[Part] = []
    for source, place in (stored[k] for k in order):
        if parts and (parts[-1].source, parts[-1].last) == (source, place):
            parts[-1] = Part(source, parts[-1].first, place + 1)
        else:
            parts.append(Part(source, place, place + 1))
    return Sink(parts, order, None if _in_order(order) else behind)


def _in_order(order: Order) -> bool:
    return bool((np.diff(order) > 0).all())


def _cost_before(graph: Graph, region: Region) -> int:
    moved = {name: int(np.prod(graph.shape(name))) for name in region.channels}
    shuffled = [node for node in region.nodes if node.op == "ChannelShuffle"]
    again = sum((SHUFFLE_MOVES - 1) * moved[node.output] for node in shuffled)
    count = len(region.nodes) + (SHUFFLE_OPS - 1) * len(shuffled)
    return sum(moved.values()) + again + OPERATOR * count


def _cost_after(graph: Graph, sinks: dict[str, Sink]) -> int:
    cuts, cost = set[Part](), 0
    for name, sink in sinks.items():
        n, _, h, w = graph.shape(name)
        for part in sink.parts:
            if part not in cuts and not _is_whole(graph, part):
                cost += OPERATOR + n * h * w * max(part.last - part.first, PIECE)
            cuts.add(part)
        if len(sink.parts) > 1:
            moved = sum(max(part.last - part.first, PIECE) for part in sink.parts)
            cost += OPERATOR + n * h * w * moved
    return cost


def _is_whole(graph: Graph, part: Part) -> bool:
    return part.last - part.first == graph.shape(part.source)[1]


def _renamed(made: Reorder, name: str) -> str:
    """Give a tensor whose channels are in another order a name of its own."""
    fresh = made.tensor(name, "ordered", made.graph.shape(name)[1])
    made.graph.rename(name, fresh)
    made.activations.pop(name, None)
    return fresh


def _turn(made: Reorder, region: Region, source: str, order: Order | None) -> str:
    """Let the makers of a source make it in ``order``; return its name."""
    makers = None if order is None else _makers(made.graph, region, source)
    if order is None or makers is None:
        return source
    for node in makers:
        if node.op == "Conv":
            made.rows(node, order)
        _renamed(made, node.output)
    return makers[0].output


def _cut(made: Reorder, part: Part, source: str) -> str:
    graph = made.graph
    if _is_whole(graph, Part(source, part.first, part.last)):
        return source
    bounds = [
        graph.add_constant(f"{source}_{what}", np.array([value], np.int64))
        for what, value in (("first", part.first), ("last", part.last), ("axis", 1))
    ]
    out = made.tensor(source, "part", part.last - part.first)
    graph.nodes.append(Node("Slice", graph.fresh(f"{out}_cut"), [source, *bounds], [out]))
    return out


def _write(made: Reorder, region: Region, name: str, sink: Sink, pieces: list[str]) -> None:
    """Make a result of its parts, and turn what reads it."""
    graph = made.graph
    stored = pieces[0]
    if len(pieces) > 1:
        stored = name if sink.behind is None else made.tensor(name, "ordered", len(sink.order))
        joined = Node("Concat", graph.fresh(f"{stored}_join"), pieces, [stored], {"axis": 1})
        graph.nodes.append(joined)
    for node in graph.nodes:
        if node.name not in region.names:
            node.inputs = [stored if read == name else read for read in node.inputs]
    for node in sink.behind or []:
        if node.op == "Conv" and not is_depthwise(graph, node):
            made.columns(node, sink.order)
            continue
        if node.op == "Conv":
            made.rows(node, sink.order)
        _renamed(made, node.output)
    if stored != name:
        made.activations.pop(name, None)
