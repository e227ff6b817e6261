"""Which tensors keep a scale of their own beside that of a Concat with far larger values, which rounds them again.

Given:   Conv -> t, up to 2 -> Concat beside values up to 6; t -> Conv
Result:  t has steps of 2/255 for the second Conv, 6/255 behind the Concat

Of U-shaped nets the encoder's tensors are such. What a Concat alone reads gains nothing by it, and of the others
each is rounded twice where it was rounded once: pictures say whether it pays.
"""

from collections.abc import Mapping

from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.groups import Link, same_scale
from edgeconv.export.integer.rules import moves_integers
from edgeconv.export.quant.judge import decibels
from edgeconv.export.quant.noise import FEW, noise_of
from edgeconv.export.quant.observe import Feeds, Observation
from edgeconv.export.quant.ranges import choose_ranges, quantized_tensors
from edgeconv.recipe import Activation, Form, Recipe

FORM: Form = "asymmetric"
FINER = 1.5
"""Times that a scale of its own is finer than the Concat's."""
WORTH_DB = 0.3
"""What it must bring: it costs TFLite an operator each."""


def rescaled(
    graph: Graph,
    seen: Observation,
    pictures: Feeds,
    fixed: Mapping[str, Activation],
    float_nodes: frozenset[str],
    threads: int,
) -> frozenset[Link]:
    """Return the tensors that a Concat reads and rounds again; none where ``pictures`` do not say that it pays."""

    def ranges(links: frozenset[Link]) -> dict[str, Activation]:
        return choose_ranges(
            graph,
            seen,
            form=FORM,
            method="minmax",
            fixed=fixed,
            float_nodes=float_nodes,
            rescaled=links,
        )

    def noise(links: frozenset[Link]) -> float:
        recipe = Recipe("ranges", FORM, ranges(links), {})
        few = pictures[:FEW]
        wanted = {name: values[: len(few)] for name, values in seen.outputs.items()}
        return noise_of(graph, recipe, list(recipe.activations), few, wanted, threads)

    links = [(name, n.name) for n in graph.of("Concat") for name in n.inputs]
    cut = frozenset(
        link for link in links if link[0] not in graph.constants and link[1] not in float_nodes
    )
    found = finer(graph, cut, ranges(cut), float_nodes) if cut else frozenset()
    pays = found and decibels(noise(frozenset()), noise(found)) >= WORTH_DB
    return found if pays else frozenset()


def finer(
    graph: Graph,
    cut: frozenset[Link],
    own: Mapping[str, Activation],
    float_nodes: frozenset[str],
) -> frozenset[Link]:
    """Return the links whose tensor has a much finer scale without, for which others read it; ``own`` are scales without any."""
    groups, readers = same_scale(graph, float_nodes, cut), graph.consumers()
    members = groups.members(quantized_tensors(graph, float_nodes))
    concats = [node for node in graph.of("Concat") if node.name not in float_nodes]
    steps = {node.name: own[node.output].scale for node in concats}
    found = set[Link]()

    def is_wanted(tensor: str, concat: Node) -> bool:
        """Whether anything but this Concat, and others nearly as coarse, reads the tensor's group."""
        for name in members[groups.root(tensor)]:
            for node in readers.get(name, []):
                joins = (name, node.name) in cut
                computes = not moves_integers(node) or node.name in float_nodes
                if FINER * steps[node.name] < steps[concat.name] if joins else computes:
                    return True
        return any(name in graph.outputs for name in members[groups.root(tensor)])

    for concat in reversed(concats):
        behind = [
            steps[node.name]
            for name in members[groups.root(concat.output)]
            for node in readers.get(name, [])
            if (name, node.name) in cut - found
        ]
        steps[concat.name] = max([steps[concat.name], *behind])
        for name in concat.inputs:
            finer = (name, concat.name) in cut and steps[concat.name] > FINER * own[name].scale
            if finer and is_wanted(name, concat):
                found.add((name, concat.name))
    return frozenset(found)
