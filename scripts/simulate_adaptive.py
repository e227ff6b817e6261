"""Whether --adaptive finds what a full sweep finds: ``python scripts/simulate_adaptive.py JOB.toml ...``.

Reads what each sweep has kept and repeats it on pictures drawn again with replacement (the
same for all cells) and on latencies drawn from the measured intervals. The rule is that of sweep/run.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edgeconv.sweep.choose import Budgets, Point, lost, pick
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import job_from, read_job
from edgeconv.sweep.open import open_engine
from edgeconv.sweep.run import DROP_CONFIDENCE, RUNGS, sweep
from edgeconv.sweep.store import Store

STRICTEST, LOOSEST = 0.3, 0.9
"""The budget of a repeat lies between these quantiles of the cells' latencies."""


@dataclass(frozen=True)
class Measured:
    """A full sweep: ``correct`` (cells, pictures), ``ms`` and half its interval ``around`` (cells,), ``bytes``."""

    correct: NDArray[np.bool_]
    ms: NDArray[np.float64]
    around: NDArray[np.float64]
    bytes: tuple[int, ...]


def repeat(found: Measured, generator: np.random.Generator) -> tuple[bool, float]:
    """Return whether the rule gives the answer of a full sweep, and its share of the full cost.

    Where no cell keeps the budget, that is the answer.
    """
    cells, pictures = found.correct.shape
    right = found.correct[:, generator.integers(0, pictures, pictures)]
    budgets = Budgets(ms=float(np.quantile(found.ms, generator.uniform(STRICTEST, LOOSEST))))
    draws = generator.standard_normal((cells, len(RUNGS)))
    live, cost, before = list(range(cells)), 0.0, 0.0
    weights = np.diff([0.0, *RUNGS])

    def points(chosen: Sequence[int], rung: int) -> list[Point]:
        """What is known after a rung: the mean over the parts measured so far, and its interval."""
        share = RUNGS[rung]
        noise = draws[:, : rung + 1] @ np.sqrt(weights[: rung + 1]) / share
        middle = found.ms + found.around / 1.96 * noise
        half = found.around / share**0.5
        count = max(1, round(pictures * share))
        return [
            Point(
                str(i),
                (middle[i] - half[i], middle[i], middle[i] + half[i]),
                right[i, :count],
                found.bytes[i],
            )
            for i in chosen
        ]

    for rung, share in enumerate(RUNGS):
        cost, before = cost + len(live) * (share - before), share
        known = points(live, rung)
        if share < 1.0:
            gone = lost(known, budgets, DROP_CONFIDENCE)
            live = [cell for cell, out in zip(live, gone, strict=True) if not out]
    adaptive = pick(known, budgets) if live else None
    full = pick(points(range(cells), len(RUNGS) - 1), budgets)
    same = (None if adaptive is None else live[adaptive]) == full
    return same, cost / cells


def measured(path: Path) -> Measured:
    """Return the cells of a job that were timed and evaluated; nothing is timed again."""
    job = job_from(read_job(path))
    kept = job.output / "results.json"
    if not kept.is_file():
        raise click.UsageError(f"{kept} does not exist: run edgeconv sweep {path} first")
    timings = {cell["label"]: cell["timing"] for cell in json.loads(kept.read_text())["cells"]}
    store, inputs = Store(job.output.absolute() / "cells"), Inputs()
    with store.held():
        engine = open_engine(store, inputs, None, None)
        report = sweep(replace(job, bench=False), inputs, engine, lambda _: None)
    for cell in report.cells:
        cell.timing = timings.get(cell.label)
    points = [point for cell in report.cells if (point := cell.point()) is not None]
    known = [p for p in points if p.correct is not None and p.latency_ms is not None]
    if len(known) < 2:
        raise click.UsageError(f"{path}: {len(known)} cells were both timed and evaluated")
    latencies = np.array([p.latency_ms for p in known])
    return Measured(
        np.stack([p.correct for p in known if p.correct is not None]),
        latencies[:, 1],
        (latencies[:, 2] - latencies[:, 0]) / 2,
        tuple(p.bytes for p in known),
    )


@click.command(help=__doc__)
@click.argument("jobs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(jobs: tuple[Path, ...], repeats: int, seed: int) -> None:
    """Parse, simulate, print a table."""
    click.echo(
        "| sweep | cells | pictures | same answer | cost of the full sweep |\n|---|---|---|---|---|"
    )
    for job in jobs:
        found, generator = measured(job), np.random.default_rng(seed)
        made = [repeat(found, generator) for _ in range(repeats)]
        same, cost = sum(one for one, _ in made), float(np.mean([part for _, part in made]))
        cells, pictures = found.correct.shape
        click.echo(
            f"| {job.stem} | {cells} | {pictures} | {same} of {repeats} | {100 * cost:.0f} % |"
        )


if __name__ == "__main__":
    main()
