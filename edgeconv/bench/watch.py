"""The machine's state while models run, and the reasons not to trust a figure."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv import sensors
from edgeconv.bench.statistics import MIN_EFFECTIVE, MIN_SAMPLES, Summary
from edgeconv.machine import ROOT

HOT_C = 80.0  # where a Raspberry Pi starts to lower its clock
CLOCK_SHARE = 0.95
OTHERS_SHARE = 0.10
STOLEN_SHARE = 0.01
SWITCHED_SHARE = 0.10
WIDE_SHARE = 0.05
DRIFT_SHARE = 0.05


@dataclass(frozen=True)
class Sample:
    """The machine at one moment: seconds since the epoch, MHz of each processor, degrees Celsius."""

    at: float
    clocks_mhz: tuple[float, ...]
    temperature_c: float | None
    throttled: int | None


@dataclass(frozen=True)
class Mark:
    """A reason not to trust a row: a word for machines and a sentence for people."""

    code: str
    reason: str


@dataclass
class Spent:
    """What the processors did during a row's blocks, in seconds of processor time."""

    wall_s: float = 0.0
    busy_s: float = 0.0
    stolen_s: float = 0.0
    own_s: float = 0.0
    involuntary: int = 0


@dataclass
class Watch:
    """Takes samples, at most one in 0.2 s; ``vcgencmd`` starts a process, so at most one in 2 s."""

    root: Path = ROOT
    samples: list[Sample] = field(default_factory=list)
    _last: float = 0.0
    _last_throttled: float = 0.0

    def tick(self) -> None:
        """Take a sample if the last one is old enough."""
        now = time.time()
        if now - self._last < 0.2:
            return
        self._last = now
        bits = None
        if now - self._last_throttled >= 2.0:
            self._last_throttled = now
            bits = sensors.throttled()
        clocks = tuple(c.mhz for c in sensors.clocks(self.root) if c.mhz is not None)
        self.samples.append(Sample(now, clocks, sensors.temperature_c(self.root), bits))

    def between(self, start: float, end: float) -> list[Sample]:
        """Return the samples taken from ``start`` to ``end``."""
        return [sample for sample in self.samples if start <= sample.at <= end]


def machine_marks(samples: Sequence[Sample], max_mhz: float | None) -> list[Mark]:
    """What the samples say against a row: throttled, hot, clocked down."""
    marks: list[Mark] = []
    reasons = sorted(
        {
            name
            for s in samples
            if s.throttled is not None
            for name in sensors.throttle_reasons(s.throttled)
        }
    )
    if reasons:
        marks.append(Mark("throttled", f"the firmware reports {', '.join(reasons)}"))
    hottest = max((s.temperature_c for s in samples if s.temperature_c is not None), default=0.0)
    if hottest >= HOT_C:
        marks.append(Mark("hot", f"the processor reached {hottest:.0f} °C"))
    fastest = [max(s.clocks_mhz) for s in samples if s.clocks_mhz]
    if max_mhz and fastest and statistics.median(fastest) < CLOCK_SHARE * max_mhz:
        seen = statistics.median(fastest)
        marks.append(Mark("clock", f"the clock was at {seen:.0f} of {max_mhz:.0f} MHz"))
    return marks


def load_marks(spent: Spent, runs: int, cpus: float) -> list[Mark]:
    """What the processors' time says against a row: other processes, a hypervisor, pre-emption."""
    marks: list[Mark] = []
    if spent.wall_s <= 0:
        return marks
    others = max(0.0, spent.busy_s - spent.own_s) / spent.wall_s
    if others > OTHERS_SHARE * cpus:
        text = f"other processes used {others:.1f} of {cpus:g} processors meanwhile"
        marks.append(Mark("load", text))
    stolen = spent.stolen_s / spent.wall_s
    if stolen > STOLEN_SHARE:
        marks.append(Mark("steal", f"the hypervisor took {100 * stolen:.0f} % of a processor away"))
    if spent.involuntary > SWITCHED_SHARE * runs and spent.involuntary > 10 * spent.wall_s:
        share = spent.involuntary / runs
        how = f"{100 * share:.0f} of 100 runs" if share < 1 else f"each run {share:.1f} times"
        marks.append(Mark("switched", f"the scheduler interrupted {how}"))
    return marks


def sample_marks(summary: Summary, rounds: Sequence[float]) -> list[Mark]:
    """What the latencies themselves say against a row: too few, too scattered, drifting."""
    marks: list[Mark] = []
    if summary.count < MIN_SAMPLES or summary.effective < MIN_EFFECTIVE:
        worth = f", worth {summary.effective:.0f} independent ones"
        worth = worth if summary.count >= MIN_SAMPLES else ""
        marks.append(Mark("few", f"only {summary.count} runs{worth}"))
    if summary.interval is not None and summary.interval.half_width > WIDE_SHARE * summary.mean:
        share = 100 * summary.interval.half_width / summary.mean
        marks.append(Mark("wide", f"the mean is known to ±{share:.0f} % only"))
    third = len(rounds) // 3
    if third >= 3:
        early, late = statistics.median(rounds[:third]), statistics.median(rounds[-third:])
        if abs(late / early - 1) > DRIFT_SHARE:
            text = f"the last third of the runs took {late / early:.2f}x the first third's time"
            marks.append(Mark("drift", text))
    return marks


LEAST_CPU_S = 0.05  # the kernel accounts a thread's time in steps of up to 10 ms


def threads_ran(thread_cpu_s: Sequence[float]) -> int | None:
    """How many threads shared the work: those with at least a twentieth of the busiest one's time.

    None where the system does not tell, or too little was run to tell work from housekeeping.

    >>> threads_ran([1.0, 0.98, 0.01])
    2
    """
    if not thread_cpu_s or max(thread_cpu_s) < LEAST_CPU_S:
        return None
    return sum(spent >= max(thread_cpu_s) / 20 for spent in thread_cpu_s)


def thread_marks(asked: int, ran: int | None, cpus: float) -> list[Mark]:
    """Whether the row got the threads it asked for."""
    if ran is not None and ran < asked:
        return [Mark("threads", f"{ran} of the {asked} threads asked for did any work")]
    if asked > cpus:
        return [Mark("threads", f"{asked} threads share {cpus:g} processors")]
    return []
