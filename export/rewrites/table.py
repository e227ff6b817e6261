"""The exact rewrites for onnxruntime's INT8 kernels, and which of them a processor rewards.

x86 with VNNI rewards all of them; ARM those that pad, with or without its dot product, and not
those that make layers dense (docs/arm_kernels.md). What costs ARM little and brings x86 much is
done unless one of them is named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from edgeconv.export.graph import Graph
from edgeconv.export.integer.pair import Order, Pair
from edgeconv.export.kinds import Cpu, Prefer
from edgeconv.export.rewrites.fold_pixels import fold_four
from edgeconv.export.rewrites.fold_shuffles import densify, fold_shuffles
from edgeconv.export.rewrites.join_ghosts import join_ghosts
from edgeconv.export.rewrites.pad_channels import pad_channels
from edgeconv.export.rewrites.pad_shuffles import pad_shuffles
from edgeconv.export.rewrites.pad_stem import pad_stem
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Rewrites:
    """Switches, one a rewrite; every one leaves each output bit as it was."""

    fold_shuffles: bool = False
    densify: bool = False
    join_ghosts: bool = False
    pad_shuffles: bool = False
    pad_channels: bool = False
    fold_pixels: bool = False
    pad_stem: bool = False


NONE = Rewrites()
LIGHT = Rewrites(join_ghosts=True, fold_pixels=True, pad_stem=True)
WIDE = replace(LIGHT, pad_channels=True, pad_shuffles=True)
ALL = replace(WIDE, fold_shuffles=True, densify=True)
PI4: dict[Prefer, Rewrites] = {
    "speed": replace(WIDE, fold_pixels=False, pad_stem=False),
    "size": Rewrites(join_ghosts=True),
}
BY_CPU: dict[Cpu, dict[Prefer, Rewrites]] = {
    "any": {"speed": WIDE, "size": LIGHT},
    "x86": {"speed": ALL, "size": LIGHT},
    "pi4": PI4,
    "pi5": {"speed": WIDE, "size": LIGHT},
    "arm": PI4,
}
"""speed pays for latency with zeros in the file; size takes what adds less than a hundredth to it.

The zeros of dense layers are products that ARM computes: 1.6 times the instructions of ShuffleNetV1.
"""
INT8_ACTIVATIONS: frozenset[Cpu] = frozenset({"pi5"})
"""Processors that a dot product of int8 lets read int8 activations as they are: 0.93 to 0.96 of the
instructions; without one they take 1.04 to 1.16, and onnxruntime on x86 fuses less around them."""


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite: its id (the name of its switch), what does it, and what it says it did."""

    id: str
    apply: Callable[[Pair], int]
    says: str


@dataclass(frozen=True)
class Change:
    """What one rewrite did to a file: its id, to how many places, and both in words."""

    id: str
    count: int
    says: str

    def __str__(self) -> str:
        return f"{self.count}x {self.says}"

    def to_json(self) -> dict[str, Any]:
        """Return id and count: the words are for people."""
        return {"id": self.id, "count": self.count}


class Rewritten(NamedTuple):
    """A rewritten graph and recipe, what was done, and the channels of tensors that have more now.

    ``channels``: tensor of the graph before -> for each channel now its place there, -1 for one
    that was added.
    """

    graph: Graph
    recipe: Recipe
    changes: tuple[Change, ...] = ()
    channels: Mapping[str, Order] = MappingProxyType({})


JOIN_GHOSTS = Rewrite(
    "join_ghosts", join_ghosts, "narrow ghost modules joined without their Concat"
)
ORDERED: tuple[Rewrite, ...] = (
    Rewrite("fold_shuffles", fold_shuffles, "channel shuffles folded into the layer before"),
    Rewrite("densify", densify, "grouped convolutions made dense"),
    JOIN_GHOSTS,
    Rewrite("pad_shuffles", pad_shuffles, "shuffled channels padded to a multiple of 16"),
    Rewrite(
        "pad_channels", pad_channels, "depthwise convolutions padded to a multiple of 16 channels"
    ),
    Rewrite(
        "fold_pixels",
        fold_four,
        "input pictures read 4 pixels at a time (onnxruntime drops 3 of its 4 transposes)",
    ),
    Rewrite("pad_stem", pad_stem, "input pictures padded to 4 channels"),
)
"""Order matters: only dense layers can take padded channels, and what is not folded is padded."""


def rewrite(graph: Graph, recipe: Recipe, rewrites: Rewrites) -> Rewritten:
    """Return graph and recipe after the rewrites for onnxruntime, and what was done."""
    return apply_rewrites(graph, recipe, ORDERED, rewrites)


def apply_rewrites(
    graph: Graph, recipe: Recipe, table: Sequence[Rewrite], switches: object
) -> Rewritten:
    """Return graph and recipe after those of ``table`` that ``switches`` turn on, and what was done."""
    pair, changes = Pair.of(graph, recipe), []
    for row in table:
        if getattr(switches, row.id) and (count := row.apply(pair)):
            changes.append(Change(row.id, count, row.says))
    after, integers = pair.result()
    kept = {
        t: order for t, order in pair.channels.items() if t in graph.shapes.keys() & after.shapes
    }
    return Rewritten(after, integers, tuple(changes), kept)
