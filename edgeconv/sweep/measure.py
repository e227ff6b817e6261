"""An evaluation shared out among processes: the same counts as from one."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.part import Measure, Part, Question, joined, part_from_json
from edgeconv.evaluate.run import Subject
from edgeconv.files import temporary_folder
from edgeconv.samples import Sample
from edgeconv.sweep.engine import Engine, Task
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.part import part_spec
from edgeconv.sweep.store import Store

PARTS = 4
"""Shards a worker, so that a slow one holds up the others by a quarter of its share at most."""

LEAST = 100
"""Pictures of a shard, at least: handing one out and opening the file cost as much as some of them."""


@contextmanager
def sharing(workers: int | None, scheduler: str | None) -> Iterator[Measure]:
    """Yield what measures pictures on ``workers`` processes here, or on the cluster at ``scheduler``."""
    from edgeconv.sweep.cluster import Cluster

    with temporary_folder() as scratch:
        inputs = Inputs()
        engine = Cluster(Store(scratch), inputs, workers=workers or 0, address=scheduler)
        try:
            yield shared_out(engine, inputs, engine.width())
        finally:
            engine.close()


def shared_out(engine: Engine, inputs: Inputs, width: int) -> Measure:
    """Return what measures pictures on ``engine``, of which ``width`` tasks run at a time."""

    def measure(subject: Subject, samples: Sequence[Sample], question: Question) -> Part:
        if not question.data.is_dir():
            raise UsageError(
                f"--data {question.data} is no folder of pictures, which workers share"
            )
        size = shard_size(subject, question, len(samples), width)
        shards = [samples[start : start + size] for start in range(0, len(samples), size)]
        tasks = [Task("measure", part_spec(inputs, subject, some, question)) for some in shards]
        for task in tasks:
            engine.submit(task)
        done = {}
        for outcome in engine.outcomes():
            if outcome.result is None:
                raise EdgeconvError(f"{subject.path}: {outcome.error}")
            done[outcome.task.key] = part_from_json(question.task, outcome.result)
        part: Part = joined(done[task.key] for task in tasks)
        return part

    return measure


def shard_size(subject: Subject, question: Question, count: int, width: int) -> int:
    """Return the pictures of a shard.

    Of boxes, whose outputs are read by what some pictures hold together, as many as one process has
    in memory.
    """
    if question.task == "boxes":
        return subject.at_once
    return min(subject.at_once, max(LEAST, math.ceil(count / (PARTS * width))))
