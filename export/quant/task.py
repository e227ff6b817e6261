"""What the quantizer is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgeconv.export.graph import Graph
from edgeconv.export.quant.observe import Feeds, Observation
from edgeconv.recipe import Activation, Recipe


@dataclass(frozen=True)
class Quantized:
    """The graph whose float weights the recipe stands for (equalized ones differ), and the recipe."""

    graph: Graph
    recipe: Recipe


@dataclass(frozen=True)
class Task:
    """What every candidate shares.

    ``pictures`` are those that fit and those that judge, as ``seen`` has them first. Candidates are
    fitted on the first ``learnt`` and judged on all. ``limit`` is the largest integer of a weight.
    """

    graph: Graph
    seen: Observation
    pictures: Feeds
    learnt: int
    fixed: Mapping[str, Activation]
    floats: Mapping[str, str]
    threads: int
    limit: int
