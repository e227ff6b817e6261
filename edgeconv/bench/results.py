"""What a benchmark found, as data: rows, the report, and their JSON form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeconv.bench.statistics import Ratio, Summary
from edgeconv.bench.watch import Mark, Sample
from edgeconv.machine import Machine

REPORT_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One model in one runtime with one number of threads. Times in milliseconds, memory in MiB.

    ``summary`` is None where the row failed (``error`` says why). ``rounds_ms`` are the medians of
    the rounds, ``starts_s`` when each began (seconds since the epoch); ``cpu_ms`` is processor time of
    a run, all threads together. ``ratio`` is this row's latency over the reference's, ``cpu_ratio``
    the same of processor time, which a busy machine disturbs less.
    ``base_mib`` is the process before the load, ``peak_mib`` its highest, ``arena_mib`` what the
    runtime set aside for the model where that can be known (see edgeconv.bench.arena).
    ``about`` is what the manifest knows: precision, accuracy, sha256, bytes.
    """

    label: str
    runtime: str
    version: str
    threads: int
    summary: Summary | None = None
    threads_ran: int | None = None
    latencies_ms: tuple[float, ...] = ()
    rounds_ms: tuple[float, ...] = ()
    starts_s: tuple[float, ...] = ()
    import_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    warmup_runs: int = 0
    cpu_ms: float | None = None
    peak_mib: float | None = None
    base_mib: float | None = None
    arena_mib: float | None = None
    delegation: Mapping[str, Any] | None = None
    providers: Sequence[str] | None = None
    inputs: Sequence[Mapping[str, Any]] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    ratio: Ratio | None = None
    cpu_ratio: Ratio | None = None
    error: str | None = None

    @property
    def throughput(self) -> float | None:
        """Inferences a second, one after the other."""
        return 1000 / self.summary.mean if self.summary else None

    def to_json(self, emulated: bool) -> dict[str, Any]:
        """Return JSON data; under emulation every time is null, for it would be no figure."""
        data: dict[str, Any] = asdict(self)
        data["throughput"] = self.throughput
        data["latencies_ms"] = [round(t, 6) for t in self.latencies_ms]
        if emulated:
            times = (
                "summary",
                "ratio",
                "cpu_ratio",
                "import_ms",
                "load_ms",
                "first_ms",
                "cpu_ms",
                "throughput",
            )
            data.update(dict.fromkeys(times))
            data.update({"latencies_ms": [], "rounds_ms": [], "starts_s": []})
        return data


@dataclass(frozen=True)
class Report:
    """Everything one call of bench found. ``partial``: stopped before its end.

    ``references``: row label -> label of the row that its ratio refers to. ``diagnosis`` and
    ``regressions`` hold sentences. ``sustained`` and ``profile`` are by row label.
    """

    edgeconv: str
    started: float
    machine: Machine
    versions: Mapping[str, str | None]
    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    samples: tuple[Sample, ...] = ()
    governors: tuple[str, ...] = ()
    load_before: float | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    partial: bool = False
    diagnosis: tuple[Mapping[str, Any], ...] = ()
    regressions: tuple[Mapping[str, Any], ...] = ()
    sustained: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether every row ran and none is marked."""
        return not self.partial and all(r.error is None and not r.marks for r in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data, version ``REPORT_VERSION``."""
        emulated = self.machine.emulated
        return {
            "edgeconv_bench": REPORT_VERSION,
            "edgeconv": self.edgeconv,
            "started": self.started,
            "machine": self.machine.to_json(),
            "versions": dict(self.versions),
            "settings": dict(self.settings),
            "governors": list(self.governors),
            "load_before": self.load_before,
            "references": dict(self.references),
            "partial": self.partial,
            "trusted": self.trusted,
            "rows": [row.to_json(emulated) for row in self.rows],
            "samples": [asdict(sample) for sample in self.samples],
            "diagnosis": [dict(item) for item in self.diagnosis],
            "regressions": [dict(item) for item in self.regressions],
            "sustained": {} if emulated else dict(self.sustained),
            "profile": {} if emulated else dict(self.profile),
            "notes": list(self.notes),
        }
