"""Whether --adaptive finds what a full sweep finds: ``python scripts/simulate_adaptive.py SAMPLES.json|JOB.toml ...``.

Repeats what each sweep measured on pictures drawn again with replacement (the same for all cells) and on
latencies drawn from the measured intervals; what drops cells is the function that the command calls. JOB.toml
reads what the sweep has kept, and --keep writes that down as samples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist

import click
import numpy as np
from numpy.typing import NDArray

from edgeconv.sweep.adaptive import BRIEF, HALVING, narrow
from edgeconv.sweep.budgets import Budgets
from edgeconv.sweep.choose import dominated_by, pick
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.job import job_from, read_job
from edgeconv.sweep.open import open_engine
from edgeconv.sweep.point import Point, deviations
from edgeconv.sweep.run import sweep
from edgeconv.sweep.store import Store

STRICTEST, LOOSEST = 0.3, 0.9
"""The budget of a repeat lies between these quantiles of the cells' latencies."""


@dataclass(frozen=True)
class Measured:
    """A full sweep: ``correct`` (cells, pictures), ``ms`` and how far its interval reaches, ``below`` and ``above`` (cells,)."""

    correct: NDArray[np.bool_]
    ms: NDArray[np.float64]
    below: NDArray[np.float64]
    above: NDArray[np.float64]
    bytes: tuple[int, ...]
    labels: tuple[str, ...]
    functions: tuple[str, ...]


@dataclass(frozen=True)
class Repeated:
    """One repeat: whether the answer was that of the full sweep, and the shares of its pictures and seconds.

    ``least`` is the share of pictures that ``least_seen`` allows.
    """

    same: bool
    pictures: float
    seconds: float
    least: float


def answer(points: Sequence[Point], budgets: Budgets) -> set[str]:
    """Return the cell to ship, none where none keeps the budgets; without budgets all worth shipping."""
    if budgets:
        chosen = pick(points, budgets)
        return set() if chosen is None else {points[chosen].label}
    by = dominated_by(points)
    return {point.label for point, index in zip(points, by, strict=True) if index is None}


def least_seen(points: Sequence[Point], budgets: Budgets, risk: float) -> float:
    """Return the share of all pictures that even a rule has to see that knows the answer and each cell's lead over the others.

    What keeps the budgets has to be seen until the rest would turn the answer's lead in ``risk`` of cases only. Of K pictures
    on which the two differ, of which the answer leads by D, a share s leaves a lead of D that may still move by
    sqrt(K (1 - s) / s), so that s = z**2 K / (D**2 + z**2 K); the answer, and what is right as often, is seen whole. What
    misses the budgets goes after the first rung. Without an answer that is all.
    """
    chosen = pick(points, budgets)
    z2, first = NormalDist().inv_cdf(1 - risk) ** 2, HALVING[0]

    def share(point: Point) -> float:
        if chosen is None or budgets.missed(point) is not None:
            return first
        mine, other = points[chosen].correct, point.correct
        assert mine is not None
        assert other is not None
        lead, differ = int(mine.sum()) - int(other.sum()), int((mine != other).sum())
        return 1.0 if not lead else max(first, z2 * differ / (lead**2 + z2 * differ))

    return float(np.mean([share(point) for point in points]))


def timed(found: Measured, cell: int, share: float, z: float) -> tuple[float, float, float]:
    """Return (low, median, high) of ``cell`` timed anew for ``share`` of the seconds.

    It is ``z`` standard deviations of such a timing off what was measured, which lies within the interval for 1.96 at most,
    however lopsided that is.
    """
    reach = deviations(0.95)

    def at(deviation: float) -> float:
        side = found.above if deviation > 0 else found.below
        return float(found.ms[cell] + side[cell] * deviation / reach / share**0.5)

    return at(z - reach), at(z), at(z + reach)


