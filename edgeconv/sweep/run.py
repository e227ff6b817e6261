"""A sweep from its job to its report: export, evaluate in shards, time alone, judge."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv import __version__
from edgeconv.deps import version_of
from edgeconv.errors import EdgeconvError
from edgeconv.export.targets import TARGETS, packages
from edgeconv.files import digest
from edgeconv.machine import describe
from edgeconv.models.specs import SPECS
from edgeconv.sweep.boards import bench_there
from edgeconv.sweep.choose import Budgets, lost
from edgeconv.sweep.data import Evaluation, choose
from edgeconv.sweep.engine import Engine, Outcome, Task, run_here
from edgeconv.sweep.forms import Form, Impossible, expand
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.sweep.progress import Progress, Say
from edgeconv.sweep.results import Cell, SweepReport, budgets_of

RESULTS = 2
"""Form of what tasks answer: results of another form are made anew."""

RUNGS = (0.25, 0.5, 1.0)
"""Shares of the pictures after which --adaptive drops what surely cannot be the answer."""

DROP_CONFIDENCE = 0.999
"""Of each single comparison that drops a cell early: there are many of them."""


def sweep(job: Job, inputs: Inputs, engine: Engine, say: Say) -> SweepReport:
    """Run ``job`` on ``engine``; what the store holds already is not made again.

    An interrupt gives a partial report of what is done. Raises UsageError or EdgeconvError for a job
    that cannot be.
    """
    forms, impossible = expand(job)
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
        rungs = RUNGS if job.adaptive else RUNGS[-1:]
        for share in rungs:
            live = [cell for cell in cells if cell.path is not None and not cell.dropped]
            state.bench(live, job.seconds * share)
            state.evaluate(live, share)
            if share < 1.0:
                _drop(live, budgets_of(job))
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
    )


def places(job: Job) -> tuple[str, ...]:
    """Return where cells are timed: here, or on every board that is named."""
    return job.device or ("",)


def _impossible(item: Impossible) -> Cell:
    return Cell(item.form, 1, error=item.reason, impossible=True)


def _drop(cells: Sequence[Cell], budgets: Budgets) -> None:
    """Mark the cells that surely cannot be the answer, by the pictures so far."""
    known = [(cell, point) for cell in cells if (point := cell.point()) is not None]
    gone = lost([point for _, point in known], budgets, DROP_CONFIDENCE)
    for (cell, _), is_lost in zip(known, gone, strict=True):
        cell.dropped = is_lost


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
            for task in [Task("export", self._export_spec(group, targets), self.versions)]
        }
        by_key = {task.key: group for group, task in tasks.values()}
        alone: list[Task] = []
        for outcome in self.outcomes([task for _, task in tasks.values()]):
            group, targets = by_key[outcome.task.key], outcome.task.spec["targets"]
            if outcome.error is not None and len(targets) > 1:
                for target in targets:  # one target's refusal says nothing of the others
                    task = Task("export", self._export_spec(group, [target]), self.versions)
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

    def _export_spec(self, group: Form, targets: Sequence[str]) -> dict[str, Any]:
        job = self.job
        spec: dict[str, Any] = {**group.options(), "targets": sorted(targets)}
        script, colon, function = group.net.rpartition(":")
        if colon and script.endswith(".py"):
            spec["net"] = f"{self.inputs.add(Path(script))}:{function}"
        elif group.net.endswith(".onnx"):
            spec["net"] = self.inputs.add(Path(group.net))
        if group.weights not in (None, "bundled", "imagenet", "random"):
            spec["weights"] = self.inputs.add(Path(str(group.weights)))
        if group.recipe is not None and group.recipe.endswith(".json"):
            spec["recipe"] = self.inputs.add(Path(group.recipe))
        if group.precision == "int8" and job.calib is not None:
            spec |= {"calib": self.inputs.add(Path(job.calib)), "calib_count": job.calib_count}
        if job.data is not None:
            spec["verify"] = self.inputs.add(Path(job.data))
        if job.labels is not None:
            spec["labels"] = self.inputs.add(Path(job.labels))
        given = {
            "classes": job.classes,
            "input_shapes": [list(job.input_shape)] if job.input_shape else None,
            "mean": list(job.mean) or None,
            "std": list(job.std) or None,
            "crop": job.crop,
        }
        return spec | {name: value for name, value in given.items() if value is not None}

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

    def evaluate(self, cells: Sequence[Cell], share: float) -> None:
        """Evaluate the file of every cell on the first ``share`` of the pictures, in shards."""
        evaluation = self.evaluation
        if evaluation is None:
            return
        count = max(1, round(evaluation.count * share))
        tasks: dict[str, list[Task]] = {}
        for cell in cells:
            path = self._file(cell)
            if cell.sha256 not in tasks and cell.sha256 is not None:
                tasks[cell.sha256] = self._shards(path, evaluation, count)
        parts: dict[str, Outcome] = {}
        for outcome in self.outcomes([task for shards in tasks.values() for task in shards]):
            parts[outcome.task.key] = outcome
        for cell in cells:
            shards = [parts.get(task.key) for task in tasks[str(cell.sha256)]]
            cell.correct = _merged(shards)

    def _shards(self, path: Path, evaluation: Evaluation, count: int) -> list[Task]:
        hub = "" if evaluation.truth else self.inputs.add(self._hub(path))
        spec = {
            "file": self.inputs.add(path, path.with_name(path.name + ".json")),
            "hub": hub,
            "data": evaluation.data,
            "truth": evaluation.truth,
        }
        edges = sorted(
            {*range(0, count, self.job.shard), count, *self._rung_edges(evaluation, count)}
        )
        return [
            Task("evaluate", {**spec, "start": start, "stop": stop}, self.versions)
            for start, stop in itertools.pairwise(edges)
        ]

    def _rung_edges(self, evaluation: Evaluation, count: int) -> list[int]:
        """Cut where earlier rungs ended, so that what they evaluated is not evaluated again."""
        if not self.job.adaptive:
            return []
        ends = [max(1, round(evaluation.count * share)) for share in RUNGS]
        return [end for end in ends if end < count]

    @staticmethod
    def _hub(path: Path) -> Path:
        return next(iter(sorted(path.parent.glob("*.evidence/hub.onnx"))))

    def bench(self, cells: Sequence[Cell], seconds: float) -> None:
        """Time every cell, alone on its machine: here after all other work, boards through SSH."""
        if not self.job.bench:
            return
        machine = describe().to_json()
        for cell in cells:
            self.progress.added()
            path = self._file(cell)
            spec = {
                "file": self.inputs.add(path, path.with_name(path.name + ".json")),
                "threads": cell.threads,
                "seconds": seconds,
                "place": cell.place or machine["processor"],
            }
            if not cell.place and path.suffix == ".mlpackage":
                cell.untimed = "Core ML is timed on a Mac"
                self.progress.ended(Outcome(Task("bench", spec), {}))
                continue
            task = Task("bench", spec, self.versions)
            kept = self.engine.store.get(task.key)
            if kept is not None and kept["busy"]:
                self.engine.store.drop(task.key)  # the machine may be idle now
                kept = None
            if kept is not None:
                outcome = Outcome(task, kept)
            elif cell.place:
                outcome = bench_there(task, cell.place, path, self.engine.store)
            else:
                outcome = run_here(task, self.engine.store, self.inputs)
            self.progress.ended(outcome)
            cell.timing, cell.untimed = outcome.result, outcome.error


def _merged(shards: Sequence[Outcome | None]) -> list[bool] | None:
    """Join the shards of one file in order; None where one failed or the net is no classifier."""
    correct: list[bool] = []
    for shard in shards:
        if shard is None or shard.result is None or not shard.result["classifier"]:
            return None
        pairs = zip(shard.result["predicted"], shard.result["wanted"], strict=True)
        correct += [mine == right for mine, right in pairs]
    return correct


def check_output(output: Path) -> None:
    """Raise EdgeconvError where ``output`` cannot be the folder of a sweep."""
    if output.exists() and not output.is_dir():
        raise EdgeconvError(f"--output {output} is a file; a sweep writes a folder")
    if output.is_dir() and any(output.iterdir()) and not (output / "cells").is_dir():
        raise EdgeconvError(f"--output {output} holds other files: name an empty or a new folder")
