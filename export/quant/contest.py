"""Fit every candidate of a recipe on most of the pictures and let the others pick."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeconv.ahead import Beside, Tick
from edgeconv.export.graph import Graph
from edgeconv.export.integer.free_form import held_without, stored_free
from edgeconv.export.quant.calibration import stability
from edgeconv.export.quant.candidates import Candidate
from edgeconv.export.quant.equalize import equalize
from edgeconv.export.quant.fit import LayerFit, MeanOutputs, Rounding, same_integers
from edgeconv.export.quant.judge import (
    NEAR_DB,
    Score,
    best,
    decibels,
    form_is_too_dear,
    judging,
    run_recipe,
    score,
)
from edgeconv.export.quant.observe import Floats, Observation, Progress
from edgeconv.export.quant.ranges import choose_ranges
from edgeconv.export.quant.report import layer_figures
from edgeconv.export.quant.rescaled import rescaled
from edgeconv.export.quant.stream import run_quantized
from edgeconv.export.quant.task import Quantized, Task
from edgeconv.export.quant.workspace import Workspace
from edgeconv.export.quant.zero_points import kept_zero_points
from edgeconv.recipe import FREE, Activation, Form, Recipe, Weights

LATE_DB = 1.0
"""So near to the best must plain rounding come for a late candidate to be tried."""
FORMS: tuple[Form, Form] = ("zero-point-free", "asymmetric")
T = TypeVar("T")
R = TypeVar("R")
_Fit = tuple[Candidate, Form]


@dataclass(frozen=True)
class _Entry:
    candidate: Candidate
    made: Quantized
    score: Score


@dataclass
class Contest:
    """One task's candidates and what they share while they compete.

    Each is fitted once in a form, and what was judged is what is returned: a second fit, on more
    pictures, would be another draw of the noise that the judgement was about.
    """

    task: Task
    candidates: Sequence[Candidate]
    report: Progress
    entries: list[_Entry] = field(default_factory=list)
    free: list[_Entry] = field(default_factory=list)
    """What was fitted without zero points, where the form that has them was chosen."""

    def __post_init__(self) -> None:
        task = self.task
        self._workers = min(2, task.threads)
        self._threads = max(1, task.threads // self._workers)
        self._workspaces = SimpleQueue[Workspace]()
        for _ in range(self._workers):
            self._workspaces.put(Workspace(task.pictures[: task.learnt]))
        self._ranges: dict[tuple[bool, str, Form], dict[str, Activation]] = {}
        self._equalized: tuple[Graph, Observation] = (task.graph, task.seen)
        self._factors: dict[str, Floats] = {}
        if any(candidate.equalize for candidate in self.candidates):
            graph, seen, self._factors = equalize(task.graph, task.seen, frozenset(task.floats))
            self._equalized = graph, seen
            if not self._factors:
                self.candidates = [c for c in self.candidates if not c.equalize]
        floats, first = frozenset(task.floats), self._graph(self.candidates[0])
        self._rescaled = rescaled(*first, task.pictures, task.fixed, floats, task.threads)
        self._done: dict[_Fit, float] = {}
        self._wanted: tuple[MeanOutputs, MeanOutputs] = {}, {}
        self._stopping = Event()

    def run(self, name: str, form: Form | None) -> Quantized:
        """Return the best candidate, in ``form`` or the form that its scores ask for."""
        with Beside(self._workers - 1) as beside:
            return self._run(name, form, beside)

    def _run(self, name: str, form: Form | None, beside: Beside) -> Quantized:
        form, why, entries = self._form(form)
        # what came first is mostly picked, and one processor has nothing else to do
        frees = {e.candidate: beside.begin(partial(self._for_free, e)) for e in entries}
        figures = {e.candidate: beside.begin(partial(self._figures, e)) for e in entries}
        early = [c for c in self.candidates if not c.late and c not in frees]
        entries += self._together(self._entry, [(c, form) for c in early])
        least = min(entry.score.noise for entry in entries)
        if decibels(entries[-1].score.noise, least) < LATE_DB:
            entries += self._together(self._entry, [(c, form) for c in self.candidates if c.late])
        entries.sort(key=lambda entry: self.candidates.index(entry.candidate))
        self.entries = entries
        unclipped = [i for i, e in enumerate(entries) if e.candidate.ranges == "minmax"]
        picked = entries[best([entry.score for entry in entries], unclipped)]
        if picked.candidate not in frees:
            frees[picked.candidate] = beside.begin(partial(self._for_free, picked))
            figures[picked.candidate] = beside.begin(partial(self._figures, picked))
        recipe = frees[picked.candidate].result()
        layers, spread = figures[picked.candidate].result()
        notes = {**self._notes(picked, why, layers), **recipe.notes, "histograms": spread}
        self.report(1.0)
        return replace(picked.made, recipe=replace(recipe, name=name, notes=notes))

    def _form(self, form: Form | None) -> tuple[Form, str, list[_Entry]]:
        """Return the form, why, and the first candidate in it, which decides where none is prescribed.

        It is fitted in both: integers of one form read by the steps of the other are up to 8 dB worse.
        """
        first = self.candidates[0]
        if form is not None:
            return form, "prescribed", []
        free, other = FORMS
        if self._activations(first, free) == self._activations(first, other):
            return free, "zero points are not needed", []
        entries = self._together(self._entry, [(first, free), (first, other)])
        dear = form_is_too_dear(entries[0].score, entries[1].score)
        if dear is None:
            return free, "zero points are not needed", entries[:1]
        self.free = entries[:1]
        return other, dear, entries[1:]

    def seen(self, made: Quantized) -> Observation:
        """Return what the float net did in the graph that ``made`` speaks of."""
        return self._equalized[1] if made.recipe.equalized else self.task.seen

    def _together(self, work: Callable[[T], R], jobs: Sequence[T]) -> list[R]:
        """Do jobs two at a time: one fit alone keeps no second processor busy.

        Where one fails, or Ctrl-C is pressed, the others end with the layer they are at.
        """
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                return list(pool.map(work, jobs))
            except BaseException:
                self._stopping.set()
                raise

    def _graph(self, candidate: Candidate) -> tuple[Graph, Observation]:
        return self._equalized if candidate.equalize else (self.task.graph, self.task.seen)

    def _entry(self, fit: _Fit) -> _Entry:
        """Give a candidate its integers in a form, and judge it."""
        task, (candidate, form) = self.task, fit
        graph, _ = self._graph(candidate)
        activations = self._activations(candidate, form)
        factors = self._factors if candidate.equalize else {}
        recipe = Recipe(
            candidate.name, form, activations, {}, tuple(task.floats), equalized=factors
        )
        layers = self._layers(candidate, activations, candidate.rounding, {})
        if candidate.needs_pictures:
            recipe = self._fit(recipe, layers, lambda p: self._progress(fit, p))
        else:
            recipe = replace(recipe, weights=layers.without_pictures(recipe))
        return self._judged(candidate, graph, recipe)

    def _judged(self, candidate: Candidate, graph: Graph, recipe: Recipe) -> _Entry:
        """Score a recipe on the last pictures: those held out, and some that were fitted on."""
        return _Entry(candidate, Quantized(graph, recipe), self._score(graph, recipe))

    def _score(self, graph: Graph, recipe: Recipe, free: bool = False) -> Score:
        """``free``: rounded as a file without zero points rounds."""
        task = self.task
        start = max(0, len(task.pictures) - judging(task.graph))
        got = run_recipe(graph, recipe, task.pictures[start:], self._threads, free=free)
        rows = slice(start, len(task.pictures))
        wanted = {name: values[rows] for name, values in task.seen.outputs.items()}
        return score(graph, wanted, got)

    def _for_free(self, entry: _Entry, tick: Tick) -> Recipe:
        """Return the entry's recipe with what a file without zero points has of its own."""
        made, recipe = entry.made, entry.made.recipe
        if recipe.form == FREE:
            return recipe
        recipe = replace(recipe, free_bias=self._free_bias(entry, tick))

        def measured(kept: tuple[str, ...]) -> float:
            held = held_without(made.graph, replace(recipe, free_zero_points=kept))
            return self._score(made.graph, held, free=True).noise

        kept = kept_zero_points(made.graph, recipe, self.seen(made), measured, entry.score.noise)
        if not kept:
            return recipe
        recipe = replace(recipe, free_zero_points=kept)
        again = replace(entry, made=replace(made, recipe=recipe))
        return replace(recipe, free_bias=self._free_bias(again, tick))

    def _free_bias(self, entry: _Entry, tick: Tick) -> dict[str, NDArray[np.float32]]:
        """Return the biases that the same integer weights want where a file takes no zero points.

        A fit in that form with the same integers serves as it is, though it rounded what Core ML reads as floats
        too: one fit more would cost `fast` a sixth of its time.
        """
        recipe, graph, candidate = entry.made.recipe, entry.made.graph, entry.candidate
        if candidate.bias == "none":
            return {}
        for fitted in () if recipe.free_zero_points else self.free:
            if fitted.candidate == candidate and same_integers(fitted.made.recipe, recipe):
                return {name: each.float_bias for name, each in fitted.made.recipe.weights.items()}
        read = {node.name: node.inputs[0] for node in graph.nodes}
        activations = stored_free(graph, recipe.with_form(FREE, read))
        layers = self._layers(candidate, activations, "nearest", recipe.weights)
        unfitted = replace(recipe, form=FREE, activations=activations, weights={})
        made = self._fit(unfitted, layers, tick)
        return {name: each.float_bias for name, each in made.weights.items()}

    def _layers(
        self,
        candidate: Candidate,
        activations: Mapping[str, Activation],
        rounding: Rounding,
        held: Mapping[str, Weights],
    ) -> LayerFit:
        graph, seen = self._graph(candidate)
        wanted, limit = self._wanted[candidate.equalize], self.task.limit
        return LayerFit(graph, seen, activations, rounding, candidate.bias, limit, held, wanted)

    def _fit(self, recipe: Recipe, layers: LayerFit, progress: Progress) -> Recipe:
        """Fix a candidate's integers layer by layer."""
        workspace = self._workspaces.get()
        try:
            return run_quantized(
                layers.graph,
                recipe,
                self.task.learnt,
                layers,
                workspace,
                refine=layers.refined if layers.bias == "after" else None,
                threads=self._threads,
                progress=progress,
            )
        finally:
            self._workspaces.put(workspace)

    def _progress(self, fit: _Fit, part: float) -> None:
        if self._stopping.is_set():
            raise CancelledError
        self._done[fit] = part
        self.report(min(1.0, sum(self._done.values()) / len(self.candidates)))

    def _activations(self, candidate: Candidate, form: Form) -> dict[str, Activation]:
        key = (candidate.equalize, candidate.ranges, form)
        if key not in self._ranges:
            graph, seen = self._graph(candidate)
            self._ranges[key] = choose_ranges(
                graph,
                seen,
                form=form,
                method=candidate.ranges,
                fixed=self.task.fixed,
                float_nodes=frozenset(self.task.floats),
                rescaled=self._rescaled,
            )
        return self._ranges[key]

    def _figures(self, entry: _Entry, _: Tick) -> tuple[dict[str, Any], dict[str, Any]]:
        task, made = self.task, entry.made
        return layer_figures(
            made.graph, made.recipe, self.seen(made), task.pictures, task.floats, task.threads
        )

    def _notes(self, picked: _Entry, why: str, layers: Mapping[str, Any]) -> dict[str, Any]:
        task, count = self.task, len(self.task.pictures)
        return {
            "picked": picked.candidate.name,
            "why": f"nothing came {NEAR_DB:g} dB closer to float, typically, on {count} pictures, {count - task.learnt} "
            "of them held out",
            "form": why,
            "candidates": [
                {"candidate": e.candidate.name, "form": e.made.recipe.form, **e.score.as_notes()}
                for e in self.entries
            ],
            "pictures": {
                "observed": task.seen.pictures,
                "learnt": task.learnt,
                "held_out": count - task.learnt,
            },
            "float": dict(task.floats),
            "stability": stability(task.seen),
            "layers": layers,
        }
