"""A child process that holds one model open and times it when told to."""

import importlib
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv import sensors, system
from edgeconv.bench.loop import timed_runs, warm_up
from edgeconv.bench.plan import Subject
from edgeconv.isolate import Worker
from edgeconv.machine import ROOT, read
from edgeconv.runtimes.base import Delegates, Provides, Runner, open_runner
from edgeconv.runtimes.table import RUNTIMES

OPEN_TIMEOUT_S = 300.0
"""How long a model may take to open and to run for the first time."""


def random_feeds(runner: Runner) -> dict[str, Any]:
    """Inputs that keep kernels honest: no zeros to skip, no denormals, the same in every run."""
    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for spec in runner.inputs:
        kind = np.dtype(spec.dtype)
        if kind.kind == "f":
            feeds[spec.name] = rng.standard_normal(spec.shape).astype(kind)
        elif kind.kind == "b":
            feeds[spec.name] = rng.integers(0, 2, spec.shape).astype(kind)
        elif kind.itemsize == 1:
            info = np.iinfo(kind)
            feeds[spec.name] = rng.integers(info.min, info.max + 1, spec.shape).astype(kind)
        else:  # wider integers are indices or lengths, and those have to be small
            feeds[spec.name] = np.ones(spec.shape, kind)
    return feeds


def open_subject(subject: Mapping[str, Any]) -> Runner:
    """Open what a subject names. Raises EdgeconvError where that cannot be done."""
    if subject["runtime"] == "pytorch":
        from edgeconv.bench.nets import open_net

        return open_net(subject["net"], subject["threads"])
    path = Path(subject["path"])
    shapes = {name: tuple(shape) for name, shape in subject["shapes"].items()}
    options = dict(subject["options"])
    return open_runner(
        path,
        threads=subject["threads"],
        runtime=subject["runtime"],
        shapes=shapes or None,
        **options,
    )


class Held:
    """A model held open, and the commands it understands."""

    def __init__(self, subject: dict[str, Any]) -> None:
        self.runner = open_subject(subject)
        self.call = self.runner.call(random_feeds(self.runner))
        self.threads_before: dict[int, float] = {}

    def warm(self, runs: int | None) -> dict[str, Any]:
        """First inference, then the warm-up."""
        first = timed_runs(self.call, 1)
        rest = warm_up(self.call, runs)
        self.threads_before = sensors.thread_times_s()
        return {"first_ns": first[0], "warmup_ns": rest}

    def block(self, runs: int, settle: int) -> dict[str, Any]:
        """Time ``runs`` inferences after ``settle`` that nobody counts."""
        timed_runs(self.call, settle)
        interrupted = system.involuntary_switches()
        cpu, wall, start = time.process_time(), time.perf_counter(), time.time()
        times = timed_runs(self.call, runs)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        interrupted = system.involuntary_switches() - interrupted
        return {
            "times_ns": times,
            "started": start,
            "cpu_s": cpu,
            "wall_s": wall,
            "involuntary": interrupted,
        }

    def threads(self) -> dict[str, Any]:
        """Processor time of each of our threads since the warm-up, the largest first."""
        now = sensors.thread_times_s()
        spent = (t - self.threads_before.get(tid, 0.0) for tid, t in now.items())
        return {"thread_cpu_s": sorted(spent, reverse=True)}


def memory_mib(key: str) -> float | None:
    """An entry of /proc/self/status (VmHWM: the peak, VmRSS: now), in MiB."""
    for line in (read(ROOT / "proc/self/status") or "").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    peak = system.peak_memory_bytes() if key == "VmHWM" else None
    return None if peak is None else peak / 2**20


def facts(runner: Runner) -> dict[str, Any]:
    """What the runtime says of itself and of the open model."""
    found: dict[str, Any] = {
        "runtime": runner.name,
        "version": runner.version,
        "inputs": [
            {"name": s.name, "shape": list(s.shape), "dtype": s.dtype} for s in runner.inputs
        ],
    }
    if isinstance(runner, Delegates):
        found["delegation"] = asdict(runner.delegation())
    if isinstance(runner, Provides):
        found["providers"] = runner.providers()
    return found


def _import_runtime(name: str) -> float:
    """Import a runtime's package ahead of the load that is timed; return the seconds it took."""
    start = time.perf_counter()
    try:
        importlib.import_module(RUNTIMES[name].imports if name in RUNTIMES else "torch")
    except ImportError:
        return 0.0  # opening the model says this in our own words
    return time.perf_counter() - start


def hold(subject: Subject) -> Worker:
    """Start a child that opens ``subject``; its first answer are the facts.

    It then takes {"do": "warm", "runs"}, {"do": "block", "runs", "settle"} and {"do": "end"}.
    """
    return Worker("edgeconv.bench.worker:serve", subject.to_json(), subject.label)


def serve(
    subject: dict[str, Any], commands: Iterator[dict[str, Any]]
) -> Generator[dict[str, Any], None, None]:
    """Open the model and obey until there are no more commands: the child's side of ``hold``."""
    if subject["affinity"]:
        system.pin(subject["affinity"])
    import_s = _import_runtime(subject["runtime"])
    before = memory_mib("VmRSS")
    start = time.perf_counter()
    held = Held(subject)
    load_s = time.perf_counter() - start
    yield {**facts(held.runner), "import_s": import_s, "load_s": load_s, "base_mib": before}
    for command in commands:
        if command["do"] == "warm":
            yield held.warm(command["runs"])
        elif command["do"] == "block":
            yield held.block(command["runs"], command["settle"])
        elif command["do"] == "end":
            yield {**held.threads(), "peak_mib": memory_mib("VmHWM")}
            return
