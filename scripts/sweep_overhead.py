"""What the engine of a sweep costs a cell beside the work: ``python scripts/sweep_overhead.py JOB.toml``.

Runs the sweep in this process, then on one worker, and takes from the processor time of all processes what
the tasks themselves took: the rest is hashing, keeping, handing out and dask.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeconv.sweep import engine as here
from edgeconv.sweep.cluster import Cluster
from edgeconv.sweep.engine import Engine, Here
from edgeconv.sweep.forms import expand
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import Job, job_from, read_job
from edgeconv.sweep.run import sweep
from edgeconv.sweep.store import Store

WATCHED_S = 3.0
"""How long dask is watched with nothing to do, which is taken off."""


def timed(module: Any) -> list[float]:
    """Make ``module``'s perform add up its processor time, in the one number of the list returned."""
    spent, perform = [0.0], module.perform

    def counting(*given: Any) -> Any:
        started = time.process_time()
        try:
            return perform(*given)
        finally:
            spent[0] += time.process_time() - started

    module.perform = counting
    module.spent = spent
    return spent


def alone(job: Job, folder: Path) -> tuple[int, float]:
    """Return the cells of ``job`` run in this process, and the seconds beside the work."""
    spent = timed(here)
    inputs = Inputs()
    started = time.process_time()
    cells = swept(job, inputs, Here(Store(folder), inputs))
    return cells, time.process_time() - started - spent[0]


def on_a_worker(job: Job, folder: Path) -> tuple[int, float]:
    """Return the same of a worker's run: its seconds beside the work, and all of this process."""

    def install() -> float:
        from edgeconv.sweep import worker

        timed(worker)
        return time.process_time()

    def read() -> float:
        from edgeconv.sweep import worker

        return time.process_time() - float(worker.spent[0])  # type: ignore[attr-defined]

    inputs = Inputs()
    cluster = Cluster(Store(folder), inputs, workers=1)
    run: Callable[[Any], Any] = cluster._client.run
    (before,) = run(install).values()
    idle = time.process_time(), time.monotonic()
    time.sleep(WATCHED_S)
    watching = (time.process_time() - idle[0]) / WATCHED_S
    beside: list[float] = []
    close = cluster.close

    def closing() -> None:
        beside.extend(value - before for value in run(read).values())
        close()

    cluster.close = closing  # type: ignore[method-assign]
    started, begun = time.process_time(), time.monotonic()
    cells = swept(job, inputs, cluster)
    own = time.process_time() - started - watching * (time.monotonic() - begun)
    return cells, own + beside[0]


def swept(job: Job, inputs: Inputs, engine: Engine) -> int:
    """Run the sweep and return how many cells have a file."""
    report = sweep(job, inputs, engine, lambda _text: None)
    return sum(cell.path is not None for cell in report.cells)


@click.command(help=__doc__)
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def main(file: Path) -> None:
    """Measure both, print milliseconds a cell."""
    job = replace(job_from(read_job(file)), bench=False)
    expand(job)  # it imports what weights are read with, once for all cells
    with tempfile.TemporaryDirectory() as scratch:
        for name, measure in (("in one process", alone), ("on a worker", on_a_worker)):
            cells, seconds = measure(job, Path(scratch) / name / "cells")
            click.echo(
                f"{name}: {cells} cells, {1e3 * seconds / cells:.1f} ms a cell beside the work"
            )


if __name__ == "__main__":
    main()
