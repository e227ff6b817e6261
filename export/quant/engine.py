"""The quantization engine: prepared graph and pictures in, integers out.

One pass of the float net gathers what is needed; then each candidate of the recipe is fitted
layer by layer on four fifths of the pictures, and the fifth that was held out picks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.graph import Graph
from edgeconv.export.quant.blas import one_blas_thread
from edgeconv.export.quant.calibration import stability
from edgeconv.export.quant.candidates import RECIPES, Candidate
from edgeconv.export.quant.equalize import equalize
from edgeconv.export.quant.fit import LayerFit
from edgeconv.export.quant.judge import Score, best, form_is_too_dear, run_recipe, score
from edgeconv.export.quant.observe import Feeds, Floats, Observation, Progress, observe
from edgeconv.export.quant.ops import WEIGHTED, is_pixel_shift, why_float
from edgeconv.export.quant.ranges import choose_ranges, conflicts, fixed_scales
from edgeconv.export.quant.recipe import Activation, Form, Recipe
from edgeconv.export.quant.report import NoiseProbe, layer_notes
from edgeconv.export.quant.stream import run_quantized
from edgeconv.export.quant.workspace import Workspace

MOST_LEARNT = 100
"""Pictures that layers are fitted on; ranges use all that are given."""
MOST_HELD = 200
"""Pictures that judge."""
HELD_EVERY = 5


@dataclass(frozen=True)
class Quantized:
    """The graph whose float weights the recipe stands for (equalized ones differ), and the recipe."""

    graph: Graph
    recipe: Recipe


@dataclass(frozen=True)
class _Task:
    """What every candidate shares.

    Candidates are fitted on the first ``learnt`` pictures of ``workspace`` and the picked one, at last,
    on the first ``again``.
    """

    graph: Graph
    seen: Observation
    workspace: Workspace
    learnt: int
    again: int
    held: Feeds
    wanted: Mapping[str, Floats]
    fixed: Mapping[str, Activation]
    floats: Mapping[str, str]
    threads: int
    limit: int
    ranges: dict[tuple[bool, str, Form], dict[str, Activation]] = field(default_factory=dict)


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
    reduce_range: bool = False,
) -> Quantized:
    """Return the INT8 recipe of a prepared graph.

    ``feeds`` are calibration samples, input name -> float32 (1, ...). ``input_scale`` holds the
    prescribed (scale, zero point) of exactly stored pixels. ``keep_float`` names nodes that stay
    in float. ``form`` prescribes a form instead of letting held-out pictures judge.
    ``reduce_range`` keeps weights in [-63, 63], for x86 without VNNI. ``progress`` is called
    with the share of the work done. The same arguments give the same recipe.

    Raises UsageError for an unknown recipe or node, EdgeconvError where there are no feeds or a
    value is not finite.
    """
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe}: {', '.join(RECIPES)} or a .json file")
    _check_feeds(graph, feeds)
    floats = float_nodes(graph, keep_float, input_scale or {})
    with one_blas_thread():
        report = progress or (lambda _: None)
        limit = 63 if reduce_range else 127
        task = _observe(graph, feeds, input_scale or {}, floats, threads, limit, report)
        return _compete(task, RECIPES[recipe], recipe, form, lambda p: report(0.3 + 0.7 * p))


def split(feeds: Feeds) -> tuple[Feeds, Feeds]:
    """Return the pictures to learn from and those that judge: every fifth, evenly thinned out.

    With fewer than HELD_EVERY pictures both are all of them.
    """
    everything = list(feeds)
    if len(everything) < HELD_EVERY:
        return everything, everything
    held = everything[HELD_EVERY - 1 :: HELD_EVERY]
    learnt = [feed for i, feed in enumerate(everything) if i % HELD_EVERY != HELD_EVERY - 1]
    return _thinned(learnt, MOST_LEARNT), _thinned(held, MOST_HELD)


def _thinned(feeds: Feeds, most: int) -> Feeds:
    places = np.linspace(0, len(feeds) - 1, min(most, len(feeds))).round().astype(int)
    return [feeds[i] for i in places]


def _observe(
    graph: Graph,
    feeds: Feeds,
    input_scale: Mapping[str, tuple[float, int]],
    floats: Mapping[str, str],
    threads: int,
    limit: int,
    report: Progress,
) -> _Task:
    learnt, held = split(feeds)
    chosen = {id(feed) for feed in [*learnt, *held]}
    apart = [feed for feed in held if not any(feed is other for other in learnt)]
    rest = [feed for feed in feeds if id(feed) not in chosen]
    again = [*learnt, *apart][:MOST_LEARNT]
    summed = {
        node.inputs[0] for node in graph.nodes if node.op in WEIGHTED and node.name not in floats
    }
    seen = observe(
        graph,
        [*learnt, *apart, *rest],
        summed=summed,
        counts={len(learnt), len(again)},
        threads=threads,
        progress=lambda p: report(0.3 * p),
    )
    start = len(learnt) if apart else 0
    wanted = {name: rows[start : start + len(held)] for name, rows in seen.outputs.items()}
    fixed = fixed_scales(graph, input_scale, frozenset(floats))
    workspace = Workspace(again)
    return _Task(
        graph, seen, workspace, len(learnt), len(again), held, wanted, fixed, floats, threads, limit
    )


def _compete(
    task: _Task,
    candidates: Sequence[Candidate],
    name: str,
    form: Form | None,
    report: Progress,
) -> Quantized:
    """Fit every candidate in one form, the best one in the other too, and return what is picked."""
    first: Form = form or "zero-point-free"
    inside = frozenset(task.floats)
    equalized = (task.graph, task.seen)
    if any(candidate.equalize for candidate in candidates):
        equalized = equalize(task.graph, task.seen, inside)
        if equalized[0] is task.graph:
            candidates = [c for c in candidates if not c.equalize]
    total = len(candidates) + (form is None) + 1
    made: list[tuple[Candidate, Quantized, Score]] = []

    def fit(candidate: Candidate, in_form: Form) -> tuple[Candidate, Quantized, Score]:
        graph, seen = equalized if candidate.equalize else (task.graph, task.seen)
        start = len(made) / total
        recipe = _fit(task, graph, seen, candidate, in_form, lambda p: report(start + p / total))
        got = run_recipe(graph, recipe, task.held, task.threads)
        entry = (candidate, Quantized(graph, recipe), score(graph, task.wanted, got))
        made.append(entry)
        return entry

    for candidate in candidates:
        fit(candidate, first)
    picked = made[best([entry[2] for entry in made])]
    why = None
    if form is None:
        other = fit(picked[0], "asymmetric")
        why = form_is_too_dear(picked[2], other[2])
        if why is not None:
            picked = other
    candidate, done, _ = picked
    seen = equalized[1] if candidate.equalize else task.seen
    recipe = _fit_at_last(task, done.graph, seen, candidate, done.recipe.form)
    notes = {**_notes(task, made, picked, why), **recipe.notes}
    report(1.0)
    return Quantized(done.graph, replace(recipe, name=name, notes=notes))


def _start(
    task: _Task, graph: Graph, seen: Observation, candidate: Candidate, form: Form
) -> tuple[Recipe, LayerFit]:
    """Return the recipe without weights, and what gives them."""
    key = (candidate.equalize, candidate.ranges, form)
    if key not in task.ranges:
        task.ranges[key] = choose_ranges(
            graph,
            seen,
            form=form,
            method=candidate.ranges,
            fixed=task.fixed,
            float_nodes=frozenset(task.floats),
        )
    activations = task.ranges[key]
    start = Recipe(candidate.name, form, activations, {}, tuple(task.floats))
    return start, LayerFit(graph, seen, activations, candidate.rounding, candidate.bias, task.limit)


def _fit(
    task: _Task,
    graph: Graph,
    seen: Observation,
    candidate: Candidate,
    form: Form,
    report: Progress,
) -> Recipe:
    start, fit = _start(task, graph, seen, candidate, form)
    if not fit.needs_pictures:
        nodes = [n for n in graph.nodes if n.op in WEIGHTED and n.name not in task.floats]
        return replace(start, weights={node.name: fit(node, None) for node in nodes})
    return run_quantized(
        graph, start, task.learnt, fit, task.workspace, threads=task.threads, progress=report
    )


def _fit_at_last(
    task: _Task, graph: Graph, seen: Observation, candidate: Candidate, form: Form
) -> Recipe:
    """Fit on more pictures, with figures for every layer."""
    start, fit = _start(task, graph, seen, candidate, form)
    probe = NoiseProbe(seen, start.activations)
    recipe = run_quantized(
        graph, start, task.again, fit, task.workspace, threads=task.threads, inspect=probe
    )
    return replace(recipe, notes={"layers": layer_notes(graph, recipe, seen, probe.noise)})


def _notes(
    task: _Task,
    made: Sequence[tuple[Candidate, Quantized, Score]],
    picked: tuple[Candidate, Quantized, Score],
    why: str | None,
) -> dict[str, Any]:
    rows = [{"candidate": c.name, "form": q.recipe.form, **s.as_notes()} for c, q, s in made]
    return {
        "picked": picked[0].name,
        "why": f"the smallest loss to float on {len(task.held)} held-out pictures",
        "form": why or "zero points are not needed",
        "candidates": rows,
        "pictures": {
            "observed": task.seen.pictures,
            "learnt": task.again,
            "held_out": len(task.held),
        },
        "float": dict(task.floats),
        "stability": stability(task.seen),
    }


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
    fixed = fixed_scales(graph, input_scale or {}, frozenset(found))
    for name, reason in conflicts(graph, fixed).items():
        found.setdefault(name, reason)
    return {
        node.name: found[node.name]
        for node in graph.nodes
        if node.name in found and not is_pixel_shift(graph, node)
    }
