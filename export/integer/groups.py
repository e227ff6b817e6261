"""Tensors that must share one scale and zero point, found by union-find over the graph."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Clamp, Graph, Node
from edgeconv.export.integer.rules import data_inputs, moves_integers
from edgeconv.export.op_traits import RULES, Is, operators
from edgeconv.recipe import Activation, Recipe

COMMUTING = operators(Is.CLAMPS_ALIKE) & RULES.keys()
"""Operators f with clamp(f(x)) == f(clamp(x)): the clamp may be done where x is made."""


class Groups:
    """A partition of tensor names; ``root`` names a tensor's group."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        """Return the representative of a tensor's group."""
        parent = self._parent.setdefault(name, name)
        if parent != name:
            self._parent[name] = self.root(parent)
        return self._parent[name]

    def join(self, first: str, second: str) -> None:
        """Merge two groups; the second one's representative stays."""
        self._parent[self.root(first)] = self.root(second)

    def members(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return root -> the given names in that group, in the given order."""
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.root(name), []).append(name)
        return found


Link = tuple[str, str]
"""A tensor, and the name of a Concat that reads it."""


def same_scale(
    graph: Graph, float_nodes: frozenset[str], rescaled: Collection[Link] = ()
) -> Groups:
    """Join the tensors of every same-scale operator that computes in int8, but for what a Concat rounds again."""
    groups = Groups()
    for node in graph.nodes:
        found = RULES.get(node.op)
        if found is None or found.kind != "same-scale" or node.name in float_nodes:
            continue
        for name in [*data_inputs(graph, node), *node.outputs]:
            if name and (name, node.name) not in rescaled:
                groups.join(name, node.outputs[0])
    return groups


def rescales(node: Node, activations: Mapping[str, Activation]) -> bool:
    """Whether a Concat reads integers of another scale than its own, and rounds them again (quant/rescaled.py)."""
    own = activations.get(node.output)
    read = [activations[name] for name in node.inputs if name in activations]
    return node.op == "Concat" and own is not None and not all(stored_alike(x, own) for x in read)


def only_moved(graph: Graph, float_nodes: Collection[str], groups: Groups) -> set[str]:
    """Return the tensors with whose integers nothing computes: unread outputs, what is only moved there or read in float.

    Boxes that a Concat joins for the output are such, and scores that a TopK sorts. Tensors of one scale, which
    ``groups`` holds, are all of them or none.
    """
    readers = graph.consumers()
    members = groups.members([*graph.shapes, *graph.constants])
    moved = {
        root
        for root, names in members.items()
        if all(
            moves_integers(node) or node.name in float_nodes
            for name in names
            for node in readers.get(name, [])
        )
    }
    return {name for root in moved for name in members[root]}


NEGLIGIBLE = 12.0
"""How far below a row's largest value a Softmax gives nothing: exp(-12) is 0.002 of a step of 1/256."""
TOPS = {"ReduceMax": 0.0, "Softmax": NEGLIGIBLE}
"""Operator -> how far below a row's largest value all values are alike to it."""
SATURATED: dict[str, Clamp] = {
    "Gelu": (-4.0, np.inf),
    "HardSwish": (-3.0, np.inf),
    "Sigmoid": (-7.0, 7.0),
    "Tanh": (-3.5, 3.5),
}
"""Operator -> where its INT8 form, of 1/256 and 1/128 a step where that is prescribed, stops changing."""


def needed_bounds(
    graph: Graph,
    peaks: Mapping[str, float] = MappingProxyType({}),
    floats: Collection[str] = (),
) -> dict[str, Clamp]:
    """Return, for each tensor, bounds outside of which no reader can tell a value from the bound.

    A ReLU behind a Concat makes negative values of the Concat's inputs indistinguishable from 0,
    provided nothing else reads them: so the shared range may begin at 0 and imply the ReLU.
    ``peaks`` holds, for tensors that a Softmax or a maximum reads, the least of the rows' largest values:
    what masks push far below it counts for nothing. ``floats`` names nodes that compute in float, for which
    small differences count.
    """
    readers = graph.consumers()
    bounds: dict[str, Clamp] = {}
    everything = (-np.inf, np.inf)
    for node in reversed(graph.nodes):
        for out in node.outputs:
            loosest: Clamp | None = None
            for reader in readers.get(out, []):
                seen = _seen_through(reader, bounds, reader.name in floats)
                if reader.op in TOPS and out in peaks:
                    seen = max(seen[0], peaks[out] - TOPS[reader.op]), seen[1]
                if out in graph.outputs:
                    seen = everything
                loosest = seen if loosest is None else _union(loosest, seen)
            bounds[out] = everything if loosest is None or out in graph.outputs else loosest
    return bounds


def _seen_through(reader: Node, bounds: Mapping[str, Clamp], in_float: bool) -> Clamp:
    own = reader.clamp or (-np.inf, np.inf)
    if reader.op in {"Relu"}:
        own = (0.0, np.inf)
    elif reader.op in SATURATED and not in_float:
        return SATURATED[reader.op]
    elif reader.op not in COMMUTING:
        return (-np.inf, np.inf)
    later = bounds[reader.outputs[0]]
    for out in reader.outputs[1:]:
        later = _union(later, bounds[out])
    return max(own[0], later[0]), min(own[1], later[1])


def _union(first: Clamp, second: Clamp) -> Clamp:
    return min(first[0], second[0]), max(first[1], second[1])


def check_same_scale(graph: Graph, recipe: Recipe) -> None:
    """Raise EdgeconvError, naming node and tensors, where a shared scale is not shared."""
    for node in graph.nodes:
        found = RULES.get(node.op)
        if found is None or found.kind != "same-scale" or node.name in recipe.float_nodes:
            continue
        if node.op == "Concat":
            continue
        names = [n for n in [*data_inputs(graph, node), *node.outputs] if n in recipe.activations]
        for name in names[1:]:
            if not stored_alike(recipe.activations[names[0]], recipe.activations[name]):
                raise EdgeconvError(
                    f"the recipe gives {names[0]} and {name} different scales, but {node.op} "
                    f"{node.name} only moves integers: give both the same scale and zero point"
                )


def stored_alike(first: Activation, second: Activation) -> bool:
    """Whether equal integers mean equal values."""
    return first.scale == second.scale and first.zero_point == second.zero_point


def implied(clamp: Clamp | None, quantization: Activation) -> bool:
    """Whether saturation to int8 does the clamp: no value beyond it has an integer of its own."""
    if clamp is None:
        return True
    low, high = clamp
    scale, zero = quantization.scale, quantization.zero_point
    low_done = bool(np.isinf(low)) or float(np.rint(low / scale)) + zero <= -128
    high_done = bool(np.isinf(high)) or float(np.rint(high / scale)) + zero >= 127
    return low_done and high_done
