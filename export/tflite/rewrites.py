"""The exact rewrites for TFLite's kernels: what each changed, in words, and a switch for each."""

from dataclasses import dataclass, replace

from edgeconv.export.graph import Graph
from edgeconv.export.kinds import Cpu, Prefer
from edgeconv.export.rewrites.fold_pixels import fold_stride
from edgeconv.export.rewrites.part_strides import part_strides
from edgeconv.export.rewrites.table import JOIN_GHOSTS, Change, Rewrite, apply_rewrites
from edgeconv.export.tflite.carry_rows import carry_rows
from edgeconv.export.tflite.cut_first import cut_first
from edgeconv.export.tflite.fold_transposes import fold_transposes
from edgeconv.export.tflite.join_groups import join_groups
from edgeconv.export.tflite.join_moves import join_moves
from edgeconv.export.tflite.join_turned import join_turned
from edgeconv.export.tflite.lose_batch import lose_batch
from edgeconv.export.tflite.order_channels import order_channels
from edgeconv.export.tflite.pick_together import pick_together
from edgeconv.export.tflite.place_shuffles import place_shuffles
from edgeconv.export.tflite.stack_parts import stack_parts
from edgeconv.export.tflite.swap_places import swap_places
from edgeconv.export.tflite.table import planned
from edgeconv.export.tflite.turn_together import turn_together
from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Rewrites:
    """Switches, one a rewrite; every one leaves each output bit as it was.

    All but shuffles and padded rows are rewritten in integer files alone, with the recipe's integers.
    """

    place_shuffles: bool = False
    join_ghosts: bool = False
    part_strides: bool = False
    stack_parts: bool = False
    fold_pixels: bool = False
    pad_rows: bool = False


NONE = Rewrites()
ALL = Rewrites(place_shuffles=True, join_ghosts=True, fold_pixels=True, pad_rows=True)
BY_PREFER: dict[Prefer, Rewrites] = {"speed": ALL, "size": Rewrites(place_shuffles=True)}
"""speed pays with zeros among the weights and a RESHAPE of the pixels (docs/arm_kernels.md)."""
COPYING: frozenset[Cpu] = frozenset({"pi4", "pi5", "arm", "x86"})
"""Processors on which moving and stacking what a Concat joins was counted to save 1.2 to 1.8 % of GhostNet, or
timed to save 3 % (x86). Others are not asked for it: an NPU has no kernel whose rows are a picture apart."""
WIDE_TILES: frozenset[Cpu] = frozenset({"pi4", "arm"})
"""Processors whose integer product makes 8 channels at a time: joined ghosts, 16 rows for 8, take 1 % more."""


def chosen(cpu: Cpu, prefer: Prefer) -> Rewrites:
    """Return the rewrites that a processor rewards."""
    wanted = BY_PREFER[prefer]
    if cpu in COPYING:
        wanted = replace(wanted, part_strides=True, stack_parts=True)
    return replace(wanted, join_ghosts=False) if cpu in WIDE_TILES else wanted


INTEGER: tuple[Rewrite, ...] = (
    JOIN_GHOSTS,
    Rewrite("part_strides", part_strides, "strided depthwise convolutions moved before a Concat"),
    Rewrite("stack_parts", stack_parts, "parts stacked by rows for a 1x1 convolution"),
    Rewrite("fold_pixels", fold_stride, "input pictures read by strides of pixels"),
)


def rewrite(
    graph: Graph, recipe: Recipe | None, rewrites: Rewrites
) -> tuple[Graph, Recipe | None, tuple[Change, ...]]:
    """Return graph and recipe after the rewrites, and what was done."""
    graph, recipe = join_groups(graph, recipe)
    graph, recipe = turn_together(graph, recipe, _moved)
    graph = join_moves(fold_transposes(graph), recipe)
    graph, recipe = carry_rows(graph, recipe, _moved)
    graph = join_moves(graph, recipe)
    graph, recipe = pick_together(graph, recipe, _moved)
    graph, recipe = swap_places(graph, recipe, _moved)
    graph, recipe = cut_first(graph, recipe, _moved)
    graph, recipe = lose_batch(graph, recipe, _moved)
    graph, recipe = join_turned(graph, recipe, _moved)
    placed: tuple[Change, ...] = ()
    if rewrites.place_shuffles:
        graph, recipe, placed = place_shuffles(graph, recipe)  # first: what is folded costs nothing
        graph, recipe, ordered = order_channels(graph, recipe)
        placed = ordered + placed
    if recipe is None:
        return graph, None, placed
    made = apply_rewrites(graph, recipe, INTEGER, rewrites)
    return made.graph, made.recipe, placed + made.changes


def _moved(graph: Graph) -> int:
    """Return how much a graph moves when its layouts are planned."""
    return planned(graph).cost
