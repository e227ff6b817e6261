"""What to measure and for how long, checked before anything runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgeconv.errors import UsageError

ROUNDS = 40
"""Rounds in which the models take turns: enough for an interval, few enough to keep caches warm."""

MLPERF_RUNS, MLPERF_SECONDS = 1024, 60.0
"""MLPerf Inference's single-stream minimum: queries and duration, both (mlcommons/inference rules)."""

DEFAULT_SECONDS = 5.0
MIN_ROUNDS = 10


@dataclass(frozen=True)
class Plan:
    """How long each model runs.

    ``runs`` recorded inferences, else ``seconds`` of them (both where --mlperf asks for both
    minima). ``warmup`` inferences before, None: until half a second has passed, at least 3.
    """

    runs: int | None = None
    seconds: float | None = None
    warmup: int | None = None
    rounds: int = ROUNDS
    seed: int = 0

    def check(self) -> None:
        """Raise UsageError naming the option that cannot be right."""
        if self.runs is not None and self.runs < 1:
            raise UsageError(f"--runs must be at least 1, not {self.runs}")
        if self.seconds is not None and not 0 < self.seconds <= 86_400:
            raise UsageError(f"--seconds must be positive and at most a day, not {self.seconds:g}")
        if self.warmup is not None and self.warmup < 0:
            raise UsageError(f"--warmup cannot be negative: {self.warmup}")

    def blocks(self, latency_s: float) -> tuple[int, int]:
        """Return (rounds, runs a round) for a model that takes ``latency_s``."""
        wanted = self.runs or 0
        if self.seconds is not None or self.runs is None:
            seconds = DEFAULT_SECONDS if self.seconds is None else self.seconds
            wanted = max(wanted, round(seconds / max(latency_s, 1e-9)), MIN_ROUNDS)
        rounds = min(self.rounds, wanted)
        return rounds, -(-wanted // rounds)


def mlperf(plan: Plan) -> Plan:
    """Return ``plan`` with MLPerf's single-stream minima."""
    return replace(
        plan,
        runs=max(plan.runs or 0, MLPERF_RUNS),
        # a little longer than the rule: the first round's latency sets the count
        seconds=max(plan.seconds or 0.0, MLPERF_SECONDS * 1.1),
    )


def parse_duration(text: str) -> float:
    """Return seconds of "90", "90s", "10m" or "1h". Raises UsageError for anything else.

    >>> parse_duration("10m")
    600.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", text.strip())
    if not found or not float(found[1]):
        raise UsageError(f"{text!r} is no duration: write 90s, 10m or 1h")
    return float(found[1]) * {"h": 3600, "m": 60, "min": 60}.get(found[2] or "s", 1)


def parse_threads(text: str) -> list[int]:
    """Return the thread counts of "1,2,4". Raises UsageError for anything else."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--threads takes numbers such as 1 or 1,2,4, not {text!r}") from error
    return list(dict.fromkeys(counts))


MOST_DIGITS = 5
"""No machine numbers its processors with more."""


def parse_cpus(text: str) -> list[int]:
    """Return the processors of "0-3,6". Raises UsageError for anything else."""
    cpus: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not found or max(len(number or "") for number in found.groups()) > MOST_DIGITS:
            raise UsageError(f"--affinity takes processors such as 0-3 or 4,5, not {text!r}")
        cpus.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    return sorted(set(cpus))


def parse_shapes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return {input: shape} of "x=1,3,224,224"; a shape without a name goes under "".

    Raises UsageError for anything else.
    """
    shapes = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        try:
            shape = tuple(int(d) for d in dims.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise UsageError(f"--shape takes [NAME=]1,3,224,224, not {text!r}")
        shapes[name if equals else ""] = shape
    return shapes


@dataclass(frozen=True)
class Subject:
    """One row: a file or a net, the runtime that runs it and the threads it gets.

    ``runtime`` is a key of edgeconv.runtimes.base.RUNTIMES or "pytorch"; ``options`` go to the
    runtime's own ``open``. ``net`` holds the ExportOptions that make the module (pytorch only).
    ``model`` groups rows of one net, ``about`` is what the manifest knows (precision, accuracy, sha256).
    """

    label: str
    runtime: str
    threads: int
    path: str | None = None
    net: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    affinity: tuple[int, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the child process needs."""
        return {
            "label": self.label,
            "runtime": self.runtime,
            "threads": self.threads,
            "path": self.path,
            "net": dict(self.net),
            "options": dict(self.options),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "affinity": list(self.affinity),
        }
