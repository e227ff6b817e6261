"""A sweep from its job to its report: export, evaluate in shards, time alone, judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv import __version__
from edgeconv.deps import version_of
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.targets import TARGETS, packages
from edgeconv.files import digest
from edgeconv.machine import describe
from edgeconv.models.specs import SPECS
from edgeconv.sweep.adaptive import HALVING, WHOLE, Rung, narrow
from edgeconv.sweep.choose import Point
from edgeconv.sweep.data import Evaluation, choose
from edgeconv.sweep.engine import Engine, Outcome, Task, kept_result, run_here
from edgeconv.sweep.forms import MISSING, Form, Impossible, expand
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.sweep.progress import Progress, Say
from edgeconv.sweep.results import Cell, SweepReport, budgets_of
from edgeconv.sweep.specs import bench_spec, export_spec, shard_specs

RESULTS = 4
"""Form of what tasks answer: results of another form are made anew."""


def sweep(job: Job, inputs: Inputs, engine: Engine, say: Say) -> SweepReport:
    """Run ``job`` on ``engine``; what the store holds already is not made again.

    An interrupt gives a partial report of what is done. Raises UsageError or EdgeconvError for a job
    that cannot be.
    """
    forms, impossible = expand(job)
    _refuse_nothing(job, forms, impossible)
    state = _State(job, inputs, engine, Progress(say), forms)
    cells = [
        Cell(form, threads, place)
        for form in forms
        for threads in job.threads
        for place in places(job)
    ]
    partial = False
    try:
        state.export()
        for cell in cells:
            state.settle(cell)
        state.narrow([cell for cell in cells if cell.path is not None])
    except KeyboardInterrupt:
        partial = True
    finally:
        engine.close()
    cells += [_impossible(item) for item in impossible]
    return SweepReport(
        job,
        cells,
        state.truth,
        state.pictures,
        describe().to_json(),
        state.versions,
        partial,
        state.progress.done - state.progress.kept,
        state.progress.kept,
        state.progress.seconds,
        state.progress.worked,
    )


def places(job: Job) -> tuple[str, ...]:
    """Return where cells are timed: here, or on every board that is named."""
    return job.device or ("",)


def _refuse_nothing(job: Job, forms: Sequence[Form], impossible: Sequence[Impossible]) -> None:
    """Raise UsageError where no form can be made at all."""
    if forms or not impossible:
        return
    first = impossible[0]
    if (
        job.weights is not None
        and "{" in job.weights
        and all(i.reason.endswith(MISSING) for i in impossible)
    ):
        raise UsageError(
            f"--weights {job.weights} names no file that is there (the first: {first.form.weights})"
        )
    more = f"; {len(impossible) - 1} more: --dry-run lists them" if len(impossible) > 1 else ""
    raise UsageError(f"nothing can be made: {first.form.label}: {first.reason}{more}")


def _impossible(item: Impossible) -> Cell:
    return Cell(item.form, 1, error=item.reason, impossible=True)


class _State:
    """What a running sweep knows: results of exports by form and target, evaluations by file."""

    def __init__(
        self, job: Job, inputs: Inputs, engine: Engine, progress: Progress, forms: Sequence[Form]
    ) -> None:
        self.job, self.inputs, self.engine, self.progress = job, inputs, engine, progress
        self.forms = forms
        self.versions = {
            "edgeconv": __version__,
            "results": RESULTS,
            **{name: version_of(name) for name in packages(TARGETS)},
        }
        self.exported: dict[Form, tuple[Path, Mapping[str, Any]] | str] = {}
        self.answers: dict[str, list[bool]] = {}
        bundled = all(form.net in SPECS and form.weights in (None, "bundled") for form in forms)
        self.evaluation: Evaluation | None = choose(job, inputs, bundled=bundled and bool(forms))
        self.truth = self.evaluation is not None and self.evaluation.truth != ""
        self.pictures = 0 if self.evaluation is None else self.evaluation.count

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        self.progress.added(len(tasks))
        for task in tasks:
            self.engine.submit(task)
        for outcome in self.engine.outcomes():
            self.progress.ended(outcome)
            yield outcome

    def export(self) -> None:
        """Export every form: the targets that share trace, calibration and recipe together."""
        groups: dict[Form, list[str]] = {}
        for form in self.forms:
            groups.setdefault(form.without_target(), []).append(form.target)
        tasks = {
            id(task): (group, task)
            for group, targets in groups.items()
            for task in [
                Task("export", export_spec(self.job, self.inputs, group, targets), self.versions)
            ]
        }
        by_key = {task.key: group for group, task in tasks.values()}
        alone: list[Task] = []
        for outcome in self.outcomes([task for _, task in tasks.values()]):
            group, targets = by_key[outcome.task.key], outcome.task.spec["targets"]
            if outcome.error is not None and len(targets) > 1:
                for target in targets:  # one target's refusal says nothing of the others
                    task = Task(
                        "export", export_spec(self.job, self.inputs, group, [target]), self.versions
                    )
                    by_key[task.key] = group
                    alone.append(task)
                continue
            self._exported(group, outcome)
        for outcome in self.outcomes(alone):
            self._exported(by_key[outcome.task.key], outcome)

    def _exported(self, group: Form, outcome: Outcome) -> None:
        place = self.engine.store.place(outcome.task.key)
        for target in outcome.task.spec["targets"]:
            form = replace(group, target=target)
            if outcome.result is None:
                self.exported[form] = outcome.error or "not exported"
            elif target in outcome.result["artifacts"]:
                self.exported[form] = (place, outcome.result["artifacts"][target])
            else:
                self.exported[form] = outcome.result["refused"].get(target, "not written")

    def settle(self, cell: Cell) -> None:
        """Write into ``cell`` what its export found."""
        found = self.exported.get(cell.form, "not exported")
        if isinstance(found, str):
            cell.error = found
            return
        place, artifact = found
        path = place / artifact["file"]
        cell.path = path.relative_to(self.engine.store.folder.parent).as_posix()
        cell.bytes, cell.sha256 = artifact["bytes"], digest(path)
        missed = [finding["text"] for finding in artifact["verification"]["missed"]]
        cell.missed = "; ".join(missed) or None
        cell.within = cell.missed is None

    def _file(self, cell: Cell) -> Path:
        assert cell.path is not None
        return self.engine.store.folder.parent / cell.path

    def narrow(self, cells: Sequence[Cell]) -> None:
        """Measure ``cells``: all of them whole, or with --adaptive those that may still be the answer."""

        def measure(live: Sequence[int], rung: Rung) -> list[Point | None]:
            for place in set(range(len(cells))).difference(live):
                cells[place].dropped = True
            self.measure([cells[place] for place in live], rung)
            return [cells[place].point() for place in live]

        rungs = HALVING if self.job.adaptive else WHOLE
        narrow(len(cells), self.pictures, budgets_of(self.job), rungs, measure)

    def measure(self, cells: Sequence[Cell], rung: Rung) -> None:
        """Evaluate every cell on the pictures of ``rung``, and time it for as long as that says.

        Boards time beside the evaluations; this machine after all other work, a cell at a time.
        """
        machine = describe().to_json()
        benches: dict[int, Task] = {}
        for cell in cells if self.job.bench and rung.seconds else ():
            cell.timing = None  # of a shorter one, while this one is not there yet
            spec = bench_spec(
                self.inputs,
                self._file(cell),
                cell.threads,
                self.job.seconds * rung.seconds,
                cell.place,
                machine,
            )
            benches[id(cell)] = Task("bench", spec, self.versions)
        shards = self._shards(cells, rung.pictures)
        tasks = [task for parts in shards.values() for task in parts]
        tasks += [task for task in benches.values() if task.board is not None]
        done = {outcome.task.key: outcome for outcome in self.outcomes(tasks)}
        for cell in cells:
            cell.correct = _merged([done.get(t.key) for t in shards.get(str(cell.sha256), ())])
            if id(cell) in benches and cell.place:
                self._timed(cell, done[benches[id(cell)].key])
        for cell in cells:
            if id(cell) in benches and not cell.place:
                self._time_here(cell, benches[id(cell)])

    def _time_here(self, cell: Cell, task: Task) -> None:
        self.progress.added()
        if self._file(cell).suffix == ".mlpackage":
            cell.untimed = "Core ML is timed on a Mac"
            self.progress.ended(Outcome(task, {}))
            return
        kept = kept_result(self.engine.store, task)
        outcome = kept or run_here(task, self.engine.store, self.inputs)
        self.progress.ended(outcome)
        self._timed(cell, outcome)

    @staticmethod
    def _timed(cell: Cell, outcome: Outcome) -> None:
        cell.timing, cell.untimed = outcome.result, outcome.error

    def _shards(self, cells: Sequence[Cell], share: float) -> dict[str, list[Task]]:
        """Return the evaluations of every file, by its hash."""
        evaluation = self.evaluation
        if evaluation is None:
            return {}
        count = max(1, round(evaluation.count * share))
        ends = {*range(0, count, self.job.shard), count, *self._rung_edges(evaluation, count)}
        tasks: dict[str, list[Task]] = {}
        for cell in cells:
            if str(cell.sha256) not in tasks:
                specs = shard_specs(self.inputs, self._file(cell), evaluation, sorted(ends))
                tasks[str(cell.sha256)] = [Task("evaluate", s, self.versions) for s in specs]
        return tasks

    def _rung_edges(self, evaluation: Evaluation, count: int) -> list[int]:
        """Cut where earlier rungs ended, so that what they evaluated is not evaluated again."""
        if not self.job.adaptive:
            return []
        ends = [max(1, round(evaluation.count * rung.pictures)) for rung in HALVING]
        return [end for end in ends if end < count]


def _merged(shards: Sequence[Outcome | None]) -> list[bool] | None:
    """Join the shards of one file in order; None where there is none, one failed, or it is no classifier."""
    correct: list[bool] = []
    if not shards:
        return None
    for shard in shards:
        if shard is None or shard.result is None or not shard.result["classifier"]:
            return None
        pairs = zip(shard.result["predicted"], shard.result["wanted"], strict=True)
        correct += [mine == right for mine, right in pairs]
    return correct


def check_output(output: Path) -> None:
    """Raise where ``output`` cannot be the folder of a sweep."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; a sweep writes a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / "cells").is_dir():
        raise EdgeconvError(f"--output {output} holds other files: name an empty or a new folder")
