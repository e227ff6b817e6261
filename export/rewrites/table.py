"""The exact rewrites for onnxruntime's INT8 kernels, and which of them a processor rewards.

x86 with VNNI rewards all of them; ARM those that pad, with or without its dot product, and not
those that make layers dense (docs/arm_kernels.md). What costs ARM little and brings x86 much is
done unless one of them is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from edgeconv.export.graph import Graph
from edgeconv.export.integer.pair import Pair
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
BY_CPU: dict[Cpu, dict[Prefer, Rewrites]] = {
    "any": {"speed": WIDE, "size": LIGHT},
    "x86": {"speed": ALL, "size": LIGHT},
    "arm": {
        "speed": replace(WIDE, fold_pixels=False, pad_stem=False),
        "size": Rewrites(join_ghosts=True),
    },
}
"""speed pays for latency with zeros in the file; size takes what adds less than a hundredth to it.

The zeros of dense layers are products that ARM computes: 1.6 times the instructions of ShuffleNetV1.
"""

Step = tuple[str, Callable[[Pair], int], str]
"""The name of a switch, the rewrite, and what it did to how many, in words."""

JOIN_GHOSTS: Step = (
    "join_ghosts",
    join_ghosts,
    "narrow ghost modules joined without their Concat",
)
ORDERED: tuple[Step, ...] = (
    ("fold_shuffles", fold_shuffles, "channel shuffles folded into the layer before"),
    ("densify", densify, "grouped convolutions made dense"),
    JOIN_GHOSTS,
    ("pad_shuffles", pad_shuffles, "shuffled channels padded to a multiple of 16"),
    ("pad_channels", pad_channels, "depthwise convolutions padded to a multiple of 16 channels"),
    (
        "fold_pixels",
        fold_four,
        "input pictures read 4 pixels at a time (onnxruntime drops 3 of its 4 transposes)",
    ),
    ("pad_stem", pad_stem, "input pictures padded to 4 channels"),
)
"""Order matters: only dense layers can take padded channels, and what is not folded is padded."""


def applied(changes: Sequence[str]) -> Rewrites:
    """Return the rewrites that ``changes`` (what ``rewrite`` says) speak of.

    >>> applied(["2 grouped convolutions made dense"]) == Rewrites(densify=True)
    True
    """
    return Rewrites(
        **{name: any(change.endswith(text) for change in changes) for name, _, text in ORDERED}
    )


def rewrite(
    graph: Graph, recipe: Recipe, rewrites: Rewrites
) -> tuple[Graph, Recipe, tuple[str, ...]]:
    """Return graph and recipe after the rewrites, and what was changed in words."""
    return apply_steps(graph, recipe, ORDERED, rewrites)


def apply_steps(
    graph: Graph, recipe: Recipe, steps: Sequence[Step], switches: object
) -> tuple[Graph, Recipe, tuple[str, ...]]:
    """Return graph and recipe after those of ``steps`` that ``switches`` turn on, and what was changed."""
    pair, changes = Pair.of(graph, recipe), []
    for name, apply, text in steps:
        if getattr(switches, name) and (count := apply(pair)):
            changes.append(f"{count} {text}")
    return *pair.result(), tuple(changes)
