"""Fit every candidate of a recipe on most of the pictures and let the others pick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgeconv.export.graph import Graph
from edgeconv.export.quant.calibration import stability
from edgeconv.export.quant.candidates import Candidate
from edgeconv.export.quant.equalize import equalize
from edgeconv.export.quant.fit import LayerFit
from edgeconv.export.quant.judge import Score, best, form_is_too_dear, run_recipe, score
from edgeconv.export.quant.observe import Feeds, Floats, Observation, Progress
from edgeconv.export.quant.ops import WEIGHTED
from edgeconv.export.quant.ranges import choose_ranges
from edgeconv.export.quant.recipe import Activation, Form, Recipe
from edgeconv.export.quant.report import NoiseProbe, layer_notes
from edgeconv.export.quant.stream import run_quantized
from edgeconv.export.quant.workspace import Workspace


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
    """One task's candidates and what they share while they compete."""

    task: Task
    candidates: Sequence[Candidate]
    report: Progress
    entries: list[_Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        task = self.task
        self._workspace = Workspace(task.pictures)
        self._ranges: dict[tuple[bool, str, Form], dict[str, Activation]] = {}
        self._equalized: tuple[Graph, Observation] = (task.graph, task.seen)
        self._factors: dict[str, Floats] = {}
        if any(candidate.equalize for candidate in self.candidates):
            graph, seen, self._factors = equalize(task.graph, task.seen, frozenset(task.floats))
            self._equalized = graph, seen
            if not self._factors:
                self.candidates = [c for c in self.candidates if not c.equalize]
        self._fits, self._all = 0, len(self.candidates) + 2

    def run(self, name: str, form: Form | None) -> Quantized:
        """Return the best candidate, in ``form`` or the form that its scores ask for."""
        first: Form = form or "zero-point-free"
        for candidate in self.candidates:
            recipe = self._fit(candidate, first, self.task.learnt, None)
            self.entries.append(self._entry(candidate, recipe, self.task.held))
        picked = self.entries[best([entry.score for entry in self.entries])].candidate
        chosen, why = self._settle_form(picked, form)
        notes = {**self._notes(picked, why), **chosen.recipe.notes}
        self.report(1.0)
        return replace(chosen, recipe=replace(chosen.recipe, name=name, notes=notes))

    def _settle_form(self, candidate: Candidate, form: Form | None) -> tuple[Quantized, str]:
        """Fit the winner at last; in both forms where none is prescribed, judged on all pictures."""
        if form is not None:
            return self._fit_at_last(candidate, form), "prescribed"
        entries = []
        for other in ("zero-point-free", "asymmetric"):
            made = self._fit_at_last(candidate, other)
            entries.append(self._entry(candidate, made.recipe, slice(None)))
        free, asymmetric = entries
        why = form_is_too_dear(free.score, asymmetric.score)
        if why is None:
            return free.made, "zero points are not needed"
        return asymmetric.made, why

    def _graph(self, candidate: Candidate) -> tuple[Graph, Observation]:
        return self._equalized if candidate.equalize else (self.task.graph, self.task.seen)

    def _entry(self, candidate: Candidate, recipe: Recipe, judges: slice) -> _Entry:
        task, (graph, _) = self.task, self._graph(candidate)
        got = run_recipe(graph, recipe, task.pictures[judges], task.threads)
        rows = len(task.pictures)
        wanted = {name: made[:rows][judges] for name, made in task.seen.outputs.items()}
        return _Entry(candidate, Quantized(graph, recipe), score(graph, wanted, got))

    def _fit_at_last(self, candidate: Candidate, form: Form) -> Quantized:
        """Fit on more pictures, with figures for every layer."""
        graph, seen = self._graph(candidate)
        probe = NoiseProbe(seen, self._activations(candidate, form))
        recipe = self._fit(candidate, form, self.task.again, probe)
        layers = layer_notes(graph, recipe, seen, probe.noise)
        return Quantized(graph, replace(recipe, notes={"layers": layers}))

    def _fit(
        self, candidate: Candidate, form: Form, count: int, probe: NoiseProbe | None
    ) -> Recipe:
        task, (graph, seen) = self.task, self._graph(candidate)
        activations = self._activations(candidate, form)
        factors = self._factors if candidate.equalize else {}
        recipe = Recipe(
            candidate.name, form, activations, {}, tuple(task.floats), equalized=factors
        )
        fit = LayerFit(graph, seen, activations, candidate.rounding, candidate.bias, task.limit)
        start, self._fits = self._fits / self._all, self._fits + 1
        if probe is None and not fit.needs_pictures:
            nodes = [n for n in graph.nodes if n.op in WEIGHTED and n.name not in task.floats]
            return replace(recipe, weights={node.name: fit(node, None) for node in nodes})
        return run_quantized(
            graph,
            recipe,
            count,
            fit,
            self._workspace,
            refine=fit.refined,
            threads=task.threads,
            inspect=probe or (lambda _name, _stored: None),
            progress=lambda p: self.report(start + p / self._all),
        )

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
                "learnt": task.again,
                "held_out": held,
            },
            "float": dict(task.floats),
            "stability": stability(task.seen),
        }
