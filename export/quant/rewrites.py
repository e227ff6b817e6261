"""The exact rewrites for onnxruntime's INT8 kernels, and which of them a processor rewards.

x86 with VNNI rewards all of them; ARM none, with or without its dot product (docs/arm_kernels.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeconv.export.graph import Graph
from edgeconv.export.quant.fold_shuffles import densify, fold_shuffles
from edgeconv.export.quant.layers import Pair
from edgeconv.export.quant.pad_channels import pad_channels
from edgeconv.export.quant.pad_stem import pad_stem
from edgeconv.export.quant.recipe import Recipe

Prefer = Literal["speed", "size"]
Cpu = Literal["x86", "arm"]


@dataclass(frozen=True)
class Rewrites:
    """Switches, one a rewrite; every one leaves each output bit as it was."""

    fold_shuffles: bool = False
    densify: bool = False
    pad_channels: bool = False
    pad_stem: bool = False


NONE = Rewrites()
BY_PREFERENCE = {
    "speed": Rewrites(fold_shuffles=True, densify=True, pad_channels=True, pad_stem=True),
    "size": Rewrites(pad_stem=True),
}
"""What x86 is given: speed pays for latency with zeros in the file; size takes what is free."""

ORDERED: tuple[tuple[str, Callable[[Pair], int], str], ...] = (
    ("fold_shuffles", fold_shuffles, "channel shuffles folded into the layer before"),
    ("densify", densify, "grouped convolutions made dense"),
    ("pad_channels", pad_channels, "depthwise convolutions padded to a multiple of 16 channels"),
    ("pad_stem", pad_stem, "input pictures padded to 4 channels"),
)
"""Order matters: only dense layers can take padded channels."""

SMALL = "pad_stem"
"""1 to 2 % more instructions on ARM, where the others cost up to 75 %: not worth a note."""


def choose(prefer: Prefer, cpu: Cpu) -> Rewrites:
    """Return the rewrites for a processor.

    >>> choose("speed", "arm") == NONE
    True
    """
    return BY_PREFERENCE[prefer] if cpu == "x86" else NONE


def rewrite(
    graph: Graph, recipe: Recipe, rewrites: Rewrites
) -> tuple[Graph, Recipe, tuple[str, ...]]:
    """Return graph and recipe after the rewrites, and what was changed in words."""
    pair, changes = Pair.of(graph, recipe), []
    for name, apply, text in ORDERED:
        if getattr(rewrites, name) and (count := apply(pair)):
            changes.append(f"{count} {text}")
    changed, integers = pair.result()
    return changed, integers, tuple(changes)


def advise(changes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note for a user whose file was given zeros that slow an ARM board down.

    >>> advise(("2 grouped convolutions made dense",))
    ('rewritten for x86: for a Raspberry Pi or another ARM board take --cpu arm, the same bits',)
    >>> advise(("1 input pictures padded to 4 channels",))
    ()
    """
    costly = [text for name, _, text in ORDERED if name != SMALL]
    if not any(change.endswith(text) for change in changes for text in costly):
        return ()
    return (
        "rewritten for x86: for a Raspberry Pi or another ARM board take --cpu arm, the same bits",
    )