def repeat(
    found: Measured, generator: np.random.Generator, budgeted: bool = True, risk: float = 0.05
) -> Repeated:
    """Draw a sweep and a budget of latency; measure it whole, and rung by rung."""
    cells, pictures = found.correct.shape
    right = found.correct[:, generator.integers(0, pictures, pictures)]
    most = float(np.quantile(found.ms, generator.uniform(STRICTEST, LOOSEST)))
    budgets = Budgets(ms=most if budgeted else None)
    draws = {share: generator.standard_normal((cells,)) for share in (BRIEF, 1.0)}
    spent, timings = np.zeros(2), dict[int, float]()

    def point(cell: int, rung: float = 1.0, share: float = 1.0) -> Point:
        times = timed(found, cell, share, draws[share][cell])
        correct = right[cell, : max(1, round(pictures * rung))]
        name, function = found.labels[cell], found.functions[cell]
        return Point(name, times, correct, found.bytes[cell], None, function)

    def measure(live: Sequence[int], rung: float, shares: Mapping[int, float]) -> list[Point]:
        before = max((r for r in HALVING if r < rung), default=0.0)
        anew = dict(shares.items() - timings.items())
        timings.update(anew)
        spent[:] += len(live) * (rung - before), sum(anew.values())
        return [point(cell, rung, shares[cell]) for cell in live]

    live = narrow(cells, pictures, budgets, HALVING, measure)
    chosen = answer([point(cell) for cell in live], budgets)
    all_seen = [point(cell) for cell in range(cells)]
    same = chosen == answer(all_seen, budgets)
    least = least_seen(all_seen, budgets, risk) if budgets else 1.0
    return Repeated(same, spent[0] / cells, spent[1] / cells, least)


def measured(path: Path) -> Measured:
    """Return the cells of a job that were timed and evaluated; nothing is timed again."""
    job = job_from(read_job(path))
    kept = job.output / "results.json"
    if not kept.is_file():
        raise click.UsageError(f"{kept} does not exist: run edgeconv sweep {path} first")
    timings = {
        cell["label"]: cell["timing"]
        for cell in json.loads(kept.read_text(encoding="utf-8"))["cells"]
    }
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
    functions = list(dict.fromkeys(p.function for p in known))
    return Measured(
        np.stack([p.correct for p in known if p.correct is not None]),
        latencies[:, 1],
        latencies[:, 1] - latencies[:, 0],
        latencies[:, 2] - latencies[:, 1],
        tuple(p.bytes for p in known),
        tuple(p.label for p in known),
        tuple(str(functions.index(p.function)) for p in known),  # their names hold folders
    )


def write_samples(found: Measured, path: Path) -> None:
    """Write ``found`` as JSON, a line of hexadecimal bits a cell."""
    bits = [np.packbits(row).tobytes().hex() for row in found.correct]
    about = {
        **asdict(found),
        "correct": bits,
        "ms": found.ms.tolist(),
        "below": found.below.round(6).tolist(),
        "above": found.above.round(6).tolist(),
        "pictures": found.correct.shape[1],
    }
    path.write_text(json.dumps(about, indent=0) + "\n", encoding="utf-8")


def read_samples(path: Path) -> Measured:
    """Return what ``write_samples`` wrote."""
    about = json.loads(path.read_text(encoding="utf-8"))
    rows = [np.frombuffer(bytes.fromhex(bits), np.uint8) for bits in about["correct"]]
    correct = np.unpackbits(np.stack(rows), axis=1, count=about["pictures"]).astype(bool)
    return Measured(
        correct,
        np.array(about["ms"]),
        np.array(about["below"]),
        np.array(about["above"]),
        tuple(about["bytes"]),
        tuple(about["labels"]),
        tuple(about["functions"]),
    )


@click.command(help=__doc__)
@click.argument("sweeps", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--budget/--no-budget", default=True, help="Of latency; without, the answer is the front."
)
@click.option(
    "--risk",
    default=0.05,
    show_default=True,
    help="Of least: how often a rule may lose the answer to a cell.",
)
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Write samples there."
)
def main(
    sweeps: tuple[Path, ...], repeats: int, seed: int, budget: bool, risk: float, keep: Path | None
) -> None:
    """Parse, simulate, print a table."""
    heads = ("sweep", "cells", "pictures", "same answer", "pictures seen", "seconds timed", "least")
    click.echo(f"| {' | '.join(heads)} |")
    click.echo("|---" * len(heads) + "|")
    for path in sweeps:
        found = read_samples(path) if path.suffix == ".json" else measured(path)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            write_samples(found, keep / f"{path.stem}.json")
        generator = np.random.default_rng(seed)
        made = [repeat(found, generator, budget, risk) for _ in range(repeats)]
        same = sum(one.same for one in made)
        seen = np.mean([(one.pictures, one.seconds, one.least) for one in made], axis=0)
        cells, pictures = found.correct.shape
        click.echo(
            f"| {path.stem} | {cells} | {pictures} | {same} of {repeats} | "
            f"{100 * seen[0]:.0f} % | {100 * seen[1]:.0f} % | {100 * seen[2]:.0f} % |"
        )


if __name__ == "__main__":
    main()
