"""Find where a net only mixes and picks channels, and look up which layer made each of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_parameters import slice_bounds
from edgeconv.export.passes.find_shuffles import shuffle_order


class Channel(NamedTuple):
    """A channel of the tensor that made it."""

    source: str
    place: int


@dataclass(frozen=True)
class Region:
    """Neighbouring nodes that only mix and pick channels of pictures (N, C, H, W).

    ``channels`` says where those of every result come from; ``sinks`` are the results that others
    read or the graph hands out.
    """

    nodes: list[Node]
    channels: dict[str, list[Channel]]
    sinks: list[str]

    @property
    def names(self) -> set[str]:
        """The names of the nodes."""
        return {node.name for node in self.nodes}


def shuffled_regions(graph: Graph) -> Iterator[Region]:
    """Yield the regions that hold a channel shuffle."""
    readers = graph.consumers()
    for nodes in _neighbours(graph):
        if not any(node.op == "ChannelShuffle" for node in nodes):
            continue
        inside = {node.name for node in nodes}
        channels: dict[str, list[Channel]] = {}
        for node in nodes:
            _follow(graph, node, channels)
        sinks = [
            name
            for name in channels
            if name in graph.outputs or any(r.name not in inside for r in readers.get(name, []))
        ]
        yield Region(nodes, channels, sinks)


def _neighbours(graph: Graph) -> list[list[Node]]:
    """Return the nodes that mix and pick, those that read each other's results together."""
    group: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not _picks(graph, node):
            continue
        joined = [node]
        for name in node.inputs:
            if (other := group.get(name)) is not None and other is not joined:
                joined = [*other, *joined]
        group.update({out: joined for member in joined for out in member.outputs})
    found = {id(nodes): nodes for nodes in group.values()}
    place = {node.name: number for number, node in enumerate(graph.nodes)}
    return [sorted(nodes, key=lambda n: place[n.name]) for nodes in found.values()]


def _picks(graph: Graph, node: Node) -> bool:
    if node.clamp is not None or not all(node.outputs) or len(graph.shape(node.output)) != 4:
        return False
    if node.op == "Slice":
        shape, bounds = graph.shape(node.inputs[0]), slice_bounds(graph, node)
        return all(axis == 1 or cut == (0, shape[axis], 1) for axis, cut in bounds.items())
    along = node.op in ("Concat", "Split") and node.int("axis", 0) % 4 == 1
    return node.op == "ChannelShuffle" or along


def _follow(graph: Graph, node: Node, channels: dict[str, list[Channel]]) -> None:
    """Write down where the channels of a node's results come from."""
    whole: list[Channel] = []
    for name in node.inputs if node.op == "Concat" else node.inputs[:1]:
        own = [Channel(name, place) for place in range(graph.shape(name)[1])]
        whole += channels.get(name, own)
    if node.op == "ChannelShuffle":
        whole = [whole[old] for old in shuffle_order(len(whole), node.int("groups", 1))]
    elif node.op == "Slice":
        first, last, step = slice_bounds(graph, node).get(1, (0, len(whole), 1))
        whole = [
            whole[place]
            for place in range(len(whole))[slice(first, last if last >= 0 else None, step)]
        ]
    for name in node.outputs:
        size = graph.shape(name)[1]
        channels[name], whole = whole[:size], whole[size:]
