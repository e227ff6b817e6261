"""Fit every candidate of a recipe on most of the pictures and let the others pick."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, TypeVar

from edgeconv.export.graph import Graph
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.quant.calibration import stability
from edgeconv.export.quant.candidates import Candidate
from edgeconv.export.quant.equalize import equalize
from edgeconv.export.quant.fit import LayerFit
from edgeconv.export.quant.judge import Score, best, form_is_too_dear, run_recipe, score
from edgeconv.export.quant.observe import Feeds, Floats, Observation, Progress
from edgeconv.export.quant.ranges import choose_ranges
from edgeconv.export.quant.report import NoiseProbe, layer_notes
from edgeconv.export.quant.stream import run_quantized
from edgeconv.export.quant.workspace import Workspace
from edgeconv.recipe import Activation, Form, Recipe

FORMS: tuple[Form, Form] = ("zero-point-free", "asymmetric")
T = TypeVar("T")
R = TypeVar("R")
_Fit = tuple[Candidate, Form, int]


@dataclass(frozen=True)
class Quantized:
    """The graph whose float weights the recipe stands for (equalized ones differ), and the recipe."""

    graph: Graph
    recipe: Recipe


@dataclass(frozen=True)
class Task:
    """What every candidate shares.

    ``pictures`` are those that fit and those that judge, as ``seen`` has them first. Candidates are
    fitted on the first ``learnt`` and judged on ``held``; what is picked is fitted on the first
    ``again``. ``limit`` is the largest integer of a weight.
    """

    graph: Graph
    seen: Observation
    pictures: Feeds
    learnt: int
    again: int
    held: slice
    fixed: Mapping[str, Activation]
    floats: Mapping[str, str]
    threads: int
    limit: int


@dataclass(frozen=True)
class _Entry:
    candidate: Candidate
    made: Quantized
    score: Score


@dataclass
class Contest:
    """One task's candidates and what they share while they compete.

    ``quick``: the winner keeps what four fifths of the pictures made of it, for half the time.
    """

    task: Task
    candidates: Sequence[Candidate]
    report: Progress
    quick: bool = False
    entries: list[_Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        task = self.task
        self._workers = min(2, task.threads)
        self._threads = max(1, task.threads // self._workers)
        self._workspaces = SimpleQueue[Workspace]()
        for _ in range(self._workers):
            self._workspaces.put(Workspace(task.pictures[: max(task.learnt, task.again)]))
        self._ranges: dict[tuple[bool, str, Form], dict[str, Activation]] = {}
        self._equalized: tuple[Graph, Observation] = (task.graph, task.seen)
        self._factors: dict[str, Floats] = {}
        if any(candidate.equalize for candidate in self.candidates):
            graph, seen, self._factors = equalize(task.graph, task.seen, frozenset(task.floats))
            self._equalized = graph, seen
            if not self._factors:
                self.candidates = [c for c in self.candidates if not c.equalize]
        self._done: dict[_Fit, float] = {}
        self._made: dict[_Fit, Quantized] = {}

    def run(self, name: str, form: Form | None) -> Quantized:
        """Return the best candidate, in ``form`` or the form that its scores ask for."""
        first: Form = form or "zero-point-free"
        learnt = self.task.learnt
        if self.quick:  # the form's two fits side by side, with the figures of the last fit
            sure = [(self.candidates[0], f, learnt) for f in ((form,) if form else FORMS)]
            self._together(self._fit_at_last, sure)
        self.entries = self._together(
            lambda c: self._entry(c, self._fit(c, first, learnt, None), self.task.held),
            self.candidates,
        )
        picked = self.entries[best([entry.score for entry in self.entries])].candidate
        chosen, why = self._settle_form(picked, form)
        notes = {**self._notes(picked, why), **chosen.recipe.notes}
        self.report(1.0)
        return replace(chosen, recipe=replace(chosen.recipe, name=name, notes=notes))

    def _settle_form(self, candidate: Candidate, form: Form | None) -> tuple[Quantized, str]:
        """Fit the winner at last; in both forms where none is prescribed, judged on all pictures."""
        count = self.task.learnt if self.quick else self.task.again
        if form is not None:
            return self._fit_at_last((candidate, form, count)), "prescribed"
        entries = self._together(
            lambda fit: self._entry(candidate, self._fit_at_last(fit).recipe, slice(None)),
            [(candidate, other, count) for other in FORMS],
        )
        free, asymmetric = entries
        why = form_is_too_dear(free.score, asymmetric.score)
        if why is None:
            return free.made, "zero points are not needed"
        return asymmetric.made, why

    def _together(self, work: Callable[[T], R], jobs: Sequence[T]) -> list[R]:
        """Do jobs two at a time: one fit alone keeps no second processor busy."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(work, jobs))

    def _graph(self, candidate: Candidate) -> tuple[Graph, Observation]:
        return self._equalized if candidate.equalize else (self.task.graph, self.task.seen)

    def _entry(self, candidate: Candidate, recipe: Recipe, judges: slice) -> _Entry:
        task, (graph, _) = self.task, self._graph(candidate)
        got = run_recipe(graph, recipe, task.pictures[judges], self._threads)
        rows = len(task.pictures)
        wanted = {name: made[:rows][judges] for name, made in task.seen.outputs.items()}
        return _Entry(candidate, Quantized(graph, recipe), score(graph, wanted, got))

    def _fit_at_last(self, fit: _Fit) -> Quantized:
        """Fit with figures for every layer, once."""
        if fit not in self._made:
            candidate, form, count = fit
            graph, seen = self._graph(candidate)
            probe = NoiseProbe(seen, self._activations(candidate, form))
            recipe = self._fit(candidate, form, count, probe)
            layers = layer_notes(graph, recipe, seen, probe.noise)
            self._made[fit] = Quantized(graph, replace(recipe, notes={"layers": layers}))
        return self._made[fit]

    def _fit(
        self, candidate: Candidate, form: Form, count: int, probe: NoiseProbe | None
    ) -> Recipe:
        if probe is None and (candidate, form, count) in self._made:
            return self._made[candidate, form, count].recipe
        task, (graph, seen) = self.task, self._graph(candidate)
        activations = self._activations(candidate, form)
        factors = self._factors if candidate.equalize else {}
        recipe = Recipe(
            candidate.name, form, activations, {}, tuple(task.floats), equalized=factors
        )
        fit = LayerFit(graph, seen, activations, candidate.rounding, candidate.bias, task.limit)
        if probe is None and not candidate.needs_pictures:
            nodes = [n for n in graph.nodes if n.op in WEIGHTED and n.name not in task.floats]
            return replace(recipe, weights={node.name: fit(node, None) for node in nodes})
        workspace = self._workspaces.get()
        try:
            return run_quantized(
                graph,
                recipe,
                count,
                fit,
                workspace,
                refine=fit.refined if candidate.bias == "after" else None,
                threads=self._threads,
                inspect=probe or (lambda _name, _stored: None),
                progress=lambda part: self._progress((candidate, form, count), part),
            )
        finally:
            self._workspaces.put(workspace)

    def _progress(self, fit: _Fit, part: float) -> None:
        self._done[fit] = part
        self.report(min(1.0, sum(self._done.values()) / (len(self.candidates) + 2)))

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
            )
        return self._ranges[key]

    def _notes(self, picked: Candidate, why: str) -> dict[str, Any]:
        task = self.task
        held = len(task.pictures[task.held])
        return {
            "picked": picked.name,
            "why": f"nothing came closer to float on {held} held-out pictures, chance apart",
            "form": why,
            "candidates": [
                {"candidate": e.candidate.name, "form": e.made.recipe.form, **e.score.as_notes()}
                for e in self.entries
            ],
            "pictures": {
                "observed": task.seen.pictures,
                "learnt": task.learnt if self.quick else task.again,
                "held_out": held,
            },
            "float": dict(task.floats),
            "stability": stability(task.seen),
        }
