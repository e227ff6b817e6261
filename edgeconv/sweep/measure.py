"""An evaluation shared out among processes: the same counts as from one."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.evaluate.part import Measure, Part, Question, joined, part_from_json
from edgeconv.evaluate.run import Subject
from edgeconv.files import digest, temporary_folder
from edgeconv.samples import Sample
from edgeconv.sweep.engine import Engine, Task
from edgeconv.sweep.inputs import Inputs, stamp
from edgeconv.sweep.part import part_spec
from edgeconv.sweep.store import Store

PARTS = 2
"""A shard is this part of a worker's share of what is left: large ones first, small ones to end together."""

LEAST = 100
"""Pictures of a shard, at least: handing one out and opening the file cost as much as some of them."""

AHEAD = 2
"""Shards handed out a worker, so that the next one is there when one ends."""


@contextmanager
def sharing(
    workers: int | None, scheduler: str | None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Measure]:
    """Yield what measures pictures on ``workers`` processes here, or on the cluster at ``scheduler``.

    ``tell`` is told in a sentence what a cluster waits for.
    """
    from edgeconv.sweep.cluster import Cluster

    with temporary_folder() as scratch:
        inputs = Inputs(hashed=digest if workers is None else stamp)
        with ThreadPoolExecutor(
            1
        ) as aside:  # workers start while files are opened and pictures listed
            coming = aside.submit(
                lambda: Cluster(
                    Store(scratch), inputs, workers=workers or 0, address=scheduler, tell=tell
                )
            )

            def measure(subject: Subject, samples: Sequence[Sample], question: Question) -> Part:
                engine = coming.result()
                return shared_out(engine, inputs, engine.width())(subject, samples, question)

            try:
                yield measure
            finally:
                if coming.exception() is None:
                    coming.result().close()


def shared_out(engine: Engine, inputs: Inputs, width: int) -> Measure:
    """Return what measures pictures on ``engine``, of which ``width`` tasks run at a time.

    The next shards are made up while the first ones run.
    """

    def measure(subject: Subject, samples: Sequence[Sample], question: Question) -> Part:
        if not question.data.is_dir():
            raise UsageError(
                f"--data {question.data} is no folder of pictures, which workers share"
            )
        most = subject.at_once
        # of boxes, whose outputs are read by what some pictures hold together, as many as one process has
        whole = question.task == "boxes"
        sizes = (
            [most] * math.ceil(len(samples) / most) if whole else shards(len(samples), width, most)
        )
        ends = list(itertools.accumulate(sizes))
        tasks = (
            Task("measure", part_spec(inputs, subject, samples[end - size : end], question))
            for size, end in zip(sizes, ends, strict=True)
        )
        keys: list[str] = []

        def hand_out(count: int) -> None:
            for task in itertools.islice(tasks, count):
                keys.append(task.key)
                engine.submit(task)

        hand_out(AHEAD * width)
        done = {}
        for outcome in engine.outcomes():
            if outcome.result is None:
                raise EdgeconvError(f"{subject.path}: {outcome.error}")
            hand_out(1)
            done[outcome.task.key] = part_from_json(question.task, outcome.result)
        part: Part = joined(done[key] for key in keys)
        return part

    return measure


def shards(count: int, width: int, most: int) -> list[int]:
    """Return how many pictures each shard of ``count`` has for ``width`` workers, ``most`` at a time.

    >>> shards(1000, 2, 10_000)
    [250, 188, 141, 106, 100, 100, 100, 15]
    """
    made = []
    while count:
        made.append(min(count, most, max(LEAST, math.ceil(count / (PARTS * width)))))
        count -= made[-1]
    return made
