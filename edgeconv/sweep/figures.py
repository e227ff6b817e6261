"""The second part of a sweep: every file evaluated in shards, and timed alone."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeconv.machine import describe
from edgeconv.sweep.adaptive import HALVING, WHOLE, narrow
from edgeconv.sweep.cell import ON_A_MAC, Cell
from edgeconv.sweep.data import Evaluation
from edgeconv.sweep.engine import Engine, Outcome, Task, kept_result, run_here
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job
from edgeconv.sweep.point import Point
from edgeconv.sweep.progress import Progress
from edgeconv.sweep.results import budgets_of
from edgeconv.sweep.specs import bench_spec, shard_specs


class Figures:
    """Finds the accuracy and the latency of cells. ``versions`` are what every result depends on."""

    def __init__(
        self,
        job: Job,
        inputs: Inputs,
        engine: Engine,
        progress: Progress,
        evaluation: Evaluation | None,
        versions: Mapping[str, Any],
    ) -> None:
        self.versions = versions
        self._job, self._inputs, self._engine, self._progress = job, inputs, engine, progress
        self._evaluation = evaluation
        self._pictures = 0 if evaluation is None else evaluation.count
        self._rungs = HALVING if job.adaptive else WHOLE
        self._evaluated: dict[str, Outcome] = {}
        self._timed: dict[int, float] = {}

    def expect(self, cells: Sequence[Cell]) -> None:
        """Tell the progress what all ``cells`` will take, each form with a file of its own."""
        each = 2 if self._job.adaptive else 1
        self._expect(len({cell.form for cell in cells}), 0, each * len(cells))

    def _expect(self, files: int, first: int, timings: int) -> None:
        """So many files go through all rungs from the place ``first`` on, and so many timings are still to come."""
        seen = self._reach(self._rungs[first - 1]) if first else 0
        parts = sum(edge > seen for edge in self._edges())
        self._progress.expect(evaluate=files * parts, bench=timings if self._job.bench else 0)

    def narrow(self, cells: Sequence[Cell]) -> None:
        """Measure ``cells``: all of them whole, or with --adaptive those that may still be the answer."""
        for cell in cells:
            if cell.path is None:
                self._progress.settle(id(cell), failed=True)
        made = [cell for cell in cells if cell.path is not None]

        def measure(
            live: Sequence[int], rung: float, timed: Mapping[int, float]
        ) -> list[Point | None]:
            for place in set(range(len(made))).difference(live):
                made[place].dropped = True
                self._progress.settle(id(made[place]))
            self._measure([made[place] for place in live], rung, [timed[place] for place in live])
            return [made[place].point() for place in live]

        narrow(len(made), self._pictures, budgets_of(self._job), self._rungs, measure)
        self._progress.finish()

    def _measure(self, cells: Sequence[Cell], rung: float, timed: Sequence[float]) -> None:
        """Evaluate every cell on the share ``rung`` of all pictures, and time it for its share of the seconds.

        Boards time beside the evaluations; this machine after all other work, a cell at a time.
        """
        files: dict[str | None, Path] = {}
        for cell in cells:
            files.setdefault(cell.sha256, self._file(cell))
        benches = self._benches(cells, timed)
        later = sum(share < 1 for share in timed)
        self._expect(len(files), self._rungs.index(rung), len(benches) + later)
        shards = {sha256: self._shards(path, rung) for sha256, path in files.items()}
        fresh = [
            (t, sha256)
            for sha256, parts in shards.items()
            for t in parts
            if t.key not in self._evaluated
        ]
        there = [task for task in benches.values() if task.board is not None]
        self._progress.stage = "evaluating: " if self._evaluation is not None else ""
        ends = rung == 1.0 and not self._job.bench
        open_shards = Counter(sha256 for _, sha256 in fresh)
        of_file = {task.key: sha256 for task, sha256 in fresh}
        done: dict[str, Outcome] = {}
        for outcome in self._progress.watch(self._engine, [*(t for t, _ in fresh), *there]):
            done[outcome.task.key] = outcome
            sha256 = of_file.get(outcome.task.key)
            open_shards[sha256] -= outcome.error is None  # of those that fail it is told below
            for cell in cells if ends and open_shards[sha256] == 0 else ():
                if cell.sha256 == sha256:
                    self._progress.settle(id(cell))
        self._progress.stage = "timing: " if benches else ""
        self._evaluated |= {key: done[key] for key in of_file}
        for cell in cells:
            judge(cell, [self._evaluated[task.key] for task in shards[cell.sha256]])
        for cell in cells:
            bench = benches.get(id(cell))
            if bench is not None:
                self._progress.here = 0 if cell.place else 1
                outcome = done.get(bench.key) or self._time_here(cell, bench)
                cell.timing, cell.untimed = outcome.result, outcome.error
            if rung == 1.0:
                self._progress.settle(id(cell), failed=cell.error is not None)
        self._progress.here = 0

    def _file(self, cell: Cell) -> Path:
        assert cell.path is not None
        return self._engine.store.folder.parent / cell.path

    def _benches(self, cells: Sequence[Cell], timed: Sequence[float]) -> dict[int, Task]:
        """Return the timing of every cell that was not timed for as long as that yet, by its id."""
        machine, tasks = describe().to_json(), {}
        for cell, share in zip(cells, timed, strict=True) if self._job.bench else ():
            if self._timed.get(id(cell)) == share:
                continue
            self._timed[id(cell)] = share
            cell.timing = None  # of a shorter one, while this one is not there yet
            seconds = self._job.seconds * share
            path, place = self._file(cell), cell.place
            spec = bench_spec(self._inputs, path, cell.threads, seconds, place, machine)
            tasks[id(cell)] = Task("bench", spec, self.versions)
        return tasks

    def _time_here(self, cell: Cell, task: Task) -> Outcome:
        if self._file(cell).suffix == ".mlpackage":
            outcome = Outcome(task, None, ON_A_MAC)
        else:
            kept = kept_result(self._engine.store, task)
            outcome = kept or run_here(task, self._engine.store, self._inputs)
        self._progress.ended(outcome)
        return outcome

    def _reach(self, rung: float) -> int:
        """Return how many pictures are seen at the end of ``rung``."""
        return max(1, round(self._pictures * rung)) if self._pictures else 0

    def _edges(self) -> list[int]:
        """Return where evaluations are cut: at each shard, and where a rung ends."""
        ends = {self._reach(rung) for rung in self._rungs}
        return sorted({*range(0, self._pictures, self._job.shard), *ends})

    def _shards(self, path: Path, rung: float) -> list[Task]:
        """Return the evaluations of a file up to the end of ``rung``."""
        if self._evaluation is None:
            return []
        edges = [edge for edge in self._edges() if edge <= self._reach(rung)]
        specs = shard_specs(self._inputs, path, self._evaluation, edges)
        return [Task("evaluate", spec, self.versions) for spec in specs]


def judge(cell: Cell, shards: Sequence[Outcome]) -> None:
    """Write into ``cell`` which pictures were right, in order; nothing of what is no classifier."""
    cell.error = next((shard.error for shard in shards if shard.error is not None), None)
    results = [shard.result for shard in shards if shard.result is not None]
    if cell.error is not None or not results or not all(r["classifier"] for r in results):
        cell.correct = None
        return
    pairs = (zip(r["predicted"], r["wanted"], strict=True) for r in results)
    cell.correct = [mine == right for mine, right in itertools.chain.from_iterable(pairs)]
