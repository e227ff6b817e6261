"""Whether a sweep's results repeat, whatever dies: ``python scripts/sweep_kills.py JOB.toml --output DIR``.

Runs the sweep in one process, on two workers, and on a scheduler and two workers of its own that are killed
at random moments; then compares what the three kept, byte for byte, latencies apart. Each run goes on where it
stopped, and one that is done is not done again.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edgeconv.files import sha256
from edgeconv.sweep.store import RESULT

RUNS = ("one process", "two workers", "killed workers")
WORKERS = 2
LATE_S = 3.0
"""A kill comes up to so long after the result that it waits for: anywhere in a task."""
LOOK_S = 0.2
TRIES = 5
"""How often the command is given again where cells failed or the scheduler was gone too long."""
ENVIRONMENT = {**os.environ, "EDGECONV_KEPT_MIB": "0", "OMP_NUM_THREADS": "1"}
"""No export is copied from another run's."""


def moments(results: int, kills: int, restarts: int, seed: int) -> list[tuple[int, str]]:
    """Return after how many results something dies, in order: "worker" ``kills`` times, "scheduler" ``restarts``.

    In the first half, where the long tasks are: what comes after the last evaluation would kill nothing.

    >>> moments(16, 2, 1, 0)
    [(3, 'worker'), (6, 'scheduler'), (6, 'worker')]
    """
    generator = random.Random(seed)
    places = sorted(generator.choices(range(results // 2), k=kills + restarts))
    kinds = ["worker"] * kills + ["scheduler"] * restarts
    generator.shuffle(kinds)
    return list(zip(places, kinds, strict=True))


class Cluster:
    """A user's own: a scheduler and workers, each a process group."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = str(found.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._parts: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start what is not running."""
        own = ("--host", "127.0.0.1", "--no-dashboard")
        scheduler = ("scheduler", "--port", self._port, *own)
        worker = ("worker", self.address, "--nthreads", "1", *own)
        for command in (scheduler, *[worker] * WORKERS)[len(self._parts) :]:
            self._parts.append(
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *command],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    env=ENVIRONMENT,
                )
            )

    def kill(self, kind: str, which: int) -> None:
        """Kill a worker, or the scheduler and with it the workers, and start anew."""
        doomed = [self._parts[1 + which]] if kind == "worker" else list(self._parts)
        for part in doomed:
            self._parts.remove(part)
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()
        self.start()

    def close(self) -> None:
        """End all."""
        for part in self._parts:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(part.pid, signal.SIGKILL)
            part.wait()


def swept(job: Path, folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start the command; what it says goes to a log beside ``folder``."""
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edgeconv", "sweep", job, "--output", folder, *more],
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
        )


def results(folder: Path) -> Iterator[Path]:
    """Yield every result that a sweep kept."""
    return (folder / "cells").glob(f"??/*/{RESULT}")


def killed(job: Path, folder: Path, planned: Sequence[tuple[int, str]], seed: int) -> int:
    """Run the sweep on a cluster that dies as planned; return how often the command was given.

    Deaths are noted beside ``folder`` as they come, and not repeated when the run goes on later.
    """
    noted = folder.with_suffix(".deaths.jsonl")
    dead = len(noted.read_text(encoding="utf-8").splitlines()) if noted.exists() else 0
    generator = random.Random(seed + dead)
    cluster = Cluster()
    cluster.start()
    try:
        for tries in range(1, TRIES + 1):
            sweep = swept(job, folder, "--scheduler", cluster.address)
            while sweep.poll() is None:
                time.sleep(LOOK_S)
                kept = sum(1 for _ in results(folder))
                if dead < len(planned) and kept >= planned[dead][0]:
                    time.sleep(generator.uniform(0, LATE_S))
                    cluster.kill(planned[dead][1], generator.randrange(WORKERS))
                    dead += 1
                    with noted.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"died": planned[dead - 1][1], "kept": kept}) + "\n")
            if sweep.returncode in (0, 3):
                return tries
        raise click.ClickException(f"the sweep failed {TRIES} times: {folder.with_suffix('.log')}")
    finally:
        cluster.close()


def done(folder: Path) -> bool:
    """Whether a sweep came to its end."""
    table = folder / "results.json"
    return table.exists() and not json.loads(table.read_bytes())["partial"]


def differing(first: Path, other: Path) -> list[str]:
    """Return the files of ``first`` that ``other`` lacks or keeps otherwise, latencies apart.

    What ``other`` has beside them is no difference: a form whose export died with its workers is tried target by
    target, and those exports stay.
    """
    theirs = _hashes(other)
    return sorted(name for name, own in _hashes(first).items() if own != theirs.get(name))


def _hashes(folder: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for path in results(folder):
        if "latency_ms" not in json.loads(path.read_bytes()):
            files = [item for item in path.parent.rglob("*") if item.is_file()]
            found |= {file.relative_to(folder).as_posix(): sha256(file) for file in files}
    return {**found, "results.json": json.dumps(_cells(folder), sort_keys=True)}


def _cells(folder: Path) -> list[dict[str, Any]]:
    """Return the table without what follows from latencies."""
    late = ("timing", "status", "reason", "dominated_by")
    cells = json.loads((folder / "results.json").read_bytes())["cells"]
    return [{k: v for k, v in cell.items() if k not in late} for cell in cells]


@click.command(help=__doc__)
@click.argument("job", type=click.Path(path_type=Path, exists=True))
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--kills", default=20, show_default=True, help="Workers that die.")
@click.option("--restarts", default=1, show_default=True, help="Schedulers that die.")
@click.option("--seed", default=0, show_default=True)
def main(job: Path, output: Path, kills: int, restarts: int, seed: int) -> None:
    """Run what is not done, compare, print; exit 1 where anything differs."""
    output.mkdir(parents=True, exist_ok=True)
    folders = [output / name.replace(" ", "_") for name in RUNS]
    for folder, more in zip(folders[:2], ((), ("--workers", str(WORKERS))), strict=True):
        if not done(folder) and swept(job, folder, *more).wait() not in (0, 3):
            raise click.ClickException(f"the sweep failed: {folder.with_suffix('.log')}")
    planned = moments(sum(1 for _ in results(folders[0])), kills, restarts, seed)
    if not done(folders[2]):
        tries = killed(job, folders[2], planned, seed)
        click.echo(f"with deaths the command was given {tries} times")
    deaths = folders[2].with_suffix(".deaths.jsonl").read_text(encoding="utf-8")
    count = deaths.count('"worker"'), deaths.count('"scheduler"')
    files = sum(1 for name in _hashes(folders[0]))
    click.echo(
        f"{len(_cells(folders[0]))} rows, {sum(1 for _ in results(folders[0]))} results, {files} files; "
        f"{count[0]} workers and {count[1]} schedulers killed"
    )
    wrong = {f.name: differing(folders[0], f) for f in folders[1:]}
    for name, found in wrong.items():
        click.echo(
            f"{name}: {len(found)} files differ from one process{': ' if found else ''}{', '.join(found[:5])}"
        )
    raise SystemExit(any(wrong.values()))


if __name__ == "__main__":
    main()
