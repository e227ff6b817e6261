"""How far more workers help an evaluation: ``python scripts/simulate_workers.py FILE --data DIR``.

Measures what ``edgeconv eval`` spends on a picture, on opening the file, and on handing out a shard (processor
time, on this machine, one thread), and from these computes how long 1 to 100 workers would take.
"""

import heapq
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from edgeconv.evaluate.part import Part, Question
from edgeconv.evaluate.report import evaluate
from edgeconv.evaluate.run import Subject
from edgeconv.files import temporary_folder
from edgeconv.samples import Sample
from edgeconv.sweep.cluster import Cluster
from edgeconv.sweep.engine import Task
from edgeconv.sweep.inputs import Inputs, stamp
from edgeconv.sweep.measure import shards
from edgeconv.sweep.part import part_spec
from edgeconv.sweep.store import Store
from edgeconv.sweep.worker import Needs, on_worker

SMALL, LARGE = 2, 300
"""Pictures of the two shards whose times tell the cost of a picture from that of opening the file."""


WORKERS = (1, 2, 4, 8, 16, 32, 64, 100)


@dataclass(frozen=True)
class Costs:
    """Seconds of processor time.

    ``listing`` a picture: finding and labelling it, before any work is handed out. ``naming`` a picture: making up
    its shard. ``handing`` a shard: sending it off and taking its answer. ``opening`` the file in a worker, a shard. ``picture``: reading
    and running one.
    """

    listing: float
    naming: float
    handing: float
    opening: float
    picture: float


def simulated(costs: Costs, pictures: int, workers: int) -> float:
    """Return the seconds that ``workers`` need, each of which takes the next shard as it is free.

    Shards are handed out one after the other. Workers and whoever hands out have a processor each.
    """
    now = costs.listing * pictures
    free = [0.0] * workers
    for size in shards(pictures, workers, pictures):
        now += costs.handing + costs.naming * size
        begun = max(now, heapq.heappop(free))
        heapq.heappush(free, begun + costs.opening + costs.picture * size)
    return max(free)


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of ``work`` in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


class _Asked(Exception):  # noqa: N818 - it carries what was asked
    """Ends an evaluation where its pictures would be run."""

    def __init__(self, subject: Subject, samples: Sequence[Sample], question: Question) -> None:
        super().__init__()
        self.given = subject, samples, question


def _asked(path: Path, data: str) -> tuple[Subject, Sequence[Sample], Question]:
    def stop(subject: Subject, samples: Sequence[Sample], question: Question) -> Part:
        raise _Asked(subject, samples, question)

    try:
        evaluate([path], data, measure=stop)
    except _Asked as asked:
        return asked.given
    raise click.UsageError(f"{path} was not measured")


def measured(path: Path, data: str, handed: int = 40) -> Costs:
    """Measure the costs with a classifier; each time is the least of three."""
    subject, samples, question = _asked(path, data)
    if len(samples) < LARGE:
        raise click.UsageError(f"{data} holds {len(samples)} pictures; give {LARGE} or more")

    def least(work: Callable[[], object]) -> float:
        return min(seconds(work) for _ in range(3))

    def shard(count: int) -> float:
        inputs = Inputs()
        spec = part_spec(inputs, subject, samples[:count], question)
        needs: Needs = dict(inputs.known)
        on_worker("measure", spec, needs)  # imports
        return least(lambda: on_worker("measure", spec, needs))

    small, large = shard(SMALL), shard(LARGE)
    picture = (large - small) / (LARGE - SMALL)
    return Costs(
        least(lambda: _asked(path, data)) / len(samples),
        least(lambda: part_spec(Inputs(hashed=stamp), subject, samples, question)) / len(samples),
        _handing(subject, samples, question, handed),
        max(small - picture * SMALL, 0.0),
        picture,
    )


def _handing(subject: Subject, samples: Sequence[Sample], question: Question, handed: int) -> float:
    """Return what a shard costs the client and the scheduler, which are this process."""
    inputs = Inputs()
    with temporary_folder() as scratch:
        engine = Cluster(Store(scratch), inputs, workers=1)
        specs = [part_spec(inputs, subject, samples[n : n + 2], question) for n in range(handed)]

        def hand_out() -> None:
            for spec in specs:
                engine.submit(Task("measure", spec))
            failed = [outcome.error for outcome in engine.outcomes() if outcome.result is None]
            if failed:
                raise click.ClickException(str(failed[0]))

        try:
            watching = seconds(lambda: time.sleep(2)) / 2  # dask's own, with nothing to do
            started = time.monotonic()
            spent = seconds(hand_out)
            return (spent - watching * (time.monotonic() - started)) / handed
        finally:
            engine.close()


@click.command(help=__doc__)
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--data", required=True, help="Pictures, one folder a class.")
@click.option("--pictures", default=10_000, show_default=True, help="To compute the times for.")
@click.option("--json", "as_json", is_flag=True)
def main(file: Path, data: str, pictures: int, as_json: bool) -> None:
    """Parse, measure, print a table."""
    costs = measured(file, data)
    times = {workers: simulated(costs, pictures, workers) for workers in WORKERS}
    if as_json:
        click.echo(json.dumps({"costs": asdict(costs), "seconds": times}))
        return
    for name, value in asdict(costs).items():
        click.echo(f"{name:8} {1e3 * value:8.3f} ms")
    click.echo(f"\n| workers | {pictures} pictures, s | times as fast as 1 |\n|---|---|---|")
    for workers, needed in times.items():
        click.echo(f"| {workers} | {needed:.2f} | {times[1] / needed:.2f} |")


if __name__ == "__main__":
    main()
