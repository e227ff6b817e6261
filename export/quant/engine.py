"""The quantization engine: prepared graph and pictures in, integers out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.quant.fit import LayerFit, Rounding
from edgeconv.export.quant.observe import Feeds, Floats, Observation, Progress, observe
from edgeconv.export.quant.ops import WEIGHTED, is_pixel_shift, why_float
from edgeconv.export.quant.ranges import RangeMethod, choose_ranges, conflicts, fixed_scales
from edgeconv.export.quant.recipe import Form, Recipe
from edgeconv.export.quant.stream import run_quantized

MOST_LEARNT = 96
"""Pictures that layers are fitted on; ranges and the judgement use all that are given."""


@dataclass(frozen=True)
class Candidate:
    """One way to quantize a net."""

    name: str
    ranges: RangeMethod
    rounding: Rounding
    correct_bias: bool
    equalize: bool = False


CANDIDATES = {
    "fast": (Candidate("min/max, bias correction", "minmax", "nearest", True),),
    "std": (Candidate("clip search, GPTQ, bias correction", "mse3", "gptq", True, equalize=True),),
}


@dataclass(frozen=True)
class Quantized:
    """The graph whose float weights the recipe was made for (equalized ones differ), and the recipe."""

    graph: Graph
    recipe: Recipe


def quantize(
    graph: Graph,
    feeds: Sequence[Mapping[str, Floats]],
    *,
    recipe: str = "std",
    threads: int = 1,
    progress: Progress | None = None,
    input_scale: Mapping[str, tuple[float, int]] | None = None,
    keep_float: Sequence[str] = (),
    form: Form | None = None,
) -> Quantized:
    """Return the INT8 recipe of a prepared graph.

    ``feeds`` are calibration samples, input name -> float32 (1, ...). ``input_scale`` holds the
    prescribed (scale, zero point) of exactly stored pixels. ``keep_float`` names nodes that stay
    in float. Raises UsageError for an unknown recipe or node, EdgeconvError where there are no
    feeds or a value is not finite.
    """
    report = progress or (lambda _: None)
    if recipe not in CANDIDATES:
        raise UsageError(f"there is no recipe {recipe}: {', '.join(CANDIDATES)} or a .json file")
    _check_feeds(graph, feeds)
    floats = float_nodes(graph, keep_float, input_scale or {})
    inside = frozenset(floats)
    learnt = list(feeds)[:MOST_LEARNT]
    weighted = [n for n in graph.nodes if _is_weighted(n.op) and n.name not in inside]
    summed = {node.inputs[0]: len(learnt) for node in weighted}
    seen = observe(graph, feeds, summed=summed, threads=threads, progress=lambda p: report(p / 3))
    fixed = fixed_scales(graph, input_scale or {}, inside)
    (candidate,) = CANDIDATES[recipe]
    made = _make(
        graph, seen, learnt, candidate, form or "zero-point-free", fixed, floats, threads, report
    )
    return Quantized(graph, made)


def _make(
    graph: Graph,
    seen: Observation,
    feeds: Feeds,
    candidate: Candidate,
    form: Form,
    fixed: Mapping[str, object],
    floats: Mapping[str, str],
    threads: int,
    report: Callable[[float], None],
) -> Recipe:
    activations = choose_ranges(
        graph,
        seen,
        form=form,
        method=candidate.ranges,
        fixed=fixed,  # type: ignore[arg-type]
        float_nodes=frozenset(floats),
    )
    start = Recipe(candidate.name, form, activations, {}, tuple(floats), {"float": dict(floats)})
    fit = LayerFit(graph, seen, activations, candidate.rounding, candidate.correct_bias, len(feeds))
    done, _ = run_quantized(
        graph, start, feeds, fit, threads=threads, progress=lambda p: report(1 / 3 + p * 2 / 3)
    )
    return done


def _is_weighted(op: str) -> bool:
    return op in WEIGHTED


def _check_feeds(graph: Graph, feeds: Feeds) -> None:
    if not feeds:
        raise EdgeconvError("calibration needs at least one picture")
    for number, feed in enumerate(feeds):
        for name in graph.inputs:
            if name not in feed:
                raise EdgeconvError(f"calibration sample {number} lacks the input {name}")
            if tuple(feed[name].shape) != graph.shape(name):
                raise EdgeconvError(
                    f"calibration sample {number}: {name} is {list(graph.shape(name))}, "
                    f"got {list(feed[name].shape)}"
                )
            if not np.isfinite(feed[name]).all():
                raise EdgeconvError(f"calibration sample {number} holds NaN or Inf in {name}")


def float_nodes(
    graph: Graph,
    keep_float: Sequence[str] = (),
    input_scale: Mapping[str, tuple[float, int]] | None = None,
) -> dict[str, str]:
    """Return the nodes that compute in float, with the reason.

    Raises UsageError where ``keep_float`` names a node the graph does not have.
    """
    names = {node.name for node in graph.nodes}
    for name in keep_float:
        if name not in names:
            raise UsageError(f"no node is called {name}: the net has {', '.join(sorted(names))}")
    found = dict.fromkeys(keep_float, "kept in float on request")
    for node in graph.nodes:
        reason = why_float(graph, node)
        if reason is not None and node.name not in found:
            found[node.name] = reason
    for name, reason in conflicts(
        graph, fixed_scales(graph, input_scale or {}, frozenset(found))
    ).items():
        found.setdefault(name, reason)
    return {
        node.name: found[node.name]
        for node in graph.nodes
        if node.name in found and not is_pixel_shift(graph, node)
    }
